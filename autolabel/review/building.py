"""A thread that makes what a session shows, so that the page comes up at once and sees how far it is."""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from autolabel.config import redact
from autolabel.errors import AutolabelError
from autolabel.review.problems import Problem

T = TypeVar("T")

log = logging.getLogger(__name__)


class Building(threading.Thread, Generic[T]):
    """Calls `make` with a function that is told the share that is done; raises there once it is to `stop`."""

    def __init__(self, make: Callable[[Callable[[float], None]], T]) -> None:
        super().__init__(name="autolabel-index", daemon=True)
        self.progress = 0.0
        self._make = make
        self._stop_asked = threading.Event()
        self._made: T | None = None
        self._error: AutolabelError | None = None

    def run(self) -> None:
        """Make them."""
        try:
            self._made = self._make(self._told)
        except AutolabelError as error:
            self._error = error
        except Exception as error:  # it must be told, not lost with the thread
            log.debug("no index", exc_info=True)
            self._error = Problem(redact(f"the index can't be made ({type(error).__name__}: {error})"))

    def stop(self) -> None:
        """End it soon."""
        self._stop_asked.set()

    def result(self) -> T:
        """What was made, once it has ended. Raises what ended it early."""
        if self._made is None:
            raise self._error or Problem("the index is not there yet")
        return self._made

    def _told(self, progress: float) -> None:
        if self._stop_asked.is_set():
            raise Problem("the review is closing")
        self.progress = progress
