"""What the review counts by, without masks: of each image's answers their scores and areas, and who shares
pixels with whom. Derived from the answers, kept beside them, and made again where the question changes.
"""

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import orjson

from autolabel import decisions
from autolabel.geometry.rle import measure
from autolabel.geometry.shared import shared_pixels
from autolabel.pipeline.inventory import answer_rows
from autolabel.pipeline.question import Question
from autolabel.store import Store
from autolabel.types import Detection, ImageItem, Prompt

_LAYOUT = 1  # of what is packed; part of the question's digest
_HEAD = struct.Struct("<II8s")  # instances, pairs, answers digest
_ID_BYTES = 8
_WIDTHS = (8, 4, 2, _ID_BYTES, 4, 4, 4)  # bytes an entry of each part, in this order


@dataclass(frozen=True, slots=True)
class Glance:
    """Figures of the n answered instances of an image, in answer order, as little-endian bytes.

    `score` float64 (NaN = none), `area` uint32 in pixels, `prompt` uint16 (place among the image's prompts),
    `ids` the first 8 bytes of each instance id; `first`, `second`, `shared` uint32: pairs of instances, first
    before second, and the pixels that they share. `digest` is the answers digest.
    """

    count: int
    pairs: int
    digest: str
    score: bytes
    area: bytes
    prompt: bytes
    ids: bytes
    first: bytes
    second: bytes
    shared: bytes


NOTHING = Glance(0, 0, decisions.answers_digest(()), b"", b"", b"", b"", b"", b"", b"")


def question_digest(asked: Question, item: ImageItem, prompts: Sequence[Prompt]) -> bytes:
    """What tells whether a kept glance is of the answers to `prompts`, and in their order."""
    asks = [(asked.asker(p).source_of(p, item), p.key, asked.asker(p).floor) for p in prompts]
    return blake2b(orjson.dumps([_LAYOUT, asks]), digest_size=16).digest()


def answers(
    store: Store, asked: Question, item: ImageItem, image: bytes, prompts: Sequence[Prompt]
) -> list[Detection] | None:
    """All answered instances of an image in answer order, `prompt` being the key; None where one lacks."""
    rows = answer_rows(store, asked, item, image, prompts)
    return None if rows is None else [detection for row in rows for detection in row.detections]


def make(detections: Sequence[Detection], prompts: Sequence[Prompt]) -> Glance:
    """The figures of an image's answers, whose `prompt` is the key of one of `prompts`."""
    places = {prompt.key: place for place, prompt in enumerate(prompts)}
    ids = decisions.instance_ids(detections)
    masks = [d.mask for d in detections]
    areas, _ = measure(masks)
    first, second, shared = shared_pixels(masks, areas)
    scores = [np.nan if d.confidence is None else d.confidence for d in detections]
    return Glance(
        len(detections),
        len(first),
        decisions.answers_digest(ids),
        np.array(scores, "<f8").tobytes(),
        areas.astype("<u4").tobytes(),
        np.array([places[d.prompt] for d in detections], "<u2").tobytes(),
        bytes.fromhex("".join(text.partition("~")[0] for text in ids)),
        first.astype("<u4").tobytes(),
        second.astype("<u4").tobytes(),
        shared.astype("<u4").tobytes(),
    )


def pack(glance: Glance) -> bytes:
    """The bytes that the store keeps."""
    parts = (glance.score, glance.area, glance.prompt, glance.ids, glance.first, glance.second, glance.shared)
    head = _HEAD.pack(glance.count, glance.pairs, bytes.fromhex(glance.digest))
    return head + b"".join(parts)


def unpack(data: bytes) -> Glance | None:
    """A kept glance; None for what is none."""
    if len(data) < _HEAD.size:
        return None
    count, pairs, digest = _HEAD.unpack_from(data)
    parts, at = [], _HEAD.size
    for width, many in zip(_WIDTHS, (count,) * 4 + (pairs,) * 3, strict=True):
        parts.append(data[at : at + width * many])
        at += width * many
    return Glance(count, pairs, digest.hex(), *parts) if at == len(data) else None


def numbered(ids: bytes) -> list[str]:
    """Instance ids of a glance's `ids`, as `decisions.instance_ids` gives them."""
    met: Counter[str] = Counter()
    found = []
    for at in range(0, len(ids), _ID_BYTES):
        plain = ids[at : at + _ID_BYTES].hex()
        found.append(f"{plain}~{met[plain]}" if met[plain] else plain)
        met[plain] += 1
    return found


def keep(
    store: Store, asked: Question, item: ImageItem, image: bytes, prompts: Sequence[Prompt]
) -> Glance | None:
    """Make the glance of an image and keep it; None where an answer lacks."""
    found = answers(store, asked, item, image, prompts)
    if found is None:
        return None
    glance = make(found, prompts)
    store.put_glance(image, question_digest(asked, item, prompts), pack(glance))
    return glance
