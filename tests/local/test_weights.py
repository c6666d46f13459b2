"""Weights that are absent, damaged or incomplete are refused with a sentence that says what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the local model needs torch: pip install '.[local]'")
pytest.importorskip("transformers", reason="the local model needs transformers: pip install '.[local]'")

import huggingface_hub
from safetensors.torch import load_file, save_file
from transformers import Sam3VideoModel

from autolabel.backends.sam3.weights import open_weights
from autolabel.errors import ConfigError
from tests.local import tiny


@pytest.fixture
def folder(detector_folder: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(detector_folder, tmp_path / "weights")


def change_weights(folder: Path, change: Callable[[dict], None]) -> None:
    """Write the weights again after a change."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def refused(name: str | Path) -> str:
    """The one sentence with which weights are refused."""
    with pytest.raises(ConfigError) as caught:
        open_weights(str(name))
    assert "\n" not in str(caught.value)
    assert repr(str(name)) in str(caught.value)
    return str(caught.value)


def test_whole_weights_are_opened(detector_folder: Path, video_folder: Path) -> None:
    """Both layouts open; only the published one holds a tracker."""
    assert open_weights(str(detector_folder)).whole is None
    weights = open_weights(str(video_folder))
    assert weights.whole.detector_model is weights.detector
    assert weights.side == 112
    assert not any(parameter.requires_grad for parameter in weights.whole.parameters())


def test_the_names_that_transformers_writes_are_read_too(tmp_path: Path) -> None:
    """It doubles a prefix where a model was not loaded from published weights, and undoes that."""
    fresh = Sam3VideoModel(tiny.video_config())
    fresh.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    expected = fresh.state_dict()
    assert set(load_file(tmp_path / "model.safetensors")) != set(expected)
    opened = open_weights(str(tmp_path)).whole.state_dict()
    assert opened.keys() == expected.keys()
    assert all(bool((opened[name] == value).all()) for name, value in expected.items())


def test_missing_weights_are_refused(folder: Path) -> None:
    """A part that would stay random is named."""
    change_weights(folder, lambda weights: weights.pop("text_projection.weight"))
    assert "lacks 1 of the model's weights" in refused(folder)
    assert "text_projection.weight" in refused(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    """So is a part that does not fit."""
    change_weights(
        folder,
        lambda weights: weights.update({"text_projection.bias": weights["text_projection.bias"][:3].clone()}),
    )
    assert "text_projection.bias" in refused(folder)


def test_another_model_is_refused(folder: Path) -> None:
    """Weights that are no SAM 3 are told apart by their config."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config["text_config"]))
    assert "is of the type 'clip_text_model': SAM 3's weights are of sam3_video or sam3" in refused(folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_without_a_file_is_refused(folder: Path, file: str) -> None:
    """The files that belong into the folder are listed."""
    (folder / file).unlink()
    assert "should hold config.json, model.safetensors and the tokenizer's files" in refused(folder)


def test_pickled_weights_are_not_read(folder: Path) -> None:
    """They can hold code, so that only safetensors are opened."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "model.safetensors" in refused(folder)


def test_damaged_weights_are_refused(folder: Path) -> None:
    """Half a download is no weights."""
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    assert "can't be opened" in refused(folder)


def test_a_file_is_no_folder(folder: Path) -> None:
    """The weights' file in place of its folder is pointed out."""
    assert "is no folder of weights" in refused(folder / "model.safetensors")


def test_a_name_that_the_hub_does_not_give_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a folder nor to be had: the sentence says what a name can be. No network is asked."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "is no folder, and the Hugging Face Hub did not give weights of that name" in refused(
        "nobody/none"
    )


def test_opening_says_nothing_on_stderr(
    folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """No bars and reports: the only line is that a processor is slow."""
    open_weights(str(folder))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert [record.name for record in caplog.records] in ([], ["autolabel.backends.sam3.weights"])
