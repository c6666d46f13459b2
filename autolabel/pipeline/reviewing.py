"""The review's part in a result: a document is read, applied to the answers of its image, and counted."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import orjson

from autolabel import decisions, filters
from autolabel.config import FilterConfig
from autolabel.decisions import Applied, Decision, Review
from autolabel.errors import ImageError
from autolabel.filters import Dropped
from autolabel.store import Store
from autolabel.types import Category, Detection


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The answers of an image as its review and the filters leave them.

    `applied.detections` are `kept` (best first) and those in `dropped` together; `degradations` are of the
    answers alone.
    """

    review: Review
    applied: Applied
    kept: list[Detection]
    dropped: list[Dropped]
    degradations: list[str]


def read(store: Store, image: bytes, size: tuple[int, int], revision: int | None = None) -> Review:
    """The review of an image of `size` (height, width), as it is now or was at a `revision`.

    Raises ImageError where what is kept is no review of such an image.
    """
    row = store.review(image, revision)
    if row is None:
        return Review()
    try:
        return decisions.from_json(orjson.loads(row[1]), size)
    except ValueError as error:
        raise ImageError(
            f"its review (revision {row[0]}) can't be read: {error}; decide about the image again"
        ) from None


def filtered(
    applied: Applied, categories: Sequence[Category], settings: FilterConfig
) -> tuple[list[Detection], list[Dropped]]:
    """`filters.apply` behind a review: what is rejected takes no part, a frozen image gets nothing new."""
    found = applied.detections
    gone = [Dropped(found[i], "review_rejected") for i in sorted(applied.rejected)]
    open_ = [i for i in range(len(found)) if i not in applied.rejected]
    sure = {place for place, i in enumerate(open_) if i in applied.sure}
    kept, dropped = filters.apply([found[i] for i in open_], categories, settings, sure=sure)
    if applied.frozen:
        accepted = {id(found[i]) for i in applied.sure}
        gone += [Dropped(d, "review_rejected") for d in kept if id(d) not in accepted]
        kept = [d for d in kept if id(d) in accepted]
    return kept, [*dropped, *gone]


@dataclass(frozen=True, slots=True)
class Unmet:
    """The decisions on one content, by index, that lost their answers in all of its files so far, and whether
    it was accepted on other answers than any of these has.
    """

    lost: frozenset[int]
    stale: bool


@dataclass(slots=True)
class ReviewCounts:
    """What decisions did: images by their state, and instances; `left_out` are images not exported for it.

    A `stale` image was accepted on other answers than it has now, and is `edited`.
    """

    accepted: int = 0
    rejected: int = 0
    edited: int = 0
    stale: int = 0
    added: int = 0
    relabelled: int = 0
    redrawn: int = 0
    lost: int = 0
    left_out: int = 0

    def __bool__(self) -> bool:
        return any(asdict(self).values())

    def add(self, review: Review, applied: Applied, *, left_out: bool, before: Unmet | None = None) -> Unmet:
        """Count an image; what was decided about the instances of one that is left out made no difference.

        `before` is what the last call for its content returned: files of one content may have prompts, and so
        answers, of their own, and what is met in one of them is not lost.
        """
        first = before is None
        before = before or Unmet(frozenset(range(len(review.instances))), True)
        now = Unmet(before.lost.intersection(applied.lost), before.stale and applied.stale)
        self.accepted += applied.state == "accepted"
        self.rejected += applied.state == "rejected"
        self.edited += applied.state == "edited"
        self.stale += now.stale - (not first and before.stale)
        self.left_out += left_out
        if applied.state == "rejected":
            return now
        self.lost += len(now.lost) - (0 if first else len(before.lost))
        for k, decision in enumerate(review.instances):
            if not left_out and k not in applied.lost and decision.verdict == "accepted":
                self._add_decision(decision)
        return now

    def lines(self) -> Iterator[str]:
        """Yield a line for a terminal, where anything is decided."""
        counts = asdict(self)
        images = ", ".join(f"{counts[name]} {name}" for name in ("accepted", "rejected", "edited"))
        if self.left_out:
            images += f", {self.left_out} left out"
        some = [name for name in ("added", "relabelled", "redrawn", "lost") if counts[name]]
        instances = ", ".join(f"{counts[name]} {name}" for name in some)
        if self:
            yield f"review: images {images}" + (f"; instances {instances}" if some else "")

    def warnings(self) -> Iterator[str]:
        """Yield what a reviewer should look at."""
        if self.lost:
            yield (
                f"{self.lost} decision(s) of the review found no instance any more and are not applied; "
                'open the review, where "State: outdated" shows them'
            )
        if self.stale:
            yield (
                f"{self.stale} image(s) were accepted on other answers than they have now, and count as not "
                'accepted; open the review, where "State: outdated" shows them, and look at them again'
            )

    def _add_decision(self, decision: Decision) -> None:
        if decision.origin is None:
            self.added += 1
            return
        self.relabelled += decision.category not in (None, decision.origin.category)
        self.redrawn += decision.mask not in (None, decision.origin.mask)
