"""The engine of one machine: a pool of threads over a bounded window of tasks."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def run_local(
    tasks: Iterable[T | None],
    worker: Callable[[T], R],
    on_record: Callable[[R], None],
    *,
    workers: int,
    stop: Event,
) -> None:
    """Run `worker` over `tasks` and hand each record to `on_record`, in this thread, as it is finished.

    A None among the tasks is an image with nothing to do: records are handed over also while many of
    those pass by. At most 2 x `workers` tasks are taken ahead, so memory does not grow with the number of
    images. Once `stop` is set no task is started; those under way are finished and handed over.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="autolabel")
    pending: set[Future[R]] = set()
    try:
        for task in tasks:
            if stop.is_set():
                break
            if task is not None:
                pending.add(pool.submit(worker, task))
            full = len(pending) >= 2 * workers
            if full or any(future.done() for future in pending):
                pending = _hand_over(pending, on_record, stop)
        while pending:
            pending = _hand_over(pending, on_record, stop)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _hand_over(pending: set[Future[R]], on_record: Callable[[R], None], stop: Event) -> set[Future[R]]:
    if stop.is_set():
        pending = {future for future in pending if not future.cancel()}
    # the time-out lets a signal handler set `stop` on platforms where a wait can't be interrupted
    done, rest = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
    for future in done:
        on_record(future.result())
    return rest
