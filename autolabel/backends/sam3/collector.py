"""Threads that share a device: whoever's turn it is does the work of those that wait, in one go."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Collector(Generic[Item, Result]):
    """Calls `work` with up to `most` items that wait at the moment, in one thread at a time.

    `work` returns a result for each item, in their order. Where it fails for several, each is tried by
    itself: one item's trouble is not the others', and one may fit a memory that several don't.
    """

    def __init__(self, work: Callable[[list[Item]], list[Result]], most: int) -> None:
        self._work = work
        self._most = most
        self._turn = threading.Lock()
        self._waiting: deque[tuple[Item, Future[Result]]] = deque()

    def __call__(self, item: Item) -> Result:
        """Return the result for `item`, or raise what `work` raised for it alone."""
        future: Future[Result] = Future()
        self._waiting.append((item, future))
        with self._turn:
            while not future.done():
                self._serve()
        return future.result()

    def alone(self) -> AbstractContextManager[bool]:
        """Hold the device for other work than the collected."""
        return self._turn

    def _serve(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            if len(batch) > 1 and self._together(batch):
                return
            for item, future in batch:
                self._by_itself(item, future)
        finally:
            for _, future in batch:  # not by an error: by the end of this thread
                if not future.done():
                    future.cancel()

    def _together(self, batch: list[tuple[Item, Future[Result]]]) -> bool:
        try:
            results = self._work([item for item, _ in batch])
        except Exception:  # whatever it is, it may be of one of them only  # noqa: BLE001
            return False
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)
        return True

    def _by_itself(self, item: Item, future: Future[Result]) -> None:
        try:
            future.set_result(self._work([item])[0])
        except Exception as error:  # raised in the thread whose item it is  # noqa: BLE001
            future.set_exception(error)
