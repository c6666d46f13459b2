"""Writes YOLO-seg as Ultralytics reads it: data.yaml, images, and a label file of polygons per image."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from autolabel.errors import ConfigError, ImageError
from autolabel.formats.base import ExportImage, FormatReport, Lost, Names
from autolabel.formats.images import ImageStore
from autolabel.geometry import outline, rle
from autolabel.geometry.bridges import join_rings
from autolabel.types import Category, Detection

# What all versions of Ultralytics since 8.0 list as images.
_SUFFIXES = frozenset({"bmp", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp"})
_LEAST_SIDE = 10  # px; the reader drops smaller images, and a split of only such ones ends the training
_CENTRE = 0.5  # px from a pixel's index to its centre: the reader truncates
_NUDGE, _NUDGES = 0.02, 20  # px, and how often it may be taken from _CENTRE

_Ring = NDArray[np.int64]


class YoloWriter:
    """`data.yaml`, `images/<split>/<name>` and `labels/<split>/<name minus suffix>.txt` below `root`.

    A row is one closed polygon, so an instance of several parts is bridged by lines one pixel wide
    (`bridge`), becomes a row per part (`split`), or keeps its largest part (`largest`).
    """

    def __init__(
        self,
        root: Path,
        categories: Sequence[Category],
        splits: Sequence[str],
        store: ImageStore,
        *,
        parts: Literal["bridge", "split", "largest"] = "bridge",
    ) -> None:
        if parts not in ("bridge", "split", "largest"):
            raise ConfigError(f"export.yolo.parts is bridge, split or largest, not {parts!r}")
        self._root = root
        self._categories = categories
        self._store = store
        self._parts = parts
        self._names = Names()
        self._renamed: dict[str, str] = {}
        self._images = dict.fromkeys(splits, 0)
        self._counts: Counter[str] = Counter()
        root.mkdir(parents=True, exist_ok=True)

    def add(self, image: ExportImage) -> list[Lost]:
        """Write one image; what is returned is a crowd, or has the class and polygon of a row before it.

        Raises ImageError for an image that the reader would refuse for its size, too.
        """
        if min(image.width, image.height) < _LEAST_SIDE:
            self._counts["too_small_images"] += 1
            raise ImageError(
                f"is {image.width} x {image.height} px: Ultralytics refuses images below {_LEAST_SIDE} px"
            )
        stem, suffix = _split_name(image.file_name)
        stem = self._names.claim(stem, image.file_name)
        name = f"{stem}.{suffix}"
        self._store.place(image, self._root / "images" / image.split / name)
        text, lost = self._label_text(image)
        label = self._root / "labels" / image.split / f"{stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_bytes(text)
        self._images[image.split] += 1
        if name != image.file_name:
            self._renamed[image.file_name] = name
        return lost

    def close(self) -> FormatReport:
        """Write data.yaml, in which train and val are named even where one of them has no image."""
        filled = [split for split, images in self._images.items() if images]
        data: dict[str, object] = {}
        for split, others in (("train", ("val",)), ("val", ("train",))):
            stand_in = next((name for name in (split, *others, *filled) if name in filled), split)
            data[split] = f"images/{stand_in}"
            if stand_in != split:
                self._counts[f"{split}_is_{stand_in}"] = 1
        data |= {split: f"images/{split}" for split in filled if split not in data}
        data["names"] = {category.id: category.name for category in self._categories}
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000)
        (self._root / "data.yaml").write_bytes(text.encode())
        return FormatReport(dict(sorted(self._counts.items())), self._renamed)

    def _label_text(self, image: ExportImage) -> tuple[bytes, list[Lost]]:
        rows: list[bytes] = []
        lost = []
        instances = [detection for detection in image.detections if not detection.crowd]
        seen: dict[tuple[int, ...], list[bytes]] = {}
        parts = outline.centre_rings_of([detection.mask for detection in instances])
        for detection, rings in zip(instances, parts, strict=True):
            written = len(rows)
            for ring in self._written(detection, rings):
                same_box = seen.setdefault((detection.class_id, *_box(ring)), [])
                shape = ring.tobytes()
                if shape not in same_box and len(same_box) < _NUDGES:
                    # Most readers drop a row whose class and box they have met, whatever its polygon.
                    offset = _CENTRE - _NUDGE * len(same_box)
                    rows.append(b"%d" % detection.class_id + _points(ring, image.width, image.height, offset))
                    same_box.append(shape)
            if len(rows) == written:
                lost.append(Lost(detection, "duplicate"))
        self._count_same_masks(instances)
        crowds = [Lost(detection, "crowd") for detection in image.detections if detection.crowd]
        return b"".join(rows), lost + crowds

    def _written(self, detection: Detection, rings: list[_Ring]) -> list[_Ring]:
        """The rings to write for those of a mask, in pixel indices; what that costs is counted."""
        if len(rings) == 1:
            return rings
        if self._parts == "split":
            self._counts["split_instances"] += 1
            return rings
        if self._parts == "largest":
            self._counts["dropped_parts"] += len(rings) - 1
            return [max(rings, key=_painted)]
        ring = join_rings(rings)
        self._counts["bridged_instances"] += 1
        self._counts["bridged_pixels"] += _painted(ring) - rle.area(detection.mask)
        return [ring]

    def _count_same_masks(self, detections: Sequence[Detection]) -> None:
        """Count pairs of classes on one mask: the reader's default leaves one of them without a pixel."""
        classes: dict[bytes, list[int]] = {}
        for detection in detections:
            others = classes.setdefault(detection.mask.counts, [])
            if detection.class_id not in others:
                if others:
                    self._counts["same_mask_pairs"] += len(others)
                others.append(detection.class_id)


def _split_name(file_name: str) -> tuple[str, str]:
    """The path without suffix and the suffix, both such that the reader finds image and label."""
    *folders, last = file_name.split("/")
    stem, dot, suffix = last.rpartition(".")
    if not dot:
        stem, suffix = last, ""
    # The reader turns the last folder named images into labels; a folder named as a label file is in its way.
    folders = [f"{name}_" if name == "images" or name.lower().endswith(".txt") else name for name in folders]
    return "/".join((*folders, stem)), suffix if suffix.lower() in _SUFFIXES else "jpg"


def _points(ring: _Ring, width: int, height: int, offset: float) -> bytes:
    """The rest of a row: a space before each coordinate, a line feed at the end, three points at least."""
    if len(ring) < 3:
        ring = np.concatenate((ring, ring[-1:].repeat(3 - len(ring), axis=0)))
    # A hundredth of a pixel or finer, so that a nudge shows, and never fewer than six decimals.
    decimals = max(6, len(str(max(width, height))) + 2)
    xs, ys = _fractions(width, decimals, offset), _fractions(height, decimals, offset)
    points = np.empty(ring.shape, xs.dtype)
    points[:, 0], points[:, 1] = xs[ring[:, 0]], ys[ring[:, 1]]
    return points.tobytes() + b"\n"


@lru_cache(maxsize=64)
def _fractions(side: int, decimals: int, offset: float) -> NDArray[np.bytes_]:
    """The text of every pixel index of a side of `side` px as its share of that side, all of one length."""
    return np.array([f" {(index + offset) / side:.{decimals}f}" for index in range(side)], np.bytes_)


def _box(ring: _Ring) -> list[int]:
    low: Any = ring.min(axis=0)
    return [*low.tolist(), *ring.max(axis=0).tolist()]


def _painted(ring: _Ring) -> int:
    """The number of pixels that the reader fills for a ring, counted on a crop."""
    points = (ring - ring.min(axis=0)).astype(np.int32)
    width, height = (points.max(axis=0) + 1).tolist()
    canvas = np.zeros((height, width), np.uint8)
    cv2.fillPoly(canvas, [points], 1)
    return cv2.countNonZero(canvas)
