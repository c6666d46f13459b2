"""Which images a Pascal VOC dataset has: the image sets, and the stems of its files."""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autolabel.formats.problems import Problem, Report, Rule
from autolabel.formats.reading import inside, plain_name, read_file, split_name

TASKS = ("Segmentation", "Main")
LONGEST_NAME = 1024  # bytes: no file has a longer one, and following it costs time
_MAX_BYTES = 1 << 28
_ORDER = {"train": 0, "val": 1, "test": 2}
_FLAG = re.compile(r"\s(-1|0|1)$")  # in a class's list: no, hard, yes


@dataclass(frozen=True, slots=True)
class ImageSets:
    """The stems by split in their order, none of them twice, and those that are listed for segmentation."""

    splits: dict[str, list[str]] = field(default_factory=dict)
    segmented: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _List:
    """A file of ImageSets: its name without suffix, the path below the dataset, and (line, stem) pairs."""

    task: str
    name: str
    file: str
    lines: Sequence[tuple[int, str]]

    @property
    def gathers(self) -> bool:
        """Whether the file repeats what other sets may have: what they lack is for training."""
        return self.name.lower().startswith("trainval") or self.name.lower() in ("all", "default")


def read_sets(root: Path, classes: Collection[str], report: Report) -> ImageSets:
    """The image sets for segmentation and boxes, without those of single `classes`; empty if there is none.

    An image in two splits belongs to the first, where lists for segmentation come before those for boxes.
    """
    lists = [each for task in TASKS for each in _read_task(root, task, classes, report)]
    lists.sort(key=lambda each: each.gathers)
    plain = [each for each in lists if not each.gathers]
    sets, split_of = ImageSets({split_name(each.name): [] for each in plain or lists}), dict[str, str]()
    for each in lists:
        _take(each, sets, split_of, report)
    return ImageSets(dict(sorted(sets.splits.items(), key=lambda item: _rank(item[0]))), sets.segmented)


def find_stems(
    root: Path, folder: str, suffixes: tuple[str, ...], report: Report
) -> Iterator[tuple[str, str]]:
    """(stem, file) of each file below `folder` with one of `suffixes`, both as posix paths, in sorted order.

    The stem is relative to the folder, the file to `root`. Links to folders are not followed.
    """
    top = inside(root, Path(folder))
    for parent, folders, files in os.walk(top) if top else ():
        folders.sort()
        prefix = Path(parent).relative_to(top or root).as_posix().removeprefix(".")
        prefix = f"{prefix}/" if prefix else ""
        for name in sorted(files):
            stem, suffix = os.path.splitext(prefix + name)  # noqa: PTH122 - Path takes a slash away
            if suffix.lower() not in suffixes:
                continue
            file = f"{folder}/{prefix}{name}"
            if (shown := os.fsencode(file).decode("utf-8", "backslashreplace")) != file:
                report(Problem(Rule.UNREADABLE_FILE, shown, "its name is not valid UTF-8; rename it"))
            else:
                yield stem, file


def _rank(split: str) -> tuple[int, str]:
    return _ORDER.get(split, 3), split


def _read_task(root: Path, task: str, classes: Collection[str], report: Report) -> list[_List]:
    """The image sets of one task in the order of splits, then names."""
    found = find_stems(root, f"ImageSets/{task}", (".txt",), report)
    files = {name: file for name, file in found if "/" not in name}
    lists = []
    for name in sorted(files, key=lambda name: (_rank(split_name(name)), name)):
        path = inside(root, Path(files[name]))
        if path is None:
            report(Problem(Rule.PATH_OUTSIDE, files[name], "the image set is a link that leads out"))
            continue
        try:
            lines = read_file(path, _MAX_BYTES).removeprefix(b"\xef\xbb\xbf").splitlines()
        except ValueError as ex:
            report(Problem(Rule.UNREADABLE_FILE, files[name], str(ex)))
            continue
        texts = [(number, line.strip()) for number, line in enumerate(lines, 1)]
        kept = [(number, line) for number, line in texts if line and not line.startswith(b"#")]
        if not _is_class_list(name, [line for _, line in kept], files, classes):
            lists.append(_List(task, name, files[name], list(_decode(kept, files[name], report))))
    return lists


def _is_class_list(
    name: str, lines: Sequence[bytes], names: Collection[str], classes: Collection[str]
) -> bool:
    """Whether the list is <class>_<split>: which images of a split have the class, not a split itself."""
    if "_" not in name:
        return False
    if lines and all(_FLAG.search(line.decode("latin-1")) for line in lines):
        return True
    heads = [name.removesuffix(f"_{split}") for split in names if name.endswith(f"_{split}")]
    return any(head in classes or not lines for head in heads)


def _decode(lines: Sequence[tuple[int, bytes]], file: str, report: Report) -> Iterator[tuple[int, str]]:
    """(line, stem); some tools put quotes around a stem with blanks."""
    for number, line in lines:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            shown = line[:80].decode("utf-8", "backslashreplace")
            where = f"{file}, line {number}"
            report(Problem(Rule.UNREADABLE_FILE, where, "the name is not valid UTF-8", image=shown))
            continue
        quoted = len(text) > 2 and text[0] == text[-1] == '"' and '"' not in text[1:-1]
        yield number, text[1:-1] if quoted else text


def _take(each: _List, sets: ImageSets, split_of: dict[str, str], report: Report) -> None:
    """Put the images of a list into the splits. Edits `sets` and `split_of` in place."""
    split, seen = split_name(each.name), set()
    for line, listed in each.lines:
        stem, where = plain_name(listed), f"{each.file}, line {line}"
        if stem is None:
            what = f"the name {listed[:80]!r} leads out of the folder"
            report(Problem(Rule.PATH_OUTSIDE, where, what, image=listed[:80]))
            continue
        if len(stem.encode()) > LONGEST_NAME:
            what = f"the name {stem[:80]!r}... has {len(stem):,} characters, more than a file's"
            report(Problem(Rule.IMAGE_MISSING, where, what, image=stem[:80]))
            continue
        if stem in seen:
            report(Problem(Rule.IMAGE_TWICE, where, f"{stem!r} is listed again"))
        elif stem not in split_of:
            split_of[stem] = split
            sets.splits.setdefault(split, []).append(stem)
        elif split_of[stem] != split and not each.gathers:
            what = f"{stem!r} is in {split_of[stem]} already, and read there only"
            report(Problem(Rule.IMAGE_IN_TWO_SPLITS, where, what))
        seen.add(stem)
        if each.task == "Segmentation":
            sets.segmented.add(stem)
