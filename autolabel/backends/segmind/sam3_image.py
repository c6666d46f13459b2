"""sam3-image: a text, a box or points to the instances of one concept, in one picture or one each."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from autolabel.backends.base import Limits
from autolabel.backends.segmind.client import Option, Segmind
from autolabel.config import BackendConfig
from autolabel.types import Picture, Prompt

_LOWEST, _HIGHEST = 0.1, 1.0  # of a threshold, by the vendor's page


class Sam3Image(Segmind):
    """Asks for every mask apart, and for the one picture of all, which the host may answer alone.

    Which of both comes is not known, so each class is asked at its own confidence, and what comes is right in
    either shape; scores are passed over. The option return_masks says that it is known: true asks for all
    from the floor up, with scores, and false for the picture of all.
    """

    LIMITS: ClassVar[Limits] = Limits(
        takes=frozenset({"text", "boxes", "points"}),
        requests_per_second=50
        / 60,  # the paid plan's; a free account has 5 a minute, and its 429s are obeyed
        price_per_request=0.005,
        scores=False,
        loses=("scores",),
        bills_once=True,
        returns="pictures: a mask each, or one of all, whose parts are then the instances; no scores",
        source="its model page, public clients",
    )
    MODEL: ClassVar[str] = "sam3-image"
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "max_masks": Option(int, 0, 100),
        "pred_iou_thresh": Option(float, 0.5, 1),
        "points_per_side": Option(int, 0, 128),
        "return_masks": Option(bool),
    }

    @classmethod
    def limits_for(cls, settings: BackendConfig) -> Limits:
        """Limits with the overrides of `settings`, and by the option return_masks."""
        limits = super().limits_for(settings)
        match settings.options.get("return_masks"):
            case True:
                return replace(limits, scores=True, loses=())
            case False:
                return replace(limits, loses=("scores", "instances"))
        return limits

    def _asked(self, picture: Picture, prompt: Prompt) -> dict[str, Any]:
        threshold = self.floor if prompt.asked_at is None else prompt.asked_at
        return {
            **({} if prompt.is_visual else {"text_prompt": prompt.text}),
            **_visual(prompt, picture),
            "threshold": min(max(threshold, _LOWEST), _HIGHEST),
            "return_preview": True,
            "return_overlay": False,
            "return_masks": True,
            **self.settings.options,
        }


def _visual(prompt: Prompt, picture: Picture) -> dict[str, str]:
    """Box and points as the texts of JSON that the host takes; real lists are refused."""
    asked = {}
    if prompt.box_xyxy is not None:
        asked["boxes_input"] = json.dumps([[round(value) for value in prompt.box_xyxy]])
    if prompt.points:
        asked["points_input"] = json.dumps([pixel(p.x, p.y, picture) for p in prompt.points])
        asked["point_labels_input"] = json.dumps([[int(p.positive) for p in prompt.points]])
    return asked


def pixel(x: float, y: float, picture: Picture) -> list[int]:
    """The pixel [x, y] that a place lies in; what lies at the far edges is in the last one."""
    return [min(max(int(x), 0), picture.width - 1), min(max(int(y), 0), picture.height - 1)]
