"""Where a COCO dataset keeps things: its annotation files by split, and the folders its images may be in."""

import mmap
import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autolabel.formats.reading import inside, split_name

LARGEST = 2**32  # bytes of an annotation file

_ROBOFLOW = "_annotations.coco.json"
_INSTANCES = "instances_"
_KEYPOINTS = "person_keypoints_"
_OTHER_TASKS = ("captions_", "image_info_", "panoptic_", "stuff_", _KEYPOINTS)
_NO_SPLIT = ("annotations", "coco", "instances", "labels")
_ORDER = ("train", "val", "test")
# A file that was cut off has no annotations yet, but its images.
_COCO = re.compile(rb'"annotations"\s*:\s*\[|"images"\s*:\s*\[\s*\{[^{}]*"file_name"')


@dataclass(frozen=True, slots=True)
class File:
    """An annotation file: its name relative to the dataset, its split, and how it writes that (train2017)."""

    name: str
    split: str
    raw_split: str


def find(path: Path) -> Path | None:
    """`path` where it is an annotation file of COCO, or a folder that has some."""
    if path.is_dir():
        return path if _annotation_files(path) else None
    return path if path.suffix.lower() == ".json" and _is_coco(path) else None


def locate(found: Path) -> tuple[Path, list[File]]:
    """The dataset's folder, resolved, and its annotation files: train, val, test, then others by name."""
    found = Path(os.path.realpath(found))
    folder, paths = (found, _annotation_files(found)) if found.is_dir() else (found.parent, [found])
    root = folder.parent if folder.name == "annotations" else folder
    named = [(_raw_split(path, root, alone=len(paths) == 1), path) for path in paths]
    named.sort(key=lambda each: (_rank(split_name(each[0])), each[1]))
    files: list[File] = []
    for raw, path in named:
        split = _free_name((split_name(raw), re.sub(r"[^\w.-]", "_", raw).strip(".")), files)
        files.append(File(path.relative_to(root).as_posix(), split, raw))
    return root, files


def image_folders(file: File) -> list[str]:
    """The folders below the dataset's in which images of a split may be, the likeliest first."""
    beside, stem = Path(file.name).parent.as_posix(), Path(file.name).stem
    names = (file.raw_split, stem, file.split)
    by_split = [f"{above}{name}" for name in names if name for above in ("images/", "")]
    return list(dict.fromkeys([beside, *by_split, "images", "data", "."]))


def find_image(root: Path, folders: list[str], file_name: str) -> Path | None:
    """The file of an image, resolved, of the first folder that has it; None where none does.

    Raises ValueError where it is a link that leads out of the dataset.
    """
    for folder in folders:
        path = root / folder / file_name
        if os.path.isfile(path):  # noqa: PTH113 - Path's raises for names that are too long
            real = inside(root, path)
            if real is None:
                raise ValueError(f"{folder}/{file_name} is a link that leads out of the dataset's folder")
            return real
    return None


def _annotation_files(folder: Path) -> list[Path]:
    """The annotation files of the first layout that fits: annotations/, a folder a split, or all in one."""
    found = _json_files(folder / "annotations")
    if not found:
        found = [path for each in _entries(folder) if os.path.lexists(path := each / _ROBOFLOW)]
    if not found:
        found = _json_files(folder)
    instances = [path for path in found if path.name.startswith(_INSTANCES)]
    others = [path for path in found if not path.name.startswith(_OTHER_TASKS)]
    keypoints = [path for path in found if path.name.startswith(_KEYPOINTS)]  # have masks, too
    return instances or others or keypoints or found


def _json_files(folder: Path) -> list[Path]:
    """COCO's files in a folder, those by their name, and others by their content."""
    paths = (path for path in _entries(folder) if path.name.lower().endswith(".json"))
    return [
        path for path in paths if path.name.startswith(_INSTANCES) or path.name == _ROBOFLOW or _is_coco(path)
    ]


def _entries(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, sorted; nothing where there is no folder."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _is_coco(path: Path) -> bool:
    """Whether a file holds a list of annotations, as text."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= LARGEST:
            return False
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _COCO.search(data) is not None
    except (OSError, ValueError):
        return False


def _raw_split(path: Path, root: Path, *, alone: bool) -> str:
    """How a file names its split, empty where it does not: of its name, for Roboflow of its folder."""
    stem = path.name[: -len(".json")]
    if stem.startswith(_INSTANCES):
        return stem.removeprefix(_INSTANCES)
    if path.name == _ROBOFLOW:
        return path.parent.name if path.parent != root or split_name(root.name) in _ORDER else ""
    words = (
        word for word in re.split(r"[-_.]", stem) if word[:1].isalpha() and word not in ("all", "default")
    )
    if word := next((word for word in words if split_name(word) in _ORDER), ""):
        return word
    return "" if alone or stem.lower() in _NO_SPLIT else stem


def _rank(split: str) -> int:
    return _ORDER.index(split) if split in _ORDER else len(_ORDER)


def _free_name(wanted: Iterable[str], files: Sequence[File]) -> str:
    """The first of the names that no file has: two files of one split are two splits."""
    taken = {file.split for file in files}
    names = [name for name in wanted if name]
    free = (
        name for name in (*names, *(f"{names[0]}-{n}" for n in range(2, len(files) + 3))) if name not in taken
    )
    return next(free)
