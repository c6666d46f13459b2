"""Replay: kept and foreign answers from files, and what is said where they don't fit."""

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from pycocotools import mask as coco

from autolabel.backends import limits_of, open_backend
from autolabel.backends.base import Backend
from autolabel.backends.meter import Meter
from autolabel.config import BackendConfig
from autolabel.errors import AnswerError, ConfigError, ImageError
from autolabel.geometry import rle
from autolabel.types import Picture, Prompt

CAT, DOG, PUPPY = Prompt("cat", 0), Prompt("dog", 1), Prompt("puppy", 1)
PICTURE = Picture("street/000000000139.jpg", 8, 6)
SQUARE = [1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 4.0]


def replay(answers: Path | str) -> Backend:
    settings = BackendConfig(name="replay", answers=str(answers))
    return open_backend(settings, floor=0.1, meter=Meter(0.0), stop=threading.Event())


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value if isinstance(value, bytes) else orjson.dumps(value))
    return path


def kept(*detections: dict[str, Any]) -> dict[str, Any]:
    return {"detections": list(detections)}


def detection(
    prompt: str = "cat", confidence: float | None = 0.5, segmentation: Any = None
) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "confidence": confidence,
        "segmentation": [SQUARE] if segmentation is None else segmentation,
    }


def dataset(**parts: Any) -> dict[str, Any]:
    """A COCO dataset of two images, the first with a cat and a dog, the second with nothing."""
    annotation = {"segmentation": [SQUARE], "iscrowd": 0}
    return {
        "images": [
            {"id": 7, "file_name": PICTURE.file_name, "width": 8, "height": 6},
            {"id": 8, "file_name": "empty.jpg", "width": 8, "height": 6},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 17, "score": 0.75, **annotation},
            {"id": 2, "image_id": 7, "category_id": 18, **annotation},
        ],
    } | parts


def test_a_folder_answers_by_file_name(tmp_path: Path) -> None:
    """<file_name>.json answers the prompts that are asked for, in its order, scores or not."""
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4, 3:7] = 1
    coded = coco.encode(np.asfortranarray(mask))
    entries = [
        detection("dog", None, {"size": [6, 8], "counts": coded["counts"].decode()}),
        detection("bird"),
        detection("cat", 0.25),
    ]
    write(tmp_path / "kept" / f"{PICTURE.file_name}.json", kept(*entries))
    backend = replay(tmp_path / "kept")
    answer = backend.predict(PICTURE, [CAT, DOG])
    found = [(d.prompt, d.class_id, d.confidence, rle.area(d.mask)) for d in answer.detections]
    assert found == [("dog", 1, None, 8), ("cat", 0, 0.25, 12)]
    assert np.array_equal(rle.to_bitmap(answer.detections[0].mask), mask.astype(bool))
    assert backend.read(answer.body, (6, 8), [CAT, DOG]) == answer
    with pytest.raises(AnswerError):
        backend.read(b"{}", (6, 8), [CAT])


BROKEN_FILES = {
    "not JSON": (b"{", "unexpected end|EOF|end of"),
    "no object": ([], "the file is list"),
    "no detections": ({"detection": []}, "the file has no 'detections'"),
    "no prompt": (kept({"confidence": 1}), "detection 0 has no 'prompt'"),
    "score of 2": (kept(detection(), detection(confidence=2)), "detection 1: a confidence is int 2"),
    "no segmentation": (kept({"prompt": "cat"}), "detection 0: the segmentation is neither"),
    "nothing in it": (kept(detection(segmentation=[])), "detection 0: the segmentation is empty"),
    "a line": (kept(detection(segmentation=[[1, 1, 5, 5]])), "detection 0: a polygon is a flat list"),
    "nested rings": (kept(detection(segmentation=[[[1, 1], [5, 1], [5, 4]]])), "not a flat list of numbers"),
    "text": (kept(detection(segmentation=["1,1,5,1,5,4"])), "not a flat list of numbers"),
    "another size": (
        kept(detection(segmentation={"size": [8, 6], "counts": "P1"})),
        r"detection 0: the mask is of size \[8, 6\], not \[6, 8\]",
    ),
}


@pytest.mark.parametrize(("content", "words"), BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_a_broken_answer_file_fails_its_image(tmp_path: Path, content: Any, words: str) -> None:
    """The error names the file and what is wrong with it."""
    path = write(tmp_path / f"{PICTURE.file_name}.json", content)
    with pytest.raises(ImageError, match=words) as caught:
        replay(tmp_path).predict(PICTURE, [CAT])
    assert str(path) in str(caught.value)


def test_an_image_without_an_answer_file_fails(tmp_path: Path) -> None:
    """A missing answer is no empty label."""
    with pytest.raises(ImageError, match=r"there is no answer file .*000000000139\.jpg\.json"):
        replay(tmp_path).predict(PICTURE, [CAT])


@pytest.mark.parametrize("name", ["../secret.jpg", "a/../../secret.jpg", "/secret.jpg"])
def test_a_name_does_not_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    """No file outside the folder of answers is read."""
    write(tmp_path / "secret.jpg.json", kept())
    (tmp_path / "kept").mkdir()
    with pytest.raises(ImageError, match="leads out of the folder"):
        replay(tmp_path / "kept").predict(Picture(name, 8, 6), [CAT])


def test_a_dataset_answers_by_category_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Categories are prompts, scores may be missing, images may be empty, an unknown prompt is told."""
    backend = replay(write(tmp_path / "coco.json", dataset()))
    found = backend.predict(PICTURE, [CAT, DOG, PUPPY]).detections
    assert [(d.prompt, d.class_id, d.confidence) for d in found] == [("cat", 0, 0.75), ("dog", 1, None)]
    expected = coco.merge(coco.frPyObjects([SQUARE], 6, 8))
    assert found[0].mask.counts == expected["counts"]
    assert backend.predict(Picture("empty.jpg", 8, 6), [CAT, DOG, PUPPY]).detections == []
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/coco.json has no category 'puppy': that prompt has no answers"
    ]


def test_a_dataset_fails_images_that_it_does_not_hold(tmp_path: Path) -> None:
    """An image it does not list, or lists in another size, is an error of that image."""
    backend = replay(write(tmp_path / "coco.json", dataset()))
    with pytest.raises(ImageError, match=r"does not list the image other\.jpg"):
        backend.predict(Picture("other.jpg", 8, 6), [CAT])
    with pytest.raises(ImageError, match=r"as 8 x 6 px, but it is 6 x 8 px upright"):
        backend.predict(Picture(PICTURE.file_name, 6, 8), [CAT])


def test_crowds_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Crowd annotations are regions: one warning counts them, even where their masks can't be read."""
    crowd = {"image_id": 7, "category_id": 17, "iscrowd": 1, "segmentation": None}
    value = dataset(annotations=[crowd, crowd, *dataset()["annotations"]])
    caplog.set_level(logging.WARNING)
    backend = replay(write(tmp_path / "coco.json", value))
    assert len(backend.predict(PICTURE, [CAT, DOG]).detections) == 2
    assert [r.getMessage() for r in caplog.records] == [
        f"{tmp_path}/coco.json: 2 crowd annotations (iscrowd: 1) are left out"
    ]


def test_a_mask_that_can_not_be_read_fails_its_image_only(tmp_path: Path) -> None:
    """One annotation with a box alone fails one image, by name."""
    value = dataset()
    value["annotations"][0]["segmentation"] = []
    backend = replay(write(tmp_path / "coco.json", value))
    with pytest.raises(
        ImageError, match=r"139\.jpg in .*coco\.json .*detection 0: .* a box alone is no mask"
    ):
        backend.predict(PICTURE, [CAT])
    assert backend.predict(Picture("empty.jpg", 8, 6), [CAT, DOG]).detections == []


@pytest.mark.parametrize("image_id", [139, "139", "000000000139", PICTURE.file_name])
def test_results_answer_by_stem_or_name(tmp_path: Path, image_id: int | str) -> None:
    """image_id is a number or text, leading zeros aside; category_id is the class id + 1."""
    results = [
        {"image_id": image_id, "category_id": 2, "segmentation": [SQUARE], "score": 0.9},
        {"image_id": image_id, "category_id": 1, "segmentation": [SQUARE], "score": 0.8},
        {"image_id": image_id, "category_id": 3, "segmentation": [SQUARE], "score": 0.7},
        {"image_id": 140, "category_id": 1, "segmentation": [SQUARE], "score": 0.6},
    ]
    backend = replay(write(tmp_path / "results.json", results))
    found = backend.predict(PICTURE, [CAT, DOG, PUPPY]).detections
    assert [(d.prompt, d.class_id, d.confidence) for d in found] == [("dog", 1, 0.9), ("cat", 0, 0.8)]


def test_results_of_no_image_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """COCO results don't name images without detections; the first such image is pointed out."""
    backend = replay(write(tmp_path / "results.json", []))
    assert backend.predict(PICTURE, [CAT]).detections == []
    assert backend.predict(Picture("b.jpg", 8, 6), [CAT]).detections == []
    [record] = caplog.records
    assert "has no result for street/000000000139.jpg" in record.getMessage()


def test_one_image_id_for_two_images_is_an_error(tmp_path: Path) -> None:
    """Images of one stem in two folders can't share the results of one image_id."""
    results = [{"image_id": 1, "category_id": 1, "segmentation": [SQUARE], "score": 0.9}]
    backend = replay(write(tmp_path / "results.json", results))
    assert len(backend.predict(Picture("a/1.jpg", 8, 6), [CAT]).detections) == 1
    with pytest.raises(ImageError, match=r"fits both a/1\.jpg and b/001\.jpg"):
        backend.predict(Picture("b/001.jpg", 8, 6), [CAT])
    assert len(backend.predict(Picture("a/1.jpg", 8, 6), [CAT]).detections) == 1


BROKEN_COCO = {
    "not JSON": (b"[1, 2", "is not JSON"),
    "a number": (5, "the file is int 5, not an object"),
    "no images": (dataset(images=None), "'images' of the file is null"),
    "no annotations": ({"images": [], "categories": []}, "the file has no 'annotations'"),
    "no width": (
        dataset(images=[{"id": 7, "file_name": "a.jpg", "height": 6}]),
        r"image a\.jpg has no 'width'",
    ),
    "an image twice": (dataset(images=[dataset()["images"][0]] * 2), "stands in it twice"),
    "an unknown category": (dataset(categories=[]), "names the category 17, which is not there"),
    "no image_id": (dataset(annotations=[{"category_id": 17}]), "an entry has no 'image_id'"),
    "results of numbers": ([1, 2], "an annotation is int 1, not an object"),
    "results without a class": ([{"image_id": 1}], "an annotation has no 'category_id'"),
    "results with a bool": ([{"image_id": True, "category_id": 1}], "an entry has no 'image_id'"),
}


@pytest.mark.parametrize(("content", "words"), BROKEN_COCO.values(), ids=BROKEN_COCO)
def test_a_broken_coco_file_is_found_before_anything_runs(tmp_path: Path, content: Any, words: str) -> None:
    """The error names backend.answers, the file and what is wrong."""
    path = write(tmp_path / "coco.json", content)
    with pytest.raises(ConfigError, match=words) as caught:
        replay(path)
    assert f"backend.answers {path}" in str(caught.value)


def test_missing_answers_are_found_before_anything_runs(tmp_path: Path) -> None:
    """No path, or a path that does not exist, is an error of the configuration."""
    with pytest.raises(ConfigError, match=r"names '.*nowhere', which does not exist"):
        replay(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"backend\.answers is missing"):
        open_backend(BackendConfig(name="replay"), floor=0.1, meter=Meter(), stop=threading.Event())


def test_replay_is_free_and_sends_nothing() -> None:
    """It costs nothing, has no rate, looks at no pixel, and takes all prompts at once."""
    limits = limits_of(BackendConfig(name="replay", answers="not/looked/at"))
    assert (limits.free, limits.sends_image, limits.price_per_request) == (True, False, 0.0)
    assert (limits.requests_per_second, limits.threshold) == (None, False)
    assert limits.max_prompts > 10_000
