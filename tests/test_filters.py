"""Filters: what is kept equals exact pixel overlap, in the contract's order, and every drop has a reason."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolabel import filters
from autolabel.config import FilterConfig
from autolabel.geometry import rle
from autolabel.types import Category, Detection

SIZE = (24, 32)


def box(x: int, y: int, w: int, h: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y : y + h, x : x + w] = True
    return mask


def found(mask: np.ndarray, score: float | None = 0.9, class_id: int = 0, prompt: str = "a") -> Detection:
    return Detection(class_id, score, prompt, rle.from_bitmap(mask))


def classes(*overrides: dict) -> list[Category]:
    return [Category(i, "abc"[i], ("abc"[i],), **keys) for i, keys in enumerate(overrides or ({}, {}, {}))]


def apply(detections, categories=None, *, sure=(), **keys):
    categories = categories or classes(*[{"nms_iou": keys.get("nms_iou", 0.7)}] * 3)
    kept, dropped = filters.apply(detections, categories, FilterConfig(**keys), sure=sure)
    assert len(kept) + len(dropped) == len(detections)
    return kept, [(d.detection, d.reason, d.kept_by) for d in dropped]


def test_synonyms_become_one_instance():
    """Of two prompts' answers to one object the better-scored stays, and is named by the other."""
    best, worse = found(box(2, 2, 10, 10), 0.9), found(box(2, 2, 10, 9), 0.8, prompt="synonym")
    assert apply([worse, best]) == ([best], [(worse, "nms_same_class", best)])


def test_each_own_fault_has_its_reason():
    """Low score, empty mask, too small and too large are told apart, in that order."""
    low, empty, small, large = (
        found(box(0, 0, 3, 3), 0.3), found(box(0, 0, 0, 0)), found(box(0, 0, 2, 2)), found(box(0, 0, 30, 24)),
    )  # fmt: skip
    _, dropped = apply([low, empty, small, large], classes({"min_area": 5}), max_area=0.9)
    assert {id(d): reason for d, reason, _ in dropped} == {
        id(low): "below_confidence", id(empty): "empty_mask", id(small): "too_small", id(large): "too_large",
    }  # fmt: skip


def test_what_is_dropped_suppresses_nothing():
    """An instance that falls to a threshold does not take its neighbours along."""
    tall = [found(box(0, 0, 10, 10 - 2 * i), 0.9 - i / 10) for i in range(3)]
    kept, dropped = apply(tall, nms_iou=0.75)
    assert kept == [tall[0], tall[2]]
    assert dropped == [(tall[1], "nms_same_class", tall[0])]


def test_an_overlap_equal_to_the_threshold_is_let_be():
    """IoU 0.5 exactly survives a threshold of 0.5."""
    pair = [found(box(0, 0, 10, 10)), found(box(0, 0, 10, 5), 0.8)]
    assert apply(pair, nms_iou=0.5)[0] == pair
    assert apply(pair, nms_iou=0.49)[0] == pair[:1]


def test_ios_sees_a_part_inside_a_whole():
    """Intersection over the smaller drops what lies inside a better-scored instance."""
    whole, part = found(box(0, 0, 20, 20)), found(box(5, 5, 3, 3), 0.8)
    assert apply([whole, part])[0] == [whole, part]
    assert apply([whole, part], nms_metric="ios")[0] == [whole]


def test_classes_suppress_each_other_only_above_their_own_threshold():
    """Across classes cross_class_iou holds, after the classes' own NMS; null lets them overlap."""
    cup, mug = found(box(0, 0, 10, 10), 0.7, 0), found(box(0, 0, 10, 10), 0.9, 1, "b")
    assert apply([cup, mug]) == ([mug], [(cup, "nms_cross_class", mug)])
    assert apply([cup, mug], cross_class_iou=None)[0] == [mug, cup]
    assert apply([cup, mug], classes({"nms_iou": 0.1}, {"nms_iou": 0.1}), cross_class_iou=1.0)[0] == [
        mug,
        cup,
    ]


def test_max_instances_keeps_the_best_of_what_is_left():
    """The cap counts after NMS, per class."""
    row = [found(box(8 * i, 0, 6, 6), 0.9 - i / 10) for i in range(4)]
    kept, dropped = apply(row, classes({"max_instances": 2}))
    assert kept == row[:2]
    assert [reason for _, reason, _ in dropped] == ["max_instances"] * 2


def test_rank_is_scored_then_score_then_area_then_order():
    """Ties go to the larger, then to the earlier; what has no score comes last and is never below a threshold."""
    unscored, small, large, again = (
        found(box(0, 0, 9, 9), None), found(box(12, 0, 3, 3)), found(box(18, 0, 4, 4)), found(box(24, 0, 4, 4)),
    )  # fmt: skip
    assert apply([unscored, small, large, again])[0] == [large, again, small, unscored]


def test_what_is_sure_passes_every_filter_and_wins():
    """A low, small, unscored or redundant one is kept where it is sure, takes the others' place, and is named."""
    sure, better = found(box(0, 0, 10, 10), 0.1), found(box(0, 0, 10, 9), 0.9)
    other_class = found(box(0, 0, 10, 10), 0.9, 1, "b")
    assert apply([better, sure, other_class], sure=[1]) == (
        [sure],
        [(other_class, "nms_cross_class", sure), (better, "nms_same_class", sure)],
    )
    tiny = found(box(20, 20, 1, 1), None)
    assert apply([tiny], classes({"min_area": 5}), sure=[0])[0] == [tiny]


def test_sure_ones_count_first_and_are_never_too_many():
    """max_instances takes the others, though they are better scored; two sure ones let each other be."""
    row = [found(box(8 * i, 0, 6, 6), 0.9 - i / 10) for i in range(3)] + [found(box(16, 0, 6, 6), 0.2)]
    kept, dropped = apply(row, classes({"max_instances": 1}), sure=[2, 3])
    assert kept == row[2:]
    assert [reason for _, reason, _ in dropped] == ["max_instances"] * 2


def test_an_empty_mask_is_never_sure():
    """No file can hold an instance without a pixel, whatever was said of it."""
    empty = found(box(0, 0, 0, 0))
    assert apply([empty], sure=[0]) == ([], [(empty, "empty_mask", None)])


@st.composite
def scenes(draw):
    n = draw(st.integers(0, 12))
    numbers = st.integers(0, 20)
    detections = []
    for _ in range(n):
        x, y, w, h = draw(numbers), draw(numbers), draw(numbers), draw(numbers)
        mask = box(x, y, w, h)
        if draw(st.booleans()):
            mask &= ~box(x + w // 4, y + h // 4, w // 2, h // 2)
        score = draw(st.none() | st.integers(30, 99).map(lambda v: v / 100))
        detections.append(found(mask, score, draw(st.integers(0, 2))))
    return detections


@settings(deadline=None, max_examples=250)
@given(
    scenes(),
    st.sets(st.integers(0, 11), max_size=4) | st.just(set()),
    st.sampled_from([0.1, 0.5, 0.7]),
    st.sampled_from([0.3, 0.9, None]),
    st.sampled_from(["iou", "ios"]),
)
def test_kept_set_equals_exact_pixels(detections, sure, nms_iou, cross, metric):
    """The kept set and every winner equal a plain greedy NMS on full bitmaps, in which sure ones come first."""
    sure = {i for i in sure if i < len(detections)}
    kept, dropped = apply(
        detections, classes(*[{"nms_iou": nms_iou}] * 3), sure=sure, cross_class_iou=cross, nms_metric=metric
    )
    safe = {id(detections[i]) for i in sure}
    masks = {id(d): rle.to_bitmap(d.mask) for d in detections}

    def over(a, b, threshold):
        a, b = masks[id(a)], masks[id(b)]
        union = min(a.sum(), b.sum()) if metric == "ios" else (a | b).sum()
        return (a & b).sum() / union > threshold

    order = sorted(
        detections,
        key=lambda d: (id(d) not in safe, d.confidence is None, -(d.confidence or 0), -masks[id(d)].sum()),
    )
    good = [d for d in order if id(d) in safe or d.confidence is None or d.confidence >= 0.5]
    alive = [d for d in good if masks[id(d)].any()]
    winners = {}
    for threshold, same in ((nms_iou, True), (cross, False)):
        stay = []
        for d in alive if threshold is not None else []:
            rivals = [k for k in stay if (k.class_id == d.class_id) is same and over(k, d, threshold)]
            if rivals and id(d) not in safe:
                winners[id(d)] = id(rivals[0])
            else:
                stay.append(d)
        alive = stay if threshold is not None else alive
    assert [id(d) for d in kept] == [id(d) for d in alive]
    assert {id(d): id(by) for d, _, by in dropped if by} == winners
    assert {i for i in safe if i not in {id(d) for d in kept}} == {
        id(d) for d in detections if id(d) in safe and not masks[id(d)].any()
    }


@pytest.mark.parametrize("threshold", [0.7, None])
def test_nothing_in_nothing_out(threshold):
    """No detections are no trouble."""
    assert apply([], nms_iou=threshold) == ([], [])
