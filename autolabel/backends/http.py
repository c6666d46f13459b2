"""One host: connections, the key, retries, the rate limit and what it costs. The only user of httpx.

Nothing here knows what is asked or answered. Waits are read in `waits`, words found in `reasons`.
"""

import itertools
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx

from autolabel.backends.meter import Meter
from autolabel.backends.pace import Pace, Slot
from autolabel.backends.reading import NOT_JSON, parse
from autolabel.backends.reasons import Reasons
from autolabel.backends.redact import Redactor, guard_logs
from autolabel.backends.waits import LONGEST_S, Retry, asked_wait_s, is_used_up, stated_cost, try_again
from autolabel.errors import AnswerError, AutolabelError, BudgetReached, ConfigError, StopRun
from autolabel.version import __version__

__all__ = ["Host", "Reply", "Retry"]

# uvicorn, which serves Roboflow's inference, closes idle connections after 5 s: be first, as a request sent
# into a closing connection has an unclear outcome
_KEEPALIVE_S = 4.0
_CONNECT_S = 30.0
_GOOD = (200, 201, 202)
_NOT_BILLED = (429, 500, 502, 503)  # of a host that bills each accepted request: certainly not accepted
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout)
_Refused = Callable[[int, Mapping[str, str], bytes, str], AutolabelError]


@dataclass(frozen=True, slots=True)
class Reply:
    """A 200: the parsed JSON (NOT_JSON where it holds none), the bytes it was parsed from, the headers."""

    value: Any
    body: bytes
    headers: Mapping[str, str]


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


class _Key(httpx.Auth):
    """Puts the key into a request; it stands in no other place, and in no repr."""

    def __init__(self, key: str, auth: str) -> None:
        self._key = key
        self._auth = auth

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._auth == "query":
            request.url = request.url.copy_merge_params({"api_key": self._key})
        elif self._auth == "bearer":
            request.headers["Authorization"] = f"Bearer {self._key}"
        else:
            request.headers[self._auth] = self._key
        yield request


class Host:
    """A client of one host that all threads share.

    `auth` is "bearer" (the Authorization header), "query" (?api_key=) or the name of a header; without a key
    none is sent. With `bills_once` a request whose outcome is unclear is not sent again, and what a 200 holds
    is for the caller to judge; otherwise a 200 should hold JSON. `advice` adds words of the backend to the
    error for a status. Proxies come from the environment.
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
        retry: Retry = Retry(),  # noqa: B008  (frozen)
        advice: Mapping[int, str] | None = None,
        bills_once: bool = False,
    ) -> None:
        redact = Redactor(key)
        guard_logs(redact)
        self.reasons = Reasons(urlsplit(base_url).netloc, key_variable, redact, advice or {})
        self.retry, self.stop = retry, stop
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._meter = meter
        self._pace = Pace(requests_per_second, stop)
        self._redact = redact
        self._bills_once = bills_once
        self._key = _Key(key, auth) if key else None
        try:
            self._client = httpx.Client(  # without the key: files are fetched from other hosts, too
                headers={"User-Agent": f"autolabel/{__version__}"},
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

        Raises StopRun (key, credits, model, budget), RefusedError, or AnswerError: for a 200 without JSON
        and, where the host bills once, for an unclear outcome, then with an empty body.
        """
        number = itertools.count(1)
        unread: list[AnswerError] = []  # answers 200 without JSON: billed, so what was sent is not let go

        def attempt() -> _Try:
            tried = self._post(self._base_url + path, content, next(number))
            unread.extend([tried.error] if isinstance(tried.error, AnswerError) else [])
            return tried

        try:
            last = try_again(attempt, self.retry, self.stop)
        except BudgetReached:
            if unread:
                raise unread[-1] from None
            raise
        if unread and last.reply is None and not isinstance(last.error, StopRun):
            raise unread[-1]
        return self._outcome(last)

    def look_up(self, path: str, *, also: tuple[int, ...] = ()) -> Reply:
        """GET with the key what costs nothing: no request is counted, and no slot of the rate is waited for.

        A status in `also` is an answer like a 200. Raises as `post` does, without BudgetReached; UnknownModel
        means that there is nothing at `path`.
        """
        url = self._base_url + path
        return self._get(url, self.reasons, self.reasons.status, {"auth": self._key}, good=(*_GOOD, *also))

    def fetch(self, url: str) -> bytes:
        """GET a file that an answer points to, from any host and without the key. Raises RefusedError."""
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL:
            address = httpx.URL()
        if address.scheme not in ("http", "https") or not address.host:
            raise self.reasons.no_address(url)
        elsewhere = replace(self.reasons, host=address.copy_with(userinfo=b"").netloc.decode(), advice={})
        return self._get(address, elsewhere, elsewhere.not_fetched, {"auth": None}).body

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def _outcome(self, last: _Try) -> Reply:
        if last.reply is not None:
            return last.reply
        if last.again and self.stop.is_set():
            raise self.reasons.interrupted()
        raise last.error or self.reasons.interrupted()

    def _post(self, url: str, content: bytes, number: int) -> _Try:
        """One try, in its turn, paid for."""
        self._meter.reserve()
        settle = partial(self._meter.settle, retry=number > 1)
        slot = self._pace.take()
        if slot is None:
            settle(False, sent=False)
            return _Try()
        sending = _Sending(slot)
        options = {
            "content": content,
            "headers": {"Content-Type": "application/json"},
            "auth": self._key,
            "extensions": {"trace": sending.trace},
        }
        # what is not known to be refused counts, also where a thread is interrupted
        billed, cost = True, None
        try:
            response, body = self._send("POST", url, options)
            billed, cost = self._bill(response)
        except httpx.HTTPError as error:
            if sending.started and self._bills_once:
                return _Try(error=self.reasons.unclear(self._trouble(error)))
            return self._broken(error, self.reasons, sending.started, _after(number))
        finally:
            slot.release()
            settle(billed and sending.started, sent=sending.started, cost=cost)
        return self._judge(response, body, _after(number))

    def _bill(self, response: httpx.Response) -> tuple[bool, float | None]:
        """Whether a request counts as billed, and what the host says that it cost."""
        status = response.status_code
        if status >= 500:
            return not (self._bills_once and status in _NOT_BILLED), None
        return status < 300, stated_cost(response.headers) if status < 300 else None

    def _judge(self, response: httpx.Response, body: bytes, asked: str) -> _Try:
        status, headers = response.status_code, response.headers
        wait_s = asked_wait_s(headers)
        if status in _GOOD:
            if is_used_up(headers):
                self._pace.pause(min(wait_s, LONGEST_S))
            value = parse(body)
            if value is NOT_JSON and not self._bills_once:
                return _Try(error=self.reasons.not_json(headers, body, asked), again=True)
            return _Try(reply=Reply(value, body, headers))
        error = self.reasons.status(status, headers, body, asked)
        odd = self._bills_once and status < 300  # perhaps accepted
        if status != 429 and status < 500 and not odd:
            return _Try(error=error)
        if self._bills_once and status not in _NOT_BILLED:
            return _Try(error=self.reasons.unclear(str(error)))
        if wait_s > LONGEST_S:
            return _Try(error=self.reasons.long_wait(status, wait_s))
        if status in (429, 503):
            self._pace.pause(wait_s)  # the host means all threads
        return _Try(error=error, again=True, wait_s=wait_s)

    def _get(
        self,
        url: str | httpx.URL,
        reasons: Reasons,
        refused: _Refused,
        options: Mapping[str, Any],
        good: tuple[int, ...] = _GOOD,
    ) -> Reply:
        number = itertools.count(1)

        def attempt() -> _Try:
            asked = _after(next(number))
            try:
                response, body = self._send("GET", url, options)
            except httpx.HTTPError as error:
                return self._broken(error, reasons, not isinstance(error, _UNSENT), asked)
            status, headers = response.status_code, response.headers
            if status in good:
                return _Try(reply=Reply(parse(body), body, headers))
            again = status == 429 or status >= 500
            wait_s = min(asked_wait_s(headers), LONGEST_S)
            return _Try(error=refused(status, headers, body, asked), again=again, wait_s=wait_s)

        return self._outcome(try_again(attempt, self.retry, self.stop))

    def _send(
        self, method: str, url: str | httpx.URL, options: Mapping[str, Any]
    ) -> tuple[httpx.Response, bytes]:
        with self._client.stream(method, url, **options) as response:
            deadline = time.monotonic() + self._timeout_s  # httpx bounds each read, not the whole body
            chunks = []
            for chunk in response.iter_bytes():
                chunks.append(chunk)
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the body takes too long")
            return response, self._redact.body(b"".join(chunks))

    def _broken(self, error: httpx.HTTPError, reasons: Reasons, sent: bool, asked: str) -> _Try:
        if not sent:
            return _Try(error=reasons.no_connection(str(error) or type(error).__name__, asked), again=True)
        if isinstance(error, httpx.TimeoutException):
            return _Try(error=reasons.too_slow(self._timeout_s, asked), again=True)
        return _Try(error=reasons.cut(self._trouble(error), asked), again=True)

    def _trouble(self, error: httpx.HTTPError) -> str:
        if isinstance(error, httpx.TimeoutException):
            return f"{self.reasons.host} did not answer within {self._timeout_s:g} s"
        return str(error) or type(error).__name__


def _after(tries: int) -> str:
    return f" after {tries} tries" if tries > 1 else ""
