"""The instances of one image: the annotation's objects and the regions of its mask pictures, put together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autolabel.formats.problems import Problem, Report, Rule
from autolabel.formats.reading import Instance
from autolabel.formats.voc.annotation import Annotation, VocObject
from autolabel.formats.voc.classes import Classes
from autolabel.formats.voc.pictures import Pixels, Regions, by_objects, by_parts

_SHOWN = 5
_VOID = 255


@dataclass(frozen=True, slots=True)
class Labels:
    """What the files of one image hold, None for what is not there or can't be read.

    `objects` and `classes` are (h, w) labels. `parts` says that there is no object picture at all, so that
    connected parts of a class are the objects.
    """

    stem: str
    annotation: Annotation | None
    objects: Pixels | None
    classes: Pixels | None
    parts: bool

    @property
    def file(self) -> str:
        """The annotation."""
        return f"Annotations/{self.stem}.xml"

    @property
    def class_picture(self) -> str:
        """The picture of the classes."""
        return f"SegmentationClass/{self.stem}.png"

    @property
    def masks(self) -> str:
        """The picture that the masks are from."""
        return self.class_picture if self.parts else f"SegmentationObject/{self.stem}.png"


def gather(labels: Labels, frame: tuple[int, int], classes: Classes, report: Report) -> list[Instance]:
    """The instances in the order of the annotation, then those that only the picture has.

    `frame` is (height, width), zeros where unknown. What is left out is reported with its count.
    """
    objects = labels.annotation.objects if labels.annotation else ()
    regions = _regions(labels, frame, classes, report)
    found: list[Instance | None] = []
    if regions is not None and labels.annotation is not None:
        _compare(len(objects), regions, labels.file, report)
    regions = regions or Regions({}, {})
    for number, each in enumerate(objects, 1):
        found.append(_instance(each, number, regions, frame, classes, labels.file, report))
    for number, mask in regions.masks.items():
        if number <= len(objects):
            continue
        class_id = classes.of_value(regions.values.get(number))
        if class_id is None:
            what = f"nothing says which class region {number} has"
            report(Problem(Rule.UNKNOWN_CLASS, f"{labels.masks}, object {number}", what, 1))
        else:
            found.append(Instance(class_id, mask, f"object {number}"))
    return [each for each in found if each is not None]


def _regions(labels: Labels, frame: tuple[int, int], classes: Classes, report: Report) -> Regions | None:
    """The regions of the mask picture; None where there is none that fits the frame."""
    objects = labels.annotation.objects if labels.annotation else ()
    class_picture = labels.classes
    if class_picture is not None and class_picture.shape != frame and not labels.parts:
        report(_wrong_size(labels.class_picture, class_picture, frame, 0))
        class_picture = None
    picture = class_picture if labels.parts else labels.objects
    if picture is None:
        return None
    try:
        if not labels.parts and picture.shape == frame:
            return by_objects(picture, class_picture)
        if labels.parts:
            regions = by_parts(picture, [(_value(each, classes), each.box_xyxy) for each in objects])
            if picture.shape == frame:
                return regions
            extra = 0 if objects else len(regions.masks)
        else:
            extra = sum(len(objects) < number < _VOID for number in np.unique(picture).tolist())
        report(_wrong_size(labels.masks, picture, frame, extra))
    except ValueError as ex:
        report(Problem(Rule.UNREADABLE_FILE, labels.masks, str(ex)))
    return None


def _wrong_size(file: str, picture: Pixels, frame: tuple[int, int], instances: int) -> Problem:
    (height, width), (image_height, image_width) = picture.shape, frame
    what = f"the picture is {width} x {height} px, the image {image_width} x {image_height}"
    return Problem(Rule.MASK_SIZE, file, what, instances)


def _value(each: VocObject, classes: Classes) -> int | None:
    """The class picture's value for an object; None where any will do, -1 where none can."""
    if not each.name or not classes.ordered:
        return None
    return classes.ids.get(each.name, -2) + 1


def _compare(count: int, regions: Regions, file: str, report: Report) -> None:
    """Report objects without a region and regions without an object."""
    missing = [number for number in range(1, count + 1) if number not in regions.masks]
    extra = [number for number in regions.masks if number > count]
    texts = [f"{_shown(missing)} without a pixel"] if missing else []
    texts += [f"{_shown(extra)} in the mask picture only"] if extra else []
    if texts:
        report(Problem(Rule.OBJECT_COUNT, file, " and ".join(texts)))


def _shown(numbers: Sequence[int]) -> str:
    listed = ", ".join(map(str, numbers[:_SHOWN]))
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"{'object' if len(numbers) == 1 else 'objects'} {listed}{more}"


def _instance(
    each: VocObject,
    number: int,
    regions: Regions,
    frame: tuple[int, int],
    classes: Classes,
    file: str,
    report: Report,
) -> Instance | None:
    """One object of the annotation; None, reported with its count, where it can't be used."""
    where, mask = f"{file}, object {number}", regions.masks.get(number)
    pictured = classes.of_value(regions.values.get(number))
    class_id = classes.ids.get(each.name) if each.name else pictured
    if class_id is None:
        rule = Rule.UNKNOWN_CLASS if each.name else Rule.BAD_OBJECT
        what = (
            f"the class {each.name[:80]!r} is not in labelmap.txt" if each.name else "the object has no name"
        )
        report(Problem(rule, where, what, 1))
        return None
    if not each.name:
        report(Problem(Rule.BAD_OBJECT, where, "the object has no name; it is the class picture's"))
    fault = _fault(each, frame)
    if fault is not None:
        rule, what = fault
        lost = mask is None and rule is not Rule.OUTSIDE_FRAME
        report(Problem(rule, where, what if lost or mask is None else f"{what}; its mask is read", int(lost)))
        if lost:
            return None
    if pictured is not None and classes.names[pictured] != classes.names[class_id]:
        what = f"the annotation says {each.name!r}, the class picture {classes.names[pictured]!r}"
        report(Problem(Rule.CLASS_DISAGREES, where, what))
    box = each.box_xyxy if fault is None or fault[0] is Rule.OUTSIDE_FRAME else None
    return Instance(class_id, mask, f"object {number}", box)


def _fault(each: VocObject, frame: tuple[int, int]) -> tuple[Rule, str] | None:
    """What is wrong with an object's box. One px outside is none: many tools count from 0."""
    if each.box_xyxy is None:
        what = (
            "the object has no box" if each.fault is Rule.BAD_OBJECT else "the box is no four numbers in px"
        )
        return each.fault, what
    x0, y0, x1, y1 = each.box_xyxy
    height, width = frame
    if x0 >= x1 or y0 >= y1:
        return Rule.BAD_GEOMETRY, "the box's corners are not in order"
    if not height:
        return None
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        return Rule.BAD_GEOMETRY, "the box lies outside of the image"
    if min(x0, y0) < -1 or x1 > width + 1 or y1 > height + 1:
        return Rule.OUTSIDE_FRAME, "the box leaves the image"
    return None
