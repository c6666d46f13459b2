"""What a format reader yields, and what the readers share: safe paths, names of splits."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from autolabel.formats.problems import Report
from autolabel.types import RLE, Box


@dataclass(frozen=True, slots=True)
class Instance:
    """One record of a dataset, as it stands there, in px of the image.

    `class_id` is an index into the reader's `classes`; `mask` is None where there is only a box. `box_xyxy`
    (edge coordinates, ends exclusive) and `area` are as the file states them, None where it does not.
    `where` names the record: "annotation 17", "line 3", "object 2"; `source_id` is its id, if it has one.
    """

    class_id: int
    mask: RLE | None
    where: str
    box_xyxy: Box | None = None
    area: float | None = None
    crowd: bool = False
    confidence: float | None = None
    prompt: str = ""
    track_id: int | None = None
    source_id: int | str | None = None


@dataclass(frozen=True, slots=True)
class DatasetImage:
    """One image of a dataset with its instances.

    `file_name` is a posix path without `..`; `path` is the file, inside the dataset's folder, None where
    there is none. `width` and `height` are what the labels are for: as the dataset states them, or where it
    does not (YOLO) of the upright image; 0 where unknown. `labels` is the file of the labels, relative to the
    dataset.
    """

    file_name: str
    path: Path | None
    split: str
    width: int
    height: int
    instances: Sequence[Instance]
    labels: str


class Reader(Protocol):
    """A dataset of one format, read image by image; never outside of `root`.

    The constructor takes what `find` returned, and a report that is called for every problem that is met,
    then and while images are read; the report may raise to end it. It raises InputError where there is no
    dataset to read at all. `classes` are the names by class id, `splits` the names of all splits, also of
    those without an image.
    """

    root: Path
    classes: Sequence[str]
    splits: Sequence[str]

    def __init__(self, found: Path, report: Report) -> None: ...

    @classmethod
    def find(cls, path: Path) -> Path | None:
        """What to open for a file or folder that a user names, None if it is no dataset of this format.

        Cheap: looks at names, and into small files only.
        """
        ...

    def images(self) -> Iterator[DatasetImage]:
        """Yield every image once, split by split, in an order that does not change."""
        ...


_SPLITS = (("train", "train"), ("valid", "val"), ("val", "val"), ("test", "test"))
_DRIVE = re.compile(r"[A-Za-z]:/")
_LONGEST_SPLIT = 60  # characters: it becomes part of a file's name
_YEAR = re.compile(r"[-_ ]?\d{0,4}")


def split_name(name: str) -> str:
    """The name a split goes by here: train2017, valid or Validation become train, val, val; others stay.

    A split without a name, or named default or all, is train. What is returned can name a file or folder.
    """
    plain = _YEAR.sub("", name.lower())
    if plain in ("", "default", "all", "training", "trainval"):
        return "train"
    for begin, split in _SPLITS:
        if plain in (begin, f"{begin}ation", f"{begin}ing"):
            return split
    return re.sub(r"[^\w.-]", "_", name).strip(".")[:_LONGEST_SPLIT] or "train"


def inside(root: Path, path: Path) -> Path | None:
    """`path` (relative to `root`, or absolute) as a resolved path, None where that leaves `root`.

    Links are followed first, so one that leads out of the dataset counts as outside. `root` is resolved.
    """
    try:
        found = Path(os.path.realpath(root / path))
    except (OSError, ValueError):  # a zero byte, or a loop of links
        return None
    return found if found.is_relative_to(root) else None


def plain_name(name: str) -> str | None:
    """A file_name as a posix path without `.` and empty parts; None for one that is empty or could leave."""
    name = name.replace("\\", "/")
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name or _DRIVE.match(name):
        return None
    return "/".join(parts)


def read_file(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises ValueError, saying why not."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
            raise ValueError("can't be read: it is no regular file")
        if status.st_size > limit:
            raise ValueError(f"has {status.st_size:,} bytes, more than the {limit:,} that are read")
        return path.read_bytes()
    except OSError as ex:
        raise ValueError(f"can't be read: {ex.strerror or ex}") from ex
