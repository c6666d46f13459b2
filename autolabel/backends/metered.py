"""Counts, paces and pays for a model that does not do so by itself: a local one, or a plug-in."""

import threading
from collections.abc import Sequence

from autolabel.backends.base import Answer, Backend, Limits, Meter
from autolabel.backends.pace import Pace
from autolabel.errors import ImageError, RefusedError
from autolabel.types import Picture, Prompt


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
        self._meter.reserve()
        slot = self._pace.take()
        if slot is None:
            self._meter.settle(False, sent=False)
            raise RefusedError("the run ended before it was asked", kind="interrupted")
        slot.sent()
        billed = True
        try:
            return self._backend.predict(picture, prompts)
        except ImageError:
            billed = False
            raise
        finally:
            self._meter.settle(billed)

    def read(self, body: bytes, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        """Have the backend read a kept body; see `Backend.read`."""
        return self._backend.read(body, size, prompts)

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()
