"""SAM 3 on the user's own machine, through transformers: texts, exemplars, boxes and points; texts in videos.

Nothing here imports torch: the model does, when it is opened.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import orjson
from numpy.typing import NDArray

from autolabel.backends.base import Answer, Limits, Model, Tracks
from autolabel.backends.meter import Meter
from autolabel.config import BackendConfig
from autolabel.errors import AnswerError, ConfigError, RefusedError
from autolabel.sources import images
from autolabel.types import Detection, Footage, Picture, Prompt

PUBLISHED = "facebook/sam3"  # on the Hugging Face Hub, behind its licence


class Sam3(Model):
    """Asks the weights in the folder `backend.model`, or of that name on the Hub.

    `backend.options.batch` is how many pictures are looked at together on a GPU. Scores are sigmoid(logit) *
    sigmoid(presence) for texts, the estimated IoU for boxes and points. No NMS is done.
    """

    LIMITS: ClassVar[Limits] = Limits(
        takes=frozenset({"text", "exemplars", "boxes", "points"}),
        clips=True,
        max_prompts=64,  # a picture's features are kept, so that more only take another call
        price_per_request=0.0,
        returns="masks with holes and parts, scores",
        source="it runs here",
    )
    SPEED: ClassVar[frozenset[str]] = frozenset({"batch"})

    def __init__(self, settings: BackendConfig, *, floor: float, meter: Meter, stop: threading.Event) -> None:
        """Open the weights. Raises ConfigError where packages or a part of the weights are missing."""
        super().__init__(settings, floor=floor, meter=meter, stop=stop)
        self.check_options(settings)
        self._stop = stop
        self._model = _opened(settings.model or PUBLISHED, settings.options.get("batch"))

    @classmethod
    def check_options(cls, settings: BackendConfig) -> None:
        """Raise ConfigError for an option other than `batch`, a whole number from 1 on."""
        for name, value in settings.options.items():
            if name != "batch":
                raise ConfigError(f"backend.options.{name} means nothing to {settings.name}: it knows batch")
            if type(value) is not int or value < 1:
                raise ConfigError(
                    f"backend.options.batch is {value!r}: it should be a whole number from 1 on"
                )

    @classmethod
    def limits_for(cls, settings: BackendConfig) -> Limits:
        """Limits for what the weights are of, where they lie in a folder: a detector alone takes less."""
        limits = super().limits_for(settings)
        if _model_type(settings.model or PUBLISHED) == "sam3":
            return replace(limits, takes=frozenset({"text", "exemplars"}), clips=False)
        return limits

    def predict(self, picture: Picture, prompts: Sequence[Prompt]) -> Answer:
        """Answer all `prompts`; see `Backend.predict`."""
        answers = self._model.predict(_pixels(picture.data), prompts, self.floor)
        return Answer(
            [
                Detection(prompt.class_id, found.score, prompt.key, found.mask)
                for prompt, instances in zip(prompts, answers, strict=True)
                for found in instances
            ]
        )

    def track(self, footage: Footage, prompts: Sequence[Prompt]) -> Tracks:
        """Follow the texts of `prompts` through a clip, frame by frame; see `Tracker.track`.

        A track keeps the score of its first detection. RefusedError too where the run ends.
        """
        found = self._model.track(self._frames(footage), [prompt.text for prompt in prompts], self.floor)
        return Tracks(
            [
                [
                    Detection(prompt.class_id, one.score, prompt.key, one.mask, one.track_id)
                    for one in frame
                    for prompt in (prompts[one.text],)
                ]
                for frame in found
            ]
        )

    def read_tracks(self, body: bytes, footage: Footage, prompts: Sequence[Prompt]) -> Tracks:
        """Read nothing: there are no bodies."""
        del footage, prompts
        raise AnswerError("it has no body that could be read again", body=body)

    def _frames(self, footage: Footage) -> Iterator[NDArray[np.uint8]]:
        for path in footage.paths:
            if self._stop.is_set():
                raise RefusedError("the run ended before the clip did", kind="interrupted")
            yield _pixels(images.read_bytes(path))


def _pixels(data: bytes) -> NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise RefusedError("can't be decoded by OpenCV", kind="undecodable")
    return pixels.astype(np.uint8, copy=False)


def _opened(name: str, batch: int | None) -> Any:
    try:
        from autolabel.backends.sam3.model import Model as Opened  # noqa: PLC0415  (takes seconds, and torch)
    except (ImportError, RuntimeError) as error:  # the latter where packages don't fit each other
        raise ConfigError(
            "backend sam3 needs torch and transformers 5, which can't be imported "
            f"({str(error).splitlines()[0]}): pip install 'autolabel-sam3[local]'"
        ) from None
    return Opened(name, batch=batch)


def _model_type(name: str) -> str | None:
    """What config.json says; None where there is none to be read, which opening the weights will explain."""
    try:
        config = orjson.loads((Path(name) / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    return config.get("model_type") if isinstance(config, dict) else None
