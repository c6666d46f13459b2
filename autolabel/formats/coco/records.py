"""The records of a COCO file, decoded one by one, so that a bad one costs itself alone."""

import json
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

Identifier = int | float | str
BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError)


class Header(Struct):
    """What is read of every file before the images: a fraction of its memory."""

    categories: list[Raw] = []


class Contents(Header):
    """A file: its records as they stand there."""

    images: list[Raw] = []
    annotations: list[Raw] = []


class Image(Struct):
    """One of `images`; px as stated."""

    id: Identifier | None = None
    file_name: str | None = None
    width: int | float | None = None
    height: int | float | None = None


class Category(Struct):
    """One of `categories`."""

    id: Identifier
    name: str


class Annotation(Struct):
    """One of `annotations`; its mask waits as it stands there. `bbox` is (x, y, w, h) in px."""

    image_id: Identifier
    category_id: Identifier
    id: Identifier | None = None
    segmentation: Raw = Raw(b"null")
    bbox: tuple[float, float, float, float] | None = None
    area: float | None = None
    iscrowd: int | bool | None = None
    score: float | None = None
    prompt: str | None = None
    track_id: int | None = None


AnyContents = TypeVar("AnyContents", bound=Header)
_annotation = msgspec.json.Decoder(Annotation)
_object = msgspec.json.Decoder(dict[str, Raw])
_decoders = {
    field.name: msgspec.json.Decoder(field.type)
    for field in msgspec.structs.fields(Annotation)
    if field.name != "segmentation"
}
image = msgspec.json.Decoder(Image).decode
category = msgspec.json.Decoder(Category).decode


def parse_file(data: bytes, kind: type[AnyContents]) -> tuple[AnyContents, bool]:
    """A file, and whether it is strict JSON: NaN and Infinity, which Python writes, become null.

    Raises ValueError, saying what is wrong and where.
    """
    try:
        return msgspec.json.decode(data, type=kind), True
    except BAD as error:
        reason = str(error)
    try:
        return msgspec.json.decode(msgspec.json.encode(json.loads(data)), type=kind), False
    except (ValueError, *BAD):
        raise ValueError(f"is no COCO file: {reason}") from None


def annotation(raw: Raw) -> tuple[Annotation, list[str]]:
    """An annotation, and the optional keys that hold what they can't, which count as missing.

    Raises one of BAD, or TypeError where it names no image or no category.
    """
    try:
        return _annotation.decode(raw), []
    except msgspec.ValidationError:
        values = _object.decode(raw)
    kept: dict[str, Any] = {"segmentation": values.get("segmentation", Raw(b"null"))}
    wrong = []
    for name, decoder in _decoders.items():
        if name in values:
            try:
                kept[name] = decoder.decode(values[name])
            except msgspec.ValidationError:
                wrong.append(name)
    return Annotation(**kept), wrong


def identifier(value: Identifier) -> int | str:
    """An id as readers compare it: 3.0 is 3."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else str(value)
    return value


def shown(text: object) -> str:
    """A name of unknown origin, cut and printable."""
    return str(text)[:200].encode("utf-8", "backslashreplace").decode()
