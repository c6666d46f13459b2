"""Asks for the mask at a box or points that were given by hand, and keeps the answer: it is paid for once."""

import math
import threading
from collections.abc import Sequence
from contextlib import ExitStack

from autolabel.backends.meter import Budget
from autolabel.config import Config
from autolabel.errors import AutolabelError, ImageError, StopRun
from autolabel.geometry import rle
from autolabel.labeler import Asker, Labeler, Task
from autolabel.labeler.talk import INTERRUPTED
from autolabel.pipeline.asking import Asking, Journal, Line, open_line
from autolabel.pipeline.prompting import ImagePrompts
from autolabel.pipeline.question import Asked, Question, visual_asker
from autolabel.pipeline.results import Labelled
from autolabel.review.problems import Refused
from autolabel.store import FileRow, Store
from autolabel.types import RLE, Box, Category, Point, Prompt

_MOST_POINTS = 100


class Pointing:
    """Who answers boxes and points; opened when it is first asked. One call at a time, and then `close`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._budget = Budget(config.label.budget)
        self._lines: dict[str, tuple[Line, threading.Event, ExitStack]] = {}
        self._closed = False

    def stop(self) -> None:
        """End a request under way, from any thread."""
        self._closed = True
        for _, stop, _ in list(self._lines.values()):
            stop.set()

    def close(self) -> None:
        """Close who was asked, once no request is under way."""
        self._closed = True
        for source in list(self._lines):
            self._hang_up(source)

    def ask(self, store: Store, entry: Labelled, question: bytes, prompt: Prompt) -> RLE:
        """The mask of the instance that a prompt shows, in the image's frame.

        `question` is the digest of the config's own question about the image, whose glance stays.
        Raises Refused where there is none, or the request can't be made; then nothing was asked.
        """
        kinds = ({"boxes"} if prompt.box_xyxy else set()) | ({"points"} if prompt.points else set())
        try:
            asked = visual_asker(self._config, kinds)
            lacking = sorted(kinds - asked.limits.takes)
            if lacking:
                raise Refused(
                    f"{asked.settings.name} takes no {' and '.join(lacking)}; set `visual` to another"
                )
            about = Question((), {entry.item.file_name: ImagePrompts((prompt,))}, None, asked)
            (prompt,) = about.prompts(entry.item.file_name, (entry.width, entry.height))
            mask = _kept(store, entry, asked, prompt)
            if mask is None:
                self._answer(store, entry, about, prompt, question)
                mask = _kept(store, entry, asked, prompt)
        except Refused:
            raise
        except AutolabelError as error:
            raise Refused(str(error)) from None
        if mask is None:
            raise Refused("an earlier request for this has no clear answer; change it a little to ask again")
        if not rle.area(mask):
            raise Refused("nothing was found there; draw the box tighter, or set a point on the object")
        return mask

    def _answer(
        self, store: Store, entry: Labelled, about: Question, prompt: Prompt, question: bytes
    ) -> None:
        """Ask, and keep what came. Raises StopRun, ConfigError and ImageError."""
        asked = about.asker(prompt)
        line, stop, _ = self._line(asked)
        row = FileRow(entry.image, entry.width, entry.height)
        asking = Asking(store, about, {asked.source: line}, retry_unclear=False)
        asks = asking.of_image(entry.item, row, (prompt,))
        if not asks:
            return
        worker = Labeler(
            {asked.source: Asker(line.backend, asked.floor)},
            at_once=1,
            stop=stop,
            journal=Journal(store.path),
        )
        record = worker(Task(entry.item, entry.image, asks))
        with store.transaction():  # it is no answer to the config's question: that one's glance stays
            glance = store.glance(entry.image, question)
            store.put(entry.image, asked.source, record.wh, () if record.stale else record.exchanges)
            if glance is not None:
                store.put_glance(entry.image, question, glance)
        if record.stop is not None:
            self._hang_up(asked.source)  # it would refuse everything from now on
            raise record.stop
        if record.refusal == INTERRUPTED:
            raise StopRun("the review is closing")
        if record.reason is not None:
            raise ImageError(f"{entry.item.file_name}: {record.reason}")

    def _line(self, asked: Asked) -> tuple[Line, threading.Event, ExitStack]:
        if self._closed:
            raise StopRun("the review is closing")
        if asked.source not in self._lines:
            stop, stack = threading.Event(), ExitStack()
            self._lines[asked.source] = open_line(asked, self._budget, stop, stack), stop, stack
        return self._lines[asked.source]

    def _hang_up(self, source: str) -> None:
        _, stop, stack = self._lines.pop(source)
        stop.set()
        stack.close()


def _kept(store: Store, entry: Labelled, asked: Asked, prompt: Prompt) -> RLE | None:
    """The best answer that is kept, an empty mask where it is that there is nothing; None for no answer."""
    row = store.answers(entry.image, asked.source).get(prompt.key)
    if row is None:
        return None
    best = max(row.detections, key=lambda d: d.confidence or 0.0, default=None)
    return best.mask if best else rle.empty((entry.height, entry.width))


def prompt_of(given: object, categories: Sequence[Category]) -> Prompt:
    """The prompt that a page sent, checked. Raises Refused."""
    if not isinstance(given, dict) or not given.keys() <= {"box", "points", "category"}:
        raise Refused("a prompt is an object of box, points and category, and nothing else")
    ids = {category.name: category.id for category in categories}
    name = given.get("category")
    if not isinstance(name, str) or name not in ids:
        raise Refused(f"{name!r} is no class of the config")
    box, points = _box(given.get("box")), _points(given.get("points") or [])
    if box is None and not any(point.positive for point in points):
        raise Refused("a prompt needs a box, or a point on the object")
    return Prompt(name, ids[name], box_xyxy=box, points=points)


def _box(given: object) -> Box | None:
    if given is None:
        return None
    if not (isinstance(given, list) and len(given) == 4 and all(map(_is_number, given))):
        raise Refused("a box is [x0, y0, x1, y1] in pixels")
    x0, y0, x1, y1 = map(float, given)
    if not (x0 < x1 and y0 < y1):
        raise Refused("a box has x0 < x1 and y0 < y1")
    return x0, y0, x1, y1


def _points(given: object) -> tuple[Point, ...]:
    if not isinstance(given, list) or len(given) > _MOST_POINTS:
        raise Refused(f"points are a list of at most {_MOST_POINTS}")
    for point in given:
        fits = isinstance(point, list) and len(point) == 3 and all(map(_is_number, point))
        if not fits or point[2] not in (0, 1):
            raise Refused("a point is [x, y, 1 on the object or 0 beside it]")
    return tuple(Point(float(x), float(y), bool(positive)) for x, y, positive in given)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
