"""The worker: one image in, one record out. It never raises, keeps no state but its backend, and does not
touch the store, so that any engine can run it in threads, processes or on other machines.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Event, Semaphore

from autolabel.backends.base import Answer, Backend
from autolabel.config import redact
from autolabel.errors import AnswerError, ImageError, RefusedError, StopRun
from autolabel.geometry import rle
from autolabel.sources import images
from autolabel.store import WHOLE_IMAGE, Exchange
from autolabel.types import Detection, ImageItem, Picture, Prompt

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """An image whose content is `image` (a digest), and the prompts that it still needs."""

    item: ImageItem
    image: bytes
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """What came of a task. `refusal` is equal for images that failed at the host for one cause; `stop` ends
    the run; `stale` says that the file's content is not `task.image`.
    """

    task: Task
    wh: tuple[int, int] = (0, 0)
    exchanges: tuple[Exchange, ...] = ()
    refusal: str | None = None
    stop: StopRun | None = None
    stale: bool = False

    @property
    def reason(self) -> str | None:
        """Why the image is not labelled, if it is not."""
        return next((exchange.reason for exchange in self.exchanges if exchange.reason), None)


class Labeler:
    """Asks `backend` for the prompts of a task from the confidence `floor` up, `at_once` requests at a time.

    An engine may call it from more threads than that: then pictures are made ready while others wait.
    A cause that would hit every image sets `stop`, so that no other thread runs into it too.
    """

    def __init__(self, backend: Backend, floor: float, *, at_once: int, stop: Event) -> None:
        self._slots = Semaphore(at_once)
        self._stop = stop
        self._backend = backend
        self._floor = floor if backend.limits.threshold else 0.0

    def __call__(self, task: Task) -> Record:
        """Label one image. Whatever goes wrong is in the record."""
        try:
            return self._label(task)
        except ImageError as error:
            return self._failed(task, str(error))
        except Exception as error:  # one image's trouble, even a bug's, must not end the run
            log.debug("unexpected error on %s", task.item.file_name, exc_info=True)
            kind = f"unexpected {type(error).__name__}"
            return replace(self._failed(task, redact(f"{kind}: {error}")), refusal=kind)

    def _failed(self, task: Task, reason: str) -> Record:
        return Record(task, exchanges=(Exchange((WHOLE_IMAGE,), self._floor, reason=reason),))

    def _label(self, task: Task) -> Record:
        data = images.read_bytes(task.item.path)
        if images.digest(data) != task.image:
            return replace(self._failed(task, "changed since it was listed; run again"), stale=True)
        info = images.probe(data)
        wh = (info.width, info.height)
        picture = self._picture(task.item.file_name, data, info)
        exchanges: list[Exchange] = []
        for prompts in chunks(task.prompts, self._backend.limits.max_prompts):
            try:
                exchanges.append(self._ask(picture, prompts, wh))
            except StopRun as stop:
                return Record(task, wh, tuple(exchanges), stop=stop)
            except RefusedError as error:
                if error.kind != "interrupted":
                    exchanges.append(self._exchange(picture, prompts, reason=str(error)))
                return Record(task, wh, tuple(exchanges), refusal=error.kind)
            except AnswerError as error:
                exchanges.append(self._exchange(picture, prompts, body=error.body, reason=str(error)))
                return Record(task, wh, tuple(exchanges), refusal="answer not understood")
        return Record(task, wh, tuple(exchanges))

    def _picture(self, file_name: str, data: bytes, info: images.Info) -> Picture:
        limits = self._backend.limits
        if not limits.sends_image:
            images.verify(data, info)
            return Picture(file_name, info.width, info.height)
        return images.fit(
            file_name, data, info, max_side=limits.max_side, max_base64_bytes=limits.max_base64_bytes
        )

    def _ask(self, picture: Picture, prompts: Sequence[Prompt], wh: tuple[int, int]) -> Exchange:
        with self._slots:
            try:
                answer = self._backend.predict(picture, prompts)
            except StopRun:
                self._stop.set()  # before another thread gets the slot
                raise
        body = None if self._backend.limits.free else answer.body  # what was paid for is kept
        try:
            return self._exchange(picture, prompts, body=body, answer=answer, wh=wh)
        except Exception as error:  # even a bug must not lose what was paid for
            raise AnswerError(f"the answer can't be scaled back: {error}", body=body) from error

    def _exchange(
        self,
        picture: Picture,
        prompts: Iterable[Prompt],
        *,
        body: bytes | None = None,
        reason: str | None = None,
        answer: Answer | None = None,
        wh: tuple[int, int] = (0, 0),
    ) -> Exchange:
        return Exchange(
            prompts=tuple(prompt.text for prompt in prompts),
            floor=self._floor,
            sent_wh=(picture.width, picture.height),
            body=body,
            detections=tuple(to_frame(answer.detections, wh)) if answer else (),
            degradations=answer.degradations if answer else (),
            reason=reason,
        )


def chunks(prompts: Sequence[Prompt], size: int) -> list[Sequence[Prompt]]:
    """The prompts of each request: at most `size` at a time."""
    return [prompts[i : i + size] for i in range(0, len(prompts), size)]


def to_frame(detections: Iterable[Detection], wh: tuple[int, int]) -> Iterator[Detection]:
    """Yield detections with their masks scaled to a frame of `wh` pixels."""
    size = (wh[1], wh[0])
    for detection in detections:
        yield replace(detection, mask=rle.scale(detection.mask, size))
