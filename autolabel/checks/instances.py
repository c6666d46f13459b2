"""Rules on the instances of one image: boxes and areas that fit their masks, and masks that come twice."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from autolabel.formats.problems import Problem, Report, Rule
from autolabel.formats.reading import DatasetImage, Instance
from autolabel.geometry.overlap import Shapes, suppress
from autolabel.types import RLE

_BOX_SLACK = 2.0  # px: boxes of polygons are not whole pixels, and rasterisers disagree by half of one
_AREA_SLACK = 0.1  # a polygon's area differs from its pixels by up to half its outline
_NEAR = 0.9  # IoU
_MOST_COMPARED, _MOST_COUNTS = 1_000, 2**15  # instances, and bytes of a mask: pairs cost time and memory


def check_instances(
    image: DatasetImage, classes: Sequence[str], report: Report, *, boxes_are_exact: bool
) -> None:
    """Report what is wrong with the instances of an image.

    Where boxes are not exact (VOC: a box is of the whole object, of which others may hide a part) a mask must
    only lie inside of its box.
    """
    found = [(each, each.mask) for each in image.instances if each.mask is not None]
    where = f"{image.labels}: {image.file_name}"
    for each in image.instances:
        if each.mask is None:
            report(Problem(Rule.NO_MASK, where, f"{each.where} has only a box"))
    if not found:
        return
    shapes = Shapes([mask for _, mask in found])
    for (each, _), area, box in zip(found, shapes.areas.tolist(), shapes.boxes_xyxy.tolist(), strict=True):
        _check_stated(each, area, box, where, report, boxes_are_exact=boxes_are_exact)
    _check_same(found, classes, where, report)
    _check_near(shapes, [each for each, _ in found], where, report)


def _check_stated(
    each: Instance, area: int, box: Sequence[float], where: str, report: Report, *, boxes_are_exact: bool
) -> None:
    """Compare the box and the area that the file states with those of the mask."""
    stated = each.box_xyxy
    if stated is not None:
        beyond = [stated[0] - box[0], stated[1] - box[1], box[2] - stated[2], box[3] - stated[3]]
        off = max(map(abs, beyond) if boxes_are_exact else beyond)
        if off > _BOX_SLACK:
            what = f"{each.where} states the box {_xyxy(stated)}, its mask has {_xyxy(box)}"
            report(Problem(Rule.BOX_DISAGREES, where, what))
    outline = 2 * (box[2] - box[0] + box[3] - box[1])
    if each.area is not None and abs(each.area - area) > max(_AREA_SLACK * area, outline / 2):
        what = f"{each.where} states the area {each.area:g}, its mask has {area} px"
        report(Problem(Rule.AREA_DISAGREES, where, what))


def _check_same(
    found: Sequence[tuple[Instance, RLE]], classes: Sequence[str], where: str, report: Report
) -> None:
    """Report masks that two classes have, pixel for pixel."""
    first: dict[bytes, Instance] = {}
    for each, mask in found:
        other = first.setdefault(mask.counts, each)
        if other.class_id != each.class_id:
            what = (
                f"{each.where} ({classes[each.class_id]}) and {other.where} ({classes[other.class_id]}) "
                "have the same mask"
            )
            report(Problem(Rule.SAME_MASK, where, what))


def _check_near(shapes: Shapes, instances: Sequence[Instance], where: str, report: Report) -> None:
    """Report instances that cover the same pixels as another of their class, or nearly; crowds may.

    Noise, and what comes after the first thousand of a class in an image, is compared for equality only.
    """
    by_class: dict[int, dict[bytes, int]] = defaultdict(dict)
    for index, each in enumerate(instances):
        if each.crowd:
            continue
        same = by_class[each.class_id].setdefault(shapes.masks[index].counts, index)
        if same != index:
            what = f"{each.where} and {instances[same].where} are the same"
            report(Problem(Rule.NEAR_DUPLICATE, where, what))
    for first in by_class.values():
        order = [index for counts, index in first.items() if len(counts) <= _MOST_COUNTS][:_MOST_COMPARED]
        over = suppress(shapes, _NEAR, order=order)
        for index in np.flatnonzero(over >= 0).tolist():
            what = f"{instances[index].where} and {instances[over[index]].where}"
            report(Problem(Rule.NEAR_DUPLICATE, where, what))


def _xyxy(box: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"
