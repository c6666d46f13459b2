"""Frames become a video that can be sent, and a video of masks becomes masks by frame."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from autolabel.backends.segmind.images import foreground, parts
from autolabel.errors import ImageError
from autolabel.geometry import rle
from autolabel.sources import images
from autolabel.types import RLE, Footage

Pixels = NDArray[np.uint8]
Size = tuple[int, int]

LONGEST_S = 300.0  # the vendor's page: up to 5 minutes
_LOWEST_FPS, _HIGHEST_FPS = 1.0, 60.0
_BLACK = 48  # of 255: what a video codec leaves of black, next to nothing


@dataclass(frozen=True, slots=True)
class _Frame:
    """The masks of a frame of the answer, and its time in it."""

    masks: list[RLE]
    time_s: float


def encoded(footage: Footage) -> bytes:
    """An MP4 file of the frames, all of the same length, with even sides: the last row and column repeated.

    Raises ImageError for frames that can't be read, or too many for what the host takes.
    """
    rate = fps(footage.times_s)
    height, width = even((footage.height, footage.width))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        # mp4v is what every build of OpenCV writes
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
        if not writer.isOpened():
            raise ImageError("can't be written as a video by this build of OpenCV")
        try:
            for frame in footage.paths:
                pixels = _pixels(frame)
                bottom, right = height - pixels.shape[0], width - pixels.shape[1]
                if not (0 <= bottom <= 1 and 0 <= right <= 1):
                    raise ImageError(f"has a frame of another size, {frame.name}")
                writer.write(cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_REPLICATE))
        finally:
            writer.release()
        return path.read_bytes()


def fps(times_s: Sequence[float]) -> float:
    """Frames per second of the video that is sent: as they were taken, and fast enough for the host's limit.

    Raises ImageError for more frames than fit.
    """
    gaps = np.diff(np.asarray(times_s, np.float64))
    usual = float(np.median(gaps)) if gaps.size else 1.0
    rate = max(len(times_s) / LONGEST_S, 1 / usual if usual > 0 else _HIGHEST_FPS, _LOWEST_FPS)
    if len(times_s) > LONGEST_S * _HIGHEST_FPS:
        raise ImageError(
            f"has {len(times_s)} frames, more than the {LONGEST_S * _HIGHEST_FPS:.0f} that fit into "
            f"{LONGEST_S / 60:g} minutes; set video.start and video.end, or a lower video.fps"
        )
    return min(round(rate, 3), _HIGHEST_FPS)


def even(size: Size) -> Size:
    """The size (height, width) with even sides: codecs cut an odd row or column off."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def masks_of_video(data: bytes, size: Size, times_s: Sequence[float]) -> list[list[RLE]]:
    """The connected parts of each frame's white, in frames of `size` (height, width).

    Frames are those of the video that was sent, at `times_s` in it: by their place where the counts agree,
    else the nearest in time. Raises ValueError for what is no video of masks of them.
    """
    found = list(_frames(data, size))
    if len(found) == len(times_s):
        return [frame.masks for frame in found]
    if not found:
        raise ValueError("the video of masks has no frame that can be decoded")
    known_s = np.array([frame.time_s for frame in found])
    asked_s = np.asarray(times_s, np.float64)
    gaps = np.abs(asked_s[:, None] - known_s[None, :])
    steps = np.concatenate((np.diff(known_s), np.diff(asked_s)))
    # a longer way to the nearest means that a part of the answer is missing, or its times are
    if len(found) < 2 or (steps <= 0).any() or gaps.min(axis=1).max() > steps.max() + 1e-6:
        raise ValueError(
            f"the video of masks has {len(found)} frames, the last at {known_s[-1]:.2f} s, and "
            f"{len(times_s)} were sent, the last at {asked_s[-1]:.2f} s"
        )
    return [found[index].masks for index in gaps.argmin(axis=1).tolist()]


def _frames(data: bytes, size: Size) -> Iterator[_Frame]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "masks"
        path.write_bytes(data)
        video = cv2.VideoCapture(str(path))
        try:
            while True:
                there, pixels = video.read()
                if not there:
                    return
                time_s = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
                yield _Frame(_masks(pixels.astype(np.uint8, copy=False), size), time_s)
        finally:
            video.release()


def _masks(pixels: Pixels, size: Size) -> list[RLE]:
    """Masks in the frame as it was taken, without the row and column that were added to it."""
    padded = even(size)
    white = rle.scale(rle.from_bitmap(foreground(pixels, padded, black=_BLACK)), padded)
    return parts(rle.to_bitmap(white)[: size[0], : size[1]].copy(), size)


def _pixels(path: Path) -> Pixels:
    data = images.read_bytes(path)
    return images.decode(data, images.probe(data))
