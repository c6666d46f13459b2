"""COCO's JSON as records, which are decoded one by one, so that one bad record is not the whole file.

Keys are of any type here: `identifier`, `number` and their like give None for what is not as it must be.
"""

import codecs
import math
import re
from typing import Any, TypeVar

import msgspec

from autolabel.types import Box

Id = int | str
Kept = TypeVar("Kept", bound="Categories")

BROKEN = (ValueError, RecursionError)  # what decoding a record raises: no JSON, no UTF-8, nested too deep

_ABSENT = msgspec.Raw(b"null")


class Categories(msgspec.Struct):
    """A file of which only the categories are kept, its records not yet decoded."""

    categories: list[msgspec.Raw] = []


class Contents(Categories):
    """A file, its records not yet decoded."""

    images: list[msgspec.Raw] = []
    annotations: list[msgspec.Raw] = []


class CategoryRecord(msgspec.Struct):
    """A class."""

    id: Any = None
    name: Any = None


class ImageRecord(msgspec.Struct):
    """An image."""

    id: Any = None
    file_name: Any = None
    width: Any = None
    height: Any = None


class AnnotationKey(msgspec.Struct):
    """What is needed of an annotation to know whose it is."""

    id: Any = None
    image_id: Any = None


class AnnotationRecord(msgspec.Struct):
    """An annotation, its segmentation not yet decoded."""

    id: Any = None
    category_id: Any = None
    segmentation: msgspec.Raw = _ABSENT
    bbox: Any = None
    area: Any = None
    iscrowd: Any = None
    score: Any = None
    prompt: Any = None
    track_id: Any = None


decode_category = msgspec.json.Decoder(CategoryRecord).decode
decode_image = msgspec.json.Decoder(ImageRecord).decode
decode_key = msgspec.json.Decoder(AnnotationKey).decode
decode_annotation = msgspec.json.Decoder(AnnotationRecord).decode

_MARK = codecs.BOM_UTF8
# Strings are matched as wholes and left as they are; quantifiers never step back, so this takes linear time.
_STRING_OR_CONSTANT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|(-?Infinity|NaN)', re.DOTALL)


def parse(data: bytes, kind: type[Kept]) -> tuple[Kept, str]:
    """What is kept of a file, and why strict readers would refuse it, empty where they would not.

    NaN and Infinity are read as null. Raises ValueError, saying what is wrong and where, for what is no JSON
    or not COCO's.
    """
    flaw = "" if _is_utf8(data) else "it has bytes that are no UTF-8"
    if data.startswith(_MARK):
        data, flaw = data[len(_MARK) :], "it begins with a byte order mark"
    try:
        return _decode(data, kind), flaw
    except ValueError:
        mended, constant = _without_constants(data)
        if not constant:
            raise
    return _decode(mended, kind), constant


def identifier(value: object) -> Id | None:
    """An id: a whole number or a text."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def number(value: object) -> float | None:
    """A number that is finite as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def pixels(value: object) -> int | None:
    """A width or height: a whole number above 0."""
    whole = identifier(value)
    return whole if isinstance(whole, int) and whole > 0 else None


def track(value: object) -> int | None:
    """A track id: a whole number that JSON writers of 64 bits can write again."""
    whole = identifier(value)
    return whole if isinstance(whole, int) and -(2**63) <= whole < 2**63 else None


def box_xyxy(value: object) -> Box | None:
    """The edges of a bbox [x, y, width, height]."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    x, y, width, height = map(number, value)
    if x is None or y is None or width is None or height is None or width < 0 or height < 0:
        return None
    box = (x, y, x + width, y + height)
    return box if math.isfinite(box[2]) and math.isfinite(box[3]) else None


def shown(value: object) -> str:
    """An id or a name for a message, not endless."""
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _decode(data: bytes, kind: type[Kept]) -> Kept:
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except msgspec.ValidationError as ex:
        raise ValueError(f"it is not laid out as COCO's: {ex}") from ex
    except ValueError as ex:
        position = re.search(r"\(byte (\d+)\)", str(ex))
        line = data.count(b"\n", 0, int(position[1]) if position else len(data)) + 1
        raise ValueError(f"it is no JSON: {ex}, line {line}") from ex


def _without_constants(data: bytes) -> tuple[bytes, str]:
    """The text with null for NaN and Infinity, and the first of them; empty where there is none."""
    first = ""

    def mend(match: re.Match[bytes]) -> bytes:
        nonlocal first
        if match[1] is None:
            return match[0]
        first = first or f"it has {match[1].decode()} at byte {match.start()}"
        return b"null"

    return _STRING_OR_CONSTANT.sub(mend, data), first


def _is_utf8(data: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    step = 1 << 20
    try:
        for start in range(0, len(data), step):
            decoder.decode(data[start : start + step])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
