"""What a host gets of an image: within its limits, upright, without metadata. Tiles are cut elsewhere."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ImageError
from autolabel.sources.decode import decode, fitted, resize, stripped, verify
from autolabel.sources.probe import Info
from autolabel.types import Picture

JPEG_QUALITY = 95
_LOWER_QUALITIES = (90, 80, 70, 60)
_SMALLER_QUALITY = 80  # with fewer pixels: below it, sharp edges suffer more than from scaling down
_LEAST_SIDE = 32  # px; nothing can be labelled in less
_PNG_DEPTH = 24  # the byte of the header that states bits per sample


def fit(
    file_name: str, data: bytes, info: Info, *, max_side: int | None, max_base64_bytes: int | None
) -> Picture:
    """The image as a host gets it: upright, with a longer side of at most `max_side` px.

    An upright file that is within both limits is sent as it is, less its metadata, once it is known to be
    whole. Others become JPEG, of lower quality and then of smaller size where `max_base64_bytes` asks for it.
    Raises ImageError for what can't be decoded, or can't be made small enough.
    """
    kept = _as_it_is(data, info, max_side, max_base64_bytes)
    if kept is not None:
        return Picture(file_name, info.width, info.height, kept)
    pixels = decode(data, info, max_side=max_side)
    for smaller, quality in _attempts(pixels):
        body = encode_jpeg(smaller, quality)
        if _fits(body, max_base64_bytes):
            height, width = smaller.shape[:2]
            return Picture(file_name, width, height, body)
    raise ImageError(f"can't be made small enough for the host's limit of {max_base64_bytes} base64 bytes")


def encode_jpeg(pixels: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    """A JPEG file of (h, w, 3) BGR pixels. Raises ImageError beyond the 65,500 px that JPEG can hold."""
    try:
        done, body = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as ex:
        raise ImageError(f"can't be encoded as JPEG: {ex}") from ex
    if not done:
        height, width = pixels.shape[:2]
        raise ImageError(
            f"can't be encoded as JPEG, which holds at most 65500 px a side, not {width} x {height}"
        )
    return body.tobytes()


def _as_it_is(data: bytes, info: Info, max_side: int | None, max_base64_bytes: int | None) -> bytes | None:
    """The file without its metadata where it may be sent so, else None."""
    jpeg = info.format == "JPEG" and info.mode in ("L", "RGB")
    # Hosts may composite alpha or clip 16 bits: what they would see must be what is exported.
    png = info.format == "PNG" and info.mode in ("L", "RGB", "P") and data[_PNG_DEPTH] == 8
    too_large = max_side is not None and max(info.width, info.height) > max_side
    if info.orientation != 1 or too_large or not (jpeg or png):
        return None
    kept = stripped(data, info)
    if (png and b"tRNS" in kept) or not _fits(kept, max_base64_bytes):
        return None
    verify(data, info)
    return kept


def _attempts(pixels: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """(pixels, quality), best first: lower qualities, then sides of 0.8, 0.64 ... of the whole."""
    yield pixels, JPEG_QUALITY
    for quality in _LOWER_QUALITIES:
        yield pixels, quality
    height, width = pixels.shape[:2]
    side = max(height, width) * 4 // 5
    while side >= _LEAST_SIDE:
        yield resize(pixels, fitted(width, height, side)), _SMALLER_QUALITY
        side = side * 4 // 5


def _fits(body: bytes, max_base64_bytes: int | None) -> bool:
    return max_base64_bytes is None or 4 * -(-len(body) // 3) <= max_base64_bytes
