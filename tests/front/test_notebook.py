"""The notebook of the documents runs from top to bottom, offline, and is kept without outputs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbconvert")

ROOT = Path(__file__).parents[2]
NOTEBOOK = Path("docs/notebooks/review.ipynb")


@pytest.fixture
def executed(own_folder):
    """The notebook after a run in a copy of what it needs of the repository."""
    for name in ("configs", "sample_data", "docs/notebooks"):
        shutil.copytree(ROOT / name, own_folder / name)
    line = [
        sys.executable,
        "-m",
        "jupyter",
        "nbconvert",
        "--execute",
        "--to",
        "notebook",
        "--inplace",
        str(NOTEBOOK),
    ]
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    own = {name: str(own_folder / "home" / name) for name in names}
    done = subprocess.run(line, env=os.environ | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def test_the_notebook_labels_shows_reviews_and_exports(executed):
    """Results are pictures, the review is a widget, and a dataset is there at the end."""
    outputs = {cell["id"]: cell["outputs"] for cell in executed["cells"] if cell["cell_type"] == "code"}
    for cell in ("open", "more", "decided"):
        assert any("image/png" in output.get("data", {}) for output in outputs[cell]), cell
    widget = "application/vnd.jupyter.widget-view+json"
    assert any(widget in output.get("data", {}) for output in outputs["review-run"])
    assert Path("datasets/sample/dataset.json").exists()


def test_the_notebook_is_kept_without_outputs():
    """No output, and with it no path, clock or picture, is in the repository's copy."""
    cells = json.loads((ROOT / NOTEBOOK).read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_the_documents_list_the_keys_of_the_help():
    """Every key of the page's help stands in docs/review.md, in the same words and order."""
    script = (ROOT / "autolabel/review/static/keys.js").read_text(encoding="utf-8")
    shown = re.findall(r'^    \["(.*)", "(.*)"\],$', script, re.MULTILINE)
    text = (ROOT / "docs/review.md").read_text(encoding="utf-8")
    table = text.partition("<!-- table: keys -->")[2].partition("<!-- end of table -->")[0]
    rows = re.findall(r"^\| (?!key)(.+?) \| (.+) \|$", table.replace("`", ""), re.MULTILINE)
    assert len(shown) > 20
    assert rows == shown
