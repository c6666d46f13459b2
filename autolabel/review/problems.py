"""Why the review does not do what it was asked: one sentence each, and the HTTP status that says so."""

from typing import ClassVar

from autolabel.errors import AutolabelError


class Problem(AutolabelError):
    """The root of those below."""

    status: ClassVar[int] = 400


class NotFound(Problem):
    """There is no image of that number."""

    status = 404


class Refused(Problem):
    """What was sent can't be used, or what was asked for can't be had."""

    status = 422


class Changed(Problem):
    """The answers or the file are no longer those that the page shows. (409: a decision came first.)"""

    status = 422


class ReadOnly(Problem):
    """Nothing may be changed here."""

    status = 403


class Preparing(Problem):
    """The index is being made; `progress` says how much of it is there, from 0 to 1."""

    status = 503

    def __init__(self, progress: float) -> None:
        super().__init__("the index is being made; ask again in a moment")
        self.progress = progress
