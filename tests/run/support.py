"""What the tests of whole runs share: a folder of pictures, a host, and the command line in this process."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from typer.testing import CliRunner

from autolabel.cli import app

BGR = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, stdout, stderr, and the summary of --json."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads(self.out)


def autolabel(*arguments: str) -> Outcome:
    """Run the command line; `--json` is not added."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.stderr, result.stderr
    return Outcome(result.exit_code, result.stdout, result.stderr)


def picture(seed: int, wh: tuple[int, int] = (96, 64)) -> np.ndarray:
    """BGR pixels: a red, a green and a blue patch on grey, at places that depend on `seed`."""
    rng = np.random.default_rng(seed)
    image = np.full((wh[1], wh[0], 3), 128, np.uint8)
    image[:6, :6] = rng.integers(100, 156, 3, dtype=np.uint8)
    third = wh[0] // 3
    for i, colour in enumerate(BGR.values()):
        x, y = int(rng.integers(2, 8)), int(rng.integers(8, 20))
        w, h = int(rng.integers(10, third - 10)), int(rng.integers(10, 30))
        image[y : y + h, i * third + x : i * third + x + w] = colour
    return image


def write_pictures(folder: Path, count: int, suffix: str = ".png") -> list[Path]:
    """Write `count` pictures of different content."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:03}{suffix}" for i in range(count)]
    for i, path in enumerate(paths):
        path.write_bytes(cv2.imencode(suffix, picture(i))[1].tobytes())
    return paths


def write_config(url: str, name: str = "street.yaml", **keys: Any) -> str:
    """Write a config for a Roboflow server at `url` into the working directory; `keys` replace sections."""
    data = {
        "images": "photos",
        "classes": ["red", "green"],
        "backend": {"name": "roboflow", "base_url": url, "requests_per_second": 1000},
    } | keys
    Path(name).write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return name


def contents(folder: str | Path) -> dict[str, str]:
    """Path to digest of every file below a folder."""
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def prompts_of(request: Any) -> list[str]:
    """The prompts that a request to Roboflow asked for."""
    return [prompt["text"] for prompt in json.loads(request.body)["prompts"]]
