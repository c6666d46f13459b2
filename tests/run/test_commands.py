"""The command line itself: help, folders in place of configs, starter config, preview, and the Python face."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

import autolabel as package
from autolabel.cli import app
from autolabel.config import load_config
from tests.run.support import autolabel, write_config

COMMANDS = ["init", "plan", "label", "export", "run", "preview", "review", "report", "check", "convert"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    """Each command has help."""
    done = autolabel(command, "--help")
    assert done.code == 0
    assert "Usage" in done.out


def test_no_command_is_left_undocumented():
    """The commands are those that are tested here, and the README names each."""
    names = [command.callback.__name__ for command in app.registered_commands]
    readme = (Path(package.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert sorted(names) == sorted(COMMANDS)
    assert all(f"autolabel {name}" in readme for name in names)


def test_a_folder_stands_in_for_a_config(host, photos):
    """A folder and flags make a dataset, and leave a config that the other commands take."""
    arguments = [
        "photos",
        "--class",
        "red",
        "--class",
        "green",
        "--backend",
        "roboflow",
        "--output",
        "datasets/pets",
    ]
    override = ["--set", f"backend.base_url={host.url}"]
    assert json.loads(autolabel("plan", *arguments, *override, "--json").out)["requests"] == 6
    assert not Path("runs").exists()
    done = autolabel("run", *arguments, *override, "--json")
    assert (done.code, done.summary["output"], done.summary["run"]) == (0, "datasets/pets", "runs/photos")
    again = autolabel("export", "runs/photos/config.yaml", "--json")
    assert (again.code, again.summary["instances"]) == (0, done.summary["instances"])
    autolabel("run", *arguments, "--class", "blue", *override)
    assert load_config("runs/photos/config.yaml.bak").categories[-1].name == "green"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "photos", "--class", "red"], "--backend is missing"),
        (["run", "photos", "--backend", "roboflow"], "--class is missing"),
        (["run", "street.yaml", "--class", "red"], "--class goes with a folder"),
        (["run", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["export", "photos"], "photos"),
        (["run"], "CONFIG"),
        (["run", "street.yaml", "--limit", "0"], "limit"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_usage_exits_with_2(photos, arguments, words):
    """Wrong usage is exit code 2 with the culprit named."""
    write_config("http://127.0.0.1:9")
    done = autolabel(*arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err


def test_init_writes_a_config_that_loads(tmp_path):
    """The starter config loads, with the contract's defaults, and is never written over another file."""
    assert autolabel("init").code == 0
    starter = load_config("autolabel.yaml")
    assert starter.label == package.Config(**{
        "images": "i", "classes": ["a"], "backend": {"name": "roboflow"},
    }).label  # fmt: skip
    assert autolabel("init").code == 2
    assert autolabel("init", "new/street.yaml").code == 0
    (tmp_path / "folder").mkdir()
    assert autolabel("init", "folder").code == 0
    assert Path("folder/autolabel.yaml").exists()


def test_preview_draws_labelled_images(host, photos):
    """`preview` writes a picture with the colours of the masks over the images."""
    config = write_config(host.url)
    refused = autolabel("preview", config)
    assert refused.code == 2
    autolabel("label", config)
    done = autolabel("preview", config, "-n", "4", "--json")
    sheet = json.loads(done.out)
    assert sheet == {"images": 4, "output": "runs/street/preview.jpg"}
    drawn = cv2.imread(sheet["output"])
    assert drawn.shape[1] > 1000


def test_json_goes_to_stdout_alone(host, photos):
    """With --json stdout is one JSON object; without it the summary; stderr then has no bar or colour."""
    config = write_config(host.url)
    assert json.loads(autolabel("run", config, "--json").out)["images"] == 6
    plain = autolabel("run", config)
    assert plain.err == ""
    assert "\x1b" not in plain.out
    done = subprocess.run(
        [sys.executable, "-m", "autolabel", "label", config, "--set", "label.confidence=0.05"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert "6 requests" in done.stdout
    for line in ("red 6 of 6", "train       5", "6 images: 6 labelled, 0 failed; 0 requests"):
        assert line in plain.out


def test_the_python_face(host, photos):
    """The functions of the README: run, open_run, results as exported and raw, and the supervision type."""
    config = package.Config.load(write_config(host.url, filter={"confidence": 0.92}), ["filter.min_area=1"])
    summary = package.run(config)
    assert (summary.labelled, summary.exported) == (6, 12)
    with package.open_run(config) as run:
        results = list(run.results())
        raw = list(run.results(raw=True))
        detections = package.to_supervision(results[0], run.categories)
    assert [result.file_name for result in results] == [f"{i:03}.png" for i in range(6)]
    assert [len(result.detections) for result in raw] == [2] * 6
    assert detections.mask.shape == (2, 64, 96)
    assert list(detections.data["class_name"]) == ["red", "green"]
    x0, y0, x1, y1 = detections.xyxy[0].astype(int)
    assert detections.mask[0, y0:y1, x0:x1].all()


def test_everything_public_is_there():
    """`__all__` is what the package exports, what its type-checking imports say, and nothing else."""
    tree = ast.parse(Path(package.__file__).read_text())
    typed = {
        alias.name
        for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.startswith("autolabel.")
        for alias in node.names
    }  # fmt: skip
    assert set(package.__all__) == typed == set(dir(package))
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError):
        package.nothing  # noqa: B018


def test_importing_is_light():
    """`import autolabel` and `--help` load no heavy package."""
    script = (
        "import sys, autolabel, autolabel.cli\n"
        "heavy = {'torch', 'supervision', 'cv2', 'shapely', 'numpy', 'httpx', 'matplotlib', 'ray', 'pydantic'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
