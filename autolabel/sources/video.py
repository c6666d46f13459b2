"""Which frames of a video are wanted, and these as image files. Pixels are made in `video_decode`, frames
are found in `video_stamps`, videos are written in `video_encode`.

These modules load FFmpeg's libraries, so nothing imports them that only reads images.
"""

import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path

from av.video.frame import VideoFrame

from autolabel.errors import ImageError
from autolabel.sources.images import encode_jpeg
from autolabel.sources.listing import VIDEO_SUFFIXES as SUFFIXES
from autolabel.sources.video_decode import damaged, decode, decoded, opened, to_bgr, upright_wh
from autolabel.sources.video_encode import encode
from autolabel.sources.video_stamps import Timeline, read_timeline

__all__ = ["SUFFIXES", "Clip", "Frame", "decode", "encode", "extract", "probe"]

_GRACE_S = Fraction(1, 1000)  # Matroska and FLV round times to it


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a clip: its index from 0 among all frames as they are shown, and its time from the first.

    `pts` is its stamp in the stream's own unit; None where stamps don't tell frames apart, and counting does.
    """

    number: int
    time_s: float
    pts: int | None


@dataclass(frozen=True, slots=True)
class Clip:
    """A video: px of an upright frame, and the frames that are wanted, in the order they are shown in."""

    width: int
    height: int
    frames: tuple[Frame, ...]


def probe(path: Path, *, fps: float | None, start_s: float | None, end_s: float | None) -> Clip:
    """Which frames there are from `start_s` to before `end_s`, in s from the first: all, or `fps` a second.

    With `fps` the first frame at or after start + k / fps is taken for each k, none twice. Times have a
    millisecond of grace, for containers that round. The file is read through once, but only its first frames
    are decoded, unless its stamps are of no use (see `video_stamps`). Raises ImageError for what is no video,
    is damaged or cut off as far as that shows, or has no frame in the range.
    """
    _check_file(path)
    timeline = read_timeline(path)
    frames = tuple(_selected(_frames(timeline), fps, start_s or 0, end_s))
    if not frames:
        last_s = float((timeline.stamps[-1] - timeline.stamps[0]) * timeline.unit_s)
        raise ImageError(
            f"has no frame {_range(start_s, end_s)}; its {len(timeline.stamps)} frames lie between 0 "
            f"and {last_s:.3f} s"
        )
    return Clip(timeline.width, timeline.height, frames)


def extract(path: Path, clip: Clip, folder: Path) -> None:
    """Write each frame of `clip` upright as JPEG of quality 95: `folder`/000042.jpg for number 42.

    The folder must not exist yet: it is built beside, under a name with a dot, and moved into place whole.
    Raises ImageError, and leaves nothing, where a frame is damaged, missing or of another size; OSError from
    writing.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
    part.mkdir(parents=True)
    try:
        _write(path, clip, part)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as ex:
        raise ImageError(f"can't be read: {ex.strerror or ex}") from ex
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("can't be read: it is no regular file")
    if not status.st_size:
        raise ImageError("the file is empty")


def _frames(timeline: Timeline) -> Iterator[Frame]:
    for number, stamp in enumerate(timeline.stamps):
        time_s = (stamp - timeline.stamps[0]) * timeline.unit_s
        yield Frame(number, float(time_s), stamp if timeline.unique else None)


def _selected(
    frames: Iterable[Frame], fps: float | None, start_s: float, end_s: float | None
) -> Iterator[Frame]:
    slot = -1  # the k of start + k / fps that was served last
    for frame in frames:
        since_s = frame.time_s - start_s + _GRACE_S
        if since_s < 0 or (end_s is not None and frame.time_s + _GRACE_S >= end_s):
            continue
        if fps is not None and floor(since_s * fps) <= slot:
            continue
        slot = floor(since_s * fps) if fps is not None else slot
        yield frame


def _range(start_s: float | None, end_s: float | None) -> str:
    return f"from {start_s or 0:g} s" + ("" if end_s is None else f" to before {end_s:g} s")


def _write(path: Path, clip: Clip, folder: Path) -> None:
    """As `extract`, into a folder that is there."""
    first = clip.frames[0]
    if first.number and first.pts is not None:
        try:
            _write_from(path, clip, folder, seek_pts=first.pts)
        except ImageError:
            pass  # some containers seek too far; what is really broken shows again from the beginning
        else:
            return
    _write_from(path, clip, folder, seek_pts=None)


def _write_from(path: Path, clip: Clip, folder: Path, *, seek_pts: int | None) -> None:
    """Decode from the key frame before a stamp, or from the beginning, to the last frame that is wanted."""
    with opened(path) as (container, stream):
        if seek_pts is not None:
            container.seek(seek_pts, stream=stream)
        for frame, image in _found(decoded(container, stream), clip.frames):
            if upright_wh(image) != (clip.width, clip.height):
                width, height = upright_wh(image)
                raise ImageError(
                    f"changes its size from {clip.width} x {clip.height} to {width} x {height} px before "
                    f"frame {frame.number} ({frame.time_s:.3f} s); cut it in two there"
                )
            (folder / f"{frame.number:06d}.jpg").write_bytes(encode_jpeg(to_bgr(image)))


def _found(shown: Iterable[VideoFrame], wanted: Iterable[Frame]) -> Iterator[tuple[Frame, VideoFrame]]:
    """Each wanted frame with its picture. Raises ImageError for one that decoding does not give."""
    pending = iter(wanted)
    frame = next(pending, None)
    for number, image in enumerate(shown):
        if frame is None:
            return
        if number == frame.number if frame.pts is None else image.pts == frame.pts:
            yield frame, image
            frame = next(pending, None)
        elif frame.pts is not None and image.pts is not None and image.pts > frame.pts:
            break
    if frame is not None:
        raise damaged(f"at frame {frame.number} ({frame.time_s:.3f} s)")
