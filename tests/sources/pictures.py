"""Small image files of every kind, built in memory; no turn of the scene in them looks like another."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 48, 32
ORIENTATION = 0x0112


def scene(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Four blocks of different colours and sizes; smooth, so that JPEG keeps it."""
    pixels = np.full((height, width, 3), 40, np.uint8)
    pixels[: height // 2, : width // 3] = (220, 30, 30)
    pixels[height // 2 :, : width // 3] = (30, 200, 40)
    pixels[: height // 4, width // 3 :] = (40, 60, 210)
    pixels[3 * height // 4 :, 3 * width // 4 :] = (230, 220, 60)
    return Image.fromarray(pixels)


def noise(width: int = 320, height: int = 240, seed: int = 0) -> Image.Image:
    """Random pixels, which no codec makes small."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encode(image: Image.Image, kind: str, orientation: int | None = None, **options: Any) -> bytes:
    """The image as a file, with an EXIF orientation where one is given."""
    buffer = io.BytesIO()
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(image: Image.Image | None = None, orientation: int | None = None, **options: Any) -> bytes:
    """The scene as a JPEG."""
    return encode(image or scene(), "JPEG", orientation, **{"quality": 95, **options})


def bgr(image: Image.Image) -> NDArray[np.uint8]:
    """What a decoder should return for an image."""
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def after_soi(data: bytes, *segments: bytes) -> bytes:
    """A JPEG with more segments at its start."""
    return data[:2] + b"".join(segments) + data[2:]


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """The start of a PNG that claims a size."""
    return b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    )
