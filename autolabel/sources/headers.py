"""What the bytes of an image file say without decoding: JPEG segments, PNG chunks, the EXIF orientation.

Reading is written out here because Pillow warns through process-wide filters and reads a PNG's metadata
only together with its pixels. What Pillow makes of the rest of a file lives in `probe`.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # without DHT, JPG and DAC, which share the range
_APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
# A marker that ends entropy-coded data: not a stuffed 0xFF, not a restart, not a fill byte.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')

# What decides the pixels of a PNG and their colours. The rest is text, time, EXIF, animation or private.
_PNG_PIXELS = frozenset(
    (
        b"IHDR",
        b"PLTE",
        b"IDAT",
        b"IEND",
        b"tRNS",
        b"gAMA",
        b"cHRM",
        b"sRGB",
        b"iCCP",
        b"cICP",
        b"sBIT",
        b"pHYs",
    )
)
_PNG_TEXTS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
_ORIENTATION = 0x0112
_INTEGERS = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}  # TIFF's types that Pillow takes for a number


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """A JPEG up to its first scan: px as stored, bits per sample, the EXIF and XMP blocks.

    `tagged` says that it holds a segment that `strip_jpeg` drops.
    """

    width: int
    height: int
    bits: int
    components: int
    exif: bytes
    xmp: bytes
    tagged: bool


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment, the end-of-image marker last; coded data is skipped.

    Ends without that marker where the file does: then the image is truncated.
    """
    position = 2
    while found := _MARKER.search(data, position):
        start, marker = found.start(), data[found.start() + 1]
        if marker == EOI:
            yield marker, start, start + 2
            return
        if start + 4 > len(data):
            return
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if end < start + 4 or end > len(data):
            return
        yield marker, start, end
        position = end


def read_jpeg(data: bytes) -> JpegHeader | None:
    """The header of a JPEG, or None where the file ends before its first scan."""
    frame, exif, xmp, tagged = b"", b"", b"", False
    for marker, start, end in jpeg_segments(data):
        body = data[start + 4 : end]
        tagged = tagged or _is_metadata(marker, body)
        if marker == _APP1 and body.startswith(b"Exif\0\0"):
            exif += body[6:]
        elif marker == _APP1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = body
        elif marker in _SOF:
            frame = body
        elif marker == SOS and len(frame) >= 6:
            bits, height, width, components = struct.unpack_from(">BHHB", frame)
            return JpegHeader(width, height, bits, components, exif, xmp, tagged)
    return None


def strip_jpeg(data: bytes) -> bytes | None:
    """The same JPEG without metadata and without what follows its end; None where it has no end.

    JFIF, the ICC profile and Adobe's colour transform stay: they decide how the pixels look.
    """
    pieces, kept = [], 0
    for marker, start, end in jpeg_segments(data):
        if marker == EOI:
            pieces.append(data[kept:end])
            return b"".join(pieces)
        if _is_metadata(marker, data[start + 4 : start + 16]):
            pieces.append(data[kept:start])
            kept = end
    return None


def read_png(data: bytes) -> tuple[bytes, bool] | None:
    """(the PNG without pixels, whether `strip_png` drops anything); None where it ends before its pixels do.

    EXIF and XMP may follow the pixels, so their chunks are moved before an empty IDAT, where Pillow's header
    reader finds them.
    """
    head, tagged, pixels = [data[:8]], False, False
    for name, start, end in _png_chunks(data):
        pixels = pixels or name == b"IDAT"
        tagged = tagged or name not in _PNG_PIXELS
        text = name in (b"iTXt", b"tEXt", b"zTXt") and data.startswith(_PNG_TEXTS, start + 8)
        if name in (b"IHDR", b"PLTE", b"tRNS", b"eXIf") or text:
            head.append(data[start:end])
    head.append(b"\0\0\0\0IDAT\x35\xaf\x06\x1e")
    return (b"".join(head), tagged) if pixels else None


def strip_png(data: bytes) -> bytes | None:
    """The same PNG as one still picture with its colour space and transparency; None where it has no end."""
    pieces, name, end = [data[:8]], b"", 0
    for name, start, end in _png_chunks(data):
        if name in _PNG_PIXELS:
            pieces.append(data[start:end])
    return b"".join(pieces) if name == b"IEND" and end <= len(data) else None


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """The orientation, 1 to 8, that an EXIF block states, or else an XMP packet; 1 where neither does.

    What is damaged or out of range counts as 1, as it does for Pillow's `ImageOps.exif_transpose`.
    """
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    value = _exif_orientation(exif)
    if value is None and (found := _XMP_ORIENTATION.search(xmp)):
        value = int(found[1])
    return value if value is not None and 1 <= value <= 8 else 1


def _is_metadata(marker: int, body: bytes) -> bool:
    if marker == _APP2:
        return not body.startswith(b"ICC_PROFILE\0")
    return marker == _COM or (_APP1 <= marker <= _APP15 and marker != _APP14)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of each chunk up to IEND; `end` lies beyond the file where the file is cut."""
    position = 8
    while position + 8 <= len(data):
        name = data[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        yield name, position, end
        if name == b"IEND":
            return
        position = end


def _exif_orientation(exif: bytes) -> int | None:
    """The tag's value in the first directory, None where it is missing or no integer."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return None
    (offset,) = struct.unpack_from(order + "I", exif, 4)
    if offset + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(order + "H", exif, offset)
    for entry in range(offset + 2, min(offset + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind, length = struct.unpack_from(order + "HHI", exif, entry)
        code = _INTEGERS.get(kind, "")
        if tag == _ORIENTATION and code and 1 <= length * struct.calcsize(code) <= 4:
            return int(struct.unpack_from(order + code, exif, entry + 8)[0])
    return None
