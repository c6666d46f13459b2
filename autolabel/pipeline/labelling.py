"""`label`: ask for what is not kept yet, and keep every answer as it comes."""

import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

from tqdm import tqdm

from autolabel.backends import limits_of, open_backend
from autolabel.backends.base import Backend, Meter
from autolabel.config import Config
from autolabel.engines.local import run_local
from autolabel.errors import (
    AnswerError,
    ImageError,
    Interrupted,
    SameRefusal,
    StopRun,
)
from autolabel.labeler import Labeler, Record, Task, to_frame
from autolabel.pipeline.inventory import (
    Question,
    identify,
    missing,
    new_first,
    question,
    select,
    store_path,
    unread,
    whole_answers,
    why_unanswered,
)
from autolabel.pipeline.summary import Summary
from autolabel.store import Exchange, FileRow, Store, StoreError
from autolabel.types import ImageItem, Prompt

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
    limits = limits_of(config.backend)
    meter = Meter(price=limits.price_per_request, budget=config.label.budget)
    backend = open_backend(config.backend, floor=config.label.confidence, meter=meter, stop=stop)
    try:
        with Store(store_path(config)) as store, store.exclusive("label"), _signals(stop) as interrupted:
            job = _Job(config, items, store, backend, meter, stop, retry_unclear)
            with job.progress:
                try:
                    job.work()
                except StoreError as error:
                    job.stopped = StopRun(
                        f"{store.path} can't be used ({error}): free its disk, or repair it"
                    )
            job.tally()
            job.summary.seconds = time.monotonic() - started
            if interrupted.is_set():
                job.stopped = Interrupted("interrupted")
            if job.stopped is not None:
                job.stopped.summary = job.summary
                raise job.stopped
            return job.summary
    finally:
        backend.close()


class _Job:
    """One labelling: the state that the stream of records changes."""

    def __init__(
        self,
        config: Config,
        items: Sequence[ImageItem],
        store: Store,
        backend: Backend,
        meter: Meter,
        stop: threading.Event,
        retry_unclear: bool,
    ) -> None:
        self._items = items
        self._asked: Question = question(config)
        self._store = store
        self._backend = backend
        self._meter = meter
        self._stop = stop
        self._retry_unclear = retry_unclear
        self._workers = config.label.workers
        self._worker = Labeler(backend, config.label.confidence, at_once=config.label.workers, stop=stop)
        self._under_way: set[bytes] = set()
        self._postponed: list[tuple[ImageItem, bytes]] = []
        self._refusals: list[str] = []  # since the last answer
        self._answers_came = False
        self._reached = 0  # how many images were looked at
        self.stopped: StopRun | None = None
        self.summary = Summary(images=len(items), run=config.run)
        self.summary.prompts = {prompt.text: [0, 0] for prompt in self._asked.prompts}
        # disable=None: no bar where stderr is not a terminal
        self.progress: tqdm[Any] = tqdm(total=len(items), unit="image", disable=None, leave=False)
        self._reported = time.monotonic()

    def work(self) -> None:
        """Label every image; afterwards those whose content was under way under another name."""
        items = new_first(self._store, self._items)
        tasks = self._tasks(items)
        run_local(tasks, self._worker, self._keep, workers=self._workers + AHEAD, stop=self._stop)
        if self._stop.is_set():
            # what an earlier run has answered counts as labelled, also where this one did not come to it
            for _, kept in self._looked_up(items[self._reached :]):
                if kept is not None:
                    self._count_answers(kept)
            return
        for item, image in self._postponed:
            self._count(item, image, why_unanswered(self._store, image, self._asked))

    def _tasks(self, items: Sequence[ImageItem]) -> Iterator[Task | None]:
        """Yield a task for each image that needs one, and None for each that does not."""
        for item, kept in self._looked_up(items):
            self._reached += 1
            if kept is None:
                yield self._task(item)
            else:
                self._count_answers(kept)
                yield None

    def _looked_up(self, items: Sequence[ImageItem]) -> Iterator[tuple[ImageItem, Mapping[str, int] | None]]:
        """Yield each image with its instances by prompt where it has every answer, else with None."""
        for start in range(0, len(items), LOOKED_UP):
            some = items[start : start + LOOKED_UP]
            kept = {} if self._backend.limits.free else whole_answers(self._store, some, self._asked)
            yield from ((item, kept.get(item.location)) for item in some)

    def _task(self, item: ImageItem) -> Task | None:
        try:
            row = identify(self._store, item)
        except ImageError as error:
            self._fail(item, str(error))
            return None
        if row.image in self._under_way:
            self._postponed.append((item, row.image))
            return None
        wanted = self._wanted(row)
        if not wanted:
            self._count(item, row.image, why_unanswered(self._store, row.image, self._asked))
            return None
        self._under_way.add(row.image)
        return Task(item, row.image, wanted)

    def _wanted(self, row: FileRow) -> tuple[Prompt, ...]:
        """The prompts to ask for. What a host sent before and was not understood is read again first."""
        if self._backend.limits.free:
            return self._asked.prompts
        wanted = missing(self._store, row.image, self._asked)
        for exchange in unread(self._store, row.image, self._asked) if wanted else []:
            if self._read_again(row, exchange) or not self._retry_unclear:
                wanted = tuple(prompt for prompt in wanted if prompt.text not in exchange.prompts)
        return wanted

    def _read_again(self, row: FileRow, exchange: Exchange) -> bool:
        by_text = {prompt.text: prompt for prompt in self._asked.prompts}
        prompts = [by_text.get(text, Prompt(text, 0)) for text in exchange.prompts]
        wh = (row.width, row.height)
        size = (exchange.sent_wh[1], exchange.sent_wh[0])
        try:
            answer = self._backend.read(exchange.body or b"", size, prompts)
        except AnswerError:
            return False
        detections = tuple(to_frame(answer.detections, wh))
        read = replace(exchange, detections=detections, degradations=answer.degradations, reason=None)
        self._store.put(row.image, self._asked.source, wh, [read])
        return True

    def _keep(self, record: Record) -> None:
        """Store what came, in this thread, then look whether the run has to end."""
        task = record.task
        free = self._backend.limits.free
        if record.stale:
            self._store.forget_file(task.item.path)
        elif record.exchanges:
            self._store.put(task.image, self._asked.source, record.wh, record.exchanges, afresh=free)
        if record.stop is not None:
            self.stopped = self.stopped or record.stop
            self._stop.set()
        elif record.refusal != "interrupted":
            self._watch(record)
            self._count(task.item, task.image, record.reason)
        if not free:  # what is free would be asked again under another name, which may say otherwise
            self._under_way.discard(task.image)

    def _watch(self, record: Record) -> None:
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

    def _count(self, item: ImageItem, image: bytes, reason: str | None) -> None:
        if reason is not None:
            self._fail(item, reason)
            return
        self._count_answers(self._store.answered(image, self._asked.source, self._asked.floor))

    def _count_answers(self, instances: Mapping[str, int]) -> None:
        self.summary.labelled += 1
        for prompt, hits in self.summary.prompts.items():
            hits[0] += instances.get(prompt, 0)
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
        meter, failed = self._meter, self.summary.failed
        cost = "" if meter.cost is None else f"${meter.cost:.2f}"
        if self.progress.disable:
            done = self.summary.labelled + self.summary.failed
            log.info(
                "%d of %d images, %d requests, %d failed %s",
                done, self.summary.images, meter.requests, failed, cost,
            )  # fmt: skip
        else:
            self.progress.set_postfix(requests=meter.requests, failed=failed, cost=cost, refresh=False)

    def tally(self) -> None:
        """Put what was sent and spent into the summary, however the work ended."""
        summary, meter = self.summary, self._meter
        summary.requests, summary.retries, summary.cost = meter.requests, meter.retries, meter.cost
        summary.answered = sum(hits[0] for hits in summary.prompts.values())
        summary.failures.sort()


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
