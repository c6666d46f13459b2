"""Every error a user can meet, and nothing else.

    AutolabelError
    ├── UsageError            wrong usage, config or input, before anything was asked   (exit code 2)
    │   ├── ConfigError       a key, a value or a file of the configuration
    │   ├── InputError        the images that were named
    │   └── OutputError       the output or the run folder
    ├── ImageError            one image failed; it becomes data (a reason) and never stops a run
    │   ├── RefusedError      the host refused this request, or never answered it
    │   └── AnswerError       the host answered 200, but not in a shape that is understood
    └── StopRun               a cause that would hit every image                         (exit code 4)
        ├── KeyRefused        401, 403, 423
        ├── NoCredits         402
        ├── UnknownModel      404
        ├── BudgetReached     the next request could pass label.budget
        ├── SameRefusal       the first images in a row met the same refusal
        └── Interrupted       by SIGINT or SIGTERM                                       (exit code 130)

A message is one sentence that says what is wrong, where, and what to do. It never holds a key.
"""

from typing import Any


class AutolabelError(Exception):
    """The root: catch this to catch everything autolabel raises on purpose."""


class UsageError(AutolabelError):
    """Wrong usage, config or input, found before anything was asked."""


class ConfigError(UsageError):
    """A configuration file, key or value is wrong."""


class InputError(UsageError):
    """The images that were named can't be used."""


class OutputError(UsageError):
    """The output or the run folder can't be used."""


class ImageError(AutolabelError):
    """One image can't be labelled; the message is the reason that stands in failures.csv."""


class RefusedError(ImageError):
    """The host refused the request, or did not answer it.

    `kind` is the same for two refusals of one cause (status and message, without what differs by image).
    """

    def __init__(self, message: str, *, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class AnswerError(ImageError):
    """The host answered 200 with a body that is not understood; the body is kept."""

    def __init__(self, message: str, *, body: bytes | None = None) -> None:
        super().__init__(message)
        self.body = body


class StopRun(AutolabelError):
    """A cause that would hit every image: the run ends early and keeps every finished answer.

    `summary` says how far a label run came; None before one began.
    """

    summary: Any = None  # a pipeline.Summary, which is above this module


class KeyRefused(StopRun):
    """The host does not take this key."""


class NoCredits(StopRun):
    """The account can't pay for the request."""


class UnknownModel(StopRun):
    """The host does not know the model or the address."""


class BudgetReached(StopRun):
    """One more request could cost more than label.budget allows."""


class SameRefusal(StopRun):
    """The images in a row met the same refusal, so the rest would too."""


class Interrupted(StopRun):
    """Someone asked the run to end."""
