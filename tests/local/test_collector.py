"""Threads that wait together are served together, and fail apart."""

import threading
from concurrent.futures import ThreadPoolExecutor

from autolabel.backends.sam3.collector import Collector


class Work:
    """Doubles numbers, refuses 13 and more than `memory` at once, and notes what it was given together.

    The first call waits until the others are in the queue.
    """

    def __init__(self, memory: int = 100) -> None:
        self.memory = memory
        self.calls: list[list[int]] = []
        self.go_on = threading.Event()

    def __call__(self, items: list[int]) -> list[int]:
        self.calls.append(items)
        assert self.go_on.wait(10)
        if len(items) > self.memory:
            raise MemoryError(len(items))
        if 13 in items:
            raise ValueError("13")
        return [2 * item for item in items]


def together(work: Work, most: int, items: list[int]) -> list[object]:
    """What each of `items` gives, where the first is at work while the others come to wait."""
    collector: Collector[int, int] = Collector(work, most)

    def ask(item: int) -> object:
        try:
            return collector(item)
        except (ValueError, MemoryError) as error:
            return repr(error)

    with ThreadPoolExecutor(len(items)) as pool:
        answers = [pool.submit(ask, items[0])]
        while not work.calls:
            pass
        answers += [pool.submit(ask, item) for item in items[1:]]
        while len(collector._waiting) < len(items) - 1:
            pass
        work.go_on.set()
        return [answer.result(10) for answer in answers]


def test_those_that_wait_are_served_together() -> None:
    """Items that wait go into one call of at most so many, and each gets its own result."""
    work = Work()
    assert together(work, 3, list(range(6))) == [0, 2, 4, 6, 8, 10]
    assert [len(call) for call in work.calls] == [1, 3, 2]


def test_one_that_fails_does_not_fail_the_others() -> None:
    """The trouble of one item is raised for it alone."""
    assert together(Work(), 8, [1, 13, 2]) == [2, "ValueError('13')", 4]


def test_what_is_too_much_together_is_done_one_by_one() -> None:
    """A batch that does not fit the memory is not lost."""
    work = Work(memory=1)
    assert together(work, 8, [1, 2, 3]) == [2, 4, 6]
    assert [len(call) for call in work.calls] == [1, 2, 1, 1]
