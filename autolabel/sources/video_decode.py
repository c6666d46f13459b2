"""From a video file to upright pixels: opening, decoding, turning. Which frames are wanted is up to `video`.

FFmpeg's log goes nowhere: PyAV takes it, and drops it unless someone sets a level.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

from autolabel.errors import ImageError
from autolabel.sources.probe import MAX_PIXELS

NO_FRAME = "holds no frame that can be decoded; copy it again from where it came"

# Containers only: a playlist would name other files and addresses, and a picture or a text is no video.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegvideo,mpegts,h264,hevc,flv,asf,ogg,mxf"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
_UNKNOWN_RATE = Fraction(25)  # frames/s, as FFmpeg takes it for a stream without any stamp
# Exact by the formulas of BT.601, BT.709 and BT.2020, and the same on every processor.
_CONVERSION = Interpolation.BILINEAR | (
    Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
)


@contextmanager
def opened(source: Path | bytes) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A video file, or its content, with the stream that players show.

    Raises ImageError for what can't be read, is no video, holds no moving picture or too large a one, and
    for what breaks while the file is in use.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else str(source.absolute())
    try:
        container = av.open(file, "r", options=_OPTIONS, metadata_errors="replace")
    except (av.error.ArgumentError, av.error.InvalidDataError, av.error.EOFError) as ex:
        raise ImageError(
            "is not a video that can be read: its content is of no known video type, or it is cut or damaged"
        ) from ex
    except av.error.FFmpegError as ex:
        raise ImageError(f"can't be read: {ex.strerror}") from ex  # by the system, or a rare kind
    try:
        with container:
            yield container, _moving_picture(container)
    except av.error.FFmpegError as ex:
        raise ImageError(
            f"breaks off while it is read ({ex.strerror}); copy it again from where it came"
        ) from ex


def decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """The frames from where the container stands to its end, in the order in which they are shown.

    What comes before the first frame that can be decoded is skipped, as players do: a recording may begin
    between two key frames. From there on, damage raises ImageError with its place, counted from that frame.
    """
    # With more threads it depends on their race which damage FFmpeg marks; writing the pictures takes longer.
    stream.thread_type = "NONE"
    first: VideoFrame | None = None
    place = ""
    count = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError as ex:  # decoders differ in what they raise
            if first is None:
                continue
            raise damaged(place) from ex
        for frame in frames:
            if frame.is_corrupt and first is None:
                continue
            if frame.is_corrupt:
                raise damaged(place)
            first = first or frame
            place = f"after frame {count} ({_time_s(frame, first, count / rate(stream)):.3f} s)"
            count += 1
            yield frame


def damaged(place: str) -> ImageError:
    """The error for a video that is broken at `place`."""
    return ImageError(
        f"is damaged or cut off {place}; copy it again from where it came, or end the range before that"
    )


def upright_wh(frame: VideoFrame) -> tuple[int, int]:
    """(width, height) in px as the frame is to be seen. The pixels' own aspect ratio is left aside."""
    swapped, _, _ = _turn(frame)
    return (frame.height, frame.width) if swapped else (frame.width, frame.height)


def to_bgr(frame: VideoFrame) -> NDArray[np.uint8]:
    """The upright frame as (h, w, 3) BGR pixels of 8 bits, turned as its display matrix asks.

    The colour matrix and range are those it states, and BT.601, limited, where it states none, as FFmpeg
    takes it. Pixels are as stored: fields stay interlaced, a pixel that is not square stays one pixel, and
    the curve of HDR is left as it is. Raises ImageError for a pixel format without a conversion.
    """
    try:
        converted = frame.reformat(format="bgr24", interpolation=_CONVERSION)
        pixels = converted.to_ndarray()
    except (av.error.FFmpegError, ValueError) as ex:
        raise ImageError(f"can't be decoded: its pixel format {frame.format.name} is not read") from ex
    swapped, left, up = _turn(frame)
    if swapped:
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(pixels[:: -1 if up else 1, :: -1 if left else 1], dtype=np.uint8)


def decode(data: bytes) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """(time in s from the first frame, upright (h, w, 3) BGR pixels) of each frame of a video file's content.

    A frame without a stamp counts by the average rate. Raises ImageError for what is no video, or is damaged.
    """
    with opened(data) as (container, stream):
        first: VideoFrame | None = None
        for number, frame in enumerate(decoded(container, stream)):
            first = first or frame
            yield _time_s(frame, first, number / rate(stream)), to_bgr(frame)
        if first is None:
            raise ImageError(NO_FRAME)


def rate(stream: VideoStream) -> Fraction:
    """Frames a second on average, as the file states it or FFmpeg guesses it."""
    return stream.average_rate or stream.guessed_rate or _UNKNOWN_RATE


def _moving_picture(container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")
    # The cover of a song is a stream of one picture.
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        raise ImageError("holds no moving picture, only sound or data")
    context = stream.codec_context
    if context is None:
        raise ImageError("is coded in a way that is not read; convert it to H.264 in an MP4 file")
    if context.width * context.height > MAX_PIXELS:
        raise ImageError(
            f"has frames of {context.width} x {context.height} pixels, more than the {MAX_PIXELS:,} "
            "that are safe to decode; scale it down"
        )
    return stream


def _time_s(frame: VideoFrame, first: VideoFrame, otherwise_s: Fraction) -> float:
    if frame.pts is None or first.pts is None or frame.time_base is None:
        return float(otherwise_s)
    return float((frame.pts - first.pts) * frame.time_base)


def _turn(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """How stored pixels become upright: whether rows and columns swap, then left and right, up and down.

    The matrix maps (x, y) to (a x + c y, b x + d y); it is stored as a b u c d v x y w (ISO/IEC 14496-12).
    A turn between right angles counts as the nearest one.
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    swapped = abs(b) > abs(a)
    return (True, c < 0, b < 0) if swapped else (False, a < 0, d < 0)
