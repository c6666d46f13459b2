"""The front end as one module: nothing in it is imported, and no name stands for two things."""

import re
from collections import Counter

from autolabel.review import bundle


def test_one_module_imports_nothing():
    """All modules are in it, none is loaded, and it exports `render` alone."""
    script = bundle.script()
    assert not re.search(r"^\s*import\b", script, re.MULTILINE)
    assert re.findall(r"^export .*$", script, re.MULTILINE) == ["export default { render };"]
    for name in ("decodeCounts", "filterAll", "class Grid", "class Viewer", "class Desk"):
        assert name in script


def test_no_name_is_given_twice():
    """Modules that share one scope may not have a top-level name in common."""
    names = re.findall(
        r"^(?:async )?(?:function|const|let|class) (?:\{([^}]*)\}|\[([^\]]*)\]|(\w+))",
        bundle.script(),
        re.MULTILINE,
    )
    found = Counter(name for groups in names for group in groups for name in re.findall(r"\w+", group))
    assert [name for name, times in found.items() if times > 1] == []


def test_what_is_used_is_defined_before():
    """A module stands after those it imports from: constants are there when they are read."""
    script = bundle.script()
    assert script.index("const REASONS") < script.index("const DROP_REASONS")
    assert script.rindex("const ownPage") > script.index("class App")
