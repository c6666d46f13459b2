"""The documents hold what they show: tables are current, examples run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autolabel.backends.table import filled
from tests.run.support import autolabel, write_pictures

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["README.md", "docs/backends.md"])
def test_tables_are_made_of_what_backends_state(name):
    """`python -m autolabel.backends.table README.md docs/backends.md` would change nothing."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "<!-- table: hosts -->" in text
    assert filled(text) == text


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The files that docs/backends.md shows, in a folder of their own."""
    text = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        (tmp_path / code.splitlines()[0].removeprefix("# ")).write_text(code)
    [config] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "lamps.yaml").write_text("images: photos\n" + config)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_plug_in_of_the_docs_labels_a_folder(example):
    """The example is short, and a run with it writes a dataset."""
    code = (example / "bright.py").read_text()
    assert len(code.splitlines()) <= 30
    write_pictures(Path("photos"), 3)
    outcome = autolabel("run", "lamps.yaml", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.summary["requests"] == 3
    assert outcome.summary["instances"]["answered"] > 0
    assert autolabel("run", "lamps.yaml", "--json").summary["requests"] == 0


def test_the_plug_in_of_the_docs_keeps_the_contract(example):
    """The contract runs on the example as its author would run it."""
    shutil.copy(ROOT / "tests/fixtures/roboflow/scene.png", example / "scene.png")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_bright.py"]
    done = subprocess.run(command, cwd=example, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b1\d passed", done.stdout)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere:Class", "can't be imported (ModuleNotFoundError: No module named 'nowhere')"),
        ("bright:Dim", "can't be imported (AttributeError"),
        ("bright:np", "is no backend: derive the class from autolabel.backends.base.Model"),
        ("broken:Class", "can't be imported (ZeroDivisionError"),
    ],
)
def test_a_plug_in_that_is_none_is_told_before_anything_runs(example, name, words):
    """A name that can't be imported, or is no backend, is one sentence and exit code 2."""
    (example / "broken.py").write_text("1 / 0\n")
    write_pictures(Path("photos"), 1)
    outcome = autolabel("run", "lamps.yaml", "--set", f"backend.name={name}")
    assert outcome.code == 2
    assert words in outcome.err
