"""The worker for images: one in, one record out."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from threading import Event, Semaphore

from autolabel import thumbs
from autolabel.backends.base import Answer, Backend, Limits, Queued
from autolabel.config import redact
from autolabel.errors import ImageError, StopRun
from autolabel.geometry import rle
from autolabel.labeler.talk import (
    INTERRUPTED,
    NOT_UNDERSTOOD,
    Asker,
    Desk,
    Ended,
    Journal,
    Note,
    check,
    noted,
    settled,
)
from autolabel.sources import images
from autolabel.store import WHOLE_IMAGE, Exchange
from autolabel.types import Box, Detection, ImageItem, Picture, Prompt

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ask:
    """The prompts that an image still needs of one backend, and the jobs that this has accepted before; whose
    prompts are asked `again` where the answer is not to be had.
    """

    source: str
    prompts: tuple[Prompt, ...]
    accepted: tuple[tuple[Exchange, tuple[Prompt, ...]], ...] = ()
    again: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """An image whose content is `image` (a digest), what it still needs, and whether that is a thumb too."""

    item: ImageItem
    image: bytes
    asks: tuple[Ask, ...]
    thumb: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What came of a task. `refusal` is equal for images that failed at the host for one cause; `stop` ends
    the run; `stale` says that the file's content is not `task.image`. `thumb` is a small JPEG, where the task
    asked for one and it could be made.
    """

    task: Task
    wh: tuple[int, int] = (0, 0)
    exchanges: tuple[Exchange, ...] = ()
    refusal: str | None = None
    stop: StopRun | None = None
    stale: bool = False
    thumb: bytes | None = None

    @property
    def reason(self) -> str | None:
        """Why the image is not labelled, if it is not."""
        return next((exchange.reason for exchange in self.exchanges if exchange.reason), None)


class Labeler:
    """Asks for the prompts of a task, by source of `askers`, `at_once` requests at a time.

    An engine may call it from more threads than that: then pictures are made ready while others wait.
    A cause that would hit every image sets `stop`, so that no other thread runs into it too.
    """

    def __init__(
        self, askers: Mapping[str, Asker], *, at_once: int, stop: Event, journal: Journal | None = None
    ) -> None:
        self._askers = askers
        self._desk = Desk(Semaphore(at_once), stop, journal)

    def __call__(self, task: Task) -> Record:
        """Label one image. Whatever goes wrong is in the record."""
        try:
            return self._label(task)
        except ImageError as error:
            return _failed(task, str(error))
        except Exception as error:  # one image's trouble, even a bug's, must not end the run
            log.debug("unexpected error on %s", task.item.file_name, exc_info=True)
            kind = f"unexpected {type(error).__name__}"
            return replace(_failed(task, redact(f"{kind}: {error}")), refusal=kind)

    def _label(self, task: Task) -> Record:
        data = images.read_bytes(task.item.path)
        if images.digest(data) != task.image:
            return replace(_failed(task, "changed since it was listed; run again"), stale=True)
        info = images.probe(data)
        wh = (info.width, info.height)
        exchanges: list[Exchange] = []
        try:
            for exchange, refusal in self._talks(task, data, info):
                exchanges += [exchange] if exchange else []
                if refusal is not None:
                    return Record(task, wh, tuple(exchanges), refusal=refusal)
        except StopRun as stop:
            return Record(task, wh, tuple(exchanges), stop=stop)
        return Record(task, wh, tuple(exchanges), thumb=_thumb(task, data, info))

    def _talks(
        self, task: Task, data: bytes, info: images.Info
    ) -> Iterator[tuple[Exchange | None, str | None]]:
        """Yield what came of each request, and the kind of its refusal; earlier accepted jobs come first."""
        wh = (info.width, info.height)
        for ask in task.asks:
            asker = self._askers[ask.source]
            talk = _Talk(asker, ask.source, task.image, wh, self._desk)
            prompts = list(ask.prompts)
            for accepted, its_prompts in ask.accepted:
                exchange, refusal = talk.resume(accepted, its_prompts)
                if refusal == NOT_UNDERSTOOD and ask.again:
                    prompts += its_prompts
                else:
                    yield exchange, refusal
            if prompts:
                picture = _picture(task.item.file_name, data, info, asker.backend.limits)
                for some in chunks(prompts, asker.backend.limits):
                    yield talk.ask(picture, some)


@dataclass(frozen=True, slots=True)
class _Talk:
    """All that is said with one backend about one image of `wh` upright px."""

    asker: Asker
    source: str
    image: bytes
    wh: tuple[int, int]
    desk: Desk

    def ask(self, picture: Picture, prompts: Sequence[Prompt]) -> tuple[Exchange | None, str | None]:
        sent_wh = (picture.width, picture.height)
        scaled = [in_frame(prompt, self.wh, sent_wh) for prompt in prompts]
        ended = settled(self.desk, lambda: self._answer(picture, scaled))
        return self._outcome(ended, sent_wh, prompts)

    def resume(self, accepted: Exchange, prompts: Sequence[Prompt]) -> tuple[Exchange | None, str | None]:
        backend, (width, height) = self.asker.backend, accepted.sent_wh
        if not isinstance(backend, Queued):
            return None, None
        body = accepted.body or b""
        scaled = [in_frame(prompt, self.wh, accepted.sent_wh) for prompt in prompts]
        ended = settled(self.desk, lambda: backend.resume(body, (height, width), scaled))
        exchange, refusal = self._outcome(ended, accepted.sent_wh, prompts)
        # a certain refusal settles the job: there is nothing more to look up
        settles = exchange is not None and exchange.reason is not None and exchange.body is None
        return replace(exchange, settles=True) if exchange and settles else exchange, refusal

    def _answer(self, picture: Picture, prompts: Sequence[Prompt]) -> Answer:
        backend, journal = self.asker.backend, self.desk.journal
        if not isinstance(backend, Backend):
            raise ImageError("is a single image, and the backend takes videos only")
        if not backend.limits.bills_once or journal is None:
            return backend.predict(picture, prompts)
        sent_wh, keys = (picture.width, picture.height), [prompt.key for prompt in prompts]

        def write(body: bytes, reason: str) -> None:
            exchange = self._exchange(sent_wh, prompts, Ended(body=body, reason=reason))
            journal.put_pending(self.image, self.source, exchange)

        note = Note(write, lambda: journal.drop_pending(self.image, self.source, keys))
        if not isinstance(backend, Queued):
            return noted(note, lambda: backend.predict(picture, prompts))
        size = (picture.height, picture.width)
        return noted(
            note, None, lambda: backend.submit(picture, prompts), lambda b: backend.resume(b, size, prompts)
        )

    def _outcome(
        self, ended: Ended[Answer], sent_wh: tuple[int, int], prompts: Sequence[Prompt]
    ) -> tuple[Exchange | None, str | None]:
        if ended.refusal == INTERRUPTED:
            return None, INTERRUPTED
        if ended.answer is None:
            return self._exchange(sent_wh, prompts, ended), ended.refusal
        # what was paid for is kept; an empty body would mean that it is not known what became of the request
        body = None if self.asker.backend.limits.free else ended.answer.body or None
        try:
            check(ended.answer.detections, prompts, (sent_wh[1], sent_wh[0]))
            return self._exchange(sent_wh, prompts, replace(ended, body=body)), None
        except Exception as error:  # even a bug must not lose what was paid for  # noqa: BLE001
            lost: Ended[Answer] = Ended(reason=f"the answer can't be used: {error}", body=body)
            return self._exchange(sent_wh, prompts, lost), NOT_UNDERSTOOD

    def _exchange(
        self, sent_wh: tuple[int, int], prompts: Iterable[Prompt], ended: Ended[Answer]
    ) -> Exchange:
        answer = ended.answer
        return Exchange(
            prompts=tuple(prompt.key for prompt in prompts),
            floor=self.asker.asked_from,
            sent_wh=sent_wh,
            body=ended.body,
            detections=tuple(to_frame(answer.detections, self.wh)) if answer else (),
            degradations=answer.degradations if answer else (),
            reason=ended.reason,
            source=self.source,
        )


def chunks(prompts: Sequence[Prompt], limits: Limits) -> list[Sequence[Prompt]]:
    """The prompts of each request: as many as it may hold, of one kind where kinds don't mix."""
    groups = [list(prompts)]
    if not limits.mixed:
        ordered = sorted(prompts, key=_kind)
        groups = [list(group) for _, group in groupby(ordered, key=_kind)]
    return [
        group[i : i + limits.max_prompts]
        for group in groups
        for i in range(0, len(group), limits.max_prompts)
    ]


def to_frame(detections: Iterable[Detection], wh: tuple[int, int]) -> Iterator[Detection]:
    """Yield detections with their masks scaled to a frame of `wh` pixels."""
    size = (wh[1], wh[0])
    for detection in detections:
        yield replace(detection, mask=rle.scale(detection.mask, size))


def _thumb(task: Task, data: bytes, info: images.Info) -> bytes | None:
    """The thumb that a task asks for; what goes wrong with it is no trouble of the image."""
    if not task.thumb:
        return None
    try:
        return thumbs.make(data, info)
    except Exception:  # a bug too: the answers are paid for
        log.debug("no thumb of %s", task.item.file_name, exc_info=True)
        return None


def _failed(task: Task, reason: str) -> Record:
    source = task.asks[0].source
    return Record(task, exchanges=(Exchange((WHOLE_IMAGE,), 0.0, reason=reason, source=source),))


def _picture(file_name: str, data: bytes, info: images.Info, limits: Limits) -> Picture:
    if not limits.sends_image:
        images.verify(data, info)
        return Picture(file_name, info.width, info.height)
    return images.fit(
        file_name, data, info, max_side=limits.max_side, max_base64_bytes=limits.max_base64_bytes
    )


def _kind(prompt: Prompt) -> int:
    return 0 if not prompt.is_visual else 1 if prompt.box_xyxy is not None else 2


def in_frame(prompt: Prompt, wh: tuple[int, int], sent_wh: tuple[int, int]) -> Prompt:
    """A prompt in px of the picture that is sent; its key stays."""
    if wh == sent_wh or not (prompt.is_visual or prompt.exemplars):
        return prompt
    across, down = sent_wh[0] / wh[0], sent_wh[1] / wh[1]

    def scaled(box: Box) -> Box:
        return box[0] * across, box[1] * down, box[2] * across, box[3] * down

    return replace(
        prompt,
        box_xyxy=scaled(prompt.box_xyxy) if prompt.box_xyxy else None,
        points=tuple(replace(p, x=p.x * across, y=p.y * down) for p in prompt.points),
        exemplars=tuple(replace(e, box_xyxy=scaled(e.box_xyxy)) for e in prompt.exemplars),
    )
