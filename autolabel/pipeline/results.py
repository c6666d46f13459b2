"""The kept answers of a run as results: one image at a time, in file_name order, without a network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, NamedTuple

from autolabel import decisions
from autolabel.config import Config
from autolabel.decisions import Review
from autolabel.errors import ImageError, InputError
from autolabel.pipeline.inventory import answer_rows, identify, select, store_path, why_unanswered
from autolabel.pipeline.question import Question, question
from autolabel.pipeline.reviewing import Reviewed, filtered, read
from autolabel.store import AnswerRow, Store
from autolabel.types import Category, Detection, FrameItem, ImageItem, ImageResult, Prompt, Status


class Labelled(NamedTuple):
    """An image with a whole answer: its content and its size in upright pixels."""

    item: ImageItem
    image: bytes
    width: int
    height: int

    @property
    def unit(self) -> bytes:
        """What gets a split: the image's content, or that of the clip that it is a frame of."""
        return self.item.clip.content if isinstance(self.item, FrameItem) else self.image


@dataclass(frozen=True)
class Survey:
    """Which images have a whole answer, and why each of the others has not; in file_name order."""

    labelled: list[Labelled] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)


class Run:
    """The kept answers of a configuration. Use as a context manager, or let it be closed with the process."""

    def __init__(self, config: Config, items: Sequence[ImageItem] | None = None) -> None:
        """Open the run of `config`, with all its images or a sample of them, `items`.

        Raises InputError where nothing was labelled yet.
        """
        path = store_path(config)
        if not path.exists():
            raise InputError(f"{path} does not exist: nothing is labelled yet; run `autolabel label` first")
        self.config = config
        self.categories: list[Category] = config.categories
        self.store = Store(path)
        self.is_sample = items is not None
        self._items = items
        self.asked: Question = question(config)
        self._tracks: dict[tuple[str, str, int], int] = {}

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.store.__exit__()

    def survey(self) -> Survey:
        """Look through all images without reading an answer."""
        found = Survey()
        sides: dict[int, int] = {}  # images share their few numbers, which takes less memory
        items = select(self.config) if self._items is None else self._items
        for item in items:
            try:
                row = identify(self.store, item)
                prompts = self.asked.prompts(item.file_name, (row.width, row.height))
                reason = why_unanswered(self.store, item, row, self.asked, prompts)
            except ImageError as error:
                reason = str(error)
            if reason is None:
                width, height = (sides.setdefault(side, side) for side in (row.width, row.height))
                found.labelled.append(Labelled(item, row.image, width, height))
            else:
                found.failures.append((item.file_name, reason))
        return found

    def results(self, *, raw: bool = False) -> Iterator[ImageResult]:
        """Yield every image as it is exported, or with all its answers where `raw`; failed ones too.

        One that the review rejects has the status "rejected" and no detections, unless `raw`: raw answers are
        as they were given.
        """
        found = self.survey()
        revisions = self.store.revisions()
        entries = {entry.item.file_name: entry for entry in found.labelled}
        failed = dict(found.failures)
        for name in sorted([*entries, *failed]):
            if name not in entries:
                yield ImageResult(name, 0, 0, "failed", error=failed[name])
                continue
            try:
                yield self.result(entries[name], raw=raw, revisions=revisions)
            except ImageError as error:
                yield ImageResult(name, 0, 0, "failed", error=str(error))

    def result(
        self, entry: Labelled, *, raw: bool = False, revisions: Mapping[bytes, int] | None = None
    ) -> ImageResult:
        """One labelled image as it is exported, or with all its answers where `raw`.

        `revisions` are the store's, where they are at hand. Raises ImageError as `reviewed` does.
        """
        status: Status = "labelled"
        if raw:
            detections, _ = self.answers(entry)
        else:
            found = self.reviewed(entry, revisions)
            detections = found.kept
            status = "rejected" if found.applied.state == "rejected" else "labelled"
        return ImageResult(
            entry.item.file_name,
            entry.width,
            entry.height,
            status,
            tuple(detections),
            path=entry.item.location,
            classes=tuple(category.name for category in self.categories),
        )

    def review(self, *, read_only: bool = False) -> Any:
        """The review as a widget, for a notebook; every decision is kept in the run.

        Raises UsageError where anywidget is not installed.
        """
        # the review stands above this module, and needs a notebook
        return import_module("autolabel.review.widget").show(self.config, read_only=read_only)

    def reviewed(self, entry: Labelled, revisions: Mapping[bytes, int] | None = None) -> Reviewed:
        """The answers of an image as its review and the filters leave them.

        The review is the current one, or that of `revisions`. Raises ImageError where it can't be read, or a
        labelling has just taken an answer away.
        """
        review = self.review_of(entry, revisions)
        answered, degradations = self.answers(entry)
        applied = decisions.apply(review, answered, self.categories)
        return Reviewed(
            review, applied, *filtered(applied, self.categories, self.config.filter), degradations
        )

    def review_of(self, entry: Labelled, revisions: Mapping[bytes, int] | None = None) -> Review:
        """What is decided about an image, as in `reviewed`."""
        if revisions is not None and entry.image not in revisions:
            return Review()
        revision = revisions[entry.image] if revisions is not None else None
        return read(self.store, entry.image, (entry.height, entry.width), revision)

    def answers(self, entry: Labelled) -> tuple[list[Detection], list[str]]:
        """All detections of an image, of the classes of the config, and the degradations of each.

        Raises ImageError where a labelling has just taken an answer away.
        """
        detections: list[Detection] = []
        degradations: list[str] = []
        for prompt, row in answered(self.store, self.asked, entry):
            detections += [
                replace(_asked(d, prompt), track_id=self._track(entry.item, d)) for d in row.detections
            ]
            for detection in row.detections:
                unscored = {"scores"} if detection.confidence is None else set()
                degradations += sorted(unscored.union(row.degradations))
        return detections, degradations

    def _track(self, item: ImageItem, detection: Detection) -> int | None:
        """A track's number, from 1 as they are met: a host's own begin anew for each clip and prompt."""
        if detection.track_id is None or not isinstance(item, FrameItem):
            return detection.track_id
        key = (item.clip.file_name, detection.prompt, detection.track_id)
        return self._tracks.setdefault(key, len(self._tracks) + 1)


def answered(store: Store, asked: Question, entry: Labelled) -> list[tuple[Prompt, AnswerRow]]:
    """The prompts of an image, each with its kept answer. Raises ImageError as `Run.answers` does."""
    prompts = asked.prompts(entry.item.file_name, (entry.width, entry.height))
    rows = answer_rows(store, asked, entry.item, entry.image, prompts)
    if rows is None:  # since the survey
        raise ImageError("its answer was replaced by a labelling under way; export again after that")
    return list(zip(prompts, rows, strict=True))


def detections_of(found: Sequence[tuple[Prompt, AnswerRow]]) -> list[Detection]:
    """All detections of an image, of the classes of the config; `found` is from `answered`."""
    return [_asked(d, prompt) for prompt, row in found for d in row.detections]


def _asked(detection: Detection, prompt: Prompt) -> Detection:
    return replace(detection, class_id=prompt.class_id, prompt=prompt.text, asked=prompt)


def open_run(config: Config) -> Run:
    """Open the kept answers of `config`, without a network. Raises InputError where there are none."""
    return Run(config)
