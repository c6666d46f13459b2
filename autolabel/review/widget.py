"""The review in a notebook: the page's front end, answered by the kernel. Only here is anywidget imported."""

import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from autolabel.config import Config
from autolabel.errors import AutolabelError, UsageError
from autolabel.review import bundle
from autolabel.review.problems import Preparing
from autolabel.review.session import Session

try:
    import anywidget
except ImportError:
    raise UsageError(
        "the review in a notebook needs anywidget: pip install 'autolabel-sam3[notebook]', then restart"
    ) from None

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Shared:
    session: Session
    widgets: int = 0


_shared: dict[str, _Shared] = {}


class ReviewWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """Shows a run, and answers what its front end asks.

    A message is {id, method, given}, its answer {id, result} or {id, error}; pictures, and the index, travel
    as bytes beside it.
    """

    _esm = bundle.script()
    _css = bundle.text("style.css")
    _done: Callable[[], object] = staticmethod(lambda: None)

    def __init__(self, session: Session, done: Callable[[], object]) -> None:
        """Show a session; `done` is called once, when the widget is closed or nobody has it any more."""
        super().__init__()
        self._session = session
        self._done = weakref.finalize(self, done)
        self._methods: dict[str, Callable[..., tuple[Any, bytes | None]]] = {
            "index": self._index,
            "images": lambda numbers: (session.images(numbers), None),
            "thumb": lambda number: ({"type": "image/jpeg"}, session.thumb(number)),
            "picture": self._picture,
            "decide": lambda *given: (session.decide(*given), None),
            "mask": lambda number, prompt: (session.mask(number, prompt), None),
            "save": lambda thresholds: (session.save(thresholds), None),
        }
        self.on_msg(self._answer)

    def close(self) -> None:
        """End the widget, and its session where no other widget shows it."""
        super().close()
        self._done()

    def _answer(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        try:
            result, data = self._methods[message["method"]](*message["given"])
        except AutolabelError as problem:
            self.send({"id": message.get("id"), "error": str(problem), "final": True})
        except Exception as error:  # whatever it is, the page has to hear of it
            log.debug("unexpected error", exc_info=True)
            self.send({"id": message.get("id"), "error": f"unexpected {type(error).__name__}: {error}"})
        else:
            self.send({"id": message["id"], "result": result}, [] if data is None else [data])

    def _index(self) -> tuple[dict[str, Any], bytes | None]:
        try:
            return {}, self._session.index(wait=False)
        except Preparing as preparing:
            return {"progress": preparing.progress}, None

    def _picture(self, number: int) -> tuple[dict[str, Any], bytes]:
        data, media_type = self._session.picture(number)
        return {"type": media_type}, data


def show(config: Config, *, read_only: bool = False) -> ReviewWidget:
    """A widget that reviews the run of `config`; widgets of one run share its session.

    A notebook keeps each widget that was ever shown, and a cell is run again and again.
    """
    key = repr((config.origin, config.model_dump_json(), Path.cwd(), read_only))
    shared = _shared.get(key)
    if shared is None:
        shared = _shared[key] = _Shared(Session(config, read_only=read_only))
    shared.widgets += 1
    return ReviewWidget(shared.session, partial(_leave, key))


def _leave(key: str) -> None:
    """Close the session of a widget that was its last."""
    _shared[key].widgets -= 1
    if not _shared[key].widgets:
        _shared.pop(key).session.close()
