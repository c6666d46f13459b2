"""What a labelling still has to ask, and whom: past answers, bodies to read again, jobs under way."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

from autolabel.backends import open_backend
from autolabel.backends.base import Backend, Queued, QueuedTracker, Tracker
from autolabel.backends.meter import Budget, Meter
from autolabel.errors import AnswerError, AutolabelError, ImageError
from autolabel.labeler import Ask, ClipTask, in_frame, to_frame
from autolabel.pipeline.inventory import identify, unread
from autolabel.pipeline.question import Asked, Question
from autolabel.store import Exchange, FileRow, Store
from autolabel.types import FrameItem, ImageItem, Prompt

log = logging.getLogger(__name__)

Kept = tuple[Exchange, tuple[Prompt, ...]]


@dataclass(frozen=True, slots=True)
class Line:
    """An open backend, who it is, and what it spends."""

    asked: Asked
    backend: Backend | Tracker
    meter: Meter


def open_line(asked: Asked, budget: Budget, stop: Event, stack: ExitStack) -> Line:
    """Open a backend until the end of `stack`. Raises ConfigError."""
    meter = Meter(asked.limits.price_per_request, budget)
    backend = open_backend(asked.settings, floor=asked.floor, meter=meter, stop=stop)
    stack.callback(_close, backend)
    return Line(asked, backend, meter)


def _close(backend: Backend | Tracker) -> None:
    try:
        backend.close()
    except AutolabelError:
        raise
    except Exception as error:  # every answer is kept by now  # noqa: BLE001
        log.warning("the backend can't be closed (%s: %s)", type(error).__name__, error)


class Asking:
    """Looks up what is kept. With `retry_unclear` what stays unclear is asked, and paid for, again."""

    def __init__(
        self, store: Store, asked: Question, lines: Mapping[str, Line], *, retry_unclear: bool
    ) -> None:
        self._store = store
        self._asked = asked
        self._lines = lines
        self._retry_unclear = retry_unclear

    def of_image(
        self, item: ImageItem, row: FileRow, prompts: Sequence[Prompt], *, free: bool = True
    ) -> tuple[Ask, ...]:
        """What to ask of whom, with or without who is `free` to ask.

        What a host sent before and was not understood is read again first.
        """
        found = []
        for source, (asker, by_key) in self._asked.by_source(prompts, item).items():
            if source != asker.source:  # it is tracked through its clip
                continue
            if asker.limits.free:
                found += [Ask(source, tuple(by_key.values()))] if free else []
                continue
            kept = self._store.answered(row.image, source, asker.floor)
            wanted = {key: prompt for key, prompt in by_key.items() if key not in kept}
            accepted: list[Kept] = []
            for exchange in unread(self._store, row.image, source, asker.floor) if wanted else []:
                line, asked = self._lines[asker.source], _prompts_of(exchange, by_key)
                if exchange.body and isinstance(line.backend, Queued):
                    accepted.append((exchange, asked))
                elif not self._read_again(line.backend, source, row, exchange, asked) and self._retry_unclear:
                    continue
                wanted = {key: prompt for key, prompt in wanted.items() if key not in exchange.prompts}
            if wanted or accepted:
                found.append(Ask(source, tuple(wanted.values()), tuple(accepted), self._retry_unclear))
        return tuple(found)

    def of_clip(self, asker: Asked, frames: Sequence[FrameItem]) -> ClipTask | None:
        """What a clip needs: every prompt that any of its frames lacks. None where that is nothing."""
        try:
            images = [identify(self._store, frame).image for frame in frames]
        except ImageError:
            return None  # its frames will say why
        by_key = {prompt.key: prompt for prompt in self._asked.texts}
        sources = [asker.source_of(self._asked.texts[0], frame) for frame in frames]
        wanted: dict[str, Prompt] = {}
        exchanges: list[Exchange] = []
        for image, source in zip(images, sources, strict=True):
            answered = self._store.answered(image, source, asker.floor)
            wanted |= {key: prompt for key, prompt in by_key.items() if key not in answered}
            exchanges += unread(self._store, image, source, asker.floor)
        accepted: list[Kept] = []
        again: list[Kept] = []
        for exchange in exchanges if wanted else ():
            queued = exchange.body and isinstance(self._lines[asker.source].backend, QueuedTracker)
            (accepted if queued else again).append((exchange, _prompts_of(exchange, by_key)))
            wanted = {key: prompt for key, prompt in wanted.items() if key not in exchange.prompts}
        if not (wanted or accepted or again):
            return None
        log.info("%s: asking about %d frames", frames[0].clip.file_name, len(frames))
        return ClipTask(
            asker.source,
            tuple(frames),
            tuple(images),
            tuple(sources),
            tuple(wanted.values()),
            tuple(accepted),
            tuple(again),
            self._retry_unclear,
        )

    def _read_again(
        self,
        backend: Backend | Tracker,
        source: str,
        row: FileRow,
        exchange: Exchange,
        prompts: Sequence[Prompt],
    ) -> bool:
        wh = (row.width, row.height)
        size = (exchange.sent_wh[1], exchange.sent_wh[0])
        if not isinstance(backend, Backend):
            return False
        try:
            scaled = [in_frame(prompt, wh, exchange.sent_wh) for prompt in prompts]
            answer = backend.read(exchange.body or b"", size, scaled)
        except AnswerError:
            return False
        except Exception:  # a bug of a plug-in: what is kept stays
            log.debug("a kept body can't be read again", exc_info=True)
            return False
        detections = tuple(to_frame(answer.detections, wh))
        read = replace(exchange, detections=detections, degradations=answer.degradations, reason=None)
        self._store.put(row.image, source, wh, [read])
        return True


def _prompts_of(exchange: Exchange, by_key: Mapping[str, Prompt]) -> tuple[Prompt, ...]:
    """The prompts of a kept exchange, also those that are not asked for any more."""
    return tuple(by_key.get(key) or Prompt.from_key(key) for key in exchange.prompts)


class Journal:
    """Notes of requests under way, by any thread: each note opens the store for itself, and is rare."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put_pending(self, image: bytes, source: str, exchange: Exchange) -> None:
        """Note that a request is about to be sent, or was accepted."""
        with Store(self._path) as store:
            store.put_pending(image, source, exchange)

    def drop_pending(self, image: bytes, source: str, prompts: Iterable[str]) -> None:
        """Forget a note."""
        with Store(self._path) as store:
            store.drop_pending(image, source, prompts)
