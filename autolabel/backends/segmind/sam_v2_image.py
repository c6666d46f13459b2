"""sam-v2-image: SAM 2 with a text, or points, to one picture of all that is meant."""

import json
from typing import Any, ClassVar

from autolabel.backends.base import Limits
from autolabel.backends.segmind.client import Segmind
from autolabel.backends.segmind.sam3_image import pixel
from autolabel.types import Picture, Prompt


class SamV2Image(Segmind):
    """Takes no threshold and returns no scores. Beside a text the host passes over points."""

    LIMITS: ClassVar[Limits] = Limits(
        takes=frozenset({"text", "points"}),
        requests_per_second=50
        / 60,  # the paid plan's; a free account has 5 a minute, and its 429s are obeyed
        price_per_request=0.002,
        threshold=False,
        scores=False,
        loses=("scores", "instances"),
        bills_once=True,
        returns="one picture of all masks, whose parts are the instances; no scores",
        source="its model page, public clients",
    )
    MODEL: ClassVar[str] = "sam-v2-image"

    def _asked(self, picture: Picture, prompt: Prompt) -> dict[str, Any]:
        # an overlay would show the image and no mask
        asked: dict[str, Any] = {"overlay_mask": False, "base64": False}
        if not prompt.is_visual:
            return asked | {"prompt": prompt.text}
        for key, positive in (("coordinates", True), ("remove_coordinates", False)):
            places = [pixel(p.x, p.y, picture) for p in prompt.points if p.positive == positive]
            if places:
                asked[key] = json.dumps(places[0] if len(places) == 1 else places)
        return asked
