"""SIGINT and SIGTERM during a labelling: the first ends it in order, the second at once."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


@contextmanager
def interruptible(stop: threading.Event) -> Iterator[threading.Event]:
    """Make the first SIGINT or SIGTERM end the run in order; the second interrupts at once.

    Yields an event that says whether one came. Outside the main thread signals stay as they are.
    """
    interrupted = threading.Event()

    def handle(_signum: int, _frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        stop.set()
        log.warning("interrupted: finishing the requests under way; again to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
