"""Checks what a page decided before it is kept, and tells which answer each decision stands for."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from autolabel import decisions
from autolabel.decisions import Decision, Origin, Review
from autolabel.review.problems import Changed, Refused
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


def checked(document: object, answers: Answers, stored: Review) -> Review:
    """The review that a page sent in place of the `stored` one, with origins and times of our own.

    Raises Refused for what is no review of this image, and Changed for a verdict on other answers.
    """
    try:
        review = decisions.from_json(document, answers.size)
    except ValueError as error:
        raise Refused(str(error)) from None
    known = {d.origin.id: d.origin for d in stored.instances if d.origin is not None}
    known |= {id_: answers.origin(place) for place, id_ in enumerate(answers.ids)}
    before = {_sign(d): d.at for d in stored.instances}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    names = {category.name for category in answers.categories}
    instances = []
    met: set[str] = set()
    for i, decision in enumerate(review.instances):
        origin = decision.origin
        if origin is not None:
            if origin.id not in known:
                raise Refused(
                    f"instances[{i}] decides on {origin.id}, which is no answer of this image; reload"
                )
            if origin.id in met:
                raise Refused(
                    f"instances[{i}] decides on {origin.id} a second time; send one decision for each"
                )
            met.add(origin.id)
            origin = known[origin.id]
        mine = replace(decision, origin=origin)
        sign = _sign(mine)
        if mine.category is not None and mine.category not in names and sign not in before:
            raise Refused(f"instances[{i}] has the class {mine.category!r}, which is not in the config")
        instances.append(replace(mine, at=before.get(sign) or now))
    made_on = review.made_on if review.verdict is not None else ""
    same = (review.verdict, made_on) == (stored.verdict, stored.made_on)
    if review.verdict is not None and not same and made_on != answers.digest:
        raise Changed("the answers of this image are not those that the verdict was made on; reload")
    changed = not same or instances != list(stored.instances)
    return Review(review.verdict, made_on, now if changed else stored.at or now, tuple(instances))


def shown(stored: tuple[int, Review], answers: Answers) -> dict[str, Any]:
    """What a page gets of a kept review: revision, document, and the place of each decision."""
    revision, review = stored
    applied = decisions.apply(review, answers.detections, answers.categories)
    return {
        "revision": revision,
        "review": decisions.to_json(review),
        "lost": list(applied.lost),
        "matched": list(applied.matched),
    }


def placed(document: bytes, ids: Sequence[str], names: Collection[str]) -> dict[str, Any] | None:
    """The places of a kept document's decisions where their ids tell, without masks; else None."""
    places = {id_: place for place, id_ in enumerate(ids)}
    matched: list[int | None] = []
    try:
        for decision in orjson.loads(document)["instances"]:
            origin, category = decision["origin"], decision["category"]
            place = None if origin is None else places.pop(origin["id"])
            if category is not None and category not in names:
                return None
            matched.append(place)
    except (ValueError, KeyError, TypeError):  # another answer's, or no review
        return None
    return {"lost": [], "matched": matched}


def _sign(decision: Decision) -> Decision:
    """A decision without its time, to tell whether two say the same."""
    return replace(decision, at="")
