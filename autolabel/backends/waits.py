"""Tries and the waits between them, and what a host's headers say of waits, rate and cost. Sends nothing."""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol, TypeVar

import tenacity

LONGEST_S = 3600.0  # a wait beyond it ends the request
_MILLISECONDS_FROM = 1e11  # as seconds since 1970 that would be the year 5138


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a request is tried, and the waits in between: doubled each time, plus a random share."""

    tries: int = 5
    first_wait_s: float = 0.5
    max_wait_s: float = 30.0


class Outcome(Protocol):
    """How one try ended: whether another may help, and what the host asks to wait before it."""

    @property
    def again(self) -> bool: ...  # noqa: D102  (the class says it)
    @property
    def wait_s(self) -> float: ...  # noqa: D102


T = TypeVar("T", bound=Outcome)


def try_again(attempt: Callable[[], T], retry: Retry, stop: threading.Event) -> T:
    """Call `attempt` until no other try may help, tries run out, or `stop` is set; return the last."""
    backoff = tenacity.wait_exponential(retry.first_wait_s, retry.max_wait_s) + tenacity.wait_random(
        0, retry.first_wait_s
    )

    def outcome(state: tenacity.RetryCallState) -> T:
        return state.outcome.result()  # type: ignore[union-attr, no-any-return]  # asked for after a try only

    retrying = tenacity.Retrying(
        sleep=tenacity.sleep_using_event(stop),
        stop=tenacity.stop_after_attempt(retry.tries) | tenacity.stop_when_event_set(stop),
        wait=lambda state: max(backoff(state), outcome(state).wait_s),
        retry=tenacity.retry_if_result(lambda last: last.again),
        retry_error_callback=outcome,
    )
    return retrying(attempt)


def asked_wait_s(headers: Mapping[str, str]) -> float:
    """Return the seconds that Retry-After, or else the end of the rate limit's window, asks to wait; or 0.

    Retry-After is a number or an HTTP date. The window is Segmind's `x-rate-limit-reset-at-utc`, of which
    public clients know the name and not the form: read are ISO 8601, an HTTP date and seconds since 1970.
    """
    value = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))  # "nan" is no number of seconds: max() makes it 0
    except ValueError:
        pass
    then = _date(value) or _reset(headers.get("x-rate-limit-reset-at-utc", "").strip())
    # the host's own clock where it sends it: ours may be off
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (then - now).total_seconds()) if then else 0.0


def is_used_up(headers: Mapping[str, str]) -> bool:
    """Whether the next request would pass the rate limit, by Segmind's `x-rate-limit-remaining`."""
    return headers.get("x-rate-limit-remaining", "").strip() == "0"


def stated_cost(headers: Mapping[str, str]) -> float | None:
    """Return what the host says that a request cost, by Segmind's `x-cost`; None where it doesn't say."""
    try:
        cost = float(headers.get("x-cost", ""))
    except ValueError:
        return None
    return cost if 0 <= cost < math.inf else None


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _reset(value: str) -> datetime | None:
    try:
        seconds = float(value)
        return datetime.fromtimestamp(seconds / (1000 if seconds > _MILLISECONDS_FROM else 1), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    try:
        date = datetime.fromisoformat(value.removesuffix(" UTC"))
    except ValueError:
        return _date(value)
    return date if date.tzinfo else date.replace(tzinfo=UTC)
