"""The values that every module speaks: frozen, in pixels of the upright image.

Boxes and areas are derived from masks (`autolabel.geometry.rle`), never stored beside them.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in px: edges, ends exclusive


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
class Clip:
    """A video of which frames are images: its name, its content (a digest), its upright size in px.

    `chosen` is equal for equal choices of frames.
    """

    file_name: str
    content: bytes
    width: int
    height: int
    chosen: str = ""


@dataclass(frozen=True, slots=True, init=False)
class FrameItem(ImageItem):
    """A frame of a clip: its `number` there, from 0, and its time from the clip's beginning."""

    clip: Clip
    number: int
    time_s: float

    def __init__(self, file_name: str, path: str | Path, clip: Clip, number: int, time_s: float) -> None:
        ImageItem.__init__(self, file_name, path)
        object.__setattr__(self, "clip", clip)
        object.__setattr__(self, "number", number)
        object.__setattr__(self, "time_s", time_s)


@dataclass(frozen=True, slots=True, init=False)
class LostItem(ImageItem):
    """An image, or a whole clip, that can't be had, and why."""

    reason: str

    def __init__(self, file_name: str, path: str | Path, reason: str) -> None:
        ImageItem.__init__(self, file_name, path)
        object.__setattr__(self, "reason", reason)


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
class Footage:
    """Frames of one clip as a host gets them: upright, `width` x `height` px, in the order of time.

    `paths` are JPEG files, one a frame; `times_s` are their times from the clip's beginning.
    """

    file_name: str
    width: int
    height: int
    paths: tuple[Path, ...]
    times_s: tuple[float, ...]


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
class Exemplar:
    """A box on the image that shows what a text means, or (not `positive`) what it does not."""

    box_xyxy: Box
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the object, or (not `positive`) one beside it."""

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked for, and the class its answers belong to. Coordinates are px, of edges in boxes.

    A text asks for every instance of a concept, of which `exemplars` show some. With a box or points the
    prompt is visual and asks for the one instance there: `text` is then the class's name, and not asked.
    `asked_at` is the confidence to ask at, where the host's answers carry none. `source_id` is the id of the
    record that the prompt was made of.

    `key` is equal for prompts that get the same answer; it stays what it was when coordinates are scaled.
    """

    text: str
    class_id: int
    exemplars: tuple[Exemplar, ...] = ()
    box_xyxy: Box | None = None
    points: tuple[Point, ...] = ()
    asked_at: float | None = None
    source_id: int | str | None = None
    key: str = ""

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", _key(self))

    @classmethod
    def from_key(cls, key: str) -> "Prompt":
        """A prompt of a kept `key`, of no class: coordinates are px of the upright image."""
        text, _, details = key.partition("\n")
        given = json.loads(details) if details else {}
        return cls(
            text,
            0,
            exemplars=tuple(Exemplar(tuple(e[:4]), bool(e[4])) for e in given.get("exemplars", ())),
            box_xyxy=tuple(given["box"]) if "box" in given else None,
            points=tuple(Point(x, y, bool(positive)) for x, y, positive in given.get("points", ())),
            asked_at=given.get("at"),
            key=key,
        )

    @property
    def is_visual(self) -> bool:
        """Whether a box or points ask for one instance."""
        return self.box_xyxy is not None or bool(self.points)


def _key(prompt: Prompt) -> str:
    """The text alone where there is no more to it; no text holds a line break."""
    details: dict[str, object] = {}
    if prompt.box_xyxy is not None:
        details["box"] = [float(value) for value in prompt.box_xyxy]
    if prompt.points:
        details["points"] = [[float(p.x), float(p.y), int(p.positive)] for p in prompt.points]
    if prompt.exemplars:
        details["exemplars"] = [[*map(float, e.box_xyxy), int(e.positive)] for e in prompt.exemplars]
    if prompt.asked_at is not None:
        details["at"] = prompt.asked_at
    text = "" if prompt.is_visual else prompt.text
    return f"{text}\n{json.dumps(details, separators=(',', ':'))}" if details else text


@dataclass(frozen=True, slots=True)
class Detection:
    """One instance: its class, score (None where the host gives none), prompt and mask.

    `prompt` is the key of the prompt that it answers; where a result is handed out, its text, empty where
    that is not known. `asked` is then the prompt itself. `track_id` is equal for one object in the frames
    of a clip. A `crowd` is a region of many objects, as only a dataset that was read has it: no model answers
    with one.
    """

    class_id: int
    confidence: float | None
    prompt: str
    mask: RLE
    track_id: int | None = None
    crowd: bool = False
    asked: Prompt | None = None


Status = Literal["labelled", "failed", "rejected"]  # rejected: by the review


@dataclass(frozen=True, slots=True)
class ImageResult:
    """What became of one image; `width` and `height` are 0 where it could not be read.

    `path` and `classes` (their names, by id) are for showing it, as a notebook does.
    """

    file_name: str
    width: int
    height: int
    status: Status
    detections: Sequence[Detection] = field(default_factory=tuple)
    error: str | None = None
    path: str = field(default="", repr=False, compare=False)
    classes: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def _repr_png_(self) -> bytes | None:
        """The image with its masks drawn, for a notebook; None where there is nothing to draw."""
        if self.status != "labelled" or not self.path:
            return None
        # what draws stands far above this module, and is needed here only
        picture: bytes = import_module("autolabel.draw").to_png(self)
        return picture
