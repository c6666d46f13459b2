"""Videos among the images: each becomes its frames, which are kept as files beside the run's answers."""

import hashlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from autolabel.config import Config
from autolabel.errors import ImageError, InputError, OutputError
from autolabel.sources.listing import is_video
from autolabel.types import Clip, FrameItem, ImageItem, LostItem

log = logging.getLogger(__name__)

_INDEX = "clip.json"
_READ_AT_ONCE = 1 << 20


def with_frames(items: Sequence[ImageItem], config: Config, *, extract: bool) -> list[ImageItem]:
    """The images with every video replaced by its frames, in file_name order.

    Frames lie below the run's `frames` folder, written where `extract`; they are made again where they are
    not there. A clip that can't be read stays as one LostItem. Raises OutputError for a full disk.
    """
    found: list[ImageItem] = []
    names = {item.file_name for item in items}
    for item in items:
        if not is_video(item.location):
            found.append(item)
            continue
        try:
            frames = list(_frames(item, config, extract=extract))
            if not names.isdisjoint(frame.file_name for frame in frames):
                raise InputError(f"{item.file_name}: its frames have the names of images; rename the video")
            found += frames
        except ImageError as error:
            found.append(LostItem(item.file_name, item.path, str(error)))
    return found


def _frames(item: ImageItem, config: Config, *, extract: bool) -> Iterator[FrameItem]:
    from autolabel.sources import video  # noqa: PLC0415  (PyAV, for videos only)

    folder = _folder(item, config)
    index = _index(folder)
    if index is None:
        settings = config.video
        probed = video.probe(item.path, fps=settings.fps, start_s=settings.start, end_s=settings.end)
        content = _content(item.path) if extract else b""
        index = {
            "content": content.hex(),
            "width": probed.width,
            "height": probed.height,
            "frames": [[frame.number, frame.time_s] for frame in probed.frames],
        }
        if extract:
            log.info("%s: reading %d frames", item.file_name, len(probed.frames))
            _extract(item, probed, index, folder)
    numbers = orjson.dumps([number for number, _ in index["frames"]])
    chosen = hashlib.blake2b(numbers, digest_size=8).hexdigest()
    clip = Clip(item.file_name, bytes.fromhex(index["content"]), index["width"], index["height"], chosen)
    for number, time_s in index["frames"]:
        name = f"{item.file_name}/{number:06}.jpg"
        yield FrameItem(name, folder / name.rpartition("/")[2], clip, number, time_s)


def _extract(item: ImageItem, probed: Any, index: dict[str, Any], folder: Path) -> None:
    from autolabel.sources import video  # noqa: PLC0415

    try:
        if folder.exists():  # without an index: a folder that was damaged
            shutil.rmtree(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        video.extract(item.path, probed, folder)
        # last, so that a folder with an index is whole
        (folder / _INDEX).write_bytes(orjson.dumps(index))
    except OSError as error:
        raise OutputError(
            f"the frames of {item.file_name} can't be written to {folder}: {error.strerror}"
        ) from None


def _folder(item: ImageItem, config: Config) -> Path:
    """Where frames of a video are kept: a folder for each file (by size and time) and choice of frames."""
    try:
        stat = item.path.stat()
    except OSError as error:
        raise ImageError(f"can't be read: {error.strerror or error}") from None
    try:
        key = [item.location.encode().decode(), stat.st_size, stat.st_mtime_ns, config.video.model_dump()]
    except UnicodeEncodeError:
        raise ImageError("has a name that is not valid UTF-8, which no dataset can hold; rename it") from None
    digest = hashlib.blake2b(orjson.dumps(key), digest_size=8).hexdigest()
    return Path(config.run).absolute() / "frames" / digest


def _index(folder: Path) -> dict[str, Any] | None:
    """What was noted of a clip whose frames are all there."""
    try:
        index: dict[str, Any] = orjson.loads((folder / _INDEX).read_bytes())
        count = sum(path.suffix == ".jpg" for path in folder.iterdir())
        whole = count == len(index["frames"]) and bytes.fromhex(index["content"]) != b""
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return index if whole else None


def _content(path: Path) -> bytes:
    """A digest of a file that may be larger than memory."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_READ_AT_ONCE):
                digest.update(block)
    except OSError as error:
        raise ImageError(f"can't be read: {error.strerror or error}") from None
    return digest.digest()
