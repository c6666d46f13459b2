"""`label`: ask for what is not kept yet, and keep every answer as it comes."""

import logging
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm import tqdm

from autolabel.backends import open_backend
from autolabel.backends.base import Backend, Queued, QueuedTracker, Tracker
from autolabel.backends.meter import Budget, Meter
from autolabel.config import Config
from autolabel.engines.local import run_local
from autolabel.errors import (
    AnswerError,
    ImageError,
    Interrupted,
    SameRefusal,
    StopRun,
)
from autolabel.labeler import (
    Ask,
    Asker,
    ClipLabeler,
    ClipRecord,
    ClipTask,
    Labeler,
    Record,
    Task,
    to_frame,
)
from autolabel.labeler.talk import INTERRUPTED
from autolabel.pipeline.inventory import (
    identify,
    instances,
    new_first,
    select,
    store_path,
    unread,
    whole_answers,
    why_unanswered,
)
from autolabel.pipeline.question import Asked, Question, check_items, question
from autolabel.pipeline.summary import Summary
from autolabel.store import Exchange, FileRow, Store, StoreError
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
    with ExitStack() as stack:
        budget = Budget(config.label.budget)
        lines = [_open(asker, budget, stop, stack) for asker in asked.askers]
        store = stack.enter_context(Store(store_path(config)))
        stack.enter_context(store.exclusive("label"))
        interrupted = stack.enter_context(_signals(stop))
        job = _Job(config, items, asked, store, lines, stop, retry_unclear)
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


@dataclass(frozen=True, slots=True)
class _Line:
    """An open backend, who it is, and what it spends."""

    asked: Asked
    backend: Backend
    meter: Meter


def _open(asked: Asked, budget: Budget, stop: threading.Event, stack: ExitStack) -> _Line:
    """Open a backend until the end of `stack`."""
    meter = Meter(asked.limits.price_per_request, budget)
    backend = open_backend(asked.settings, floor=asked.floor, meter=meter, stop=stop)
    stack.callback(backend.close)
    return _Line(asked, backend, meter)


class _Job:
    """One labelling: the state that the stream of records changes."""

    def __init__(
        self,
        config: Config,
        items: Sequence[ImageItem],
        asked: Question,
        store: Store,
        lines: Sequence[_Line],
        stop: threading.Event,
        retry_unclear: bool,
    ) -> None:
        self._items = items
        self._asked = asked
        self._store = store
        self._lines = {line.asked.source: line for line in lines}
        self._free = any(line.backend.limits.free for line in lines)
        self._stop = stop
        self._retry_unclear = retry_unclear
        self._workers = config.label.workers
        self._worker = Labeler(
            {source: Asker(line.backend, line.asked.floor) for source, line in self._lines.items()},
            at_once=config.label.workers,
            stop=stop,
            journal=_Journal(store.path),
        )
        self._under_way: set[bytes] = set()
        self._postponed: list[tuple[ImageItem, FileRow, tuple[Prompt, ...]]] = []
        self._refusals: list[str] = []  # since the last answer
        self._answers_came = False
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
        self._run(items)
        if self._stop.is_set():
            # what an earlier run has answered counts as labelled, also where this one did not come to it
            for item, kept in self._looked_up(items[self._reached :]):
                if kept is not None:
                    self._count_answers(item, kept)
        while self._postponed and not self._stop.is_set():
            postponed, self._postponed = self._postponed, []
            if self._free:
                for item, row, prompts in postponed:
                    self._count(item, row, prompts)
            else:  # other prompts may be for the same content
                self._run([item for item, _, _ in postponed])

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
        asks = self._asks(item, row, prompts)
        if not asks:
            self._count(item, row, prompts)
            return None
        self._under_way.add(row.image)
        return Task(item, row.image, asks)

    def _asks(self, item: ImageItem, row: FileRow, prompts: Sequence[Prompt]) -> tuple[Ask, ...]:
        """What to ask of whom. What a host sent before and was not understood is read again first."""
        found = []
        for source, (asker, by_key) in self._asked.by_source(prompts, item).items():
            line = self._lines[asker.source]
            if source != asker.source:  # it is tracked through its clip
                continue
            if line.backend.limits.free:
                found.append(Ask(source, tuple(by_key.values())))
                continue
            kept = self._store.answered(row.image, source, asker.floor)
            wanted = {key: prompt for key, prompt in by_key.items() if key not in kept}
            accepted = []
            for exchange in unread(self._store, row.image, source, asker.floor) if wanted else []:
                asked = _prompts_of(exchange, by_key)
                if exchange.body and isinstance(line.backend, Queued) and not self._retry_unclear:
                    accepted.append((exchange, asked))
                elif not self._read_again(line.backend, source, row, exchange, asked) and self._retry_unclear:
                    continue
                wanted = {key: prompt for key, prompt in wanted.items() if key not in exchange.prompts}
            if wanted or accepted:
                found.append(Ask(source, tuple(wanted.values()), tuple(accepted)))
        return tuple(found)

    def _read_again(
        self,
        backend: Backend | Tracker,
        source: str,
        row: FileRow,
        exchange: Exchange,
        prompts: Sequence[Prompt],
    ) -> bool:
        wh = (row.width, row.height)
        size = (exchange.sent_wh[1], exchange.sent_wh[0])
        if not isinstance(backend, Backend):
            return False
        try:
            answer = backend.read(exchange.body or b"", size, prompts)
        except AnswerError:
            return False
        detections = tuple(to_frame(answer.detections, wh))
        read = replace(exchange, detections=detections, degradations=answer.degradations, reason=None)
        self._store.put(row.image, source, wh, [read])
        return True

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
                self._count(task.item, row, self._asked.prompts(task.item.file_name, record.wh))
        if not self._free:  # what is free would be asked again under another name, which may say otherwise
            self._under_way.discard(task.image)

    def _track(self, items: Sequence[ImageItem]) -> None:
        """Ask about whole clips; their frames are looked at afterwards, as all images are."""
        asker = self._asked.text
        if asker is None or not asker.limits.clips:
            return
        clips: dict[str, list[FrameItem]] = {}
        for item in sorted(items, key=lambda item: item.file_name):
            if isinstance(item, FrameItem):
                clips.setdefault(item.clip.file_name, []).append(item)
        line = self._lines[asker.source]
        worker = ClipLabeler(
            {asker.source: Asker(line.backend, asker.floor)},
            at_once=self._workers,
            stop=self._stop,
            journal=_Journal(self._store.path),
        )
        tasks = (self._clip_task(asker, frames) for frames in clips.values())
        run_local(tasks, worker, self._keep_clip, workers=self._workers, stop=self._stop)

    def _clip_task(self, asker: Asked, frames: Sequence[FrameItem]) -> ClipTask | None:
        """What a clip still needs: every prompt that any of its frames lacks."""
        try:
            images = [identify(self._store, frame).image for frame in frames]
        except ImageError:
            return None  # its frames will say why
        by_key = {prompt.key: prompt for prompt in self._asked.texts}
        sources = [asker.source_of(self._asked.texts[0], frame) for frame in frames]
        wanted: dict[str, Prompt] = {}
        kept: list[Exchange] = []
        for image, source in zip(images, sources, strict=True):
            answered = self._store.answered(image, source, asker.floor)
            wanted |= {key: prompt for key, prompt in by_key.items() if key not in answered}
            kept += unread(self._store, image, source, asker.floor)
        backend = self._lines[asker.source].backend
        accepted: list[tuple[Exchange, tuple[Prompt, ...]]] = []
        again: list[tuple[Exchange, tuple[Prompt, ...]]] = []
        for exchange in kept if wanted else ():
            queued = exchange.body and isinstance(backend, QueuedTracker)
            (accepted if queued else again).append((exchange, _prompts_of(exchange, by_key)))
            wanted = {key: prompt for key, prompt in wanted.items() if key not in exchange.prompts}
        if self._retry_unclear:
            wanted |= {p.key: p for _, asked in (*accepted, *again) for p in asked if p.key in by_key}
            accepted, again = [], []
        if not (wanted or accepted or again):
            return None
        log.info("%s: asking about %d frames", frames[0].clip.file_name, len(frames))
        return ClipTask(
            asker.source,
            tuple(frames),
            tuple(images),
            tuple(sources),
            tuple(wanted.values()),
            tuple(accepted),
            tuple(again),
        )

    def _keep_clip(self, record: ClipRecord) -> None:
        """Store what came for the frames of a clip, in one commit."""
        task = record.task
        wh = (task.frames[0].clip.width, task.frames[0].clip.height)
        with self._store.transaction():
            for place, exchange in record.exchanges:
                self._store.put(task.images[place], exchange.source, wh, [exchange])
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
        summary.cost = sum(costs) if len(costs) == len(meters) else None
        summary.answered = sum(hits[0] for hits in summary.prompts.values())
        summary.failures.sort()


def _prompts_of(exchange: Exchange, by_key: Mapping[str, Prompt]) -> tuple[Prompt, ...]:
    """The prompts of a kept exchange, also those that are not asked for any more."""
    return tuple(by_key.get(key) or Prompt(key.partition("\n")[0], 0, key=key) for key in exchange.prompts)


class _Journal:
    """Notes of requests under way, by any thread: each note opens the store for itself, and is rare."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put_pending(self, image: bytes, source: str, exchange: Exchange) -> None:
        """Note that a request is about to be sent, or was accepted."""
        with Store(self._path) as store:
            store.put_pending(image, source, exchange)

    def drop_pending(self, image: bytes, source: str, prompts: Iterable[str]) -> None:
        """Forget a note."""
        with Store(self._path) as store:
            store.drop_pending(image, source, prompts)


@contextmanager
def _signals(stop: threading.Event) -> Iterator[threading.Event]:
    """Make the first SIGINT or SIGTERM end the run in order; the second interrupts at once.

    Yields an event that says whether one came. Outside the main thread signals stay as they are.
    """
    interrupted = threading.Event()

    def handle(_signum: int, _frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        stop.set()
        log.warning("interrupted: finishing the requests under way; again to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
