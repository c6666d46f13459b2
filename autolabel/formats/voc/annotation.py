"""One XML annotation of Pascal VOC: the image's size and the objects with their boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError  # defusedxml parses; these are its types

from defusedxml import DefusedXmlException, ElementTree

from autolabel.formats.problems import Problem, Report, Rule
from autolabel.types import Box

MAX_BYTES = 1 << 24
_MAX_TAGS = 500_000  # what an element takes in memory is many times its bytes
_FARTHEST = 2**31  # px: beyond, a coordinate is no measurement
_MAX_PIXELS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class VocObject:
    """An object: `name` is "" and `box_xyxy` None where there is none that can be read.

    `box_xyxy` has edge coordinates (px, ends exclusive), not checked against the image. `fault` is the rule
    that a missing box breaks.
    """

    name: str
    box_xyxy: Box | None
    fault: Rule = Rule.BAD_OBJECT


@dataclass(frozen=True, slots=True)
class Annotation:
    """`size` is (height, width) in px, None where not stated; `objects` stand in the file's order."""

    size: tuple[int, int] | None = None
    filename: str = ""
    objects: Sequence[VocObject] = ()


def parse(data: bytes, file: str, report: Report) -> Annotation | None:
    """The annotation in `data`; None for what is none, which is reported as `file`'s BAD_XML."""
    try:
        if data.count(b"<") > _MAX_TAGS:
            raise ValueError(f"has more than {_MAX_TAGS:,} tags")
        root = ElementTree.fromstring(data, forbid_dtd=True)
        if root.tag != "annotation":
            raise ValueError(f"is no <annotation> but a <{root.tag[:40]}>")
    except ParseError as ex:
        report(Problem(Rule.BAD_XML, f"{file}, line {ex.position[0]}", f"is no XML: {ex}"))
    except DefusedXmlException:
        report(
            Problem(Rule.BAD_XML, f"{file}, line 1", "has a DTD or entities, which are not read; remove them")
        )
    except Exception as ex:  # noqa: BLE001 - codecs that the file names raise anything
        report(Problem(Rule.BAD_XML, f"{file}, line 1", f"is refused: {str(ex)[:200]}"))
    else:
        return Annotation(
            _size(root), _text(root, "filename"), [_object(each) for each in root.findall("object")]
        )
    return None


def _size(root: Element) -> tuple[int, int] | None:
    try:
        height, width = (float(_text(root, f"size/{key}")) for key in ("height", "width"))
    except ValueError:
        return None
    if not (height >= 1 and width >= 1 and height * width <= _MAX_PIXELS):
        return None
    return int(height), int(width)


def _object(element: Element) -> VocObject:
    """An object; boxes of its parts are further down and not looked at."""
    name, bounds = _text(element, "name"), element.find("bndbox")
    if bounds is None:
        return VocObject(name, None)
    try:
        x0, y0, x1, y1 = (float(_text(bounds, key)) for key in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:
        return VocObject(name, None, Rule.BAD_GEOMETRY)
    if not all(abs(number) <= _FARTHEST for number in (x0, y0, x1, y1)):
        return VocObject(name, None, Rule.BAD_GEOMETRY)
    return VocObject(
        name, (x0 - 1, y0 - 1, x1, y1)
    )  # pixels count from 1 and the last one belongs to the box


def _text(element: Element, key: str) -> str:
    return (element.findtext(key) or "").strip()
