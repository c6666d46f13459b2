"""The front end as one ES module: the page loads it, the widget runs it, the file has it inside.

A file opened from disk can't import modules, and a widget is one module, so the modules of `static` are put
together here, each after those it imports from. They are written for that: imports stand on one line and
rename nothing, and no two modules have a name in common.
"""

import re
from functools import lru_cache
from importlib.resources import files

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(async )?(function|const|class) )", re.MULTILINE)
_ENTRY = "app"
_STATIC = files("autolabel.review").joinpath("static")


def text(name: str) -> str:
    """A file of the front end."""
    return _STATIC.joinpath(name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def script() -> str:
    """The one module: it starts itself on a page of its own, and exports `render` for a notebook."""
    order: list[str] = []
    _visit(_ENTRY, order, ())
    parts = [_EXPORT.sub("", _IMPORT.sub("", text(f"{name}.js"))) for name in order]
    return "\n".join([*parts, "export default { render };\n"])


def _visit(name: str, order: list[str], above: tuple[str, ...]) -> None:
    """Append a module after those it imports from; in a circle of them the one met last comes first."""
    if name in order or name in above:
        return
    for imported in _IMPORT.findall(text(f"{name}.js")):
        _visit(imported, order, (*above, name))
    order.append(name)
