"""One request: its slot, its note in the journal, and what its end means. Knows neither images nor clips."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Event, Semaphore
from typing import Generic, Protocol, TypeVar

from autolabel.backends.base import Answer, Backend, Tracker, Tracks
from autolabel.config import redact
from autolabel.errors import AnswerError, ImageError, RefusedError, StopRun
from autolabel.geometry.rle import decode_counts
from autolabel.store import Exchange
from autolabel.types import Detection, Prompt

log = logging.getLogger(__name__)

UNCLEAR = (
    "outcome unclear: the request was under way when the run ended; --retry-unclear asks (and pays) again"
)
ACCEPTED = "the host has accepted it and not answered yet; run again to fetch the answer"
NOT_UNDERSTOOD = "answer not understood"
INTERRUPTED = "interrupted"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asker:
    """A backend, and the confidence that it is asked from."""

    backend: Backend | Tracker
    floor: float

    @property
    def asked_from(self) -> float:
        """The floor of its answers: 0 where it takes none."""
        return self.floor if self.backend.limits.threshold else 0.0


class Journal(Protocol):
    """Remembers requests that may be billed before their answers come, should the process die meanwhile."""

    def put_pending(self, image: bytes, source: str, exchange: Exchange) -> None:
        """Note that a request is about to be sent, or was accepted."""
        ...

    def drop_pending(self, image: bytes, source: str, prompts: Iterable[str]) -> None:
        """Forget a note."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """Where requests queue up: so many at once, until `stop` is set."""

    slots: Semaphore
    stop: Event
    journal: Journal | None


@dataclass(frozen=True, slots=True)
class Note:
    """Puts a request into the journal: `write(body, reason)` with what is known of it, `drop()`."""

    write: Callable[[bytes, str], None]
    drop: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """How a request ended: with an answer; or with a reason, perhaps a body, and the kind of the refusal.

    It is made without a type in brackets: frozen and slotted as it is, it can't remember one.
    """

    answer: T | None = None
    reason: str | None = None
    body: bytes | None = None
    refusal: str | None = None


def settled(desk: Desk, call: Callable[[], T]) -> Ended[T]:
    """Make a request when a slot is free, and tell how it ended. Raises StopRun, and then sets `stop`."""
    with desk.slots:
        try:
            answer = call()
        except StopRun:
            desk.stop.set()  # before another thread gets the slot
            raise
        except RefusedError as error:
            reason = None if error.kind == INTERRUPTED else str(error)
            return Ended(reason=reason, refusal=error.kind)
        except AnswerError as error:
            body = error.body if isinstance(error.body, bytes) else None
            return Ended(reason=str(error), body=body, refusal=NOT_UNDERSTOOD)
        except ImageError as error:
            return Ended(reason=str(error))
        except (Exception, SystemExit) as error:  # a bug of a backend must not lose what was answered before
            log.debug("unexpected error", exc_info=True)
            kind = f"unexpected {type(error).__name__}"
            return Ended(reason=redact(f"{kind}: {error}"), refusal=kind)
    if not isinstance(answer, Answer | Tracks):
        return Ended(
            reason=f"the backend returned {type(answer).__name__}, no answer", refusal=NOT_UNDERSTOOD
        )
    return Ended(answer)


def noted(
    note: Note,
    ask: Callable[[], T] | None,
    submit: Callable[[], bytes] | None = None,
    resume: Callable[[bytes], T] | None = None,
) -> T:
    """Ask what may be billed though no answer comes: with a note before it is sent, and of its acceptance.

    Either by `ask`, or by `submit` and `resume`. A certain refusal ends the note, an answer does so when it
    is kept. Raises as they do.
    """
    note.write(b"", UNCLEAR)
    try:
        if submit is None or resume is None:
            if ask is None:
                raise ValueError("there is nothing to ask with")
            return ask()
        body = submit()
    except (ImageError, StopRun) as error:
        if not isinstance(error, AnswerError):
            note.drop()
        raise
    note.write(body, ACCEPTED)
    try:
        return resume(body)
    except (ImageError, StopRun):
        raise
    except Exception as error:  # a bug must not lose what was accepted
        trouble = redact(f"unexpected {type(error).__name__}: {error}")
        raise AnswerError(f"the request was accepted, and then: {trouble}", body=body) from error


def check(detections: Iterable[Detection], prompts: Iterable[Prompt], size: tuple[int, int]) -> None:
    """Raise ValueError for what no backend may answer: it would be scaled, kept or passed over in silence.

    `size` is the (height, width) of what was sent.
    """
    keys = {prompt.key for prompt in prompts}
    for detection in detections:
        score, mask = detection.confidence, detection.mask
        if detection.prompt not in keys:
            raise ValueError(f"a detection answers {str(detection.prompt)[:60]!r}, which was not asked")
        if mask.size != size:
            raise ValueError(f"a mask is of {mask.size}, what was sent of {size} (height, width)")
        if type(mask.counts) is not bytes or decode_counts(mask.counts).sum() != size[0] * size[1]:
            raise ValueError("the counts of a mask are not those of COCO's compressed RLE, as bytes")
        if score is not None and not (type(score) in (int, float) and 0 <= score <= 1):
            raise ValueError(f"a confidence is {type(score).__name__} {score}, not a number in 0..1")
        if detection.track_id is not None and type(detection.track_id) is not int:
            raise ValueError(f"a track_id is {type(detection.track_id).__name__}, not int")
