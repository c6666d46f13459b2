"""What an image is, from its header alone: size, type, orientation. Pixels are read in `decode`."""

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from autolabel.errors import ImageError
from autolabel.sources import headers

MAX_PIXELS = 178_956_970  # where Pillow stops: what 512 MB hold at 3 bytes a pixel
TRUNCATED = "is truncated: the file ends before its last pixel; copy it again from where it came"

_JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
# XMP, IPTC, Photoshop, EXIF and GPS blocks of a TIFF.
_TIFF_METADATA = (700, 33723, 34377, 34665, 34853)
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_ORIENTATION = 256, 257, 274

# Pillow's classes and not Image.open: that warns about large images through filters all threads share.
_PLUGINS: dict[str, type[ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
}
_UNREADABLE = {
    b"GIF8": "GIF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "Photoshop file",
    b"\0\0\1\0": "Windows icon",
    b"%PDF": "PDF",
    b"<svg": "SVG",
}
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"}  # the other brands of images in an ISO container are HEIC's
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_quiet_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Info:
    """An image file as its header states it: px of the upright image, Pillow's names for type and mode.

    `orientation` is 1 to 8 as in EXIF; `tagged` says that there is metadata that must not be sent.
    """

    width: int
    height: int
    format: str
    orientation: int
    mode: str
    tagged: bool


def probe(data: bytes) -> Info:
    """Read the header of an image; the content decides its type, never the suffix.

    Raises ImageError for what is no image, is of a type that is not read, or is too large to decode.
    """
    kind = _format(data)
    try:
        width, height, orientation, mode, tagged = _READERS[kind](data)
    except ImageError:
        raise
    except Image.DecompressionBombError as ex:
        raise ImageError(f"has too many pixels to decode safely; scale it down ({ex})") from ex
    except Exception as ex:  # Pillow raises anything on damaged data
        raise ImageError(f"is not an image that can be read: {reason(ex)}") from ex
    if width < 1 or height < 1:
        raise ImageError(f"is not an image that can be read: its header states {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"has {width} x {height} pixels, more than the {MAX_PIXELS:,} that are safe to decode; "
            "scale it down or cut it into parts"
        )
    if orientation >= 5:
        width, height = height, width
    return Info(width, height, kind, orientation, mode, tagged)


def open_still(data: bytes, kind: str) -> ImageFile:
    """Open the first frame of an image of Pillow's type `kind`, without decoding it. Raises anything."""
    return _PLUGINS[kind](io.BytesIO(data))


def reason(ex: Exception) -> str:
    """A foreign codec's words where they were meant to be read; its other errors only say that it gave up."""
    spoken = isinstance(ex, OSError | SyntaxError | ValueError) and " " in str(ex)
    return str(ex) if spoken else "its content is damaged"


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what Pillow warns about damaged TIFF tags and large TIFFs; one thread at a time.

    Warning filters belong to the process: only Pillow's are touched, and only for TIFF, the one type whose
    header and pixels can't be read without.
    """
    with _quiet_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _format(data: bytes) -> str:
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if other := _other_format(data):
        article = "an" if other[0] in "AS" else "a"
        raise ImageError(f"is {article} {other}; autolabel reads JPEG, PNG, WebP, BMP and TIFF")
    raise ImageError("is not an image that can be read: its content is of no known image type")


def _other_format(data: bytes) -> str | None:
    brand = data[8:12]
    if data[4:8] == b"ftyp" and (brand in _BRANDS or brand in _HEIC_BRANDS):
        return _BRANDS.get(brand, "HEIC")
    return next((name for magic, name in _UNREADABLE.items() if data.startswith(magic)), None)


_Header = tuple[int, int, int, str, bool]  # width and height as stored, orientation, mode, tagged


def _jpeg(data: bytes) -> _Header:
    header = headers.read_jpeg(data)
    if header is None:
        raise ImageError(TRUNCATED)
    if header.bits != 8:
        raise ImageError(f"is a {header.bits}-bit JPEG; convert it to 8 bits")
    if header.components not in _JPEG_MODES:
        raise ImageError(f"is a JPEG with {header.components} components; convert it to RGB")
    orientation = headers.orientation(header.exif, header.xmp)
    return header.width, header.height, orientation, _JPEG_MODES[header.components], header.tagged


def _png(data: bytes) -> _Header:
    header = headers.read_png(data)
    if header is None:
        raise ImageError(TRUNCATED)
    image = open_still(header[0], "PNG")
    exif: bytes = image.info.get("exif", b"")
    if profile := image.info.get("Raw profile type exif"):
        exif = exif or _hex_profile(profile)
    xmp = image.info.get("XML:com.adobe.xmp", "")
    orientation = headers.orientation(exif, str(xmp).encode("utf-8", "replace"))
    return image.width, image.height, orientation, image.mode, header[1]


def _hex_profile(profile: str) -> bytes:
    """The EXIF block that ImageMagick writes as text: a name, a length, then hexadecimal lines."""
    try:
        return bytes.fromhex("".join(profile.split("\n")[3:]))
    except ValueError:
        return b""


def _webp(data: bytes) -> _Header:
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise ImageError(TRUNCATED)
    image = open_still(data, "WEBP")
    exif, xmp = image.info.get("exif", b""), image.info.get("xmp", b"")
    return image.width, image.height, headers.orientation(exif, xmp), image.mode, bool(exif or xmp)


def _bmp(data: bytes) -> _Header:
    image = open_still(data, "BMP")
    return image.width, image.height, 1, image.mode, False


def _tiff(data: bytes) -> _Header:
    directory = int.from_bytes(data[4:8], "little" if data.startswith(b"I") else "big")
    if data[2:4] in (b"*\0", b"\0*") and directory >= len(data):
        raise ImageError(TRUNCATED)  # many writers put the directory last
    with quiet():
        image = open_still(data, "TIFF")
        tags: Any = getattr(image, "tag_v2")  # noqa: B009 - TiffImageFile's own, and its width may be turned
        orientation = image.getexif().get(_TIFF_ORIENTATION, 1)
        tagged = any(tag in tags for tag in _TIFF_METADATA)
        width, height = int(tags[_TIFF_WIDTH]), int(tags[_TIFF_HEIGHT])
    return width, height, orientation if orientation in range(1, 9) else 1, image.mode, tagged


_READERS: dict[str, Callable[[bytes], _Header]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "BMP": _bmp,
    "TIFF": _tiff,
}
