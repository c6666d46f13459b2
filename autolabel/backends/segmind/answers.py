"""What an answer holds: pictures of masks, in every shape in which the host may hand them out.

That a request for the preview alone is answered with the bytes of a picture is what two public clients rely
on. The JSON with `masks`, `scores` and `boxes` is that of the model's worker; what the gateway makes of it is
not known, nor how nothing found looks. So the content decides, and what is not understood is an error, never
an empty answer. Pixels are read in `images`.
"""

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from autolabel.backends.reading import NOT_JSON, confidence, member, parse

__all__ = ["Found", "cost", "found_in", "is_answer", "job", "parse", "state", "video_in", "with_files"]

_FILES = ("masks", "image", "preview_mask", "video")  # keys that hold files, or addresses of files
_SUCCESS = ("success", "succeeded", "completed", "ok", "done")
_ABOUT = {"status", "infer_time", "masks_count"}  # what is no picture


@dataclass(frozen=True, slots=True)
class Found:
    """The pictures of an answer: one of each instance where `apart`, else one of all at most.

    `scores` are as many as the pictures, None where the host gives none.
    """

    pictures: tuple[bytes, ...]
    scores: tuple[float | None, ...] = ()
    apart: bool = False


def found_in(body: bytes) -> Found:
    """Read a whole answer. Raises ValueError."""
    if is_picture(body):
        return Found((body,))
    value = parse(body)
    if value is NOT_JSON:
        return Found((_picture(body.decode("ascii", "replace")),))
    if isinstance(value, Mapping) and "output" in value:
        value = value["output"]  # of the queue
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return Found((_picture(value),)) if isinstance(value, str) else _in_object(value)


def video_in(body: bytes) -> bytes:
    """The video file that an answer is, or holds. Raises ValueError."""
    if is_video(body):
        return body
    value = parse(body)
    if isinstance(value, Mapping) and "output" in value:
        value = value["output"]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, Mapping):
        value = member(value, "video", str, "the answer")
    data = _from_base64(body.decode("ascii", "replace") if value is NOT_JSON else str(value))
    if data is None or not is_video(data):
        raise ValueError("it holds no video")
    return data


def is_answer(body: bytes, value: object) -> bool:
    """Whether a body, which holds `value` as JSON, could be an answer at all."""
    if value is not NOT_JSON or is_file(body):
        return True
    data = _from_base64(body.decode("ascii", "replace"))
    return data is not None


def with_files(body: bytes, fetch: Callable[[str], bytes]) -> bytes:
    """The answer with what it points to within, as its addresses end after days. Raises what `fetch` does."""
    value = None if is_file(body) else parse(body)
    if isinstance(value, dict) and "output" in value:
        whole: Any = {**value, "output": _filled(value["output"], fetch)}
    else:
        whole = _filled(value, fetch)
    return body if whole == value or value is NOT_JSON else orjson.dumps(whole)


def job(value: object) -> str | None:
    """The name of the job that a body accepts; None where it is no such body."""
    if not isinstance(value, Mapping) or "output" in value or any(key in value for key in _FILES):
        return None
    name = value.get("request_id")
    return name if isinstance(name, str) and isinstance(value.get("status"), str) else None


def state(value: object) -> str | None:
    """The status of a job, in capitals; None where there is none."""
    found = value.get("status") if isinstance(value, Mapping) else None
    return found.upper() if isinstance(found, str) else None


def cost(value: object) -> float | None:
    """What a job cost (`metrics.cost`), where the host says it."""
    metrics = value.get("metrics") if isinstance(value, Mapping) else None
    found = metrics.get("cost") if isinstance(metrics, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < math.inf:
        return None
    return float(found)


def is_picture(data: bytes) -> bool:
    """Whether it is a JPEG, PNG or WebP file, by how it begins."""
    return data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n")) or (data[:4] + data[8:12] == b"RIFFWEBP")


def is_video(data: bytes) -> bool:
    """Whether it is an MP4, WebM or AVI file, by how it begins."""
    return data[4:8] == b"ftyp" or data.startswith(b"\x1aE\xdf\xa3") or data[:4] + data[8:12] == b"RIFFAVI "


def is_file(data: bytes) -> bool:
    return is_picture(data) or is_video(data)


def _in_object(value: object) -> Found:
    if not isinstance(value, Mapping):
        raise ValueError(f"it holds {type(value).__name__} {str(value)[:60]}, and no picture")
    if value.get("masks"):
        return _apart(value)
    for key in ("image", "preview_mask"):
        if value.get(key):
            return Found((_picture(member(value, key, str, "the answer")),))
    if _is_nothing_found(value):
        return Found((), apart=True)
    raise ValueError("it holds neither masks nor a picture, and does not say that nothing was found")


def _apart(value: Mapping[str, Any]) -> Found:
    masks = member(value, "masks", list, "the answer")
    count = value.get("masks_count", len(masks))
    if count != len(masks):
        raise ValueError(f"it holds {len(masks)} masks and counts {str(count)[:20]}")
    scores: tuple[float | None, ...] = (None,) * len(masks)
    if value.get("scores") is not None:
        scores = tuple(confidence(score) for score in member(value, "scores", list, "the answer"))
    if len(scores) != len(masks):
        raise ValueError(f"it holds {len(masks)} masks and {len(scores)} scores")
    return Found(tuple(_picture(mask) for mask in masks), scores, apart=True)


def _is_nothing_found(value: Mapping[str, Any]) -> bool:
    """Whether it says so: it counts none, or is all that the worker writes where there is none."""
    held = {key: item for key, item in value.items() if item not in (None, [], "")}
    if held.keys() - _ABOUT or held.get("masks_count", 0) != 0:
        return False
    said = str(held.get("status", "success")).lower() in _SUCCESS
    return said and (
        value.get("masks") == [] or "masks_count" in held or {"status", "infer_time"} <= held.keys()
    )


def _picture(value: object) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"a picture is {type(value).__name__} {str(value)[:60]}, not a text")
    if value.startswith(("http://", "https://")):
        raise ValueError("a picture lies elsewhere and was not fetched")
    data = _from_base64(value)
    if data is None or not is_picture(data):
        raise ValueError(f"a picture is no picture, but begins {value[:60]!r}")
    return data


def _from_base64(text: str) -> bytes | None:
    """The file in a text, as it is or as a data URI; None where there is none."""
    text = text.partition(",")[2] if text.startswith("data:") else text
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if is_file(data) else None


def _filled(value: Any, fetch: Callable[[str], bytes]) -> Any:
    """`value` with files in place of their addresses, those of the masks where there are some."""
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return f"data:;base64,{base64.b64encode(fetch(value)).decode()}"
    if isinstance(value, list):
        return [_filled(item, fetch) if isinstance(item, str) else item for item in value]
    if not isinstance(value, dict):
        return value
    keys = _FILES[:1] if value.get("masks") else _FILES
    return {
        key: _filled(item, fetch) if key in keys and isinstance(item, str | list) else item
        for key, item in value.items()
    }
