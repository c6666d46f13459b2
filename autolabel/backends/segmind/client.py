"""What the models share: key, client, the two ways to ask (at once, or through the queue), options.

What is asked is each model's own; `detections` reads what comes back. The wire facts are from the
vendor's pages and its SDK (1.3.0); what public clients show is said where it is used. Nothing here was seen
against the live service.
"""

import base64
import re
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import orjson

from autolabel.backends.base import Answer
from autolabel.backends.hosted import OverHttp
from autolabel.backends.http import Host, Retry
from autolabel.backends.meter import Meter
from autolabel.backends.segmind import answers
from autolabel.backends.segmind.detections import answer_of
from autolabel.config import BackendConfig
from autolabel.errors import AnswerError, ConfigError, ImageError, RefusedError, UnknownModel
from autolabel.types import Picture, Prompt

Size = tuple[int, int]
T = TypeVar("T")

_TIMEOUT_S = 300.0  # where the configuration says none: a public client measured 150 to 280 s on sam3-image
_LONGEST_JOB_S = 3600.0
_LONGEST_POLL_S = 5.0
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")  # it becomes a part of an address
_FAILED, _COMPLETED, _UNDER_WAY = "FAILED", "COMPLETED", ("QUEUED", "PROCESSING")


@dataclass(frozen=True, slots=True)
class Option:
    """What an entry of backend.options may be: true or false, or a number from `low` to `high`."""

    kind: type[bool] | type[int] | type[float]
    low: float = 0
    high: float = 0

    def takes(self, value: object) -> bool:
        """Whether `value` is one that the host takes."""
        if self.kind is bool or isinstance(value, bool):
            return self.kind is bool and isinstance(value, bool)
        number = isinstance(value, int) or (self.kind is float and isinstance(value, float))
        return number and self.low <= value <= self.high  # type: ignore[operator]  # a number by now

    def __str__(self) -> str:
        if self.kind is bool:
            return "true or false"
        return f"a {'whole ' if self.kind is int else ''}number from {self.low:g} to {self.high:g}"


class Segmind(OverHttp):
    """One model of the host, asked for one prompt on one picture at a time.

    A request that was accepted is billed, so it is never sent a second time by itself.
    """

    KEY_VARIABLES: ClassVar[tuple[str, ...]] = ("SEGMIND_API_KEY",)
    BASE_URL: ClassVar[str | None] = "https://api.segmind.com"
    SETTINGS: ClassVar[frozenset[str]] = frozenset({"base_url", "api"})
    MODEL: ClassVar[str]
    API: ClassVar[Literal["v1", "v2"]] = "v1"
    OPTIONS: ClassVar[Mapping[str, Option]] = {}

    def __init__(
        self,
        settings: BackendConfig,
        *,
        floor: float,
        meter: Meter,
        stop: threading.Event,
        retry: Retry = Retry(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(settings, floor=floor, meter=meter, stop=stop, retry=retry)
        self._meter = meter
        self._submitted: set[str] = set()  # jobs of this session that count at the usual price until now

    @classmethod
    def check_options(cls, settings: BackendConfig) -> None:
        """Raise ConfigError for an entry of backend.options that is unknown or out of range."""
        for name, value in settings.options.items():
            option = cls.OPTIONS.get(name)
            if option is None:
                known = f"known are {', '.join(cls.OPTIONS)}" if cls.OPTIONS else "leave it out"
                raise ConfigError(f"backend.options.{name} means nothing to {cls.MODEL}: {known}")
            if not option.takes(value):
                raise ConfigError(f"backend.options.{name} should be {option}, not {str(value)[:60]}")

    def predict(self, picture: Picture, prompts: Sequence[Prompt]) -> Answer:
        """Ask for the one prompt; see `Backend.predict`.

        Raises AnswerError with the accepting body where the answer to an accepted request can't be had now.
        """
        accepted = self.submit(picture, prompts)
        with self._kept(accepted):
            return self.resume(accepted, (picture.height, picture.width), prompts)

    def submit(self, picture: Picture, prompts: Sequence[Prompt]) -> bytes:
        """Hand the one prompt in, and return what `resume` makes the answer of; see `Queued.submit`.

        At once (v1) that is the answer itself, whose masks may lie elsewhere; else (v2) it names the job.
        """
        [prompt] = prompts
        # spliced, as a JSON encoder would look at each of a million base64 characters
        image, rest = base64.b64encode(picture.data), orjson.dumps(self._asked(picture, prompt))
        return self._submit(b"".join((b'{"image":"', image, b'",', rest[1:])))

    def resume(self, accepted: bytes, size: Size, prompts: Sequence[Prompt]) -> Answer:
        """Return the answer to what was accepted; see `Queued.resume`.

        Raises RefusedError where the job failed (it is not billed then) or the run ends (kind
        "interrupted"), and AnswerError with `accepted` where the answer can't be had now.
        """
        return self.read(self._whole(accepted), size, prompts)

    def read(self, body: bytes, size: Size, prompts: Sequence[Prompt]) -> Answer:
        """Read a kept body again, which has its masks within; see `Backend.read`."""
        [prompt] = prompts
        return self._understood(lambda: answer_of(body, size, prompt, scores=self.limits.scores), body)

    @abstractmethod
    def _asked(self, picture: Picture, prompt: Prompt) -> dict[str, Any]:
        """Return the keys of a request, without the image."""

    def _open_host(
        self, base_url: str, meter: Meter, stop: threading.Event, retry: Retry, *, bills_once: bool = True
    ) -> Host:
        given = "timeout_s" in self.settings.model_fields_set
        return Host(
            base_url,
            key=self._key(),
            key_variable=self.KEY_VARIABLES[0],
            auth="x-api-key",  # a bearer token is refused
            timeout_s=self.settings.timeout_s if given else _TIMEOUT_S,
            requests_per_second=self.limits.requests_per_second,
            meter=meter,
            stop=stop,
            retry=retry,
            bills_once=bills_once,
        )

    @contextmanager
    def _kept(self, accepted: bytes) -> Iterator[None]:
        """Keep what was accepted where the run ends while it is waited for: raises AnswerError with it."""
        try:
            yield
        except RefusedError as error:
            if error.kind != "interrupted":
                raise
            raise AnswerError(str(error), body=accepted) from None

    def _submit(self, content: bytes) -> bytes:
        """The body of the 200 that answers a request, checked as far as it can be without what it names."""
        reply = self._host.post(f"/{self.settings.api or self.API}/{self.MODEL}", content)
        job = answers.job(reply.value)
        if job is not None:
            # a cost that stands here already is counted with the request
            self._submitted |= set() if "x-cost" in reply.headers else {job}
        elif not answers.is_answer(reply.body, reply.value):
            kind = reply.headers.get("content-type", "of no content type")
            raise self._host.reasons.unexpected(f"it is {kind}, and neither a picture nor JSON", reply.body)
        return reply.body

    def _whole(self, accepted: bytes) -> bytes:
        """The answer to what was accepted, with the files that it names within. Raises as `resume` does."""
        try:
            job = answers.job(answers.parse(accepted))
            body = accepted if job is None else self._wait_for(job, accepted)
            return self._understood(lambda: answers.with_files(body, self._file), body)
        except _JobFailed as error:
            raise RefusedError(str(error), kind=error.kind) from None
        except RefusedError as error:
            if error.kind == "interrupted":
                raise
            trouble = str(error)
        except UnknownModel as error:
            trouble = f"the host does not know the job any more ({error})"
        raise AnswerError(
            f"{trouble}; the request was accepted and may be billed: run again to fetch its answer, "
            "or with --retry-unclear to ask, and pay, again",
            body=accepted,
        )

    def _file(self, url: str) -> bytes:
        """A file that the answer names. Raises RefusedError: it may be had later where another came."""
        data = self._host.fetch(url)
        if not answers.is_file(data):
            shown = self._host.reasons.excerpt(data[:200]) or "nothing"
            raise RefusedError(
                f"a file of the answer is no picture or video, but begins {shown}", kind="file"
            )
        return data

    def _wait_for(self, job: str, accepted: bytes) -> bytes:
        """The body that answers a job. Raises RefusedError, UnknownModel, AnswerError and _JobFailed."""
        if not _ID.fullmatch(job):
            raise self._host.reasons.unexpected(f"the job's name is {job[:60]!r}", accepted)
        host, wait_s = self._host, self._host.retry.first_wait_s
        deadline = time.monotonic() + _LONGEST_JOB_S
        while True:
            found = host.look_up(f"/v2/requests/{job}/status", also=(422,))
            state = answers.state(found.value)
            if state not in _UNDER_WAY:
                break
            if host.stop.wait(wait_s):
                raise host.reasons.interrupted()
            if time.monotonic() > deadline:
                raise host.reasons.too_slow(_LONGEST_JOB_S, "")
            wait_s = min(wait_s * 1.5, _LONGEST_POLL_S, host.retry.max_wait_s)
        if state in (_COMPLETED, _FAILED):
            found = host.look_up(f"/v2/requests/{job}", also=(422,))
            state = answers.state(found.value)
        self._settle(job, 0.0 if state == _FAILED else answers.cost(found.value))
        if state == _FAILED:
            raise _JobFailed(host.reasons.job_failed(found.body))
        if state != _COMPLETED:
            raise host.reasons.unexpected(f"the job's status is {str(state)[:60]!r}", accepted)
        return found.body

    def _settle(self, job: str, cost: float | None) -> None:
        """Note what a job cost; one of an earlier session was counted there."""
        if job in self._submitted and cost is not None:
            self._submitted.discard(job)
            self._meter.state(cost)


class _JobFailed(ImageError):
    """The host gave an accepted job up, and does not bill it."""

    def __init__(self, error: RefusedError) -> None:
        super().__init__(str(error))
        self.kind = error.kind
