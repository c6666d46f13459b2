"""The tables of backends in README.md and docs/backends.md, made of what each backend states.

`python -m autolabel.backends.table README.md docs/backends.md` writes them anew.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from autolabel.backends import ANY, BACKENDS, backend_class
from autolabel.backends.base import BackendClass, Limits
from autolabel.config import BackendConfig

_NAMED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_WORDS = {"text": "class names", "exemplars": "exemplars", "boxes": "boxes", "points": "points"}
_LOST = ("holes", "scores", "instances")


def filled(text: str) -> str:
    """A document with the tables between its marks made anew."""
    tables = {"hosts": _hosts, "losses": _losses}
    return _NAMED.sub(lambda match: match[1] + "\n".join(tables[match[2]]()) + "\n" + match[3], text)


def _rows() -> Iterator[tuple[str, str, BackendClass]]:
    for name, models in BACKENDS.items():
        for model in models:
            settings = BackendConfig(name=name, model=model.rstrip(ANY) or None)
            yield name, "a weights folder" if model == ANY else model, backend_class(settings)


def _hosts() -> Iterator[str]:
    yield "| backend | model | takes | returns | limits | price a request | key | known from |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, model, backend in _rows():
        limits = backend.LIMITS
        cells = [f"`{name}`", f"`{model}`" if model and " " not in model else model or "-"]
        cells += [
            _takes(limits),
            limits.returns,
            _limits(limits),
            _price(limits),
            _key(backend),
            limits.source,
        ]
        yield f"| {' | '.join(cells)} |"


def _losses() -> Iterator[str]:
    yield "| backend | model | " + " | ".join(_LOST) + " |"
    yield "|---|---|" + "---|" * len(_LOST)
    for name, model, backend in _rows():
        cells = ["lost" if loss in backend.LIMITS.loses else "kept" for loss in _LOST]
        yield f"| `{name}` | {model or '-'} | {' | '.join(cells)} |"


def _takes(limits: Limits) -> str:
    things = [words for kind, words in _WORDS.items() if kind in limits.takes]
    if limits.clips:
        things.append("whole clips" if limits.images else "of whole clips only")
    if limits.free:
        things = ["answers that are there already"]
    return ", ".join(things)


def _limits(limits: Limits) -> str:
    found = []
    if limits.max_side:
        found.append(f"{limits.max_side} px")
    if limits.max_base64_bytes:
        found.append(f"{limits.max_base64_bytes / 1e6:g} MB a picture")
    if not limits.free and limits.requests_per_second:
        rate = limits.requests_per_second
        found.append(f"{rate:g} requests/s" if rate >= 1 else f"{60 * rate:g} requests/min")
    if not limits.free and limits.price_per_request != 0:
        found.append(f"{limits.max_prompts} prompt{'s' * (limits.max_prompts > 1)} a request")
    return ", ".join(found) or "none"


def _price(limits: Limits) -> str:
    price = limits.price_per_request
    return "not stated" if price is None else "free" if price == 0 else f"${price:g}"


def _key(backend: BackendClass) -> str:
    return " or ".join(f"`{name}`" for name in backend.KEY_VARIABLES) or "none"


def main(paths: Sequence[str]) -> None:
    """Write the tables of the documents at `paths` anew."""
    for path in map(Path, paths):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
