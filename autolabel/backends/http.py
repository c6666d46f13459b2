"""One host: connections, the key, retries, the rate limit and what it costs. The only user of httpx.

Nothing here knows what is asked or answered, except that a 200 should hold JSON.
"""

import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import tenacity

from autolabel.backends.base import Meter
from autolabel.backends.pace import Pace, Slot
from autolabel.backends.reading import NOT_JSON, parse
from autolabel.backends.reasons import Reasons
from autolabel.backends.redact import Redactor
from autolabel.errors import AnswerError, AutolabelError, BudgetReached, ConfigError, StopRun
from autolabel.version import __version__

_LONGEST_WAIT_S = 3600.0  # a Retry-After beyond it ends the request
# uvicorn, which serves Roboflow's inference, closes idle connections after 5 s: be first, as a request sent
# into a closing connection has an unclear outcome
_KEEPALIVE_S = 4.0
_CONNECT_S = 30.0
_HEADERS = {"Content-Type": "application/json", "User-Agent": f"autolabel/{__version__}"}


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a request is tried, and the waits in between: doubled each time, plus a random share."""

    tries: int = 5
    first_wait_s: float = 0.5
    max_wait_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A 200: the parsed JSON, and the bytes it was parsed from."""

    value: Any
    body: bytes


@dataclass(frozen=True, slots=True)
class _Try:
    """How one try ended: with a reply, or with an error that may be worth another try."""

    reply: Reply | None = None
    error: AutolabelError | None = None
    again: bool = False
    wait_s: float = 0.0  # what the host asks to wait before the next one


@dataclass(slots=True)
class _Sending:
    """Follows one request on its way out through httpcore's documented `trace` extension."""

    slot: Slot
    started: bool = field(default=False)

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "http11.send_request_headers.started":
            # a proxy's CONNECT passes here too, before the request itself
            self.started = info["request"].method != b"CONNECT"
        elif self.started and event.startswith("http11.send_request_headers."):
            self.slot.sent()


class Host:
    """A client of one host that all threads share.

    `auth` is "bearer" (the Authorization header) or "query" (?api_key=); without a key neither is sent.
    `advice` adds words of the backend to the error for a status. Proxies come from the environment.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None,
        key_variable: str,
        auth: str,
        timeout_s: float,
        requests_per_second: float | None,
        meter: Meter,
        stop: threading.Event,
        retry: Retry = Retry(),
        advice: Mapping[int, str] | None = None,
    ) -> None:
        redact = Redactor(key)
        redact.guard_logs()
        self.reasons = Reasons(urlsplit(base_url).netloc, key_variable, redact, advice or {})
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._meter = meter
        self._stop = stop
        self._pace = Pace(requests_per_second, stop)
        self._retrying = _retrying(retry, stop)
        self._redact = redact
        try:
            self._client = httpx.Client(
                headers=_HEADERS | _bearer(key, auth),
                params={"api_key": key} if key and auth == "query" else None,
                timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S)),
                limits=httpx.Limits(max_connections=None, keepalive_expiry=_KEEPALIVE_S),
                follow_redirects=False,  # the key would go along
            )
        except (ValueError, ImportError, OSError) as error:
            raise ConfigError(
                "the proxy or certificate settings of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, "
                f"SSL_CERT_FILE, SSL_CERT_DIR) can't be used: {redact(str(error))}"
            ) from None

    def post(self, path: str, content: bytes) -> Reply:
        """POST a JSON body and return the 200 that answers it, after retries where they can help.

        Raises StopRun (key, credits, model, budget), RefusedError, or AnswerError for a 200 without JSON.
        """
        url = self._base_url + path
        number = itertools.count(1)
        unread: list[AnswerError] = []  # answers 200 without JSON: billed, so what was sent is not let go

        def attempt() -> _Try:
            tried = self._try(url, content, next(number))
            unread.extend([tried.error] if isinstance(tried.error, AnswerError) else [])
            return tried

        try:
            last: _Try = self._retrying(attempt)
        except BudgetReached:
            if unread:
                raise unread[-1] from None
            raise
        if last.reply is not None:
            return last.reply
        if unread and not isinstance(last.error, StopRun):
            raise unread[-1]
        if last.again and self._stop.is_set():
            raise self.reasons.interrupted()
        raise last.error or self.reasons.interrupted()

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def _try(self, url: str, content: bytes, number: int) -> _Try:
        self._meter.reserve()
        settle = partial(self._meter.settle, retry=number > 1)
        slot = self._pace.take()
        if slot is None:
            settle(False, sent=False)
            return _Try()
        asked = f" after {number} tries" if number > 1 else ""
        sending = _Sending(slot)
        billed = True  # what is not known to be refused counts, also where this thread is interrupted
        try:
            response, body = self._send(url, content, sending)
            billed = response.status_code < 300 or response.status_code >= 500
        except httpx.HTTPError as error:
            return self._broken(error, sending.started, asked)
        finally:
            slot.release()
            settle(billed and sending.started, sent=sending.started)
        return self._judge(response, body, asked)

    def _send(self, url: str, content: bytes, sending: _Sending) -> tuple[httpx.Response, bytes]:
        extensions = {"trace": sending.trace}
        with self._client.stream("POST", url, content=content, extensions=extensions) as response:
            deadline = time.monotonic() + self._timeout_s  # httpx bounds each read, not the whole body
            chunks = []
            for chunk in response.iter_bytes():
                chunks.append(chunk)
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the body takes too long")
            return response, self._redact.body(b"".join(chunks))

    def _broken(self, error: httpx.HTTPError, sent: bool, asked: str) -> _Try:
        trouble = str(error) or type(error).__name__
        if not sent:
            return _Try(error=self.reasons.no_connection(trouble, asked), again=True)
        if isinstance(error, httpx.TimeoutException):
            return _Try(error=self.reasons.too_slow(self._timeout_s, asked), again=True)
        return _Try(error=self.reasons.cut(trouble, asked), again=True)

    def _judge(self, response: httpx.Response, body: bytes, asked: str) -> _Try:
        status, headers = response.status_code, response.headers
        if status == 200:
            value = parse(body)
            if value is NOT_JSON:
                return _Try(error=self.reasons.not_json(headers, body, asked), again=True)
            return _Try(reply=Reply(value, body))
        error = self.reasons.status(status, headers, body, asked)
        if status != 429 and status < 500:
            return _Try(error=error)
        wait_s = _retry_after_s(headers)
        if wait_s > _LONGEST_WAIT_S:
            return _Try(error=self.reasons.long_wait(status, wait_s))
        if status in (429, 503):
            self._pace.pause(wait_s)  # the host means all threads
        return _Try(error=error, again=True, wait_s=wait_s)


def _bearer(key: str | None, auth: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key and auth == "bearer" else {}


def _retrying(retry: Retry, stop: threading.Event) -> tenacity.Retrying:
    backoff = tenacity.wait_exponential(retry.first_wait_s, retry.max_wait_s) + tenacity.wait_random(
        0, retry.first_wait_s
    )

    def outcome(state: tenacity.RetryCallState) -> Any:
        return state.outcome.result() if state.outcome else _Try()

    return tenacity.Retrying(
        sleep=tenacity.sleep_using_event(stop),
        stop=tenacity.stop_after_attempt(retry.tries) | tenacity.stop_when_event_set(stop),
        wait=lambda state: max(backoff(state), outcome(state).wait_s),
        retry=tenacity.retry_if_result(lambda last: last.again),
        retry_error_callback=outcome,
    )


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the seconds that Retry-After asks for, as a number or an HTTP date; 0 where it can't be read."""
    value = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))  # "nan" is no number of seconds: max() makes it 0
    except ValueError:
        pass
    then = _date(value)
    # the host's own clock where it sends it: ours may be off
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (then - now).total_seconds()) if then else 0.0


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
