"""The local model through `autolabel run`: texts, exemplars, points, boxes and a clip, on tiny weights."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the local model needs torch: pip install '.[local]'")
pytest.importorskip("transformers", reason="the local model needs transformers: pip install '.[local]'")

import orjson
from transformers.models.sam3.modeling_sam3 import Sam3ViTModel

from tests.run.support import autolabel, write_config, write_pictures
from tests.sources import clips


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos and a clip of five frames in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "photos", 3)
    (tmp_path / "videos").mkdir()
    clips.write(tmp_path / "videos/clip.mp4", clips.scenes(5))
    return tmp_path


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures the vision backbone has looked at, call by call."""
    counts: list[int] = []
    forward = Sam3ViTModel.forward

    def counting(self, pixel_values, *args, **kwargs):
        counts.append(len(pixel_values))
        return forward(self, pixel_values, *args, **kwargs)

    monkeypatch.setattr(Sam3ViTModel, "forward", counting)
    return counts


def config(weights: Path, **keys) -> str:
    """A config that keeps whatever random weights answer."""
    section = {"name": "sam3", "model": str(weights)}
    label = {"confidence": 1e-6, "workers": 2} | keys.pop("label", {})
    classes = keys.pop("classes", ["red", "green"])
    return write_config(
        "",
        backend=section,
        classes=classes,
        label=label,
        filter={"confidence": 1e-6, "nms_iou": None, "cross_class_iou": None},
        **keys,
    )


def test_texts_exemplars_points_and_boxes_see_a_picture_once(folder, video_folder, seen):
    """All that is asked about a picture, in one run, takes one look at it."""
    lines = [
        {"image": "000.png", "class": "red", "points": [[40, 30, 1], [5, 5, 0]]},
        {"image": "000.png", "class": "green", "box": [10, 10, 60, 50]},
    ]
    Path("prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    red = {"name": "red", "exemplars": [{"image": "001.png", "box": [10, 10, 40, 40]}]}
    name = config(video_folder, classes=[red, "green"], label={"prompts": "prompts.jsonl"})
    outcome = autolabel("run", name, "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.summary["labelled"], outcome.summary["requests"], outcome.summary["cost"]) == (3, 3, 0)
    assert sum(seen) == 3
    prompts = {
        annotation["prompt"]
        for path in Path("datasets/street/coco/annotations").glob("*.json")
        for annotation in orjson.loads(path.read_bytes())["annotations"]
    }
    assert {"points of red", "box of green"} <= prompts
    assert prompts & {"red", "green"}
    assert autolabel("run", name, "--json").summary["requests"] == 0
    assert sum(seen) == 3


def test_boxes_of_a_dataset_become_masks(folder, video_folder):
    """label.boxes is answered by the local model's tracker, one mask a box."""
    records = {
        "images": [{"id": 1, "file_name": "002.png", "width": 96, "height": 64}],
        "categories": [{"id": 1, "name": "red"}],
        "annotations": [
            {"id": 17, "image_id": 1, "category_id": 1, "bbox": [5, 5, 60, 40], "area": 1, "iscrowd": 0}
        ],
    }
    Path("boxes.json").write_text(json.dumps(records))
    name = config(video_folder, images="photos/002.png", label={"boxes": "boxes.json"})
    outcome = autolabel("run", name, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.summary["instances"]["answered"] == 1


def test_a_clip_gets_tracks(folder, video_folder, seen):
    """Five frames are one request, each frame is seen once, and annotations carry track ids."""
    name = config(video_folder, images="videos/clip.mp4")
    assert autolabel("plan", name, "--json").summary["requests"] == 1
    outcome = autolabel("run", name, "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.summary["labelled"], outcome.summary["requests"]) == (5, 1)
    assert sum(seen) == 5
    data = [orjson.loads(p.read_bytes()) for p in Path("datasets/street/coco/annotations").glob("*.json")]
    annotations = [a for each in data for a in each["annotations"]]
    assert annotations
    assert all(isinstance(annotation["track_id"], int) for annotation in annotations)
    assert sorted(image["frame_id"] for each in data for image in each["images"]) == list(range(5))


def test_a_detector_alone_labels_frames_one_by_one(folder, detector_folder, seen):
    """Weights without a tracker take texts on frames, and boxes are left to GrabCut."""
    name = config(detector_folder, images="videos/clip.mp4")
    outcome = autolabel("run", name, "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.summary["requests"], sum(seen)) == (5, 5)


def test_weights_that_are_none_are_told_before_anything_runs(folder, tmp_path):
    """A wrong folder is exit code 2 and one sentence."""
    outcome = autolabel("run", config(tmp_path / "nothing"))
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "backend.model" in outcome.err
