"""Keys of the hosts: read from the environment or `.env`, and kept out of every text."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from dotenv.parser import parse_stream

from autolabel.errors import ConfigError

SHORTEST_KEY = (
    8  # characters: what is shorter is a placeholder for one's own server, and stands in many words
)
ALL_VARIABLES = ("ROBOFLOW_API_KEY", "SEGMENTLENS_API_KEY", "SAM3_API_KEY", "SEGMIND_API_KEY")


def api_key(variables: Sequence[str]) -> str | None:
    """Return the first of `variables` that is set in the environment, else in `.env` here, else None.

    Raises ConfigError where a value could not be sent as a header; the message never shows it.
    """
    for source in (os.environ, _dotenv()):
        for name in variables:
            value = (source.get(name) or "").strip()
            if not value:
                continue
            if not value.isascii() or not value.isprintable() or " " in value:
                raise ConfigError(f"{name} holds blanks or characters that no key has: copy the key again")
            return value
    return None


def redact(text: str) -> str:
    """Replace the value of every key variable in `text`, percent-encoded or not."""
    for source in (os.environ, _dotenv(strict=False)):
        for name in ALL_VARIABLES:
            value = (source.get(name) or "").strip()
            if len(value) >= SHORTEST_KEY:
                text = text.replace(value, f"<{name}>").replace(quote(value, safe=""), f"<{name}>")
    return text


def _dotenv(*, strict: bool = True) -> Mapping[str, str | None]:
    path = Path(".env")
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig") as file:
            bindings = list(parse_stream(file))
    except (OSError, UnicodeDecodeError) as error:
        if not strict:
            return {}
        raise ConfigError(f".env can't be read ({type(error).__name__}): save it as UTF-8 text") from None
    broken = [binding.original.line for binding in bindings if binding.error]
    if broken and strict:
        raise ConfigError(f".env, line {broken[0]}: write it as NAME=value")
    return {binding.key: binding.value for binding in bindings if binding.key}
