"""Which COCO files a dataset has, the split of each, and where their images lie."""

import mmap
import os
import re
from dataclasses import dataclass
from pathlib import Path

from autolabel.formats.reading import inside, split_name
from autolabel.splits import SPLITS

_ANNOTATIONS = re.compile(rb'"annotations"\s*:\s*\[')
_PLACES = ("annotations/*.json", "*/_annotations.coco.json", "*.json")
_ROBOFLOW = "_annotations.coco.json"
_PREFIX = "instances_"
_UNNAMED = ("annotations", "labels", "instances", "coco", "result", "results", "dataset", "data")


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """A COCO file, the split it holds, and the folders in which its images may lie, likely ones first."""

    path: Path
    split: str
    folders: tuple[Path, ...]


def is_dataset(path: Path) -> bool:
    """Whether a file holds a COCO dataset, or a folder such files: by a look for their `annotations`."""
    return _is_coco(path) if path.is_file() else bool(path.is_dir() and _list(path))


def root_of(found: Path) -> Path:
    """The dataset's folder: that of a single file, or the one above where it is named annotations."""
    folder = found.parent if found.is_file() else found
    if found.is_file() and folder.resolve().name == "annotations":
        folder = folder.parent
    return folder.resolve()


def annotation_files(found: Path) -> list[AnnotationFile]:
    """The files of a dataset, train before val before test before others."""
    root = root_of(found)
    listed = [found.resolve()] if found.is_file() else _list(root)
    raw = {path: _raw_split(path, root) for path in listed}
    names = {path: split_name(name) for path, name in raw.items()}
    taken = list(names.values())
    files = []
    for path, split in names.items():
        # two files of one split (train.json and train2017.json) stay apart under their own names
        own = re.sub(r"[^\w.-]", "_", path.stem) if taken.count(split) > 1 else split
        folders = (
            path.parent, root / "images" / raw[path], root / raw[path], root / "images" / split, root / split,
            root / "images", root / "data", root,
        )  # fmt: skip
        files.append(AnnotationFile(path, own, tuple(dict.fromkeys(folders))))
    order = {split: place for place, split in enumerate(SPLITS)}
    return sorted(files, key=lambda each: (order.get(each.split, len(order)), each.split))


def _list(root: Path) -> list[Path]:
    for place in _PLACES:
        found = [
            path
            for path in sorted(root.glob(place))
            if inside(root.resolve(), path.absolute()) and _is_coco(path)
        ]
        if named := [path for path in found if path.stem.startswith(_PREFIX)]:
            return named
        if found:
            return found
    return []


def _is_coco(path: Path) -> bool:
    try:
        if path.suffix.lower() != ".json" or not path.is_file():
            return False
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _ANNOTATIONS.search(data) is not None
    except (OSError, ValueError):  # an empty file can't be mapped
        return False


def _raw_split(path: Path, root: Path) -> str:
    if path.name == _ROBOFLOW:
        named = path.parent.name
        return "train" if path.parent == root and split_name(named) not in SPLITS else named
    stem = path.stem.removeprefix(_PREFIX)
    return "train" if stem.lower() in _UNNAMED else stem


def find_image(root: Path, name: str, folders: list[Path]) -> tuple[Path | None, bool]:
    """The image's file, and whether there is one that leads out of `root`.

    Moves the folder that had it to the front of `folders`, in place.
    """
    for folder in folders:
        place = folder / name
        if not os.path.lexists(place):
            continue
        found = inside(root, place)
        if found is None:
            return None, True
        if found.is_file():
            if folder != folders[0]:
                folders.remove(folder)
                folders.insert(0, folder)
            return found, False
    return None, False
