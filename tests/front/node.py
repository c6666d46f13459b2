"""The page's functions, called in Node.js: one process for all cases of a test."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

_RUNNER = Path(__file__).with_name("run.mjs")
_OLDEST = (20, 19)  # the first of 20 to see by itself that a .js file is a module


def _missing() -> str:
    """Why JavaScript can't be run here, empty where it can."""
    if shutil.which("node") is None:
        return "needs Node.js 20.19 or newer"
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    version = tuple(int(number) for number in re.findall(r"\d+", said)[:2])
    return "" if version >= _OLDEST else f"needs Node.js 20.19 or newer, found {said.strip()}"


_MISSING = _missing()
needs_node = pytest.mark.skipif(bool(_MISSING), reason=_MISSING)


def mapped(work: str, cases: Sequence[Any]) -> list[Any]:
    """What the JavaScript function `work` makes of each case; the page's functions are in its scope."""
    results = _run(work, cases)
    assert not (errors := [result["error"] for result in results if "error" in result]), errors[:3]
    return [result.get("value") for result in results]


def refusals(work: str, cases: Sequence[Any]) -> list[str | None]:
    """What `work` throws for each case, None where it does not."""
    return [result.get("error") for result in _run(work, cases)]


def _run(work: str, cases: Sequence[Any]) -> list[Any]:
    sent = json.dumps({"work": work, "cases": cases})
    done = subprocess.run(["node", str(_RUNNER)], check=False, input=sent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert len(results) == len(cases)
    return results
