"""Which images there are: folders, files and globs become a sorted list. Files are opened in `images`."""

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from autolabel.errors import InputError
from autolabel.types import ImageItem

READ_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")
# Images that are not read: listed, so that they fail with a reason and don't silently go missing.
OTHER_SUFFIXES = (".gif", ".heic", ".heif", ".avif", ".jp2")
# What `video` reads; they stand here because that module loads a decoder.
VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"),
    *(".ts", ".mts", ".m2ts", ".3gp", ".flv", ".wmv", ".ogv"),
)

_SUFFIXES = READ_SUFFIXES + OTHER_SUFFIXES + VIDEO_SUFFIXES
_WILDCARD = re.compile(r"[*?[]")
_Pattern = re.Pattern[str] | None  # None stands for `**`: any number of folders


def list_images(sources: str | Sequence[str]) -> list[ImageItem]:
    r"""The images and videos of folders (recursive), files and globs, sorted by file_name, by code point.

    `file_name` is the posix path below the folder, or below a glob's part before its first wildcard; bytes
    that are not UTF-8 stand in it as \\\xNN, and such a file fails when it is read. `path` is absolute.
    Names that begin with a dot are skipped, links to folders are not followed. Raises InputError for a source
    that is missing, unreadable or without images, and for one file_name from two sources.
    """
    found: dict[str, str] = {}
    for source in [sources] if isinstance(sources, str) else sources:
        count = 0
        for count, (name, path) in enumerate(_images_of(source), 1):  # noqa: B007 - counted for after the loop
            other = found.setdefault(name, path)
            if other is not path and not _same(other, path):
                raise InputError(
                    f"two images would be named {name!r}: {_shown(other)} and {_shown(path)}; "
                    "rename one, or name a folder above both"
                )
        if not count:
            raise InputError(
                f"{_shown(source)} holds no images; files are read that end in {' '.join(READ_SUFFIXES)}"
            )
    if not found:
        raise InputError("no images were named; give a folder, a file or a glob")
    return [ImageItem(name, found[name]) for name in sorted(found)]


def is_video(path: str) -> bool:
    """Whether a file is taken for a video, by its suffix."""
    return path.lower().endswith(VIDEO_SUFFIXES)


def _images_of(source: str) -> Iterator[tuple[str, str]]:
    """(file_name, absolute path) of each image of one source, in no order."""
    path = str(Path(source).absolute())
    if not source or not os.path.lexists(path):
        if not _WILDCARD.search(source):
            raise InputError(f"{_shown(source)} does not exist (seen from {_shown(str(Path.cwd()))})")
        yield from _walk(*_split_glob(source))
    elif Path(path).is_dir():
        yield from _walk(path, [None, re.compile("")])
    elif path.lower().endswith(_SUFFIXES):
        yield _utf8(Path(path).name), path
    else:
        raise InputError(
            f"{_shown(source)} is no image; files are read that end in {' '.join(READ_SUFFIXES)}"
        )


def _split_glob(source: str) -> tuple[str, list[_Pattern]]:
    """The folder before the first wildcard, and a pattern for each component from there on."""
    parts = Path(source).parts
    first = next(place for place, part in enumerate(parts) if _WILDCARD.search(part))
    root = Path(*parts[:first])
    if not root.is_dir():
        raise InputError(f"{_shown(source)} matches nothing: {_shown(str(root))} is no folder")
    patterns: list[_Pattern] = [
        None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts[first:]
    ]
    # `photos/**` means all files below, as a shell's globstar does.
    return str(root.absolute()), [*patterns, re.compile("")] if patterns[-1] is None else patterns


def _walk(root: str, patterns: list[_Pattern]) -> Iterator[tuple[str, str]]:
    """(name below root, path) of each image whose components match the patterns, one by one.

    A folder carries the places in `patterns` that it may have reached, so nothing is read that can't match.
    """
    pending = [(root, "", {0})]
    while pending:
        folder, prefix, reached = pending.pop()
        places = _skip_empty(patterns, reached)
        last = patterns[-1] if len(patterns) - 1 in places else None
        for entry, is_folder in _entries(folder):
            name = entry.name
            if name.startswith("."):
                continue
            if is_folder:
                if below := _enter(patterns, places, name):
                    pending.append((entry.path, f"{prefix}{_utf8(name)}/", below))
            elif (
                last and name.lower().endswith(_SUFFIXES) and last.match(name) and not _is_folder_link(entry)
            ):
                yield prefix + _utf8(name), entry.path


def _entries(folder: str) -> list[tuple[os.DirEntry[str], bool]]:
    """The entries of a folder, each with whether it is a folder itself and no link to one."""
    try:
        with os.scandir(folder) as entries:
            return [(entry, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError as ex:
        raise InputError(f"the folder {_shown(folder)} can't be read: {ex.strerror or ex}") from ex


def _skip_empty(patterns: list[_Pattern], reached: set[int]) -> set[int]:
    """The places reached, and those behind each `**` among them, since it may stand for no folder at all."""
    places = set(reached)
    for place in sorted(reached):
        behind = place
        while patterns[behind] is None:
            behind += 1
            places.add(behind)
    return places


def _enter(patterns: list[_Pattern], places: set[int], name: str) -> set[int]:
    """The places reached inside the folder `name`; none where nothing in it can match."""
    below = set()
    for place in places:
        pattern = patterns[place]
        if pattern is None:
            below.add(place)
        elif place < len(patterns) - 1 and pattern.match(name):
            below.add(place + 1)
    return below


def _is_folder_link(entry: os.DirEntry[str]) -> bool:
    # Path.is_dir, unlike the entry's own, takes a loop of links for no folder: the file then fails when read.
    return entry.is_symlink() and Path(entry.path).is_dir()


def _same(path: str, other: str) -> bool:
    return path == other or os.path.realpath(path) == os.path.realpath(other)


def _utf8(name: str) -> str:
    r"""A name that can be printed and written to any file: bytes that are not UTF-8 become \xNN."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def _shown(path: str) -> str:
    return f"'{_utf8(path)}'"
