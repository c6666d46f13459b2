"""A small run for the review: drawn pictures, with answers that hold every kind of instance there is to review."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import yaml
from pycocotools import mask as coco_mask

import autolabel
from autolabel import Config
from autolabel.geometry import rle
from autolabel.pipeline.inventory import store_path
from autolabel.store import Store

WH = (160, 120)
CONFIG = "street.yaml"
NASTY = "ü <img src=x onerror=document.title='pwned'>.png"
NASTY_CLASS = "<b id=pwned>dog</b>"
CLASSES = ["car", "person", NASTY_CLASS]

Draw = Callable[[np.ndarray], None]
Answer = tuple[str, float, Draw]


def box(x0: int, y0: int, x1: int, y1: int) -> Draw:
    """Fill a box; x1 and y1 are outside."""

    def draw(bitmap: np.ndarray) -> None:
        bitmap[y0:y1, x0:x1] = 1

    return draw


def ring(x0: int, y0: int, x1: int, y1: int, thick: int) -> Draw:
    """Fill a box, and leave a hole in its middle."""

    def draw(bitmap: np.ndarray) -> None:
        bitmap[y0:y1, x0:x1] = 1
        bitmap[y0 + thick : y1 - thick, x0 + thick : x1 - thick] = 0

    return draw


def two(first: Draw, second: Draw) -> Draw:
    """Two parts of one instance."""

    def draw(bitmap: np.ndarray) -> None:
        first(bitmap)
        second(bitmap)

    return draw


STREET: dict[str, list[Answer]] = {
    "cars.png": [
        ("car", 0.9, box(10, 10, 60, 50)),
        ("car", 0.6, box(70, 12, 110, 48)),
        ("person", 0.7, box(20, 60, 50, 110)),
        ("person", 0.2, box(120, 60, 150, 110)),
    ],
    "double.png": [("car", 0.8, box(20, 20, 80, 80)), ("car", 0.55, box(24, 22, 84, 82))],
    "empty.png": [],
    "parts.png": [("person", 0.75, two(box(10, 20, 40, 90), box(100, 20, 130, 90)))],
    "ring.png": [("car", 0.85, ring(30, 20, 130, 100, 25))],
    f"side/{NASTY}": [("dog", 0.65, box(40, 30, 100, 90))],
}
CLASS_LINES: list[Any] = ["car", "person", {"name": NASTY_CLASS, "prompts": ["dog"]}]


def bitmap(draw: Draw) -> np.ndarray:
    """A shape as a bitmap (height, width), 0 or 1."""
    made = np.zeros((WH[1], WH[0]), np.uint8)
    draw(made)
    return made


def label_street(street: dict[str, list[Answer]] | None = None, **keys: Any) -> Config:
    """Pictures, answers, a commented config and a labelled run in the working directory."""
    found = STREET if street is None else street
    for name, answers in found.items():
        _write_picture(Path("photos") / name, answers)
    write_answers(found)
    data = {
        "images": "photos",
        "classes": CLASS_LINES,
        "backend": {"name": "replay", "answers": "answers"},
        "split": {"train": 0.5, "val": 0.5},
    } | keys
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    Path(CONFIG).write_text(f"# the street\n{text}", encoding="utf-8")
    config = Config.load(CONFIG)
    autolabel.label(config)
    return config


def write_answers(street: dict[str, list[Answer]]) -> None:
    """What the replay backend answers."""
    for name, answers in street.items():
        detections = [
            {"prompt": prompt, "confidence": score, "segmentation": _segmentation(draw)}
            for prompt, score, draw in answers
        ]
        path = Path("answers") / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps({"detections": detections}))


def _segmentation(draw: Draw) -> dict[str, Any]:
    return {"size": [WH[1], WH[0]], "counts": rle.from_bitmap(bitmap(draw).astype(np.bool_)).counts.decode()}


def _write_picture(path: Path, answers: list[Answer]) -> None:
    """A road, with a bright body wherever there is an answer; in the picture without one, an unlabelled body."""
    pixels = np.full((WH[1], WH[0], 3), 70, np.uint8)
    pixels[: WH[1] // 3] = (150, 120, 90)
    pixels[0, 0] = sum(path.name.encode()) % 200  # no two are equal
    colours = [(60, 60, 220), (90, 200, 240), (200, 90, 60), (80, 190, 90)]
    shapes = [bitmap(draw) for _, _, draw in answers] or [bitmap(box(50, 40, 110, 90))]
    for shape, colour in zip(shapes, colours, strict=False):
        pixels[shape.astype(bool)] = colour
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def kept_reviews(config: Config) -> dict[str, dict[str, Any]]:
    """The document of every reviewed image by file name, as the run keeps it now."""
    with autolabel.open_run(config) as run:
        names = {entry.image: entry.item.file_name for entry in run.survey().labelled}
    with Store(store_path(config)) as store:
        return {names[image]: orjson.loads(document) for image, _, document in store.reviews()}


def decoded(counts: str) -> np.ndarray:
    """The bitmap (height, width) of a mask of the run, by pycocotools."""
    return coco_mask.decode({"size": [WH[1], WH[0]], "counts": counts})
