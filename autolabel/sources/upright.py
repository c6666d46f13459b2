"""The image files of a dataset: originals, or upright ones where EXIF turns them. Formats name them."""

import io
from pathlib import Path
from typing import Any

from PIL import Image

from autolabel.errors import ImageError
from autolabel.sources.decode import eight_bit, load_upright
from autolabel.sources.probe import Info, reason

# Lossless, and `exact` also where alpha hides a pixel: trainers read colours without it.
_LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "WEBP": {"lossless": True, "exact": True},
    "BMP": {},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
_JPEG: dict[str, Any] = {"quality": 95}


def is_original(info: Info, as_jpeg: bool) -> bool:
    """Whether the exported file is the original, byte for byte, so that it may be linked or copied."""
    return info.orientation == 1 and (info.format == "JPEG" or not as_jpeg)


def write_upright(data: bytes, info: Info, target: Path, *, as_jpeg: bool) -> None:
    """Write the image to `target` as a trainer should see it: upright, at full size, without EXIF.

    A turned JPEG, and anything that must be one, is written at quality 95; a turned file of another type
    stays of that type, losslessly (Pillow reads 16-bit colour as 8). The ICC profile stays where it still
    describes the pixels. Raises ImageError for what can't be decoded or encoded, OSError from writing.
    """
    target.write_bytes(data if is_original(info, as_jpeg) else _encode(data, info, as_jpeg))


def _encode(data: bytes, info: Info, as_jpeg: bool) -> bytes:
    kind = "JPEG" if as_jpeg else info.format
    buffer = io.BytesIO()
    try:
        image = load_upright(data, info)
        # A profile of inks says nothing about the red, green and blue they were converted to.
        profile = None if kind == "JPEG" and image.mode == "CMYK" else image.info.get("icc_profile")
        if kind == "JPEG":
            image = eight_bit(image)
        _drop_metadata(image)
        image.save(buffer, kind, icc_profile=profile, **(_JPEG if kind == "JPEG" else _LOSSLESS[kind]))
    except ImageError:
        raise
    except Exception as ex:  # foreign codecs raise anything
        raise ImageError(f"can't be written as {kind}: {reason(ex)}") from ex
    return buffer.getvalue()


def _drop_metadata(image: Image.Image) -> None:
    """Leave only what decides pixels: Pillow's writers take comments and more from here. Edits in place."""
    image.info = {key: value for key, value in image.info.items() if key == "transparency"}
