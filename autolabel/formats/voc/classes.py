"""The classes of a Pascal VOC dataset, and what the values and colours of class pictures stand for."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autolabel.formats.problems import Problem, Report, Rule
from autolabel.formats.reading import inside, read_file
from autolabel.formats.voc.masks import palette

VOC_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *(
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
)
_MAX_BYTES = 1 << 22
_BACKGROUND = "background"


@dataclass(frozen=True, slots=True)
class Classes:
    """`names` by class id and `ids` by name. A class picture's value k is class k - 1 where `ordered`.

    Without labelmap.txt, names that are not VOC's own have no order, and values no meaning. `colours` are the
    values by 0xRRGGBB for pictures that hold colours.
    """

    names: Sequence[str]
    ids: Mapping[str, int]
    ordered: bool
    colours: Mapping[int, int]

    def of_value(self, value: int | None) -> int | None:
        """The class id of a class picture's value, None where it has none."""
        known = self.ordered and value is not None and 1 <= value <= len(self.names)
        return value - 1 if known and value is not None else None


def from_found(found: set[str]) -> Classes:
    """The classes of a dataset without labelmap.txt, whose annotations have these names."""
    ordered = bool(found) and found <= set(VOC_NAMES)
    names = VOC_NAMES if ordered else sorted(found)
    return _classes(names, ordered, voc_colours(len(names) if ordered else 0))


def voc_colours(count: int = 254) -> dict[int, int]:
    """The index of the colours, 0xRRGGBB, of VOC's map: background, the first `count` others, and void."""
    return {_colour(index): index for index in (*range(count + 1), 255)}


def read_labelmap(root: Path, report: Report) -> Classes | None:
    """The classes of labelmap.txt, in `root` or around the devkit; None where it names none."""
    for folder in _labelmap_folders(root):
        path = inside(folder, Path("labelmap.txt"))
        if path is None or not os.path.lexists(path):
            continue
        try:
            lines = read_file(path, _MAX_BYTES).removeprefix(b"\xef\xbb\xbf").splitlines()
        except ValueError as ex:
            report(Problem(Rule.UNREADABLE_FILE, "labelmap.txt", str(ex)))
            return None
        return _parse_labelmap(lines, report)
    return None


def _classes(names: Sequence[str], ordered: bool, colours: Mapping[int, int]) -> Classes:
    """The classes in this order; of equal names the first has the id."""
    ids: dict[str, int] = {}
    for index, name in enumerate(names):
        ids.setdefault(name, index)
    return Classes(names, ids, ordered, colours)


def _labelmap_folders(root: Path) -> list[Path]:
    """The folder, and those above it that are the devkit's."""
    folders = [root]
    if root.name.startswith("VOC"):
        folders.append(root.parent)
        if root.parent.name == "VOCdevkit":
            folders.append(root.parent.parent)
    return folders


def _parse_labelmap(lines: Sequence[bytes], report: Report) -> Classes | None:
    """Lines `name:r,g,b:parts:actions`; what begins with # is a comment."""
    names: list[str] = []
    colours: dict[int, int] = {0: 0, _colour(255): 255}
    for number, line in enumerate(lines, 1):
        where, text = f"labelmap.txt, line {number}", line.decode("utf-8", "backslashreplace").strip()
        if not text or text.startswith("#"):
            continue
        name, _, rest = text.partition(":")
        name = name.strip()
        stated = _parse_colour(rest.partition(":")[0])
        if name == _BACKGROUND:
            colours[stated or 0] = 0
            continue
        if text.encode() != line.strip():
            report(Problem(Rule.UNREADABLE_FILE, where, f"the name {name[:80]!r} is not valid UTF-8"))
        if name in names:
            report(Problem(Rule.CLASS_TWICE, where, f"the class {name[:80]!r} is listed again"))
        names.append(name)
        colours.setdefault(_colour(len(names) % 256) if stated is None else stated, min(len(names), 255))
    return _classes(names, True, colours) if names else None


def _parse_colour(text: str) -> int | None:
    try:
        red, green, blue = (int(part) for part in text.split(","))
    except ValueError:
        return None
    return red << 16 | green << 8 | blue if all(0 <= part <= 255 for part in (red, green, blue)) else None


def _colour(index: int) -> int:
    return int.from_bytes(palette()[3 * index : 3 * index + 3], "big")
