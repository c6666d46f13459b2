"""Which detections of an image are exported, and why each of the others is not.

The order is fixed: confidence, empty, size, NMS within the class, NMS across classes, max_instances.
What is already dropped suppresses nothing. A review comes first: what it keeps is `sure`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autolabel.config import FilterConfig
from autolabel.geometry.overlap import Shapes, suppress
from autolabel.types import Category, Detection

Reason = Literal[
    "below_confidence",
    "empty_mask",
    "too_small",
    "too_large",
    "nms_same_class",
    "nms_cross_class",
    "max_instances",
    "review_rejected",
    "not_reviewed",
]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A detection that is not exported; `kept_by` is the detection that won, where one did."""

    detection: Detection
    reason: Reason
    kept_by: Detection | None = None


def apply(
    detections: Sequence[Detection],
    categories: Sequence[Category],
    settings: FilterConfig,
    *,
    sure: Collection[int] = (),
) -> tuple[list[Detection], list[Dropped]]:
    """Split one image's detections into kept and dropped, both best first.

    Best means: scored before unscored, then higher score, then larger area, then earlier. An overlap
    suppresses when it is greater than the threshold; a threshold of None turns its step off. Those in `sure`,
    by index, are better than all others and are kept, unless the mask is empty: no file could hold it.
    """
    shapes = Shapes([d.mask for d in detections])
    sure = {i for i in sure if shapes.areas[i]}
    order = sorted(
        range(len(detections)), key=lambda i: (i not in sure, *_rank(detections[i], int(shapes.areas[i])))
    )
    dropped: dict[int, Dropped] = {}
    for i in order:
        if i in sure:
            continue
        reason = _own_fault(detections[i], int(shapes.areas[i]), categories, settings)
        if reason:
            dropped[i] = Dropped(detections[i], reason)
    alive = [i for i in order if i not in dropped]

    for category in categories:
        if category.nms_iou is not None:
            mine = [i for i in alive if detections[i].class_id == category.id]
            winners = suppress(shapes, category.nms_iou, metric=settings.nms_metric, order=mine, sure=sure)
            _drop(dropped, detections, mine, winners, "nms_same_class")
    alive = [i for i in alive if i not in dropped]

    if settings.cross_class_iou is not None:
        groups = [d.class_id for d in detections]
        winners = suppress(
            shapes,
            settings.cross_class_iou,
            metric=settings.nms_metric,
            groups=groups,
            order=alive,
            sure=sure,
        )
        _drop(dropped, detections, alive, winners, "nms_cross_class")
        alive = [i for i in alive if i not in dropped]

    for category in categories:
        if category.max_instances is not None:
            mine = [i for i in alive if detections[i].class_id == category.id]
            for i in mine[category.max_instances :]:
                if i not in sure:
                    dropped[i] = Dropped(detections[i], "max_instances")
    kept = [detections[i] for i in alive if i not in dropped]
    return kept, [dropped[i] for i in order if i in dropped]


def _rank(detection: Detection, area: int) -> tuple[bool, float, int]:
    """Sort key, best first; sorting is stable, so the earlier of two equals stays first."""
    return detection.confidence is None, -(detection.confidence or 0.0), -area


def _own_fault(
    detection: Detection, area: int, categories: Sequence[Category], settings: FilterConfig
) -> Reason | None:
    """The reason that a detection is dropped for itself, not for another one."""
    category = categories[detection.class_id]
    height, width = detection.mask.size
    if detection.confidence is not None and detection.confidence < category.confidence:
        return "below_confidence"
    if area == 0:
        return "empty_mask"
    if area < category.min_area:
        return "too_small"
    if settings.max_area is not None and area > settings.max_area * width * height:
        return "too_large"
    return None


def _drop(
    dropped: dict[int, Dropped],
    detections: Sequence[Detection],
    indices: Sequence[int],
    winners: np.ndarray,
    reason: Reason,
) -> None:
    for i in indices:
        if winners[i] >= 0:
            dropped[i] = Dropped(detections[i], reason, detections[winners[i]])
