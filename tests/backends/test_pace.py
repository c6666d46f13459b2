"""The rate limit by itself."""

import threading
import time

import pytest

from autolabel.backends.pace import MARGIN_S, Pace


def sent_times(pace: Pace, count: int) -> list[float]:
    times = []
    for _ in range(count):
        slot = pace.take()
        assert slot is not None
        times.append(time.monotonic())
        slot.sent()
    return times


@pytest.mark.parametrize(
    ("rate", "slots", "window_s"),
    [(10.0, 10, 1.0), (2.5, 2, 1.0), (0.8, 1, 1.25)],
)
def test_no_window_holds_more_than_the_rate(rate: float, slots: int, window_s: float) -> None:
    """floor(r) requests in any second from 1/s on, one per 1/r seconds below; never more."""
    times = sent_times(Pace(rate, threading.Event()), slots + 1)
    assert times[-2] - times[0] < window_s
    assert times[-1] - times[0] >= window_s + MARGIN_S - 0.001


def test_no_rate_is_no_wait() -> None:
    """A host without a stated limit is asked as fast as it answers."""
    times = sent_times(Pace(None, threading.Event()), 1000)
    assert times[-1] - times[0] < 1


def test_a_slot_is_held_until_a_window_after_sending() -> None:
    """However long a connection takes to open, the window counts from the sending."""
    pace = Pace(1, threading.Event())
    slot = pace.take()
    assert slot is not None
    time.sleep(0.3)
    slot.sent()
    sent = time.monotonic()
    slot.sent()  # a second time changes nothing
    slot.release()
    assert pace.take() is not None
    assert time.monotonic() - sent >= 1 + MARGIN_S - 0.001


def test_a_slot_given_back_is_free_at_once() -> None:
    """A request that was never sent holds nobody up."""
    pace = Pace(0.01, threading.Event())
    for _ in range(3):
        slot = pace.take()
        assert slot is not None
        slot.release()


def test_a_stop_ends_the_wait() -> None:
    """A stop gives None to every thread that waits, in a moment."""
    stop = threading.Event()
    pace = Pace(0.01, stop)
    sent_times(pace, 1)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(pace.take())) for _ in range(4)]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join(timeout=2)
    assert found == [None] * 4
