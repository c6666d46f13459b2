"""The values that every module speaks: frozen, in pixels of the upright image.

Boxes and areas are derived from masks (`autolabel.geometry.rle`), never stored beside them.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class RLE:
    """A binary mask as COCO's compressed run lengths.

    `size` is (height, width); `counts` are the runs of the column-major mask, background first,
    in the string encoding of pycocotools, so that `{"size": size, "counts": counts}` is what
    `pycocotools.mask.decode` takes.
    """

    size: tuple[int, int]
    counts: bytes


@dataclass(frozen=True, slots=True, init=False)
class ImageItem:
    """An image to label: `file_name` is its posix path below the folder it came from.

    There is one of these for every image, so it holds little: a Path would take many times the memory.
    """

    file_name: str
    _folder: str  # with a separator at its end; or the whole path, where that does not end in file_name

    def __init__(self, file_name: str, path: str | Path) -> None:
        whole = str(path)
        folder = whole.removesuffix(file_name)
        object.__setattr__(self, "file_name", file_name)
        object.__setattr__(self, "_folder", sys.intern(folder) if folder.endswith(os.sep) else whole)

    @property
    def location(self) -> str:
        """The path as text."""
        return self._folder + self.file_name if self._folder.endswith(os.sep) else self._folder

    @property
    def path(self) -> Path:
        """Where the image is, absolute."""
        return Path(self.location)


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright image as a host gets it: within the host's limits and without metadata.

    `width` and `height` are of the sent pixels; `data` is a JPEG or PNG file of them,
    empty for a backend that sends no image.
    """

    file_name: str
    width: int
    height: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Category:
    """A class of the dataset with the thresholds that hold for it. `id` counts from 0."""

    id: int
    name: str
    prompts: tuple[str, ...]
    confidence: float = 0.5
    nms_iou: float | None = 0.7
    min_area: int = 0
    max_instances: int | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked for: a text, and the class its answers belong to."""

    text: str
    class_id: int


@dataclass(frozen=True, slots=True)
class Detection:
    """One instance: its class, score (None where the host gives none), prompt and mask.

    `prompt` is empty where it is not known. A `crowd` is a region of many objects, as only a dataset that was
    read has it: no model answers with one.
    """

    class_id: int
    confidence: float | None
    prompt: str
    mask: RLE
    track_id: int | None = None
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class ImageResult:
    """What became of one image; `width` and `height` are 0 where it could not be read."""

    file_name: str
    width: int
    height: int
    status: Literal["labelled", "failed"]
    detections: Sequence[Detection] = field(default_factory=tuple)
    error: str | None = None
