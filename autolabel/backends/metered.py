"""Counts, paces and pays for a model that does not do so by itself: a local one, or a plug-in."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from autolabel.backends.base import Answer, Backend, Limits, Tracker, Tracks
from autolabel.backends.meter import Meter
from autolabel.backends.pace import Pace
from autolabel.errors import AnswerError, ImageError, RefusedError
from autolabel.types import Footage, Picture, Prompt

T = TypeVar("T")


class Metered:
    """A backend around another: every `predict` is one request, billed unless it is refused."""

    def __init__(self, backend: Backend, *, meter: Meter, stop: threading.Event) -> None:
        self._backend = backend
        self._meter = meter
        self._pace = Pace(backend.limits.requests_per_second, stop)

    @property
    def limits(self) -> Limits:
        """Those of the backend."""
        return self._backend.limits

    def predict(self, picture: Picture, prompts: Sequence[Prompt]) -> Answer:
        """Ask the backend when it is its turn; see `Backend.predict`. RefusedError too where the run ends."""
        return self._in_turn(lambda: self._backend.predict(picture, prompts))

    def read(self, body: bytes, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        """Have the backend read a kept body; see `Backend.read`."""
        return self._backend.read(body, size, prompts)

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()

    def _in_turn(self, call: Callable[[], T]) -> T:
        self._meter.reserve()
        slot = self._pace.take()
        if slot is None:
            self._meter.settle(False, sent=False)
            raise RefusedError("the run ended before it was asked", kind="interrupted")
        slot.sent()
        billed = True
        try:
            return call()
        except ImageError as error:
            billed = isinstance(error, AnswerError)
            raise
        finally:
            self._meter.settle(billed)


class MeteredTracker(Metered):
    """The same around a backend that takes whole clips too: every `track` is one request."""

    def __init__(self, backend: Tracker, *, meter: Meter, stop: threading.Event) -> None:
        super().__init__(cast(Backend, backend), meter=meter, stop=stop)
        self._tracker = backend

    def track(self, footage: Footage, prompts: Sequence[Prompt]) -> Tracks:
        """Ask the backend when it is its turn; see `Tracker.track`."""
        return self._in_turn(lambda: self._tracker.track(footage, prompts))

    def read_tracks(self, body: bytes, footage: Footage, prompts: Sequence[Prompt]) -> Tracks:
        """Have the backend read a kept body; see `Tracker.read_tracks`."""
        return self._tracker.read_tracks(body, footage, prompts)
