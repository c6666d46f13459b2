"""Keeps a key out of texts and out of the log lines of the HTTP libraries. Knows nothing of HTTP."""

import html
import json
import logging
import re
from functools import cache
from urllib.parse import quote

from autolabel.config.keys import SHORTEST_KEY

_HIDDEN = "***"
_QUERY = re.compile(r"""(https?:[\\/]+[^\s?"'<>]*)\?[^\s"'<>]*""")
# httpx logs whole URLs (?api_key=...) at INFO, httpcore response headers (a Location) at DEBUG;
# a filter on a logger does not hold for its children, so each is named
_TALKATIVE = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)


class Redactor:
    """Replaces one key in any text, also where single characters of it are percent-encoded or escaped."""

    def __init__(self, key: str | None) -> None:
        key = key if key and len(key) >= SHORTEST_KEY else None  # a shorter one is a placeholder
        self._pattern = _pattern(key) if key else None
        # the usual ones are looked for first: a body may have megabytes
        self._spellings = (
            {key.encode(), quote(key, safe="").encode(), json.dumps(key)[1:-1].encode()} if key else set()
        )

    def __call__(self, text: str) -> str:
        """Return `text` with `***` in place of the key."""
        return self._pattern.sub(_HIDDEN, text) if self._pattern else text

    def body(self, body: bytes) -> bytes:
        """Return the body of an answer without the key, where it holds it: bodies are kept."""
        if self._pattern is None or not any(spelling in body for spelling in self._spellings):
            return body
        return self(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """What matches the key; None where there is none."""
        return self._pattern


def guard_logs(redact: Redactor) -> None:
    """Redact what the HTTP libraries log from now on, in every handler. Stays for the whole process."""
    log_filter = _log_filter()
    if redact.pattern is not None:
        log_filter.patterns.add(redact.pattern)


def without_queries(text: str) -> str:
    """Return `text` with `***` in place of the query of every address: those of files may be signed."""
    return _QUERY.sub(rf"\1?{_HIDDEN}", text)


class _LogFilter(logging.Filter):
    """Rewrites records in place; lets all of them pass."""

    def __init__(self) -> None:
        super().__init__()
        self.patterns: set[re.Pattern[str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        for pattern in tuple(self.patterns):
            text = pattern.sub(_HIDDEN, text)
        text = without_queries(text)
        record.msg, record.args = text, ()
        return True


@cache
def _log_filter() -> _LogFilter:
    """Return the one filter, put on the loggers when it is first asked for."""
    log_filter = _LogFilter()
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(log_filter)
    return log_filter


def _pattern(key: str) -> re.Pattern[str]:
    return re.compile("".join(_any_spelling(character) for character in key), re.IGNORECASE)


def _any_spelling(character: str) -> str:
    """Match a character as it is, percent-encoded (also twice), or escaped as in JSON, Python or HTML."""
    code = f"{ord(character):02x}"
    literal = re.escape(character)
    return (
        rf"(?:{re.escape(html.escape(character))}|&#0?{ord(character)};|&#x0?{code};"
        rf"|%(?:25){{0,3}}{code}|\\{{1,4}}u00{code}|\\{{1,4}}x{code}|\\{{0,4}}{literal})"
    )
