"""One request: its slot, its note in the journal, and what its end means. Knows neither images nor clips."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Event, Semaphore
from typing import Generic, Protocol, TypeVar

from autolabel.backends.base import Backend, Tracker
from autolabel.errors import AnswerError, RefusedError, StopRun
from autolabel.store import Exchange

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
    """How a request ended: with an answer; or with a reason, perhaps a body, and the kind of the refusal."""

    answer: T | None = None
    reason: str | None = None
    body: bytes | None = None
    refusal: str | None = None


def settled(desk: Desk, call: Callable[[], T]) -> Ended[T]:
    """Make a request when a slot is free, and tell how it ended. Raises StopRun, and then sets `stop`."""
    with desk.slots:
        try:
            return Ended(call())
        except StopRun:
            desk.stop.set()  # before another thread gets the slot
            raise
        except RefusedError as error:
            reason = None if error.kind == INTERRUPTED else str(error)
            return Ended(reason=reason, refusal=error.kind)
        except AnswerError as error:
            return Ended(reason=str(error), body=error.body, refusal=NOT_UNDERSTOOD)


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
    except (RefusedError, StopRun):
        note.drop()
        raise
    note.write(body, ACCEPTED)
    return resume(body)
