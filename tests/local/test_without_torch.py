"""What is promised to those who have neither torch nor weights."""

import subprocess
import sys
from pathlib import Path

import pytest

import autolabel
from autolabel.backends import limits_of
from autolabel.config import BackendConfig
from autolabel.errors import ConfigError

BLOCKED = "import sys; sys.modules['torch'] = None; "


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    root = Path(autolabel.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_package_is_light() -> None:
    """Limits are known, and options checked, without an import of torch or transformers."""
    code = (
        "import sys; from autolabel.backends import limits_of; from autolabel.config import BackendConfig; "
        "print(sorted(limits_of(BackendConfig(name='sam3')).takes)); "
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    assert run(code) == "['boxes', 'exemplars', 'points', 'text']\nset()\n"


def test_missing_torch_is_one_sentence() -> None:
    """Without torch, opening the backend says what to install."""
    code = BLOCKED + (
        "import threading; from autolabel.backends import open_backend; from autolabel.backends.base import Meter\n"
        "from autolabel.config import BackendConfig; from autolabel.errors import ConfigError\n"
        "try: open_backend(BackendConfig(name='sam3'), floor=0.1, meter=Meter(), stop=threading.Event())\n"
        "except ConfigError as error: print(error)"
    )
    said = run(code)
    assert "pip install 'autolabel-sam3[local]'" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch": 0}, "batch is 0: it should be a whole number from 1 on"),
        ({"batch": True}, "batch is True"),
        ({"device": "cuda"}, "device means nothing to sam3: it knows batch"),
    ],
)
def test_options_are_checked_before_anything_is_opened(options: dict[str, object], said: str) -> None:
    """An option that is unknown or wrong is an error."""
    with pytest.raises(ConfigError, match=said):
        limits_of(BackendConfig(name="sam3", options=options))
