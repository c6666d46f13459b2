"""Checks what a page decided before it is kept, and tells which answer each decision stands for."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson

from autolabel import decisions
from autolabel.decisions import Decision, How, Origin, Review, Verdict
from autolabel.geometry import rle
from autolabel.pipeline.question import Question
from autolabel.pipeline.results import Labelled, answered, detections_of
from autolabel.review.problems import Changed, Refused
from autolabel.store import Store
from autolabel.types import Category, Detection


@dataclass(frozen=True, slots=True)
class Answers:
    """The answered instances of an image of `size` (height, width), their ids and the answers digest."""

    detections: Sequence[Detection]
    ids: Sequence[str]
    digest: str
    size: tuple[int, int]
    categories: Sequence[Category]

    def origin(self, place: int) -> Origin:
        """What a decision on an answer remembers of it."""
        d = self.detections[place]
        key = d.asked.key if d.asked else d.prompt
        return Origin(self.ids[place], self.categories[d.class_id].name, key, d.confidence, d.mask)

    @property
    def origins(self) -> dict[str, Origin]:
        """What decisions remember of the answers, by their ids."""
        return {id_: self.origin(place) for place, id_ in enumerate(self.ids)}


def answers_of(store: Store, asked: Question, categories: Sequence[Category], entry: Labelled) -> Answers:
    """The answers to an image as they are now. Raises ImageError where a labelling takes one away."""
    detections = detections_of(answered(store, asked, entry))
    ids = decisions.instance_ids(detections)
    digest = decisions.answers_digest(ids)
    return Answers(detections, ids, digest, (entry.height, entry.width), categories)


def filled(document: object, known: Mapping[str, Origin]) -> object:
    """A document as a page may shorten it, made whole: what it leaves out, and answers that it names alone.

    An id in place of a decision accepts that answer together with its image. What is no such document stays
    as it is, for `decisions.from_json` to refuse.
    """
    if not isinstance(document, dict) or not isinstance(document.get("instances"), list):
        return document
    instances = [_filled(each, known) for each in document["instances"]]
    return {"verdict": None} | document | {"instances": instances}


def _filled(decision: object, known: Mapping[str, Origin]) -> object:
    if isinstance(decision, str):
        decision = {"verdict": "accepted", "origin": {"id": decision}, "how": "image"}
    if not isinstance(decision, dict):
        return decision
    whole = {"origin": None, "category": None, "counts": None} | decision
    origin = whole["origin"]
    id_ = origin.get("id") if isinstance(origin, dict) else None
    if isinstance(id_, str) and id_ in known:
        whole["origin"] = decisions.origin_json(known[id_])
    return whole


def checked(
    document: object,
    answers: Answers,
    others: Collection[Answers],
    stored: Review,
    history: Callable[[], list[Review]],
) -> Review:
    """The review that a page sent in place of the `stored` one, with origins and times of our own.

    `others` are the answers to further files of its content. What an earlier review of the image said, as
    `history` has them, may be said again: so an undo is never refused. Raises Refused for what is no review
    of this image, and Changed for a verdict on other answers.
    """
    earlier = _Earlier(stored, history)
    known = {id_: origin for these in (*others, answers) for id_, origin in these.origins.items()}
    named = _named(document)
    known = (earlier.origins(named - known.keys()) if not named <= known.keys() else {}) | known
    unknown = sorted(named - known.keys())
    if unknown:
        raise Refused(f"{unknown[0]!r} is no answer of this image; reload")
    try:
        review = decisions.from_json(filled(document, known), answers.size)
    except ValueError as error:
        raise Refused(str(error)) from None
    before = {_sign(d): d.at for d in stored.instances}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    names = {category.name for category in answers.categories}
    for i, decision in enumerate(review.instances):
        own = decision.category
        if own is not None and own not in names and not earlier.has(decision):
            raise Refused(f"instances[{i}] has the class {own!r}, which is not in the config")
    instances = tuple(replace(d, at=before.get(_sign(d)) or now) for d in review.instances)
    made_on = review.made_on if review.verdict is not None else ""
    same = (review.verdict, made_on) == (stored.verdict, stored.made_on)
    is_present = made_on in {these.digest for these in (answers, *others)}
    known_verdict = same or is_present or earlier.judged(review.verdict, made_on)
    if review.verdict is not None and not known_verdict:
        raise Changed("the answers of this image are not those that the verdict was made on; reload")
    changed = not same or instances != stored.instances
    return Review(review.verdict, made_on, now if changed else stored.at or now, instances)


def is_same(review: Review, stored: tuple[int, Review]) -> bool:
    """Whether a checked review says what is stored with a revision, so that there is nothing to keep."""
    revision, before = stored
    return review == before if revision else replace(review, at="") == Review()


class _Earlier:
    """What was said about an image before; older reviews are read where the present one does not tell."""

    def __init__(self, stored: Review, history: Callable[[], list[Review]]) -> None:
        self._reviews = [stored]
        self._history: Callable[[], list[Review]] | None = history

    def origins(self, wanted: Collection[str]) -> dict[str, Origin]:
        found: dict[str, Origin] = {}
        for review in self._each():
            found = {d.origin.id: d.origin for d in review.instances if d.origin is not None} | found
            if found.keys() >= set(wanted):
                break
        return found

    def has(self, decision: Decision) -> bool:
        sign = _sign(decision)
        return any(sign == _sign(each) for review in self._each() for each in review.instances)

    def judged(self, verdict: str | None, made_on: str) -> bool:
        return any((review.verdict, review.made_on) == (verdict, made_on) for review in self._each())

    def _each(self) -> Iterator[Review]:
        yield from list(self._reviews)
        if self._history is not None:
            older, self._history = self._history(), None
            self._reviews += older
            yield from older


def _named(document: object) -> set[str]:
    """The ids of the answers that a document decides on."""
    instances = document.get("instances") if isinstance(document, dict) else None
    each = instances if isinstance(instances, list) else []
    origins = [one.get("origin") if isinstance(one, dict) else one for one in each]
    ids = [origin.get("id") if isinstance(origin, dict) else origin for origin in origins]
    return {id_ for id_ in ids if isinstance(id_, str)}


class _SlimOrigin(msgspec.Struct):
    id: str


class _SlimDecision(msgspec.Struct, omit_defaults=True):
    """A decision without what a page can do without."""

    verdict: Verdict
    origin: _SlimOrigin | None = None
    category: str | None = None
    counts: str | None = None
    how: How = ""
    part_of: str = ""


class _SlimReview(msgspec.Struct, omit_defaults=True):
    instances: list[_SlimDecision]
    verdict: Verdict | None = None
    made_on: str = ""


class _Shown(msgspec.Struct, omit_defaults=True):
    """What a page gets of a review. Most decisions accept an answer with its image, and are its id alone."""

    instances: list[_SlimDecision | str]
    verdict: Verdict | None = None
    made_on: str = ""


def _shown(review: _SlimReview) -> _Shown:
    return _Shown([_short(d) for d in review.instances], review.verdict, review.made_on)


def _short(decision: _SlimDecision) -> _SlimDecision | str:
    says_more = decision != _SlimDecision("accepted", decision.origin, how="image")
    return decision if says_more or decision.origin is None else decision.origin.id


def shown(
    stored: tuple[int, Review], answers: Answers, others: Mapping[int, Answers] | None = None
) -> dict[str, Any]:
    """What a page gets of a kept review: revision, document, and the place of each decision.

    The document is short: answers that are there are named by their id alone. `others` are the answers of
    further files with the same content, by number; "of" has the places in those where they are others.
    """
    revision, review = stored
    own = _places(review, answers)
    differ = {number: _places(review, those) for number, those in (others or {}).items()}
    slim = msgspec.convert(decisions.to_json(review), _SlimReview)
    told = msgspec.to_builtins(_shown(slim))
    for k in {k for places in (own, *differ.values()) for k in places["lost"]}:
        origin = review.instances[k].origin
        if origin is not None:
            whole = {"origin": decisions.origin_json(origin)}
            told["instances"][k] = msgspec.to_builtins(slim.instances[k]) | whole
    of = {str(number): places for number, places in differ.items() if places != own}
    return {"revision": revision, "review": told, **own, **({"of": of} if of else {})}


def _places(review: Review, answers: Answers) -> dict[str, list[Any]]:
    applied = decisions.apply(review, answers.detections, answers.categories)
    return {"lost": list(applied.lost), "matched": list(applied.matched)}


def placed(
    document: bytes, size: tuple[int, int], ids: Sequence[str], names: Collection[str]
) -> dict[str, Any] | None:
    """`shown` of a kept document, less its revision, where ids tell the places; else None, or for no review.

    Of masks only those are looked at that a page gets: drawn ones, of an image of `size` (height, width).
    """
    places = {id_: place for place, id_ in enumerate(ids)}
    matched: list[int | None] = []
    try:
        slim = msgspec.json.decode(document, type=_SlimReview)
        for decision in slim.instances:
            if decision.category is not None and decision.category not in names:
                return None
            drawn = decision.counts
            if drawn is not None and not rle.area(rle.from_coco({"size": size, "counts": drawn}, size)):
                return None
            if decision.origin is None and None in (decision.category, decision.counts):
                return None
            matched.append(None if decision.origin is None else places.pop(decision.origin.id))
    except (msgspec.DecodeError, ValueError, KeyError):  # another answer's, or no review
        return None
    return {"review": orjson.Fragment(msgspec.json.encode(_shown(slim))), "lost": [], "matched": matched}


def _sign(decision: Decision) -> Decision:
    """A decision without its time, to tell whether two say the same."""
    return replace(decision, at="")
