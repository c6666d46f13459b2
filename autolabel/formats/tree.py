"""The output folder: staged beside its place, moved in whole, and replaced only where all of it is ours.

Which files a format has is the format's business; how images get there is in `images`.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

from autolabel.errors import OutputError

LISTING = ".autolabel-files"  # every other file of the folder, one a line, sorted

# What trainers and desktops leave in a dataset; it goes when the dataset is replaced.
_CACHED = ("*.cache", "*.npy", ".DS_Store", "Thumbs.db", "desktop.ini")
_CACHE_FOLDERS = ("__pycache__", ".ipynb_checkpoints")


def check_output(
    output: Path, *, overwrite: bool, sources: Sequence[Path] = (), keep: Sequence[Path] = ()
) -> None:
    """Find out, before anything is asked, whether a dataset could be put at `output`.

    An old dataset that a crash left under its backup name is put back. Raises OutputError when `output` is
    no folder, can't be written, holds files that autolabel did not write (unless `overwrite`), lies inside
    one of the `sources` (folders or files), or holds one of them, something to `keep` (the run folder), the
    working directory or the home folder.
    """
    output = output.resolve()
    if output.is_mount():
        raise OutputError(f"{output} is a mount point and can't be replaced; choose a folder inside it")
    _recover(output)
    for source in sources:
        if output.is_relative_to(source.resolve()):
            raise OutputError(
                f"the output {output} lies inside {source}, which is only read; choose another output"
            )
    for path in (*sources, *keep, Path.cwd(), Path.home()):
        if path.resolve().is_relative_to(output):
            raise OutputError(
                f"the output {output} is or holds {path}, which would go with it; choose another output"
            )
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; choose another output")
    parent = next(folder for folder in output.parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{parent} can't be written to; choose another output")
    if not overwrite:
        _check_ours(output)


@contextmanager
def staged(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """A fresh folder beside `output` that takes its place when the block ends without an exception.

    On an exception it is removed, and the old dataset stays. Raises OutputError as `check_output` does, and
    when the folder can't be made or moved.
    """
    output = output.resolve()
    check_output(output, overwrite=overwrite)
    stage = _sibling(output, f"new-{os.getpid()}")
    try:
        _remove_leftovers(output)
        stage.mkdir(parents=True)
    except OSError as ex:
        raise OutputError(
            f"no folder can be made beside {output} ({ex.strerror}); choose another output"
        ) from ex
    try:
        yield stage
        _write_listing(stage)
        if not overwrite:
            _check_ours(output)  # again: hours may have passed
        _move_in(stage, output)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def _check_ours(output: Path) -> None:
    foreign = _foreign(output)
    first = next(foreign, None)
    if first is None:
        return
    count = 1 + sum(1 for _ in foreign)
    files = "a file" if count == 1 else f"{count} files"
    raise OutputError(
        f"{output} holds {files} that autolabel did not write ({first}); "
        "choose another output or pass --overwrite"
    )


def _foreign(output: Path) -> Iterator[str]:
    """The files below `output` that its listing does not name, caches aside, from two sorted streams."""
    ours = _read_listing(output)
    line = next(ours, None)
    for path in _walk(output):
        while line is not None and line < path:
            line = next(ours, None)
        if path not in (line, LISTING) and not _is_cache(path):
            yield path


def _is_cache(path: str) -> bool:
    *folders, name = path.split("/")
    return any(folder in _CACHE_FOLDERS for folder in folders) or any(fnmatch(name, kind) for kind in _CACHED)


def _walk(folder: Path, prefix: str = "") -> Iterator[str]:
    """All files below `folder` as posix paths, sorted as whole paths; one folder's names are held at a time.

    A link is a file, wherever it leads.
    """
    try:
        with os.scandir(folder) as entries:
            # The slash makes names sort as the paths that they begin.
            names = sorted(f"{e.name}/" if e.is_dir(follow_symlinks=False) else e.name for e in entries)
    except FileNotFoundError:
        return
    for name in names:
        if name.endswith("/"):
            yield from _walk(folder / name, prefix + name)
        else:
            yield prefix + name


def _write_listing(stage: Path) -> None:
    with (stage / LISTING).open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for path in _walk(stage):
            if path != LISTING:
                file.write(_swap_line_feeds(path) + "\n")


def _read_listing(output: Path) -> Iterator[str]:
    """The listed paths in order; none where there is no listing."""
    try:
        with (output / LISTING).open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for line in file:
                yield _swap_line_feeds(line.removesuffix("\n"))
    except FileNotFoundError:
        return


def _swap_line_feeds(path: str) -> str:
    """A line feed, which a name may hold, for a zero byte, which none does; and back."""
    return path.translate({0: "\n", 10: "\0"})


def _sibling(output: Path, what: str) -> Path:
    return output.with_name(f".{output.name}.autolabel-{what}")


def _recover(output: Path) -> None:
    """Put the old dataset back where a crash came between the two renames."""
    backup = _sibling(output, "old")
    if backup.is_dir() and not output.exists():
        try:
            backup.rename(output)
        except OSError as ex:
            raise OutputError(
                f"the old dataset, kept as {backup}, can't be put back ({ex.strerror}); rename it to {output}"
            ) from ex


def _remove_leftovers(output: Path) -> None:
    """Remove what crashed exports left, but not the stage of one that runs."""
    if not output.parent.is_dir():
        return
    for prefix in (_sibling(output, "new-").name, _sibling(output, "trash-").name):
        for path in output.parent.iterdir():
            pid = path.name.removeprefix(prefix)
            if path.name.startswith(prefix) and pid.isdecimal() and not _runs_elsewhere(int(pid)):
                shutil.rmtree(path)
    _discard(_sibling(output, "old"))


def _runs_elsewhere(pid: int) -> bool:
    if pid == os.getpid() or os.name == "nt":  # signal 0 would end a process on Windows
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _move_in(stage: Path, output: Path) -> None:
    """Rename the old dataset away and the new one in; whenever a crash comes, one of them is whole."""
    backup = _sibling(output, "old")
    try:
        if output.exists():
            output.rename(backup)
        stage.rename(output)
    except OSError as ex:
        _recover(output)
        raise OutputError(f"the new dataset can't be moved to {output} ({ex.strerror})") from ex
    except BaseException:  # Ctrl-C between the two
        _recover(output)
        raise
    _discard(backup)


def _discard(backup: Path) -> None:
    """Delete the old dataset, under a name that is never put back: half of it would be worse than none."""
    if not backup.is_dir():
        return
    trash = backup.with_name(f"{backup.name.removesuffix('old')}trash-{os.getpid()}")
    with suppress(KeyboardInterrupt, OSError):  # the new dataset is in: the rest can wait for the next export
        backup.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
