"""Builds `answers/` from the hand-checked masks in `masks/`: stand-ins for a model's answers, not SAM 3's.

    python sample_data/make_answers.py

Around each reference mask it puts what a text-prompted model also returns: duplicates from synonyms (a little
smaller or larger), one object answered to two classes, and faint strays, so that the filters have work.
The same masks give the same files.
"""

from collections import defaultdict
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np
import orjson
from numpy.typing import NDArray

from autolabel.geometry import rle

HERE = Path(__file__).parent
SYNONYMS = {"person": "human", "cup": "mug", "cat": "kitten", "rocket": "space shuttle"}
# (image, reference mask, prompt): an object that another class answers to as well
CONFUSED = [("coffee", "saucer_1", "coin"), ("cameraman", "camera_0", "cup")]
# (image, prompt, centre xy and axes of an ellipse as fractions): answers without an object
STRAYS = [
    ("rocket", "person", (0.62, 0.83), (0.03, 0.06)),
    ("cameraman", "rocket", (0.79, 0.28), (0.02, 0.08)),
    ("cat", "cup", (0.9, 0.6), (0.06, 0.1)),
    ("coffee", "cat", (0.1, 0.2), (0.08, 0.1)),
]


def main() -> None:
    """Write one JSON file per image, and the boxes of all masks as one COCO file."""
    found: dict[str, list[dict[str, object]]] = defaultdict(list)
    sizes: dict[str, tuple[int, int]] = {}
    for path in sorted((HERE / "masks").glob("*.png")):
        image, _, name = path.stem.partition("__")
        prompt = name.rpartition("_")[0]
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0
        sizes[image] = mask.shape
        found[image].append(detection(prompt, score(name, image, 0.78, 0.97), mask))
        if prompt in SYNONYMS:
            other = SYNONYMS[prompt]
            found[image].append(detection(other, score(other, image, 0.55, 0.8), resized(mask, other)))
        for where, which, confused in CONFUSED:
            if (where, which) == (image, name):
                found[image].append(detection(confused, score(confused, image, 0.5, 0.6), mask))
    for image, prompt, centre, axes in STRAYS:
        found[image].append(
            detection(prompt, score(prompt, image, 0.12, 0.3), ellipse(sizes[image], centre, axes))
        )
    for photo in sorted((HERE / "images").rglob("*.*")):
        target = HERE / "answers" / f"{photo.relative_to(HERE / 'images').as_posix()}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        answers = {"detections": found[photo.stem]}
        target.write_bytes(orjson.dumps(answers, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    (HERE / "boxes.json").write_bytes(orjson.dumps(boxes(), option=orjson.OPT_APPEND_NEWLINE))


def boxes() -> dict[str, object]:
    """A COCO detection dataset: the bounding box of each mask."""
    photos = {path.stem: path for path in sorted((HERE / "images").rglob("*.*"))}
    names = sorted(
        {path.stem.partition("__")[2].rpartition("_")[0] for path in (HERE / "masks").glob("*.png")}
    )
    images: dict[str, dict[str, object]] = {}
    annotations = []
    for number, path in enumerate(sorted((HERE / "masks").glob("*.png")), 1):
        image, _, name = path.stem.partition("__")
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        record = {
            "id": len(images) + 1,
            "file_name": photos[image].relative_to(HERE / "images").as_posix(),
            "width": mask.shape[1],
            "height": mask.shape[0],
        }
        box_xywh = list(cv2.boundingRect(mask))
        annotations.append(
            {
                "id": number,
                "image_id": images.setdefault(image, record)["id"],
                "category_id": names.index(name.rpartition("_")[0]) + 1,
                "bbox": box_xywh,
                "area": box_xywh[2] * box_xywh[3],
                "iscrowd": 0,
            }
        )
    categories = [{"id": i, "name": name} for i, name in enumerate(names, 1)]
    return {"images": list(images.values()), "categories": categories, "annotations": annotations}


def detection(prompt: str, confidence: float, mask: NDArray[np.bool_]) -> dict[str, object]:
    """One detection in the form that the replay backend reads."""
    encoded = rle.from_bitmap(mask)
    segmentation = {"size": list(encoded.size), "counts": encoded.counts.decode()}
    return {"prompt": prompt, "confidence": confidence, "segmentation": segmentation}


def score(name: str, image: str, low: float, high: float) -> float:
    """A score between the bounds that depends on the names alone."""
    draw = int.from_bytes(blake2b(f"{image}/{name}".encode(), digest_size=4).digest()) / 2**32
    return round(low + draw * (high - low), 3)


def resized(mask: NDArray[np.bool_], name: str) -> NDArray[np.bool_]:
    """The mask two pixels smaller or larger all around."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    change = cv2.erode if len(name) % 2 else cv2.dilate
    return change(mask.astype(np.uint8), kernel) > 0


def ellipse(
    size: tuple[int, int], centre: tuple[float, float], axes: tuple[float, float]
) -> NDArray[np.bool_]:
    """A filled ellipse; all lengths as fractions of width and height."""
    h, w = size
    y, x = np.mgrid[:h, :w]
    return ((x / w - centre[0]) / axes[0]) ** 2 + ((y / h - centre[1]) / axes[1]) ** 2 <= 1


if __name__ == "__main__":
    main()
