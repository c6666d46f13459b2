"""Writes COCO instance segmentation: one JSON file per split, images beside it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import orjson

from autolabel.errors import ConfigError
from autolabel.formats.base import ExportImage, FormatReport, Lost
from autolabel.formats.images import ImageStore
from autolabel.geometry import outline, rle
from autolabel.types import Category, Detection


class CocoWriter:
    """`annotations/instances_<split>.json` and `images/<split>/<file_name>` below `root`.

    Every mask is held exactly. `polygon` writes one keyholed ring per part, a quarter pixel inside the
    outline, which pycocotools fills to the same pixels; `rle` writes the compressed string. A crowd is always
    written so: readers expect it.
    """

    def __init__(
        self,
        root: Path,
        categories: Sequence[Category],
        splits: Sequence[str],
        store: ImageStore,
        *,
        segmentation: Literal["polygon", "rle"] = "polygon",
    ) -> None:
        if segmentation not in ("polygon", "rle"):
            raise ConfigError(f"export.coco.segmentation is polygon or rle, not {segmentation!r}")
        self._root = root
        self._store = store
        self._polygon = segmentation == "polygon"
        folder = root / "annotations"
        folder.mkdir(parents=True, exist_ok=True)
        self._splits = {split: _Split(folder / f"instances_{split}.json", categories) for split in splits}

    def add(self, image: ExportImage) -> list[Lost]:
        """Write one image; COCO holds every detection, so the list is always empty."""
        self._store.place(image, self._root / "images" / image.split / image.file_name)
        self._splits[image.split].add(image, [self._annotation(item) for item in image.detections])
        return []

    def close(self) -> FormatReport:
        """Finish the file of every split, also of those without an image."""
        for split in self._splits.values():
            split.close()
        return FormatReport({}, {})

    def _annotation(self, detection: Detection) -> dict[str, object]:
        mask = detection.mask
        annotation: dict[str, object] = {
            "category_id": detection.class_id + 1,
            "segmentation": self._segmentation(detection),
            "area": rle.area(mask),
            "bbox": rle.box_xywh(mask),
            "iscrowd": int(detection.crowd),
        }
        if detection.prompt:
            annotation["prompt"] = detection.prompt
        if detection.confidence is not None:
            annotation["score"] = detection.confidence
        if detection.track_id is not None:
            annotation["track_id"] = detection.track_id
        return annotation

    def _segmentation(self, detection: Detection) -> object:
        mask = detection.mask
        if self._polygon and not detection.crowd:
            return [ring.reshape(-1) for ring in outline.band_rings(mask)]
        return {"size": mask.size, "counts": mask.counts.decode("ascii")}


class _Split:
    """One JSON file, which holds two arrays: annotations wait in a file of their own until the end.

    Files are opened for each image and not held, so that an export that fails leaves none open.
    """

    def __init__(self, path: Path, categories: Sequence[Category]) -> None:
        self._path = path
        self._waiting = path.with_name(f"{path.name}.annotations")
        self._images = self._annotations = 0
        header = {
            "info": {"description": "Written by autolabel"},
            "licenses": [],
            "categories": [{"id": c.id + 1, "name": c.name, "supercategory": ""} for c in categories],
        }
        path.write_bytes(orjson.dumps(header)[:-1] + b',"images":[')
        self._waiting.touch()

    def add(self, image: ExportImage, annotations: Sequence[dict[str, object]]) -> None:
        self._images += 1
        entry = {
            "id": self._images,
            "file_name": image.file_name,
            "width": image.width,
            "height": image.height,
        }
        rows = []
        for annotation in annotations:
            self._annotations += 1
            row = {"id": self._annotations, "image_id": self._images, **annotation}
            rows.append(_separator(self._annotations) + orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY))
        with self._path.open("ab") as file:
            file.write(_separator(self._images) + orjson.dumps(entry))
        if rows:
            with self._waiting.open("ab") as file:
                file.writelines(rows)

    def close(self) -> None:
        with self._path.open("ab") as file:
            file.write(b'\n],"annotations":[')
            with self._waiting.open("rb") as waiting:
                shutil.copyfileobj(waiting, file, 1 << 20)
            file.write(b"\n]}\n")
        self._waiting.unlink()


def _separator(nth: int) -> bytes:
    return b"\n" if nth == 1 else b",\n"
