"""A plug-in that tracks: a concept is a colour, and an object keeps its number through the whole clip."""

from typing import ClassVar

import cv2
import numpy as np

from autolabel.backends.base import Answer, Limits, Model, Tracks
from autolabel.errors import AnswerError, RefusedError
from autolabel.geometry import rle
from autolabel.types import Detection
from tests.servers.model import COLOURS, segment


class Colours(Model):
    """Tracks every colour, and labels single images too. `calls` counts the clips of all of them."""

    LIMITS = Limits(clips=True, max_prompts=2, price_per_request=0.01)
    calls: ClassVar[list[int]] = []

    def predict(self, picture, prompts):
        image = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise RefusedError("can't be decoded", kind="undecodable")
        return Answer([d for prompt in prompts for d in self._found(image, prompt, None)])

    def track(self, footage, prompts):
        self.calls.append(len(footage.paths))
        frames = [cv2.imread(str(path)) for path in footage.paths]
        assert all(frame.shape[:2] == (footage.height, footage.width) for frame in frames)
        return Tracks(
            [
                [d for p in prompts for d in self._found(frame, p, 1 + list(COLOURS).index(p.text))]
                for frame in frames
            ]
        )

    def read_tracks(self, body, footage, prompts):
        raise AnswerError("there is no body", body=body)

    def _found(self, image, prompt, track_id):
        return [
            Detection(prompt.class_id, score, prompt.key, rle.from_bitmap(mask), track_id)
            for mask, score in segment(image, prompt.text, self.floor)
            if mask.sum() > 20
        ]


class ClipsOnly(Colours):
    """The same for clips alone."""

    LIMITS = Limits(clips=True, images=False, max_prompts=2, price_per_request=0.01)


class Short(ClipsOnly):
    """Answers with a frame too few, and a body."""

    def track(self, footage, prompts):
        whole = super().track(footage, prompts)
        return Tracks(whole.frames[:-1], body=b"what came")
