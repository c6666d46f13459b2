"""The configuration: what it takes, and the one sentence that each mistake gets."""

from pathlib import Path

import pytest

from autolabel import Config
from autolabel.config import api_key, folder_config, redact
from autolabel.errors import ConfigError

GOOD = """\
images: photos
classes:
  - cat
  - name: person
    prompts: [person, pedestrian]
    confidence: 0.4
    nms_iou: null
backend: {name: roboflow}
"""


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "street.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def problem(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Config.load(write(tmp_path, text), overrides)
    return str(caught.value).replace(str(tmp_path) + "/", "")


def test_defaults_follow_the_contract(tmp_path):
    """A short config gets the documented defaults, and its file's name for output and run."""
    config = Config.load(write(tmp_path, GOOD))
    assert (config.output, config.run) == ("datasets/street", "runs/street")
    assert config.label.model_dump() == {
        "confidence": 0.1,
        "workers": 8,
        "engine": "local",
        "budget": None,
        "boxes": None,
        "prompts": None,
    }
    assert config.split.shares == {"train": 0.8, "val": 0.2, "test": 0.0}
    assert config.export.formats == ("coco", "yolo", "voc")
    cat, person = config.categories
    assert (cat.id, cat.prompts, cat.confidence, cat.nms_iou) == (0, ("cat",), 0.5, 0.7)
    assert (person.id, person.prompts, person.confidence, person.nms_iou) == (
        1, ("person", "pedestrian"), 0.4, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GOOD + "filter: {confidance: 0.4}\n", "line 9: unknown key filter.confidance; did you mean filter.confidence?"),
        (GOOD + "nms_iou: 0.4\n", "line 9: unknown key nms_iou; did you mean filter.nms_iou?"),
        (GOOD + "tile: 3\n", "line 9: unknown key tile; remove it"),
        (GOOD.replace("confidence: 0.4", "confidense: 0.4"), "line 6: unknown key classes.1.confidense; did you mean classes.1.confidence?"),
        (GOOD + "filter: {confidence: 1.5}\n", "line 9: filter.confidence is 1.5; it should be less than or equal to 1"),
        (GOOD + "filter: {confidence: yes}\n", "line 9: filter.confidence is True; it should be a valid number"),
        (GOOD.replace("- cat", "- yes"), "line 3: classes.0 is True; it should be a class name; put it in quotes"),
        (GOOD.replace("- cat", "- person"), "line 2: classes names the class 'person' twice; give its synonyms as prompts of one class"),
        (GOOD.replace("- cat", "- pedestrian"), "line 2: classes gives the prompt 'pedestrian' to the classes 'pedestrian' and 'person'; leave it in one of them"),
        (GOOD + "split: {train: 0.5}\n", "line 9: split train 0.5 + val 0.2 + test 0 is 0.7; the three shares should sum to 1"),
        (GOOD + "label: {confidence: 0.45}\n", "label.confidence is 0.45, above the confidence 0.4 of class 'person'"),
        (GOOD + "label: {confidence: 0}\n", "line 9: label.confidence is 0; it should be greater than 0"),
        (GOOD + "images: other\n", "line 9: images stands twice; remove one"),
        (GOOD.replace("images: photos\n", ""), "images is missing; add it"),
        ("images: [\n", "not valid YAML"),
        (GOOD.replace("images: photos", "image: photos"), "line 1: unknown key image; did you mean images?"),
        (GOOD + "confidence: 0.4\n", "line 9: unknown key confidence; did you mean filter.confidence?"),
        (GOOD + "export: {formats: []}\n", "line 9: export.formats should name at least one of coco, yolo and voc"),
        ("images: a\nclasses: []\nbackend: {name: replay}\n", "line 2: classes should name at least one class"),
        ("images: a\nclasses: [null]\nbackend: {name: replay}\n", "classes.0 is None; it should be a class name"),
        (GOOD + "? [a, b]\n: 1\n", "line 9: a key should be a plain name"),
        (GOOD + "output: ~/x\n", "line 9: output is '~/x'; it should be written out: ~ is not expanded"),
        (GOOD + "filter: {confidence: 1e-1}\n", "YAML reads it as a text, write it like 0.1"),
        (GOOD.replace("images: photos", "images: []"), "line 1: images should name at least one"),
        ("", "holds no keys"),
        ("- a\n", "holds no keys"),
        (GOOD.replace("{name: roboflow}", "{name: roboflow, base_url: 'localhost:1'}"), "line 8: backend.base_url is 'localhost:1'; it should be an address"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path, text, sentence):
    """Each mistake is one sentence with its file, line, key, value and the nearest known key."""
    message = problem(tmp_path, text)
    assert message.startswith("street.yaml")
    assert sentence in message
    assert "\n" not in message


@pytest.mark.parametrize("line", ["backend: {name: roboflow, api_key: s3cret}", "token: s3cret"])
def test_a_key_in_the_config_is_refused_unseen(tmp_path, line):
    """A key in a config is an error that does not show it."""
    text = GOOD.replace("backend: {name: roboflow}\n", "") + line + "\n"
    message = problem(tmp_path, text)
    assert "environment" in message
    assert "s3cret" not in message


@pytest.mark.parametrize("url", ["http://h/?api_key=s3cret", "http://user:s3cret@h"])
def test_a_key_in_a_url_is_refused_unseen(tmp_path, url):
    """A key inside base_url is an error that does not show it."""
    message = problem(tmp_path, GOOD, f"backend.base_url={url}")
    assert "s3cret" not in message


def test_overrides_reach_every_key(tmp_path):
    """--set changes scalars, list items, classes given by name and sections that are not there."""
    config = Config.load(
        write(tmp_path, GOOD),
        ["filter.confidence=0.6", "classes.0.confidence=0.7", "backend={name: segmentlens}", "images=[a, b]",
         "export.coco.segmentation=rle", "split={train: 1, val: 0}"],
    )  # fmt: skip
    assert config.filter.confidence == 0.6
    assert config.categories[0].confidence == 0.7
    assert config.backend.name == "segmentlens"
    assert config.images == ("a", "b")
    assert config.export.coco.segmentation == "rle"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("filter.confidence", "write it as KEY=VALUE"),
        ("backend.apikey: s3cret", "--set backend.apikey: write it as KEY=VALUE"),
        ("filter.confidence=[", "not valid YAML"),
        ("filter.confidance=0.6", "--set: unknown key filter.confidance; did you mean filter.confidence?"),
        ("classes.7.name=x", "--set classes.7.name=x: there is no 7 to go into"),
        ("images.name=x", "--set images.name=x: there is no images.name to set"),
        ("backend.api_key=s3cret", "belongs in the environment"),
    ],
)
def test_wrong_overrides_are_named(tmp_path, override, sentence):
    """A --set that can't be applied says which and why, and shows no key."""
    message = problem(tmp_path, GOOD, override)
    assert sentence in message
    assert "s3cret" not in message


def test_a_folder_gets_a_config_that_loads_again(tmp_path):
    """The config written for a folder and flags reads back as the same configuration."""
    keys = {"classes": ["cat", "dog"], "backend": {"name": "roboflow"}}
    config, text = folder_config("photos/été", keys, ["filter.confidence=0.4"])
    assert (config.output, config.run) == ("datasets/été", "runs/été")
    assert Config.load(write(tmp_path, text)) == config


@pytest.mark.parametrize("path", sorted(Path("configs").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configs_load(path):
    """Every config in configs/ loads."""
    assert Config.load(str(path)).classes


def test_keys_come_from_the_environment_then_dotenv(tmp_path, monkeypatch):
    """The environment wins over .env, the first variable over the second, and neither is None."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROBOFLOW_API_KEY", raising=False)
    assert api_key(["ROBOFLOW_API_KEY"]) is None
    Path(".env").write_text("ROBOFLOW_API_KEY='from file'\n")
    with pytest.raises(ConfigError, match="ROBOFLOW_API_KEY holds blanks"):
        api_key(["ROBOFLOW_API_KEY"])
    Path(".env").write_text("A=1\nno assignment here\n")
    with pytest.raises(ConfigError, match=r"\.env, line 2: write it as NAME=value"):
        api_key(["ROBOFLOW_API_KEY"])
    Path(".env").write_text("# a comment\nexport ROBOFLOW_API_KEY=from-file\n")
    assert api_key(["ROBOFLOW_API_KEY"]) == "from-file"
    monkeypatch.setenv("ROBOFLOW_API_KEY", " from-shell\n")
    assert api_key(["ROBOFLOW_API_KEY"]) == "from-shell"
    assert redact("x from-shell y") == "x <ROBOFLOW_API_KEY> y"


def test_redaction_reaches_encoded_keys(monkeypatch):
    """A key is masked in text also where it is percent-encoded."""
    monkeypatch.setenv("SEGMIND_API_KEY", "a+b/c=d+e")
    assert "a%2Bb" not in redact("https://h/?api_key=a%2Bb%2Fc%3Dd%2Be")
