"""Decisions: written and read without loss, found again by overlap, and never a crash."""

from dataclasses import replace

import numpy as np
import orjson
import pytest

from autolabel import decisions
from autolabel.decisions import Decision, Origin, Review
from autolabel.geometry import rle
from autolabel.types import Category, Detection

SIZE = (24, 32)
CLASSES = [Category(0, "car", ("car",)), Category(1, "cat", ("cat",))]


def box(x: int, y: int, w: int, h: int):
    mask = np.zeros(SIZE, bool)
    mask[y : y + h, x : x + w] = True
    return rle.from_bitmap(mask)


def found(mask, score: float | None = 0.9, class_id: int = 0) -> Detection:
    return Detection(class_id, score, CLASSES[class_id].name, mask)


def origin(detections, index: int) -> Origin:
    detection = detections[index]
    name = CLASSES[detection.class_id].name
    ids = decisions.instance_ids(detections)
    return Origin(ids[index], name, detection.prompt, detection.confidence, detection.mask)


ANSWERS = [found(box(0, 0, 10, 10)), found(box(15, 5, 10, 10), 0.8), found(box(0, 15, 8, 8), None, 1)]


def test_a_review_is_the_same_after_a_round_trip():
    """Everything that a review says survives JSON."""
    review = Review(
        "accepted", "00ff", "2026-01-01T00:00:00Z",
        (
            Decision("rejected", origin(ANSWERS, 2), at="2026-01-01T00:00:00Z", part_of="0123456789abcdef"),
            Decision("accepted", origin(ANSWERS, 0), "cat", box(1, 1, 5, 5), "vertices"),
            Decision("accepted", None, "car", box(9, 9, 3, 3), "box"),
        ),
    )  # fmt: skip
    assert decisions.from_json(orjson.loads(orjson.dumps(decisions.to_json(review))), SIZE) == review


def test_decisions_are_applied_to_their_answers():
    """Rejected, relabelled, redrawn and added instances are what the reviewer said, in the answers' order."""
    review = Review(
        instances=(
            Decision("rejected", origin(ANSWERS, 0)),
            Decision("accepted", origin(ANSWERS, 1), "cat", box(15, 5, 4, 4)),
            Decision("accepted", None, "car", box(20, 20, 3, 3)),
        )
    )
    applied = decisions.apply(review, ANSWERS, CLASSES)
    assert applied.detections[:3] == [
        ANSWERS[0],
        replace(ANSWERS[1], class_id=1, mask=box(15, 5, 4, 4)),
        ANSWERS[2],
    ]
    assert applied.detections[3:] == [Detection(0, None, decisions.BY_HAND, box(20, 20, 3, 3))]
    assert (applied.sure, applied.rejected) == ({1, 3}, {0})
    assert (applied.matched, applied.lost, applied.state) == ((0, 1, None), (), "edited")


def test_decisions_find_their_instance_again_by_overlap():
    """After a re-label a decision holds for what overlaps it by more than half, of its class, else it is lost."""
    review = Review(instances=tuple(Decision("accepted", origin(ANSWERS, i)) for i in range(3)))
    again = [found(box(16, 5, 10, 10), 0.7), found(box(1, 0, 10, 10), 0.6), found(box(0, 15, 8, 8), 0.9, 0)]
    applied = decisions.apply(review, again, CLASSES)
    assert applied.matched == (1, 0, None)
    assert applied.lost == (2,)
    assert applied.sure == {0, 1}


def test_an_answer_serves_one_decision_only():
    """Of two decisions that fit one new answer the one that overlaps it more has it."""
    near = [found(box(0, 0, 10, 10)), found(box(1, 0, 10, 10), 0.8)]
    review = Review(instances=tuple(Decision("accepted", origin(near, i)) for i in range(2)))
    applied = decisions.apply(review, [found(box(1, 1, 10, 10), 0.5)], CLASSES)
    assert (applied.matched, applied.lost) == ((None, 0), (0,))


def test_an_acceptance_holds_for_the_answers_it_was_made_on():
    """With other answers an accepted image is open again, a rejected one stays rejected."""
    digest = decisions.answers_digest(decisions.instance_ids(ANSWERS))
    accepted = Review("accepted", digest)
    assert decisions.apply(accepted, ANSWERS, CLASSES).frozen
    assert decisions.apply(accepted, ANSWERS, CLASSES).state == "accepted"
    stale = decisions.apply(accepted, ANSWERS[:2], CLASSES)
    assert (stale.frozen, stale.stale, stale.state) == (False, True, "edited")
    rejected = decisions.apply(Review("rejected", digest), ANSWERS[:2], CLASSES)
    assert (rejected.state, rejected.rejected) == ("rejected", {0, 1})


def test_a_class_that_is_gone_loses_its_decisions():
    """What was relabelled or added as a class that the config has no more is lost, not exported as another."""
    review = Review(
        instances=(
            Decision("accepted", origin(ANSWERS, 0), "dog"),
            Decision("accepted", None, "dog", box(1, 1, 3, 3)),
        )
    )
    applied = decisions.apply(review, ANSWERS, CLASSES)
    assert (applied.lost, applied.sure, len(applied.detections)) == ((0, 1), frozenset(), 3)


def test_a_rejection_needs_no_class():
    """What was relabelled and then rejected stays rejected when its other class goes, and takes no answer along."""
    first = replace(origin(ANSWERS, 0), id="0" * 16)
    lost, kept = Decision("accepted", first, "dog"), Decision("accepted", first)
    review = Review(instances=(Decision("rejected", origin(ANSWERS, 1), "dog"), lost, kept))
    applied = decisions.apply(review, ANSWERS, CLASSES)
    assert (applied.rejected, applied.lost, applied.matched) == ({1}, (1,), (1, None, 0))


def test_equal_answers_have_names_of_their_own():
    """The same mask twice in one image is two instances."""
    assert len(set(decisions.instance_ids([ANSWERS[0], ANSWERS[0], ANSWERS[0]]))) == 3


GOOD = decisions.to_json(Review(instances=(Decision("accepted", origin(ANSWERS, 0)),)))


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "maybe"},
        {"instances": [{"verdict": "accepted"}]},
        {"instances": GOOD["instances"] * 2},
        {"more": 1},
        {"instances": [GOOD["instances"][0] | {"counts": "nonsense \ud800"}]},
        {"instances": [GOOD["instances"][0] | {"counts": rle.empty(SIZE).counts.decode()}]},
        {"instances": [GOOD["instances"][0] | {"origin": None}]},
        {"instances": [GOOD["instances"][0] | {"category": "x" * 5000}]},
        {"instances": [GOOD["instances"][0]] * 2_001},
        {"made_on": None},
        {"made_on": "\udc00"},
    ],
)  # fmt: skip
def test_what_is_no_review_is_refused(change):
    """Whatever else comes in is a ValueError with a sentence."""
    with pytest.raises(ValueError, match=r"\w"):
        decisions.from_json(GOOD | change, SIZE)


def test_a_mask_of_another_image_is_refused():
    """A mask has to be of the image's size."""
    with pytest.raises(ValueError, match=r"size|pixels|add up"):
        decisions.from_json(GOOD, (24, 33))
