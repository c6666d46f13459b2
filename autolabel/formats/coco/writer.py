"""Writes COCO instance segmentation: one JSON file per split, images beside it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import orjson

from autolabel.errors import ConfigError
from autolabel.formats.base import ExportImage, FormatReport, Lost
from autolabel.formats.images import ImageStore
from autolabel.geometry import outline, rle
from autolabel.types import Category, Detection

_MOST_WAITING = 2**18  # bytes of rows before a file is opened for them


class CocoWriter:
    """`annotations/instances_<split>.json` and `images/<split>/<file_name>` below `root`.

    Every mask is held exactly. `polygon` writes one keyholed ring per part, a quarter pixel inside the
    outline, which pycocotools fills to the same pixels; `rle` writes the compressed string. A crowd is always
    written so: readers expect it. Frames of a clip have `video_id`, `frame_id` (their number in the clip,
    from 0) and `time_s`, and the file a list of `videos`, as CocoVID has them.
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
        self._images = {split: root / "images" / split for split in splits}
        self._store = store
        self._polygon = segmentation == "polygon"
        folder = root / "annotations"
        folder.mkdir(parents=True, exist_ok=True)
        self._splits = {split: _Split(folder / f"instances_{split}.json", categories) for split in splits}

    def add(self, image: ExportImage) -> list[Lost]:
        """Write one image; COCO holds every detection, so the list is always empty."""
        self._store.place(image, self._images[image.split] / image.file_name)
        self._splits[image.split].add(image, self._annotations(image.detections))
        return []

    def close(self) -> FormatReport:
        """Finish the file of every split, also of those without an image."""
        for split in self._splits.values():
            split.close()
        return FormatReport({}, {})

    def _annotations(self, detections: Sequence[Detection]) -> list[dict[str, object]]:
        areas, boxes = rle.measure([item.mask for item in detections])
        boxes[:, 2:] -= boxes[:, :2]  # width and height in place of the far corner
        columns = (detections, self._segmentations(detections), areas.tolist(), boxes.tolist())
        return [_annotation(*row) for row in zip(*columns, strict=True)]

    def _segmentations(self, detections: Sequence[Detection]) -> list[object]:
        drawn = [item.mask for item in detections if self._polygon and not item.crowd]
        polygons = iter(outline.band_rings_of(drawn))
        return [
            [ring.reshape(-1) for ring in next(polygons)]
            if self._polygon and not item.crowd
            else {"size": item.mask.size, "counts": item.mask.counts.decode("ascii")}
            for item in detections
        ]


class _Split:
    """One JSON file, which holds two arrays: annotations wait in a file of their own until the end.

    Rows are collected and files opened to append them, so that an export that fails leaves none open.
    """

    def __init__(self, path: Path, categories: Sequence[Category]) -> None:
        self._path = path
        self._waiting = path.with_name(f"{path.name}.annotations")
        self._images = self._annotations = 0
        self._videos: dict[str, dict[str, Any]] = {}
        self._rows: dict[Path, bytearray] = {path: bytearray(), self._waiting: bytearray()}
        header = {
            "info": {"description": "Written by autolabel"},
            "licenses": [],
            "categories": [{"id": c.id + 1, "name": c.name, "supercategory": ""} for c in categories],
        }
        path.write_bytes(orjson.dumps(header)[:-1] + b',"images":[')
        self._waiting.touch()

    def add(self, image: ExportImage, annotations: Sequence[dict[str, object]]) -> None:
        self._images += 1
        entry: dict[str, object] = {
            "id": self._images,
            "file_name": image.file_name,
            "width": image.width,
            "height": image.height,
        }
        if image.frame is not None:
            clip = image.frame.clip
            video = {
                "id": len(self._videos) + 1,
                "name": clip.file_name,
                "width": clip.width,
                "height": clip.height,
            }
            entry["video_id"] = self._videos.setdefault(clip.file_name, video)["id"]
            entry |= {"frame_id": image.frame.number, "time_s": round(image.frame.time_s, 6)}
        self._write(self._path, self._images, entry)
        for annotation in annotations:
            self._annotations += 1
            row = {"id": self._annotations, "image_id": self._images, **annotation}
            self._write(self._waiting, self._annotations, row)

    def close(self) -> None:
        for path in self._rows:
            self._flush(path)
        with self._path.open("ab") as file:
            file.write(b'\n],"annotations":[')
            with self._waiting.open("rb") as waiting:
                shutil.copyfileobj(waiting, file, 1 << 20)
            videos = b',"videos":' + orjson.dumps(list(self._videos.values())) if self._videos else b""
            file.write(b"\n]" + videos + b"}\n")
        self._waiting.unlink()

    def _write(self, path: Path, nth: int, row: dict[str, object]) -> None:
        rows = self._rows[path]
        rows += b"\n" if nth == 1 else b",\n"
        rows += orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)
        if len(rows) > _MOST_WAITING:
            self._flush(path)

    def _flush(self, path: Path) -> None:
        with path.open("ab") as file:
            file.write(self._rows[path])
        self._rows[path].clear()


def _annotation(
    detection: Detection, segmentation: object, area: int, box_xywh: Sequence[int]
) -> dict[str, object]:
    annotation: dict[str, object] = {
        "category_id": detection.class_id + 1,
        "segmentation": segmentation,
        "area": area,
        "bbox": box_xywh,
        "iscrowd": int(detection.crowd),
    }
    if detection.prompt:
        annotation["prompt"] = detection.prompt
    if detection.confidence is not None:
        annotation["score"] = detection.confidence
    if detection.track_id is not None:
        annotation["track_id"] = detection.track_id
    if detection.asked is not None and detection.asked.source_id is not None:
        annotation["source_id"] = detection.asked.source_id
    return annotation
