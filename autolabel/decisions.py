"""What a reviewer decided about an image: read, checked, written, and applied to the image's answers.

A review is data beside the answers, one JSON document an image. A decision holds the answer that it was made
on, mask and all, so that it finds this answer again after the image was labelled anew.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from autolabel.geometry import rle
from autolabel.geometry.shared import overlaps
from autolabel.types import RLE, Category, Detection

Verdict = Literal["accepted", "rejected"]
How = Literal["", "polygon", "box", "points", "split", "merge", "vertices", "image"]
State = Literal["new", "accepted", "rejected", "edited"]

BY_HAND = "(review)"  # the prompt of an instance that no model answered
_MOST = 2_000  # decisions on one image
_LONGEST = 4096  # characters of a name or prompt
_STILL_THERE = 0.5  # IoU above which an answer is the one that a decision was made on


@dataclass(frozen=True, slots=True)
class Origin:
    """The answer that a decision was made on; `prompt` is the prompt's key, `category` the class by name."""

    id: str
    category: str
    prompt: str
    confidence: float | None
    mask: RLE


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one instance, and when (UTC).

    Without an `origin` the instance was added. `category` (by name) and `mask` are those it has now, None
    where they are the origin's. `how` says which tool made it; "image" is accepted with its whole image.
    `part_of` is the id of the answer with whose decision it came, as a piece, a double, or merged into it.
    """

    verdict: Verdict
    origin: Origin | None = None
    category: str | None = None
    mask: RLE | None = None
    how: How = ""
    at: str = ""
    part_of: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """What was decided about one image. `made_on` is the digest of the answers that were judged then."""

    verdict: Verdict | None = None
    made_on: str = ""
    at: str = ""
    instances: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """The answers of an image as its review leaves them.

    `detections` are the answers in their order, relabelled and redrawn, then the added ones. Of these, by
    index, `sure` are kept whatever the filters say and `rejected` dropped. `matched` has the answer of each
    decision, None for added and lost ones; `lost` are those (by index) whose answer is gone. In a `frozen`
    image nothing is kept but what is sure. A `stale` one was accepted on other answers.
    """

    detections: list[Detection]
    sure: frozenset[int] = frozenset()
    rejected: frozenset[int] = frozenset()
    lost: tuple[int, ...] = ()
    matched: tuple[int | None, ...] = ()
    state: State = "new"
    frozen: bool = False
    stale: bool = False


def instance_ids(detections: Sequence[Detection]) -> list[str]:
    """The names of an image's answers: equal for equal prompt, score and mask; repeats are numbered."""
    found: list[str] = []
    times: dict[str, int] = {}
    for detection in detections:
        key = detection.asked.key if detection.asked else detection.prompt
        text = f"{key}\0{detection.confidence!r}\0".encode() + detection.mask.counts
        name = blake2b(text, digest_size=8).hexdigest()
        times[name] = times.get(name, 0) + 1
        found.append(name if times[name] == 1 else f"{name}~{times[name] - 1}")
    return found


def answers_digest(ids: Iterable[str]) -> str:
    """16 hex digits that stand for all answers of an image."""
    return blake2b("\n".join(sorted(ids)).encode(), digest_size=8).hexdigest()


class _OriginRecord(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    category: str
    prompt: str
    confidence: float | None
    counts: str


class _DecisionRecord(msgspec.Struct, forbid_unknown_fields=True):
    verdict: Verdict
    origin: _OriginRecord | None
    category: str | None
    counts: str | None
    how: How = ""
    at: str = ""
    part_of: str = ""


class _ReviewRecord(msgspec.Struct, forbid_unknown_fields=True):
    verdict: Verdict | None
    instances: list[_DecisionRecord]
    made_on: str = ""
    at: str = ""


def from_json(data: object, size: tuple[int, int]) -> Review:
    """The review in a JSON value, for an image of `size` (height, width). ValueError says what is wrong."""
    try:
        record = msgspec.convert(data, _ReviewRecord)
    except msgspec.ValidationError as error:
        raise ValueError(f"the review is not as it should be: {error}") from None
    if len(record.instances) > _MOST:
        raise ValueError(f"the review has {len(record.instances)} decisions, more than {_MOST}")
    instances = []
    for number, given in enumerate(record.instances):
        try:
            instances.append(_decision(given, size))
        except ValueError as error:
            raise ValueError(f"decision {number + 1}: {error}") from None
    origins = [d.origin.id for d in instances if d.origin is not None]
    if len(set(origins)) < len(origins):
        raise ValueError("two decisions are about the same instance")
    for text in (record.made_on, record.at):
        _check_text(text)
    return Review(record.verdict, record.made_on, record.at, tuple(instances))


def to_json(review: Review) -> dict[str, Any]:
    """The review as a JSON value."""
    return {
        "verdict": review.verdict,
        "made_on": review.made_on,
        "at": review.at,
        "instances": [
            {
                "origin": None if d.origin is None else origin_json(d.origin),
                "verdict": d.verdict,
                "category": d.category,
                "counts": None if d.mask is None else d.mask.counts.decode(),
                "how": d.how,
                "at": d.at,
                **({"part_of": d.part_of} if d.part_of else {}),
            }
            for d in review.instances
        ],
    }


def apply(review: Review, detections: Sequence[Detection], categories: Sequence[Category]) -> Applied:
    """What a review makes of the answers of its image, which are of the classes `categories`."""
    if not review.verdict and not review.instances:
        return Applied(list(detections))
    ids = instance_ids(detections)
    class_ids = {category.name: category.id for category in categories}
    matched, lost = _match(review.instances, detections, ids, class_ids)
    changed = list(detections)
    sure: set[int] = set()
    rejected: set[int] = set()
    for k, (decision, index) in enumerate(zip(review.instances, matched, strict=True)):
        if k in lost:
            continue
        if index is None:
            changed.append(_added(decision, class_ids))
        elif decision.verdict == "accepted":
            changed[index] = _as_decided(changed[index], decision, class_ids)
        place = len(changed) - 1 if index is None else index
        (sure if decision.verdict == "accepted" else rejected).add(place)
    # without one of its classes it is not what was accepted, though the answers are the same
    lacks = any(_has_no_class(decision, class_ids) for decision in review.instances)
    fresh = review.made_on == answers_digest(ids) and not lacks
    accepted = review.verdict == "accepted"
    return Applied(
        changed,
        frozenset(sure),
        frozenset(range(len(changed)) if review.verdict == "rejected" else rejected),
        tuple(lost),
        tuple(matched),
        _state(review, fresh=fresh),
        frozen=accepted and fresh,
        stale=accepted and not fresh,
    )


def _state(review: Review, *, fresh: bool) -> State:
    """Of an image about which something is decided."""
    if review.verdict == "rejected":
        return "rejected"
    if review.verdict == "accepted" and fresh:
        return "accepted"
    return "edited"


def _match(
    decisions: Sequence[Decision],
    detections: Sequence[Detection],
    ids: Sequence[str],
    class_ids: Mapping[str, int],
) -> tuple[list[int | None], list[int]]:
    """The answer of each decision, and those that have lost theirs or their class."""
    at = {name: index for index, name in enumerate(ids)}
    matched: list[int | None] = [at.pop(d.origin.id, None) if d.origin else None for d in decisions]
    gone = {k for k, decision in enumerate(decisions) if _has_no_class(decision, class_ids)}
    open_ = [(k, d.origin) for k, d in enumerate(decisions) if d.origin and matched[k] is None]
    wanted = [(k, origin) for k, origin in open_ if k not in gone and origin.category in class_ids]
    for k, index in _by_overlap(wanted, detections, sorted(at.values()), class_ids):
        matched[k] = index
    lost = [k for k, d in enumerate(decisions) if k in gone or (d.origin and matched[k] is None)]
    return [None if k in gone else index for k, index in enumerate(matched)], lost


def _has_no_class(decision: Decision, class_ids: Mapping[str, int]) -> bool:
    """Whether its own class is gone from the config; who rejects an answer does not care for its class."""
    needed = decision.origin is None or decision.verdict == "accepted"
    return needed and decision.category is not None and decision.category not in class_ids


def _by_overlap(
    wanted: Sequence[tuple[int, Origin]],
    detections: Sequence[Detection],
    free: Sequence[int],
    class_ids: Mapping[str, int],
) -> Iterator[tuple[int, int]]:
    """Pairs of a decision and an answer that nobody else has, of one class, the largest IoU first.

    Equal masks, the largest IoU there is and most of them after a re-label, are found without looking inside.
    """
    equal: dict[tuple[int, bytes], deque[int]] = {}
    for index in free:
        equal.setdefault((detections[index].class_id, detections[index].mask.counts), deque()).append(index)
    left: list[tuple[int, Origin]] = []
    taken: set[int] = set()
    for k, origin in wanted:
        same = equal.get((class_ids[origin.category], origin.mask.counts))
        if same and origin.mask != rle.empty(origin.mask.size):  # nothing is no sign of the same thing
            taken.add(same[0])
            yield k, same.popleft()
        else:
            left.append((k, origin))
    rest = [index for index in free if index not in taken]
    masks = [origin.mask for _, origin in left]
    found = overlaps(masks, [detections[index].mask for index in rest], _STILL_THERE)
    served: set[int] = set()
    for i, j, _ in sorted(found, key=lambda pair: (-pair[2], *pair[:2])):
        (k, origin), index = left[i], rest[j]
        is_one = class_ids[origin.category] == detections[index].class_id
        if is_one and k not in served and index not in taken:
            served.add(k)
            taken.add(index)
            yield k, index


def _as_decided(detection: Detection, decision: Decision, class_ids: Mapping[str, int]) -> Detection:
    class_id = detection.class_id if decision.category is None else class_ids[decision.category]
    mask = detection.mask if decision.mask is None else decision.mask
    return replace(detection, class_id=class_id, mask=mask)


def _added(decision: Decision, class_ids: Mapping[str, int]) -> Detection:
    if decision.category is None or decision.mask is None:
        raise ValueError("an instance was added without a class or a mask")
    return Detection(class_ids[decision.category], None, BY_HAND, decision.mask)


def _decision(given: _DecisionRecord, size: tuple[int, int]) -> Decision:
    for text in (given.category, given.at, given.part_of):
        _check_text(text)
    mask = None if given.counts is None else _mask(given.counts, size)
    if mask is not None and not rle.area(mask):
        raise ValueError("its mask is empty; reject the instance instead")
    if given.origin is None and (given.category is None or mask is None):
        raise ValueError("an instance that is added needs a category and counts")
    origin = None if given.origin is None else _origin(given.origin, size)
    return Decision(given.verdict, origin, given.category, mask, given.how, given.at, given.part_of)


def _origin(given: _OriginRecord, size: tuple[int, int]) -> Origin:
    for text in (given.id, given.category, given.prompt):
        _check_text(text)
    return Origin(given.id, given.category, given.prompt, given.confidence, _mask(given.counts, size))


def origin_json(origin: Origin) -> dict[str, Any]:
    """An origin as a JSON value."""
    return {
        "id": origin.id,
        "category": origin.category,
        "prompt": origin.prompt,
        "confidence": origin.confidence,
        "counts": origin.mask.counts.decode(),
    }


def _mask(counts: str, size: tuple[int, int]) -> RLE:
    return rle.from_coco({"size": size, "counts": counts}, size)


def _check_text(text: str | None) -> None:
    if text is not None and len(text) > _LONGEST:
        raise ValueError(f"a text has {len(text)} characters, more than {_LONGEST}")
    if text is not None and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"the text {text!r} holds half a character")
