"""From the bytes of an image file to upright pixels. Files are made from them in `fit` and `upright`."""

from contextlib import nullcontext
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autolabel.errors import ImageError
from autolabel.sources import headers
from autolabel.sources.probe import TRUNCATED, Info, open_still, quiet, reason

_REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_COMPRESSION = 259
_TIFF_EXTENTS = ((273, 279), (324, 325))  # offsets and byte counts of strips, of tiles


def decode(data: bytes, info: Info, *, max_side: int | None = None) -> NDArray[np.uint8]:
    """The upright image as (h, w, 3) BGR pixels of 8 bits, its longer side at most `max_side` px.

    Alpha is dropped, not composited, as trainers do that read with OpenCV; 16-bit grey is divided by 256.
    Of an animation or several pages the first counts. Raises ImageError for what is truncated or damaged.
    """
    try:
        pixels = _decode_jpeg(data, info, max_side) if info.format == "JPEG" else None
        if pixels is None:
            whole = _to_bgr(eight_bit(load_upright(data, info)))
            pixels = resize(whole, fitted(info.width, info.height, max_side))
    except ImageError:
        raise
    except Exception as ex:  # foreign decoders raise anything on damaged data
        raise ImageError(f"can't be decoded: {reason(ex)}") from ex
    return pixels


def verify(data: bytes, info: Info) -> None:
    """Make sure that `decode` will do, with as little work as that takes. Raises ImageError as it does."""
    # libjpeg skips most of its work at an eighth of the size.
    decode(data, info, max_side=-(-max(info.width, info.height) // 8))


def stripped(data: bytes, info: Info) -> bytes:
    """The same pixels without metadata (JPEG and PNG; other types as they are).

    Raises ImageError for what is truncated. A JPEG without its end marker, or a PNG without its last chunk,
    counts as truncated even where a decoder would fill in the rest.
    """
    match info.format:
        case "JPEG":
            kept = headers.strip_jpeg(data)
        case "PNG":
            kept = headers.strip_png(data)
        case _:
            kept = data
    if kept is None:
        raise ImageError(TRUNCATED)
    return kept


def load_upright(data: bytes, info: Info) -> Image.Image:
    """The first frame in its own mode and depth, decoded by Pillow and turned upright.

    Raises ImageError for what is truncated, OSError and others for what is damaged.
    """
    with quiet() if info.format == "TIFF" else nullcontext():
        image = open_still(stripped(data, info), info.format)
        if _tiff_end(image) > len(data):
            raise ImageError(TRUNCATED)  # before libtiff says so on stderr
        try:
            image.load()
        except OSError as ex:
            if "truncated" in str(ex):
                raise ImageError(TRUNCATED) from ex
            raise
    upright: Image.Image = image
    if info.format == "TIFF":
        upright = image.copy()  # Pillow has turned it already; a copy is free of the file's tags
    elif info.orientation != 1:
        upright = image.transpose(_TURNS[info.orientation])
    if upright.size != (info.width, info.height):
        raise ImageError(_mismatch(upright.size, info))
    return upright


def eight_bit(image: Image.Image) -> Image.Image:
    """The image as "L" or "RGB": alpha dropped, palette and CMYK resolved, 16 bits divided by 256.

    Raises ImageError for floating-point pixels and for integers beyond 16 bits.
    """
    if image.mode == "F":
        raise ImageError("holds floating-point pixels, whose range is unknown; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        return Image.fromarray(_high_bytes(np.asarray(image)))
    # Pillow warns when it meets this on the way to RGB, and would try to keep it.
    image.info.pop("transparency", None)
    return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")


def fitted(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """(width, height) in px when the longer side is at most `max_side`; the other is rounded, at least 1."""
    longer = max(width, height)
    if max_side is None or longer <= max_side:
        return width, height
    # Whole numbers, so that a half rounds up on every machine.
    shorter = max(1, (2 * min(width, height) * max_side + longer) // (2 * longer))
    return (max_side, shorter) if width >= height else (shorter, max_side)


def resize(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The pixels averaged down to `size` (width, height); the same array where that is its size."""
    if pixels.shape[1::-1] == size:
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _decode_jpeg(data: bytes, info: Info, max_side: int | None) -> NDArray[np.uint8] | None:
    """As `decode`; None for what OpenCV does not read, so that Pillow reads it or says why it can't."""
    buffer = stripped(data, info)
    if info.mode == "CMYK":
        return None
    factor, flag = _reduction(max(info.width, info.height), max_side)
    image = cv2.imdecode(np.frombuffer(buffer, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        return None
    width, height = (info.height, info.width) if info.orientation >= 5 else (info.width, info.height)
    if image.shape != (-(-height // factor), -(-width // factor), 3):
        raise ImageError(_mismatch(image.shape[1::-1], info))
    return _turn(resize(np.asarray(image, dtype=np.uint8), fitted(width, height, max_side)), info.orientation)


def _reduction(longer: int, max_side: int | None) -> tuple[int, int]:
    """The largest factor by which libjpeg may scale while it decodes, and OpenCV's flag for it."""
    if max_side is not None:
        for factor, flag in _REDUCED:
            if -(-longer // factor) >= max_side:
                return factor, flag
    return 1, cv2.IMREAD_COLOR


def _turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Stored pixels as they are meant to be seen: the turn that EXIF's `orientation` asks for."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _to_bgr(image: Image.Image) -> NDArray[np.uint8]:
    code = cv2.COLOR_GRAY2BGR if image.mode == "L" else cv2.COLOR_RGB2BGR
    return np.asarray(cv2.cvtColor(np.asarray(image), code), dtype=np.uint8)


def _high_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ImageError("holds integers beyond 16 bits, whose range is unknown; convert it to 8 or 16 bits")
    return (values >> 8).astype(np.uint8)


def _tiff_end(image: Image.Image) -> int:
    """Where the last compressed strip or tile of a TIFF ends, in bytes from the start of the file; else 0.

    Byte counts of uncompressed ones are often wrong, and Pillow does without them.
    """
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(_TIFF_COMPRESSION, 1) == 1:
        return 0
    ends = [
        offset + count
        for offsets, counts in _TIFF_EXTENTS
        for offset, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
    ]
    return max(ends, default=0)


def _mismatch(size: tuple[int, ...], info: Info) -> str:
    stated = f"{info.width} x {info.height}"
    return f"can't be decoded: its header states {stated} px, its content has {size[0]} x {size[1]}"
