"""Which images a split has and where their labels are, by Ultralytics' rules."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from autolabel.formats.problems import Problem, Report, Rule
from autolabel.formats.reading import inside, read_file
from autolabel.formats.yolo.data import Data
from autolabel.sources.listing import OTHER_SUFFIXES, READ_SUFFIXES

_LISTED = frozenset(
    {"avif", "bmp", "dng", "heic", "heif", "jp2", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp"}
)
_OTHERS = READ_SUFFIXES + OTHER_SUFFIXES
_LARGEST_LIST = 2**26  # bytes


@dataclass(frozen=True, slots=True)
class Listing:
    """A split's images as absolute paths, sorted, each once; `folder` is what file_names are relative to.

    `others` are images of suffixes that Ultralytics does not read.
    """

    folder: str
    images: list[str]
    others: list[str]


def list_images(sources: Sequence[Path], data: Data, report: Report) -> Listing:
    """The images of a split's folders (recursive) and lists (files of one path a line)."""
    found: list[str] = []
    folders = {str(source) for source in sources if source.is_dir()}
    for source in sources:
        if source.is_dir():
            found += files_below(source, data.root, report)
        else:
            listed = list(_listed(source, data, report))
            folders.update(str(Path(path).parent) for path in listed)
            found += listed
    found.sort()
    paths = list(dict.fromkeys(found))
    for before, path in pairwise(found):
        if path == before:
            report(Problem(Rule.IMAGE_TWICE, shown(path, data.root), "is listed twice, and read once"))
    return Listing(
        os.path.commonpath(folders) if folders else str(data.root),
        [path for path in paths if _suffix(path) in _LISTED],
        [path for path in paths if _suffix(path) not in _LISTED and path.lower().endswith(_OTHERS)],
    )


def files_below(folder: Path, root: Path, report: Report) -> Iterator[str]:
    """Yield the path of every file below a folder, in no order, but for names that begin with a dot.

    Links to folders are followed within `root`, and no folder is gone through twice.
    """
    waiting, seen = [str(folder)], {os.path.realpath(folder)}
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if not entry.is_dir():
                        yield entry.path
                    elif (real := inside(root, Path(entry.path))) is None:
                        what = "is a link that leads out of the dataset's folder"
                        report(Problem(Rule.PATH_OUTSIDE, shown(entry.path, root), what))
                    elif str(real) not in seen:
                        seen.add(str(real))
                        waiting.append(entry.path)
                    else:
                        what = "is a link to a folder that is read already"
                        report(Problem(Rule.IMAGE_TWICE, shown(entry.path, root), what))
        except OSError as ex:
            what = f"can't be listed: {ex.strerror or ex}"
            report(Problem(Rule.UNREADABLE_FILE, shown(path, root), what))


def label_path(image: str, root: Path) -> str:
    """Where Ultralytics looks for the label of an image: labels for the path's last images.

    Where that is outside of `root`, because the dataset itself lies below a folder named images, the label is
    beside the image.
    """
    stem = image.rpartition(".")[0]
    label = "/labels/".join(stem.rsplit("/images/", 1)) + ".txt"
    return label if label.startswith(f"{root}/") else f"{stem}.txt"


def outer_label_path(image: str, root: Path) -> str:
    """Where other tools look: labels for the first images of the path in the dataset."""
    stem = image.removeprefix(str(root)).rpartition(".")[0]
    return f"{root}{stem.replace('/images/', '/labels/', 1)}.txt"


def shown(path: str, folder: Path | str) -> str:
    r"""A path below a folder as posix text; bytes that are not UTF-8 stand in it as \\xNN."""
    return os.fsencode(os.path.relpath(path, folder)).decode(errors="backslashreplace")


def _suffix(path: str) -> str:
    return path.rpartition(".")[-1].lower()


def _listed(source: Path, data: Data, report: Report) -> Iterator[str]:
    """Yield the paths that a list names and that are in the dataset's folder."""
    where = shown(str(source), data.root)
    try:
        text = read_file(source, _LARGEST_LIST).decode("utf-8-sig", "replace")
    except ValueError as ex:
        report(Problem(Rule.UNREADABLE_FILE, where, str(ex)))
        return
    astray = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not (entry := line.strip()):
            continue
        astray += not entry.startswith(("./", "/"))
        path = _in_dataset(entry, source.parent, data)
        if path is not None:
            yield path
        else:
            what = f"{entry[:200]} is not in the dataset's folder"
            report(Problem(Rule.PATH_OUTSIDE, f"{where} line {number}", what, image=entry))
    if astray:
        what = f"{astray} lines count from where Ultralytics is started; begin them with ./"
        report(Problem(Rule.PATH_KEY, where, what))


def _in_dataset(entry: str, folder: Path, data: Data) -> str | None:
    """The path that a line means: from the list's folder where it begins with ./, else from the dataset's."""
    places = [folder] if entry.startswith("./") else [data.base, folder]
    paths = [os.path.normpath(place / entry) for place in places]
    path = next(filter(os.path.exists, paths), paths[0])
    if path.startswith(f"{data.root}/") and "\0" not in path:
        return path
    real = inside(data.root, Path(path))  # an absolute path may reach the dataset by another way
    return None if real is None else str(real)
