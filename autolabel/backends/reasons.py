"""Turns what a host answered into the error a user reads. Sends nothing and decides on no retry."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from autolabel.backends.redact import Redactor, without_queries
from autolabel.errors import (
    AnswerError,
    AutolabelError,
    KeyRefused,
    NoCredits,
    RefusedError,
    StopRun,
    UnknownModel,
)

_ADD_CREDITS = "add credits to the account, or raise its spending cap"
_CHECK_MODEL = "check backend.model and backend.base_url"
_CONTENT_TYPE = re.compile(r"content[- ]?type|media[- ]?type", re.IGNORECASE)
_SHOWN = 200  # characters of a host's own words
_STOPS: dict[int, type[StopRun]] = {
    401: KeyRefused,
    402: NoCredits,
    403: KeyRefused,
    404: UnknownModel,
    405: UnknownModel,
    406: NoCredits,
    410: UnknownModel,
    423: KeyRefused,
}


@dataclass(frozen=True, slots=True)
class Reasons:
    """Words for what went wrong with one host. `advice` adds a sentence part for a status."""

    host: str
    key_variable: str
    redact: Redactor
    advice: Mapping[int, str] = field(default_factory=dict)

    def status(self, status: int, headers: Mapping[str, str], body: bytes, asked: str = "") -> AutolabelError:
        """Return the error for an answer other than 200; `asked` says what was done about it before."""
        message = self._shown(host_message(body)).rstrip(".")
        if 300 <= status < 400:
            message = f"it points to {self._shown(headers.get('location', 'nowhere'))}"
        words = [f"{self.host} answered {status}{asked}" + (f": {message}" if message else "")]
        words += [part for part in (self._next_step(status), self.advice.get(status)) if part]
        text = "; ".join(words)
        # Segmind's 406 is one of both, in plain text
        if status in _STOPS and not (status == 406 and _CONTENT_TYPE.search(message)):
            return _STOPS[status](text)
        return RefusedError(text, kind=f"{status} {_without_numbers(message)}")

    def no_connection(self, trouble: str, asked: str) -> RefusedError:
        """Return the error for a host that can't be reached at all."""
        return RefusedError(
            f"no connection to {self.host}{asked} ({self._shown(trouble)}); "
            "check the network and backend.base_url",
            kind="no connection",
        )

    def too_slow(self, timeout_s: float, asked: str) -> RefusedError:
        """Return the error for a host that took the request and did not answer it in time."""
        return RefusedError(
            f"{self.host} did not answer within {timeout_s:g} s{asked}; "
            "raise backend.timeout_s or run again later",
            kind="time-out",
        )

    def cut(self, trouble: str, asked: str) -> RefusedError:
        """Return the error for an answer that broke off."""
        return RefusedError(
            f"{self.host} broke off before its answer was whole{asked} ({self._shown(trouble)}); "
            "run again later",
            kind="broken off",
        )

    def unclear(self, trouble: str) -> AnswerError:
        """Return the error for a request that may have been accepted and may be billed."""
        return AnswerError(
            f"the outcome at {self.host} is unclear ({self._shown(trouble)}) and may be billed, so it is not "
            "asked again by itself: run with --retry-unclear to ask, and pay, again",
            body=b"",
        )

    def not_fetched(
        self, status: int, headers: Mapping[str, str], body: bytes, asked: str = ""
    ) -> RefusedError:
        """Return the error for a file that another host does not give out; what it says holds its address."""
        del headers, body
        return RefusedError(
            f"{self.host}, which holds a file of the answer, answered {status}{asked}; run again later",
            kind=f"file {status}",
        )

    def no_address(self, url: str) -> RefusedError:
        """Return the error for a file that lies at no address."""
        return RefusedError(
            f"{self.host} points to a file at {self._shown(url)[:60]!r}, which is no address; "
            "run again later, or report it",
            kind="no address",
        )

    def job_failed(self, body: bytes) -> RefusedError:
        """Return the error for an accepted job that the host gave up."""
        message = self._shown(host_message(body)).rstrip(".")
        return RefusedError(
            f"{self.host} took the request and failed: {message}; check this image and the prompts",
            kind=f"failed {_without_numbers(message)}",
        )

    def long_wait(self, status: int, seconds: float) -> RefusedError:
        """Return the error for a Retry-After beyond what a run waits for."""
        return RefusedError(
            f"{self.host} answered {status} and asks to wait for {seconds:.0f} s, more than an hour; "
            "run again then: finished answers are kept",
            kind=f"{status} long wait",
        )

    def interrupted(self) -> RefusedError:
        """Return the error for a request that was given up because the run ends."""
        return RefusedError(f"the run ended before {self.host} answered", kind="interrupted")

    def not_json(self, headers: Mapping[str, str], body: bytes, asked: str) -> AnswerError:
        """Return the error for a 200 whose body is no JSON."""
        content_type = self._shown(headers.get("content-type", "no content type"))
        return AnswerError(
            f"{self.host} answered 200 ({content_type}){asked} with a body that is not JSON: "
            f"{self.excerpt(body) or 'nothing'}; check backend.base_url",
            body=body,
        )

    def unexpected(self, trouble: str, body: bytes) -> AnswerError:
        """Return the error for a 200 whose JSON is not what the host's documentation says."""
        return AnswerError(
            f"{self.host} answered 200 in a shape that is not understood: {self._shown(trouble)}; "
            f"the answer begins {self.excerpt(body)}",
            body=body,
        )

    def excerpt(self, body: bytes) -> str:
        """Return the first 200 characters of a body on one line, without the key."""
        return self._shown(body[:20_000].decode(errors="replace"))

    def _shown(self, text: str) -> str:
        # redacted before it is cut: the rest of a cut key would not be recognised
        return " ".join(without_queries(self.redact(text)).split())[:_SHOWN]

    def _next_step(self, status: int) -> str:
        if status in (401, 403, 423):
            return f"check the key in {self.key_variable}"
        if status >= 500:
            return "run again later: finished answers are kept"
        return {
            402: _ADD_CREDITS,
            404: _CHECK_MODEL,
            405: _CHECK_MODEL,
            406: _ADD_CREDITS,
            410: _CHECK_MODEL,
            413: "the image is too large for the host",
            429: "lower backend.requests_per_second",
        }.get(status, "check backend.base_url" if status < 400 else "check this image and the prompts")


def host_message(body: bytes) -> str:
    """Return what a host says in an error body.

    Known shapes: `message`, `detail` (a text, or pydantic's list, whose `input` echoes the whole request and
    is left out), `error_description` and `error` (a text or an object with a message), else the body as text.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:20_000].decode(errors="replace")
    if isinstance(value, dict):
        for key in ("message", "detail", "error_description", "error"):
            said = _said(value.get(key))
            if said:
                return said
    return body[:20_000].decode(errors="replace")


def _said(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _said(value.get("message") or value.get("msg"))
    if isinstance(value, list):
        return ", ".join(filter(None, (_problem(item) for item in value)))
    return ""


def _problem(item: object) -> str:
    """One entry of pydantic's list, as `body.prompts: too short`."""
    if not isinstance(item, dict):
        return item if isinstance(item, str) else ""
    where = item.get("loc")
    place = ".".join(str(part) for part in where) if isinstance(where, list) else ""
    return ": ".join(filter(None, (place, _said(item.get("msg")))))


def _without_numbers(text: str) -> str:
    """Make two refusals equal that differ by a size, a count or an identifier."""
    return re.sub(r"[0-9a-f]*\d[0-9a-f]*", "#", text)
