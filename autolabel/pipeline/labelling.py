"""`label`: ask for what is not kept yet, and keep every answer as it comes."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import groupby
from typing import Any

from tqdm import tqdm

from autolabel.backends.meter import Budget
from autolabel.config import Config
from autolabel.engines.local import run_local
from autolabel.errors import (
    ImageError,
    Interrupted,
    SameRefusal,
    StopRun,
)
from autolabel.labeler import (
    Asker,
    ClipLabeler,
    ClipRecord,
    Labeler,
    Record,
    Task,
)
from autolabel.labeler.talk import INTERRUPTED
from autolabel.pipeline import glances
from autolabel.pipeline.asking import Asking, Journal, Line, open_line
from autolabel.pipeline.inventory import (
    all_answered,
    identify,
    instances,
    new_first,
    select,
    store_path,
    thumbs_path,
    whole_answers,
    why_unanswered,
)
from autolabel.pipeline.question import Question, check_items, question
from autolabel.pipeline.signals import interruptible
from autolabel.pipeline.summary import Summary
from autolabel.store import FileRow, Store, StoreError
from autolabel.thumbs import Thumbs
from autolabel.types import FrameItem, ImageItem, Prompt

log = logging.getLogger(__name__)

LOOKED_UP = 500  # images that are looked up in the store at once
AHEAD = 2  # threads that make pictures ready while all requests wait
FIRST_REFUSALS = 3  # the same refusal for so many images before any answer ends the run
LATER_REFUSALS = 20  # and so many in a row, alike or not, whenever


def label(
    config: Config,
    *,
    limit: int | None = None,
    retry_unclear: bool = False,
    items: Sequence[ImageItem] | None = None,
) -> Summary:
    """Ask the model about every image that has no kept answer, and keep what it says.

    Images that fail are listed in the summary. `items` are the images where they are already listed.
    Raises UsageError before anything was asked, and StopRun, with the summary so far as its `summary`,
    where a cause that would hit every image ended the run early.
    """
    started = time.monotonic()
    items = select(config, limit) if items is None else items
    stop = threading.Event()
    asked = question(config)
    check_items(asked, items)
    if asked.who:
        log.info(asked.who)
    with ExitStack() as stack:
        budget = Budget(config.label.budget)
        # opening may need a key, or load a model for minutes
        askers = [] if not retry_unclear and _is_done(config, items, asked) else asked.askers
        lines = [open_line(asker, budget, stop, stack) for asker in askers]
        store = stack.enter_context(Store(store_path(config)))
        stack.enter_context(store.exclusive("label"))
        interrupted = stack.enter_context(interruptible(stop))
        thumbs = Thumbs(thumbs_path(config))
        stack.callback(thumbs.close)
        job = _Job(config, items, asked, store, thumbs, lines, stop, retry_unclear)
        with job.progress:
            try:
                job.work()
            except StoreError as error:
                job.stopped = StopRun(f"{store.path} can't be used ({error}): free its disk, or repair it")
        job.tally()
        job.summary.seconds = time.monotonic() - started
        if interrupted.is_set():
            job.stopped = Interrupted("interrupted")
        if job.stopped is not None:
            job.stopped.summary = job.summary
            raise job.stopped
        return job.summary


def _is_done(config: Config, items: Sequence[ImageItem], asked: Question) -> bool:
    path = store_path(config)
    if not path.exists():
        return False
    with Store(path) as store:
        return all_answered(store, items, asked)


class _Job:
    """One labelling: the state that the stream of records changes."""

    def __init__(
        self,
        config: Config,
        items: Sequence[ImageItem],
        asked: Question,
        store: Store,
        thumbs: Thumbs,
        lines: Sequence[Line],
        stop: threading.Event,
        retry_unclear: bool,
    ) -> None:
        self._items = items
        self._asked = asked
        self._store = store
        self._thumbs = thumbs
        self._lines = {line.asked.source: line for line in lines}
        self._free = any(asker.limits.free for asker in asked.askers)
        self._priced = all(asker.limits.price_per_request is not None for asker in asked.askers)
        self._stop = stop
        self._asking = Asking(store, asked, self._lines, retry_unclear=retry_unclear)
        self._workers = config.label.workers
        self._worker = Labeler(
            {source: Asker(line.backend, line.asked.floor) for source, line in self._lines.items()},
            at_once=config.label.workers,
            stop=stop,
            journal=Journal(store.path),
        )
        self._under_way: set[bytes] = set()
        self._postponed: list[tuple[ImageItem, FileRow, tuple[Prompt, ...]]] = []
        self._refusals: list[str] = []  # since the last answer
        self._answers_came = False
        self._again = False  # whether images are looked at that were postponed
        self._reached = 0  # how many images were looked at
        self.stopped: StopRun | None = None
        self.summary = Summary(images=len(items), run=config.run)
        self.summary.prompts = {prompt.text: [0, 0] for prompt in asked.texts}
        self.summary.warnings += [asked.warning] if asked.warning else []
        # disable=None: no bar where stderr is not a terminal
        self.progress: tqdm[Any] = tqdm(total=len(items), unit="image", disable=None, leave=False)
        self._reported = time.monotonic()

    def work(self) -> None:
        """Label every image; afterwards those whose content was under way under another name."""
        items = new_first(self._store, self._items)
        self._track(items)
        if not self._stop.is_set():
            self._run(items)
        self._under_way.clear()
        if self._stop.is_set():
            self._count_kept(items[self._reached :])
        while self._postponed and not self._stop.is_set():  # other prompts may be for the same content
            postponed, self._postponed = self._postponed, []
            self._again = True
            self._run([item for item, _, _ in postponed])

    def _count_kept(self, items: Sequence[ImageItem]) -> None:
        """What is answered counts as labelled, also where this run did not come to it."""
        for item, kept in self._looked_up(items):
            if kept is not None:
                self._count_answers(item, kept)
            elif isinstance(item, FrameItem):  # of a clip that was tracked, perhaps
                with suppress(ImageError):
                    row = identify(self._store, item)
                    prompts = self._asked.prompts(item.file_name, (row.width, row.height))
                    if why_unanswered(self._store, item, row, self._asked, prompts) is None:
                        self._count(item, row, prompts)

    def _run(self, items: Sequence[ImageItem]) -> None:
        tasks = self._tasks(items)
        run_local(tasks, self._worker, self._keep, workers=self._workers + AHEAD, stop=self._stop)

    def _tasks(self, items: Sequence[ImageItem]) -> Iterator[Task | None]:
        """Yield a task for each image that needs one, and None for each that does not."""
        for item, kept in self._looked_up(items):
            self._reached += 1
            if kept is None:
                yield self._task(item)
            else:
                self._count_answers(item, kept)
                yield None

    def _looked_up(self, items: Sequence[ImageItem]) -> Iterator[tuple[ImageItem, Mapping[str, int] | None]]:
        """Yield each image with its instances by prompt where it has every answer, else with None."""
        for start in range(0, len(items), LOOKED_UP):
            some = items[start : start + LOOKED_UP]
            kept = {} if self._free else whole_answers(self._store, some, self._asked)
            yield from ((item, kept.get(item.location)) for item in some)

    def _task(self, item: ImageItem) -> Task | None:
        try:
            row = identify(self._store, item)
            prompts = self._asked.prompts(item.file_name, (row.width, row.height))
        except ImageError as error:
            self._fail(item, str(error))
            return None
        if row.image in self._under_way:
            self._postponed.append((item, row, prompts))
            return None
        # what is free may say otherwise under another name: it is asked under the first
        asks = self._asking.of_image(item, row, prompts, free=not self._again)
        if not asks:
            self._count(item, row, prompts)
            return None
        self._under_way.add(row.image)
        return Task(item, row.image, asks, thumb=not self._thumbs.has(row.image))

    def _keep(self, record: Record) -> None:
        """Store what came, in this thread, then look whether the run has to end."""
        task = record.task
        if record.stale:
            self._store.forget_file(task.item.path)
        for source, exchanges in groupby(() if record.stale else record.exchanges, lambda e: e.source):
            free = self._lines[source].backend.limits.free
            self._store.put(task.image, source, record.wh, exchanges, afresh=free)
        if record.stop is not None:
            self.stopped = self.stopped or record.stop
            self._stop.set()
        elif record.refusal != INTERRUPTED:
            self._watch(record)
            if record.reason is not None:
                self._fail(task.item, record.reason)
            else:
                row = FileRow(task.image, *record.wh)
                prompts = self._asked.prompts(task.item.file_name, record.wh)
                self._count(task.item, row, prompts)
                self._glance(task.item, task.image, prompts)
            if record.thumb is not None:
                self._thumbs.put(task.image, record.thumb)
        if self._again or not self._free:
            self._under_way.discard(task.image)

    def _glance(self, item: ImageItem, image: bytes, prompts: Sequence[Prompt]) -> None:
        """Keep what the review counts by. It can be made later too, so a bug in it is no trouble here."""
        try:
            glances.keep(self._store, self._asked, item, image, prompts)
        except StoreError:
            raise
        except Exception:  # what was answered is kept already
            log.debug("no glance of %s", item.file_name, exc_info=True)

    def _track(self, items: Sequence[ImageItem]) -> None:
        """Ask about whole clips; their frames are looked at afterwards, as all images are."""
        asker = self._asked.text
        if asker is None or not asker.limits.clips or not self._lines:
            return
        # by content: the same clip under two names is asked about once
        clips: dict[bytes, list[FrameItem]] = {}
        for item in sorted(items, key=lambda item: item.file_name):
            if isinstance(item, FrameItem):
                frames = clips.setdefault(item.clip.content, [])
                if not frames or frames[0].clip.file_name == item.clip.file_name:
                    frames.append(item)
        line = self._lines[asker.source]
        worker = ClipLabeler(
            {asker.source: Asker(line.backend, asker.floor)},
            at_once=self._workers,
            stop=self._stop,
            journal=Journal(self._store.path),
        )
        tasks = (self._asking.of_clip(asker, frames) for frames in clips.values())
        run_local(tasks, worker, self._keep_clip, workers=self._workers, stop=self._stop)

    def _keep_clip(self, record: ClipRecord) -> None:
        """Store what came for the frames of a clip, in one commit."""
        task = record.task
        wh = (task.frames[0].clip.width, task.frames[0].clip.height)
        with self._store.transaction():
            for place, exchange in record.exchanges:
                self._store.put(task.images[place], exchange.source, wh, [exchange])
        for frame, image in zip(task.frames, task.images, strict=True):
            self._glance(frame, image, self._asked.prompts(frame.file_name, wh))
        if record.stop is not None:
            self.stopped = self.stopped or record.stop
            self._stop.set()
        elif record.refusal != INTERRUPTED:
            self._watch(record)

    def _watch(self, record: Record | ClipRecord) -> None:
        """End the run where the images in a row met the same refusal."""
        if record.refusal is None:
            if record.reason is None:  # a broken file says nothing of the host
                self._refusals.clear()
                self._answers_came = True
            return
        self._refusals.append(record.refusal)
        first = self._refusals[-FIRST_REFUSALS:]
        alike = not self._answers_came and len(first) == FIRST_REFUSALS and len(set(first)) == 1
        if (alike or len(self._refusals) >= LATER_REFUSALS) and self.stopped is None:
            row = f"{len(self._refusals)} images in a row met the same refusal"
            self.stopped = SameRefusal(f"{row}: {record.reason}")
            self._stop.set()

    def _count(self, item: ImageItem, row: FileRow, prompts: Sequence[Prompt]) -> None:
        reason = why_unanswered(self._store, item, row, self._asked, prompts)
        if reason is not None:
            self._fail(item, reason)
            return
        self._count_answers(item, instances(self._store, item, row.image, self._asked, prompts))

    def _count_answers(self, item: ImageItem, kept: Mapping[str, int]) -> None:
        self.summary.labelled += 1
        for prompt in self._asked.prompts(item.file_name, (0, 0)):
            self.summary.prompts.setdefault(prompt.text, [0, 0])[0] += kept.get(prompt.key, 0)
        self._advance()

    def _fail(self, item: ImageItem, reason: str) -> None:
        self.summary.failed += 1
        self.summary.failures.append((item.file_name, reason))
        self._advance()

    def _advance(self) -> None:
        self.progress.update()
        if time.monotonic() - self._reported < (30 if self.progress.disable else 0.1):
            return
        self._reported = time.monotonic()
        self.tally()
        summary = self.summary
        cost = "" if summary.cost is None else f"${summary.cost:.2f}"
        if self.progress.disable:
            done = summary.labelled + summary.failed
            log.info(
                "%d of %d images, %d requests, %d failed %s",
                done, summary.images, summary.requests, summary.failed, cost,
            )  # fmt: skip
        else:
            self.progress.set_postfix(
                requests=summary.requests, failed=summary.failed, cost=cost, refresh=False
            )

    def tally(self) -> None:
        """Put what was sent and spent into the summary, however the work ended."""
        summary, meters = self.summary, [line.meter for line in self._lines.values()]
        summary.requests = sum(meter.requests for meter in meters)
        summary.retries = sum(meter.retries for meter in meters)
        costs = [meter.cost for meter in meters if meter.cost is not None]
        known = len(costs) == len(meters) and self._priced
        summary.cost = sum(costs) if known else None
        summary.answered = sum(hits[0] for hits in summary.prompts.values())
        summary.failures.sort()
