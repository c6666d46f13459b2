"""What a format writer takes and returns, and the names it gives out. Files and folders are in `tree`."""

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from autolabel.errors import ImageError
from autolabel.types import Detection, FrameItem


@dataclass(frozen=True, slots=True)
class ExportImage:
    """One image as it goes into every format.

    `path` is the source file, which is only read; `width` and `height` are px of the upright image;
    `detections` are in rank order, best first, each with a mask that is not empty and of size
    (height, width). `frame` says which frame of a clip it is, None for a still image.
    """

    file_name: str
    path: Path
    width: int
    height: int
    split: str
    detections: Sequence[Detection]
    frame: FrameItem | None = None

    def __post_init__(self) -> None:
        """Raise ImageError for a name that a writer would follow out of its folder."""
        if self.file_name.startswith("/") or ".." in self.file_name.split("/"):
            raise ImageError(f"has a name that leads out of the dataset, {self.file_name!r}")


@dataclass(frozen=True, slots=True)
class FormatReport:
    """What a format could not hold as it was: counts, and the names that had to change.

    `degradations` holds counts above 0 only; `renamed` maps a file_name to its name in the format,
    `renamed_classes` a class name to its name in the format.
    """

    degradations: dict[str, int]
    renamed: dict[str, str]
    renamed_classes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lost:
    """An instance that a format can't hold, and why."""

    detection: Detection
    reason: Literal["crowd", "duplicate", "hidden", "too_many"]


class Writer(Protocol):
    """One format, written image by image. What it keeps in memory does not grow but for names.

    The constructor takes the format's folder, the categories (ids from 0, in order), the names of all
    splits, the ImageStore shared by the formats, and the format's own options as keywords.
    """

    def add(self, image: ExportImage) -> list[Lost]:
        """Write one image and return the detections that the format can't hold.

        Raises ImageError where the source can't be read; nothing of the image is then recorded.
        """
        ...

    def close(self) -> FormatReport:
        """Finish the files; nothing may be added afterwards."""
        ...


_LONGEST_NAME = 200  # bytes: file systems take 255, of which a hash and a suffix need some


class Names:
    """The names given out in one format, told apart as a case-insensitive file system would."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def claim(self, wanted: str, file_name: str) -> str:
        """`wanted`, with a short hash of `file_name` appended where it is taken already."""
        folders, slash, last = wanted.rpartition("/")
        wanted = folders + slash + last.encode()[:_LONGEST_NAME].decode(errors="ignore")
        name, tries = wanted, 0
        while (key := _key(name)) in self._taken:
            name = f"{wanted}-{short_hash(file_name + '/' * tries)}"
            tries += 1
        self._taken.add(key)
        return name


def _key(name: str) -> int:
    """A number for all names that such a file system takes for one: names may be long, and are many.

    That two other names have the same number is next to impossible, and would only rename one of them.
    """
    same = unicodedata.normalize("NFC", name).casefold().encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(same, digest_size=8).digest())


def short_hash(text: str) -> str:
    """Eight hexadecimal digits that depend on `text` alone."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
