"""What a backend is: its limits, and a function from an image and prompts to detections."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol, runtime_checkable

from autolabel.backends.meter import Meter
from autolabel.config import BackendConfig
from autolabel.errors import AnswerError, ConfigError
from autolabel.types import Detection, Footage, Picture, Prompt

Kind = Literal["text", "exemplars", "boxes", "points"]  # of prompts
Loss = Literal["holes", "scores", "instances"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a host or model takes, holds and charges. None means that it states no limit, or no price."""

    takes: frozenset[Kind] = frozenset({"text"})
    mixed: bool = True  # prompts of all kinds may share a request
    clips: bool = False  # takes a whole clip, and tracks what it finds (see `Tracker`)
    images: bool = True  # takes single images
    max_side: int | None = None  # px, of the longer side of what is sent
    max_base64_bytes: int | None = None  # of the encoded image as base64
    max_prompts: int = 1  # prompts in one request
    requests_per_second: float | None = None
    price_per_request: float | None = None  # US dollars
    threshold: bool = True  # takes a confidence floor with the request
    scores: bool = True  # answers carry scores; where they don't, a class is asked at its own confidence
    loses: tuple[Loss, ...] = ()  # what no answer holds
    sends_image: bool = True  # False: pixels are never looked at (replay)
    free: bool = False  # answers cost nothing, so they are read anew each time
    bills_once: bool = False  # a request without a clear answer may be billed: it is not sent again by itself
    returns: str = ""  # what comes back, in words
    source: str = ""  # where limits and price are from

    def with_overrides(self, settings: BackendConfig, *, own_server: bool = False) -> "Limits":
        """Return these limits with the rate and price that the configuration states instead.

        On an `own_server` of the user the vendor's rate and price mean nothing.
        """
        limits = replace(self, requests_per_second=None, price_per_request=None) if own_server else self
        if settings.requests_per_second is not None:
            limits = replace(limits, requests_per_second=settings.requests_per_second)
        if settings.price_per_request is not None:
            limits = replace(limits, price_per_request=settings.price_per_request)
        return limits


@dataclass(frozen=True, slots=True)
class Answer:
    """Detections in the frame of the picture, and the body they were read from.

    `degradations` names what the form of the answer can't hold, such as "holes" of polygons.
    """

    detections: list[Detection]
    body: bytes = b""
    degradations: tuple[str, ...] = ()


@runtime_checkable
class Backend(Protocol):
    """One file per host or model. Resizing, chunking, scaling back and keeping are not its business."""

    @property
    def limits(self) -> Limits:
        """What the host takes and charges."""
        ...

    def predict(self, picture: Picture, prompts: Sequence[Prompt]) -> Answer:
        """Ask for all `prompts` (at most `limits.max_prompts`) on one picture, whose px they are given in.

        Raises RefusedError (this image only), AnswerError (200, not understood; carries the body)
        or StopRun (every image would meet it).
        """
        ...

    def read(self, body: bytes, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        """Read a kept body of this host again, for a picture of `size` (height, width).

        Pure and without network. Raises AnswerError where the body is not understood.
        """
        ...

    def close(self) -> None:
        """Give connections back. The backend can't be asked afterwards; it can still read."""
        ...


@runtime_checkable
class Queued(Protocol):
    """A backend whose host accepts a job first and answers later: `predict` in two steps."""

    def submit(self, picture: Picture, prompts: Sequence[Prompt]) -> bytes:
        """Hand a job in and return the body that accepts it. Raises as `predict` does."""
        ...

    def resume(self, accepted: bytes, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        """Wait for the answer to a job that was accepted, for a picture of `size` (height, width).

        Raises as `predict` does; AnswerError too where `accepted` names no job.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tracks:
    """Detections of every frame, in the frames' px, each with a `track_id`; and the body read for them."""

    frames: list[list[Detection]]
    body: bytes = b""
    degradations: tuple[str, ...] = ()


@runtime_checkable
class Tracker(Protocol):
    """A backend that takes whole clips (`limits.clips`); one that takes images too is also a Backend."""

    @property
    def limits(self) -> Limits:
        """What the host takes and charges."""
        ...

    def track(self, footage: Footage, prompts: Sequence[Prompt]) -> Tracks:
        """Ask for `prompts` (texts, at most `limits.max_prompts`) in one clip. Raises as `predict` does."""
        ...

    def read_tracks(self, body: bytes, footage: Footage, prompts: Sequence[Prompt]) -> Tracks:
        """Read a kept body again. Pure and without network. Raises AnswerError."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...


@runtime_checkable
class QueuedTracker(Protocol):
    """A Tracker whose host accepts a job first and answers later: `track` in two steps."""

    def submit_clip(self, footage: Footage, prompts: Sequence[Prompt]) -> bytes:
        """Hand a job in and return the body that accepts it. Raises as `predict` does."""
        ...

    def resume_clip(self, accepted: bytes, footage: Footage, prompts: Sequence[Prompt]) -> Tracks:
        """Wait for the answer to a job that was accepted. Raises as `predict` does."""
        ...


class Model:
    """What a backend inherits: defaults for all but `predict`, and what is asked before it is opened."""

    KEY_VARIABLES: ClassVar[tuple[str, ...]] = ()  # environment variables of the key, first one first
    BASE_URL: ClassVar[str | None] = None  # the vendor's own address; None: nothing is asked over a network
    LIMITS: ClassVar[Limits] = Limits()
    OWN_SERVERS: ClassVar[bool] = False  # users can run the same server, at another base_url
    SETTINGS: ClassVar[frozenset[str]] = frozenset()  # which of base_url, auth, answers and api it knows
    METERED: ClassVar[bool] = False  # it counts requests and keeps the rate by itself
    SPEED: ClassVar[frozenset[str]] = frozenset()  # which of backend.options change no answer

    def __init__(self, settings: BackendConfig, *, floor: float, meter: Meter, stop: threading.Event) -> None:
        """Open it. Raises ConfigError where a key, a file or an option is missing or wrong."""
        del meter, stop
        self.settings = settings
        self.floor = floor
        self.limits = self.limits_for(settings)

    @classmethod
    def check_options(cls, settings: BackendConfig) -> None:
        """Raise ConfigError for an entry of backend.options that this backend does not know."""
        if settings.options:
            name = next(iter(settings.options))
            raise ConfigError(f"backend.options.{name} means nothing to {settings.name}: leave it out")

    @classmethod
    def limits_for(cls, settings: BackendConfig) -> Limits:
        """Limits with the overrides of `settings`. Opens nothing and needs no key. Raises ConfigError."""
        own_server = cls.OWN_SERVERS and settings.base_url not in (None, cls.BASE_URL)
        return cls.LIMITS.with_overrides(settings, own_server=own_server)

    def read(self, body: bytes, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        """Read nothing, as a model without a host sends no bodies."""
        del size, prompts
        raise AnswerError("it has no body that could be read again", body=body)

    def close(self) -> None:
        """Give nothing back."""


class BackendClass(Protocol):
    """What the registry needs to know of a backend before it is opened; see `Model`, which has it all."""

    KEY_VARIABLES: ClassVar[tuple[str, ...]]
    BASE_URL: ClassVar[str | None]
    LIMITS: ClassVar[Limits]
    SETTINGS: ClassVar[frozenset[str]]
    METERED: ClassVar[bool]
    SPEED: ClassVar[frozenset[str]]

    def __call__(
        self, settings: BackendConfig, *, floor: float, meter: Meter, stop: threading.Event
    ) -> Backend:
        """Open it. Raises ConfigError where a key, a file or an option is missing or wrong."""
        ...

    def check_options(self, settings: BackendConfig) -> None:
        """Raise ConfigError for an entry of backend.options that is unknown or wrong."""
        ...

    def limits_for(self, settings: BackendConfig) -> Limits:
        """Limits with the overrides of `settings`."""
        ...
