"""The worker for whole clips: a clip in, an exchange for each of its frames out."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event, Semaphore

from autolabel.backends.base import QueuedTracker, Tracker, Tracks
from autolabel.config import redact
from autolabel.errors import AnswerError, ImageError, StopRun
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
from autolabel.store import Exchange
from autolabel.types import Detection, Footage, FrameItem, Prompt

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClipTask:
    """The frames of a clip, each with its content (a digest) and the source that its answer is kept under;
    the prompts that the clip still needs of the backend `asker`; jobs accepted before; bodies to read again.
    Prompts of the last two are asked `again` where the answer is not to be had.
    """

    asker: str
    frames: tuple[FrameItem, ...]
    images: tuple[bytes, ...]
    sources: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    accepted: tuple[tuple[Exchange, tuple[Prompt, ...]], ...] = ()
    unread: tuple[tuple[Exchange, tuple[Prompt, ...]], ...] = ()
    again: bool = False


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """What came of a clip: exchanges by the place of the frame in the task. Else as a `Record`."""

    task: ClipTask
    exchanges: tuple[tuple[int, Exchange], ...] = ()
    refusal: str | None = None
    stop: StopRun | None = None

    @property
    def reason(self) -> str | None:
        """Why the clip is not labelled, if it is not."""
        return next((exchange.reason for _, exchange in self.exchanges if exchange.reason), None)


class ClipLabeler:
    """Asks for the prompts of a clip; see `Labeler`."""

    def __init__(
        self, askers: Mapping[str, Asker], *, at_once: int, stop: Event, journal: Journal | None = None
    ) -> None:
        self._askers = askers
        self._desk = Desk(Semaphore(at_once), stop, journal)

    def __call__(self, task: ClipTask) -> ClipRecord:
        """Label one clip. Whatever goes wrong is in the record."""
        asker = self._askers[task.asker]
        kept: list[tuple[int, Exchange]] = []
        try:
            if not isinstance(asker.backend, Tracker):
                raise ImageError("is part of a video, and the backend takes single images only")
            for ended, prompts in _requests(task, asker.backend, self._desk, asker.asked_from):
                ended = _checked(ended, task, prompts)  # noqa: PLW2901
                if ended.refusal != INTERRUPTED:
                    kept += _exchanges(task, prompts, ended, asker.asked_from)
                if ended.refusal is not None:
                    return ClipRecord(task, tuple(kept), refusal=ended.refusal)
        except StopRun as stop:
            return ClipRecord(task, tuple(kept), stop=stop)
        except ImageError as error:
            kept += _exchanges(task, task.prompts, Ended(reason=str(error)), asker.asked_from)
        except Exception as error:  # one clip's trouble, even a bug's, must not end the run
            log.debug("unexpected error on %s", task.frames[0].clip.file_name, exc_info=True)
            kind = f"unexpected {type(error).__name__}"
            ended = Ended(reason=redact(f"{kind}: {error}"))
            kept += _exchanges(task, task.prompts, ended, asker.asked_from)
            return ClipRecord(task, tuple(kept), refusal=kind)
        return ClipRecord(task, tuple(kept))


def _requests(
    task: ClipTask, backend: Tracker, desk: Desk, floor: float
) -> Iterator[tuple[Ended[Tracks], Sequence[Prompt]]]:
    """Yield how each request ended: what was kept before comes first, then a request for so many prompts."""
    footage = _footage(task.frames)
    wanted = list(task.prompts)
    for exchange, prompts in task.unread:
        try:
            yield Ended(backend.read_tracks(exchange.body or b"", footage, prompts)), prompts
        except AnswerError:  # then it stays as it is
            wanted += prompts if task.again else ()
    for exchange, prompts in task.accepted:
        if isinstance(backend, QueuedTracker):
            ended = settled(desk, partial(backend.resume_clip, exchange.body or b"", footage, prompts))
            if ended.refusal == NOT_UNDERSTOOD and task.again:
                wanted += prompts
            else:
                yield ended, prompts
    size = backend.limits.max_prompts
    for start in range(0, len(wanted), size):
        some = wanted[start : start + size]
        yield settled(desk, partial(_asked, task, backend, desk, footage, some, floor)), some


def _asked(
    task: ClipTask, backend: Tracker, desk: Desk, footage: Footage, prompts: Sequence[Prompt], floor: float
) -> Tracks:
    """Ask; where a second request could be billed again, with a note of it for the clip's first frame."""
    journal = desk.journal
    if not backend.limits.bills_once or journal is None:
        return backend.track(footage, prompts)
    image, source = task.images[0], task.sources[0]

    def write(body: bytes, reason: str) -> None:
        [(_, exchange), *_] = _exchanges(task, prompts, Ended(body=body, reason=reason), floor)
        journal.put_pending(image, source, exchange)

    note = Note(write, lambda: journal.drop_pending(image, source, [prompt.key for prompt in prompts]))
    if not isinstance(backend, QueuedTracker):
        return noted(note, lambda: backend.track(footage, prompts))
    queue = backend
    return noted(
        note,
        None,
        lambda: queue.submit_clip(footage, prompts),
        lambda b: queue.resume_clip(b, footage, prompts),
    )


def _exchanges(
    task: ClipTask, prompts: Sequence[Prompt], ended: Ended[Tracks], floor: float
) -> Iterator[tuple[int, Exchange]]:
    """Yield an exchange for every frame; the body, which is of all of them, stays with the first."""
    tracks, clip = ended.answer, task.frames[0].clip
    body = tracks.body or None if tracks else ended.body
    for i, source in enumerate(task.sources):
        found: Iterable[Detection] = tracks.frames[i] if tracks else ()
        yield (
            i,
            Exchange(
                prompts=tuple(prompt.key for prompt in prompts),
                floor=floor,
                sent_wh=(clip.width, clip.height),
                body=body if i == 0 else None,
                detections=tuple(found),
                degradations=tracks.degradations if tracks else (),
                reason=ended.reason,
                source=source,
            ),
        )


def _checked(ended: Ended[Tracks], task: ClipTask, prompts: Sequence[Prompt]) -> Ended[Tracks]:
    """The same, or a reason in place of an answer of other frames, or with what no backend may answer."""
    tracks, clip = ended.answer, task.frames[0].clip
    if tracks is None:
        return ended
    try:
        if len(tracks.frames) != len(task.frames):
            raise ValueError(f"it has {len(tracks.frames)} frames, the clip {len(task.frames)}")
        for frame in tracks.frames:
            check(frame, prompts, (clip.height, clip.width))
    except Exception as error:  # even a bug must not lose what was paid for  # noqa: BLE001
        body = tracks.body or None
        return Ended(reason=f"the answer can't be used: {error}", body=body, refusal=NOT_UNDERSTOOD)
    return ended


def _footage(frames: Sequence[FrameItem]) -> Footage:
    clip = frames[0].clip
    return Footage(
        clip.file_name,
        clip.width,
        clip.height,
        tuple(frame.path for frame in frames),
        tuple(frame.time_s for frame in frames),
    )
