"""Real video clips, encoded by PyAV into files, of a scene whose truth is known in every frame."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 160, 120
SECONDS, RATE = 10, 10
GREY = (128, 128, 128)
COLOURS = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}  # BGR
AWAY = (40, 60)  # the frames from .. to before which blue is not there

# Turns of the display matrix, in 16.16 fixed point with 2.30 in the last column, as ISO 14496-12 has them:
# what was stored is to be seen (clockwise) so.
_ONE, _W = 1 << 16, 1 << 30
MATRICES = {
    "90": (0, _ONE, 0, -_ONE, 0, 0, 0, 0, _W),
    "180": (-_ONE, 0, 0, 0, -_ONE, 0, 0, 0, _W),
    "270": (0, -_ONE, 0, _ONE, 0, 0, 0, 0, _W),
    "mirror": (-_ONE, 0, 0, 0, _ONE, 0, 0, 0, _W),
    "flip": (_ONE, 0, 0, 0, -_ONE, 0, 0, 0, _W),
    "transpose": (0, _ONE, 0, _ONE, 0, 0, 0, 0, _W),
    "transverse": (0, -_ONE, 0, -_ONE, 0, 0, 0, 0, _W),
}


def truth(number: int, width: int = WIDTH, height: int = HEIGHT) -> dict[str, NDArray[np.bool_]]:
    """What is seen of each object in frame `number` of 100: (h, w) masks by colour, empty where it is away.

    Red, a disc, crosses from left to right and leaves over the border. Green, a box, goes down and up again
    and is passed by red, which hides it. Blue, a disc, is away during `AWAY` and comes back elsewhere.
    """
    unit = height / 12
    there = number / (SECONDS * RATE)
    y, x = np.mgrid[:height, :width]
    red = (x - there * (width + 2 * unit)) ** 2 + (y - height / 2) ** 2 < (2 * unit) ** 2
    down = height * (0.25 + 0.5 * (1 - abs(1 - 2 * there)))
    green = (abs(x - width / 2) < 1.5 * unit) & (abs(y - down) < 2 * unit)
    if AWAY[0] <= number < AWAY[1]:
        blue = np.zeros_like(red)
    else:
        at = 0.8 if number < AWAY[0] else 0.2
        blue = (x - at * width) ** 2 + (y - (0.15 + 0.7 * there) * height) ** 2 < (1.5 * unit) ** 2
    blue &= ~green & ~red
    return {"red": red, "green": green & ~red, "blue": blue}


def scene(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Frame `number` as (h, w, 3) BGR pixels: the objects of `truth` in full colours on grey."""
    pixels = np.full((height, width, 3), GREY, np.uint8)
    for name, mask in truth(number, width, height).items():
        pixels[mask] = COLOURS[name]
    return pixels


def scenes(
    count: int = SECONDS * RATE, width: int = WIDTH, height: int = HEIGHT
) -> Iterator[NDArray[np.uint8]]:
    """The first `count` frames."""
    return (scene(number, width, height) for number in range(count))


def corners(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """Four quarters of different colours, so that no turn of it looks like another: BGR."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (30, 30, 220)
    pixels[: height // 2, width // 2 :] = (40, 200, 30)
    pixels[height // 2 :, : width // 2] = (210, 60, 40)
    pixels[height // 2 :, width // 2 :] = (60, 220, 230)
    return pixels


def counted(number: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """A frame that holds its number: eight bright or dark columns, the lowest bit on the left."""
    bits = np.array([220 if number >> bit & 1 else 30 for bit in range(8)], np.uint8)
    row = np.repeat(bits, width // 8)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, len(row), 3)))


def read_number(pixels: NDArray[np.uint8]) -> int:
    """The number that `counted` put into a frame."""
    columns = pixels.mean(axis=(0, 2)).reshape(8, -1).mean(axis=1)
    return sum(1 << bit for bit in range(8) if columns[bit] > 128)


def write(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    rate: Fraction | int = RATE,
    stamps: Sequence[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    matrix: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    colours: tuple[int, int] = (5, 1),
    audio: bool = False,
) -> Path:
    """Encode frames into `path`, at a constant rate or with pts of `stamps` in ms; `colours` is the matrix
    (1 is BT.709, 5 is BT.601, 9 is BT.2020) and the range (1 is limited, 2 is full). Returns the path.
    """
    unit = Fraction(1, 1000) if stamps is not None else 1 / Fraction(rate)
    with av.open(str(path), "w", options=container or {}) as output:
        stream: Any = None
        for number, pixels in enumerate(frames):
            if stream is None:
                stream = output.add_stream(codec, rate=rate, options=options or {})
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = pix_fmt
                stream.codec_context.time_base = unit
                stream.codec_context.colorspace, stream.codec_context.color_range = colours
                if matrix is not None:
                    stream.set_display_matrix(matrix)
                sound = output.add_stream("pcm_s16le", rate=8000, layout="mono") if audio else None
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            frame = frame.reformat(
                format=pix_fmt,
                dst_colorspace=colours[0],
                dst_color_range=colours[1],
            )
            frame.pts = number if stamps is None else stamps[number]
            frame.time_base = unit
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if sound is not None:
            output.mux(_second_of_silence(sound))
    return path


def write_audio(path: Path, codec: str = "aac") -> Path:
    """A second of silence, without a picture."""
    with av.open(str(path), "w") as output:
        output.mux(_second_of_silence(output.add_stream(codec, rate=8000, layout="mono")))
    return path


def _second_of_silence(stream: Any) -> list[Any]:
    packets = []
    for start in range(0, 8000, 1000):
        planar = "p" if stream.format.is_planar else ""
        kind = {"flt": np.float32, "s16": np.int16}[stream.format.name.removesuffix(planar)]
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), kind), stream.format.name, "mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
        packets += stream.encode(frame)
    return packets + stream.encode()


def as_seen(pixels: NDArray[np.uint8], turn: str) -> NDArray[np.uint8]:
    """The stored pixels as the matrix of that name shows them."""
    turns = {
        "90": lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
        "180": lambda image: cv2.rotate(image, cv2.ROTATE_180),
        "270": lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
        "mirror": lambda image: cv2.flip(image, 1),
        "flip": lambda image: cv2.flip(image, 0),
        "transpose": cv2.transpose,
        "transverse": lambda image: cv2.rotate(cv2.transpose(image), cv2.ROTATE_180),
    }
    return np.asarray(turns[turn](pixels), np.uint8)
