"""Small datasets to write, and what readers make of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from autolabel.formats import open_writer
from autolabel.formats.base import ExportImage, FormatReport
from autolabel.formats.images import ImageStore
from autolabel.geometry import rle
from autolabel.types import Category, Detection

SPLITS = ("train", "val")
NASTY_NAMES = (
    "plain.jpg",
    "with space.jpg",
    'comma, quote\' "double".jpg',
    "ünïcode/狗 & <猫>.jpg",
    "images/inside.jpg",
    "sub/images/images.jpg",
    "labels/a.b.c.jpg",
    "percent%20#hash.JPG",
    "phone.jfif",
    "old.jpe",
)


def categories(*names: str) -> list[Category]:
    return [Category(index, name, (name,)) for index, name in enumerate(names or ("car", "dog"))]


def detection(
    mask: np.ndarray, class_id: int = 0, confidence: float | None = 0.75, prompt: str = "car"
) -> Detection:
    return Detection(class_id, confidence, prompt, rle.from_bitmap(mask))


def box_mask(size: tuple[int, int], x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def random_masks(count: int, size: tuple[int, int] = (40, 50), seed: int = 0) -> list[np.ndarray]:
    """Smooth blobs and noise, none empty: many parts, holes and touching corners."""
    rng = np.random.default_rng(seed)
    masks = []
    while len(masks) < count:
        noise = rng.random(size)
        if rng.random() < 0.7:
            noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.6, 3))
        mask = noise > np.quantile(noise, rng.uniform(0.3, 0.99))
        if mask.any():
            masks.append(mask)
    return masks


def image(
    detections: Sequence[Detection] = (),
    name: str = "a.jpg",
    *,
    size: tuple[int, int] = (40, 50),
    split: str = "train",
    path: Path | None = None,
) -> ExportImage:
    return ExportImage(name, path or Path("none"), size[1], size[0], split, detections)


def picture(path: Path, size: tuple[int, int] = (40, 50), **options: object) -> Path:
    """A noisy image file of the type that its suffix says, in folders made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 255, (*size, 3), np.uint8)
    kind = {".png": "PNG", ".bmp": "BMP"}.get(path.suffix, "JPEG")
    Image.fromarray(pixels).save(path, kind, **options)
    return path


def write(
    name: str,
    root: Path,
    images: Iterable[ExportImage],
    *,
    classes: Sequence[Category] | None = None,
    splits: Sequence[str] = SPLITS,
    store: ImageStore | None = None,
    **options: object,
) -> tuple[FormatReport, list[list[Detection]]]:
    """Write a whole dataset of one format; returns the report and what was not held, by image."""
    writer = open_writer(name, root, classes or categories(), splits, store or ImageStore("none"), **options)
    lost = [[item.detection for item in writer.add(each)] for each in images]
    return writer.close(), lost


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
