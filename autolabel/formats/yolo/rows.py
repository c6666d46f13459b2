"""The rows of a label file: a class and a box, or a class and a polygon, as shares of the image's sides."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

import cv2
import numpy as np
from numpy.typing import NDArray

from autolabel.formats.problems import Problem, Report, Rule
from autolabel.formats.reading import Instance
from autolabel.geometry import raster, rle
from autolabel.types import RLE, Box

_BOX = 5  # numbers of a box row: class, centre, width and height
_MOST_ROWS = 100_000
_MOST_POINTS = 2**21  # of a polygon
_CHUNK = 2**17  # numbers that are read at once: as text they take much memory
_MOST_WORK = 2**34  # for painting the polygons of a file; see _work
_TOLERANCE = np.float32(0.01)  # by which Ultralytics lets a box leave the image
_FAR = 1.0  # a polygon further from the image than its side is not in shares of it

_Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Frame:
    """What rows are read for: px of the upright image, the number of classes, and of numbers of keypoints."""

    width: int
    height: int
    classes: int
    keypoints: int


def read_rows(data: bytes, where: str, frame: Frame, report: Report) -> list[Instance]:
    """The instances of a label file; each row is yielded or reported as skipped."""
    polygons = any(_is_polygon(line, frame.keypoints) for _, line in _lines(data))
    rows = _Rows(where, frame, report, polygons)
    found: list[Instance] = []
    left_out = 0
    for count, (number, line) in enumerate(_lines(data)):
        if count >= _MOST_ROWS:
            left_out += 1
            continue
        try:
            found.append(rows.read(number, line))
        except _Skipped as ex:
            report(Problem(ex.rule, f"{where} line {number}", ex.what, instances=1))
    if left_out:
        what = f"has more than {_MOST_ROWS:,} rows; the rest is skipped"
        report(Problem(Rule.UNREADABLE_FILE, where, what, instances=left_out))
    return found


def count_rows(data: bytes) -> int:
    """The number of rows that are not blank."""
    return sum(1 for _ in _lines(data))


def is_label(data: bytes) -> bool:
    """Whether a text looks like a label: it begins with a row of five numbers or more."""
    line = next((line for _, line in _lines(data)), "")
    try:
        return _numbers(line).size >= _BOX
    except _Skipped:
        return False


class _Skipped(Exception):
    """A row that is not an instance, and why."""

    def __init__(self, rule: Rule, what: str) -> None:
        super().__init__(what)
        self.rule = rule
        self.what = what


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that are not blank; bytes that are no UTF-8 make no numbers."""
    with io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, line


def _is_polygon(line: str, keypoints: int) -> bool:
    count = len(line.split(None, _BOX + max(1, keypoints)))
    return count > _BOX + 1 and not (keypoints and count == _BOX + keypoints)


def _numbers(line: str) -> _Numbers:
    """The numbers of a row as Ultralytics reads them."""
    chunks: list[_Numbers] = []
    rest, count = line, 0
    while rest:
        words = rest.split(None, _CHUNK)
        rest = words.pop() if len(words) > _CHUNK else ""
        count += len(words)
        if count > 2 * _MOST_POINTS + 1:
            raise _Skipped(Rule.BAD_GEOMETRY, f"the polygon has more than {_MOST_POINTS:,} points")
        try:
            with np.errstate(over="ignore"):
                chunks.append(np.array(words, np.float32))
        except ValueError:
            raise _Skipped(Rule.BAD_ROW, f"is not made of numbers: {line[:60].strip()!r}") from None
    numbers = np.concatenate(chunks) if chunks else np.empty(0, np.float32)
    if not np.isfinite(numbers).all():
        raise _Skipped(Rule.BAD_ROW, "has a number that is not finite")
    return numbers


@dataclass(slots=True)
class _Rows:
    """Reads the rows of one file, and remembers them to find those that come twice."""

    where: str
    frame: Frame
    report: Report
    polygons: bool  # whether a row of the file is one, which makes all of them
    work: float = 0.0
    boxes: dict[bytes, int] = field(default_factory=dict)  # class and box: line
    shapes: dict[bytes, int] = field(default_factory=dict)  # digest of the row: line

    def read(self, number: int, line: str) -> Instance:
        """The instance of a row; _Skipped where there is none."""
        numbers = _numbers(line)
        class_id = self._class_id(numbers[0])
        if self.frame.keypoints and numbers.size == _BOX + self.frame.keypoints:
            numbers = numbers[:_BOX]
        read = self._box if numbers.size == _BOX else self._polygon
        return read(number, class_id, numbers)

    def _class_id(self, number: np.float32) -> int:
        if number % 1:
            raise _Skipped(Rule.BAD_ROW, f"the class {number} is no whole number")
        class_id = int(number)
        if not 0 <= class_id < self.frame.classes:
            raise _Skipped(Rule.UNKNOWN_CLASS, f"there is no class {class_id}")
        return class_id

    def _box(self, number: int, class_id: int, numbers: _Numbers) -> Instance:
        box = numbers[1:]
        if box[2:].min() < 0:
            raise _Skipped(Rule.BAD_ROW, "the box has a negative side")
        self._check_place(number, box, box)
        if self.polygons:
            self._tell(Rule.BOX_ROW, number, "is a box, and other rows of the file are polygons")
        self._check_twice(number, numbers, numbers)
        x, y, width, height = (box.astype(np.float64) * ([self.frame.width, self.frame.height] * 2)).tolist()
        xyxy: Box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return Instance(class_id, None, f"line {number}", box_xyxy=xyxy)

    def _polygon(self, number: int, class_id: int, numbers: _Numbers) -> Instance:
        if numbers.size == 3:
            raise _Skipped(Rule.DEGENERATE_RING, "is one point")
        if numbers.size < _BOX or numbers.size % 2 == 0:
            what = f"has {numbers.size} numbers; a box has 5, a polygon 7, 9, 11 and so on"
            raise _Skipped(Rule.BAD_ROW, what)
        points = numbers[1:].reshape(-1, 2)
        low, high = points.min(axis=0), points.max(axis=0)
        in_tolerance = self._check_place(number, points, np.concatenate(((low + high) / 2, high - low)))
        sides = np.array([self.frame.width, self.frame.height], np.float32)
        if in_tolerance and ((low * sides < -1).any() or ((high - 1) * sides > 1).any()):
            self._tell(Rule.OUTSIDE_FRAME, number, "leaves the image")
        self._check_twice(number, np.concatenate((numbers[:1], low, high)), numbers)
        # Ultralytics multiplies in float32 and truncates: the same here, or pixels are lost.
        mask = self._paint((points * sides).astype(np.int32))
        if not rle.area(mask):
            raise _Skipped(Rule.EMPTY_MASK, "the polygon covers no pixel of the image")
        return Instance(class_id, mask, f"line {number}")

    def _check_place(self, number: int, numbers: _Numbers, box_xywh: _Numbers) -> bool:
        """Whether Ultralytics takes a row with these coordinates and this box (centre and sides)."""
        if numbers.min() < -_FAR or numbers.max() > 1 + _FAR:
            raise _Skipped(Rule.BAD_ROW, "has coordinates that are no shares of the image's sides (0 to 1)")
        taken = bool(box_xywh.max() <= 1 + _TOLERANCE and box_xywh.min() >= -_TOLERANCE)
        if not taken:
            self._tell(Rule.BAD_ROW, number, "has a box that leaves the image by more than a hundredth")
        return taken

    def _check_twice(self, number: int, box: _Numbers, row: _Numbers) -> None:
        same_box = self.boxes.setdefault(box.tobytes(), number)
        same_row = self.shapes.setdefault(blake2b(row.tobytes(), digest_size=16).digest(), number)
        if same_row != number:
            self._tell(Rule.DUPLICATE_ROW, number, f"is line {same_row} again")
        elif same_box != number:
            what = f"has the class and box of line {same_box}, though another polygon"
            self._tell(Rule.DUPLICATE_ROW, number, what)

    def _paint(self, points: NDArray[np.int32]) -> RLE:
        """The pixels that Ultralytics fills for a ring of pixel indices."""
        size = (self.frame.height, self.frame.width)
        inside = points.min() >= 0 and bool((points < size[::-1]).all())
        self.work += _work(points) + (0 if inside else size[0] * size[1])
        if self.work > _MOST_WORK:
            raise _Skipped(Rule.BAD_GEOMETRY, "the outline crosses itself too often to be painted")
        if inside:
            return raster.fill_centre_rings([points], size)
        # cv2 draws an edge that leaves the canvas a little differently: so it has to be the same canvas.
        canvas = np.zeros(size, np.uint8)
        cv2.fillPoly(canvas, [points], [1])
        return rle.from_bitmap(canvas)

    def _tell(self, rule: Rule, number: int, what: str) -> None:
        self.report(Problem(rule, f"{self.where} line {number}", what))


def _work(points: NDArray[np.int32]) -> float:
    """What painting a ring costs: its box's pixels, and for each row the square of the edges that cross it.

    cv2 sorts the edges of every row anew, for which ten thousand random points take seconds.
    """
    y = points[:, 1].astype(np.int64)
    following = np.roll(y, -1)
    ends = np.concatenate((np.minimum(y, following), np.maximum(y, following)))
    order = np.argsort(ends, kind="stable")
    crossing = np.cumsum(np.where(order < len(y), 1, -1))[:-1].astype(np.float64)
    sides = points.max(axis=0).astype(np.int64) - points.min(axis=0) + 1
    return float((crossing**2 * np.diff(ends[order])).sum() + sides.prod())
