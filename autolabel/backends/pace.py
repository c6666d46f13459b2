"""The rate limit of one host, shared by all threads. Knows nothing of HTTP."""

import math
import threading
import time
from collections import deque

# network jitter of 50 ms between two requests can't bring them into one window, with 10 ms to spare
MARGIN_S = 0.06
_POLL_S = 0.05  # how soon a waiting thread sees that it should stop


class Slot:
    """The right to send one request: from `take` until a window after its headers were sent."""

    def __init__(self, pace: "Pace") -> None:
        self._pace = pace
        self._open = True

    def sent(self) -> None:
        """Note that the host counts the request from about now. Only the first call counts."""
        if self._open:
            self._open = False
            self._pace._settle(sent=True)

    def release(self) -> None:
        """Give the slot back where nothing was sent; nothing happens after `sent`."""
        if self._open:
            self._open = False
            self._pace._settle(sent=False)


class Pace:
    """A sliding log of what was sent, kept as the host counts it.

    A rate r of 1 or more allows floor(r) requests in any one second (a fraction can't be used up in a whole
    number of requests without passing r in some second); below 1 it is one request per 1/r seconds.
    A slot is taken before the connection is opened and stays taken until the window after the headers were
    sent has passed, so slow TLS handshakes can't bunch requests however late they are.
    """

    def __init__(self, requests_per_second: float | None, stop: threading.Event) -> None:
        rate = math.inf if requests_per_second is None else requests_per_second
        self._slots = max(1.0, math.inf if rate == math.inf else math.floor(rate))
        self._window_s = max(1.0, 1 / rate) + MARGIN_S
        self._stop = stop
        self._turn = threading.Lock()  # held by the one thread that waits for the next slot
        self._lock = threading.Lock()  # guards what follows
        self._log: deque[float] = deque()
        self._pending = 0
        self._not_before = 0.0

    def take(self) -> Slot | None:
        """Wait for a slot; None where `stop` is set first."""
        while not self._stop.is_set():
            if not self._turn.acquire(timeout=_POLL_S):
                continue
            try:
                return self._wait()
            finally:
                self._turn.release()
        return None

    def pause(self, seconds: float) -> None:
        """Let no thread take a slot for so long."""
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _wait(self) -> Slot | None:
        while not self._stop.is_set():
            delay = self._delay()
            if delay <= 0:
                return Slot(self)
            self._stop.wait(delay)
        return None

    def _delay(self) -> float:
        """Seconds until it is worth looking again; 0 where a slot was taken."""
        with self._lock:
            now = time.monotonic()
            if now < self._not_before:
                return self._not_before - now
            while self._log and self._log[0] + self._window_s <= now:
                self._log.popleft()
            if self._pending + len(self._log) < self._slots:
                self._pending += 1
                return 0.0
            oldest = self._log[0] + self._window_s - now if self._log else math.inf
            # a pending slot may be given back, or sent, at any moment
            return min(oldest, _POLL_S if self._pending else math.inf)

    def _settle(self, *, sent: bool) -> None:
        with self._lock:
            self._pending -= 1
            if sent and self._slots != math.inf:
                self._log.append(time.monotonic())
