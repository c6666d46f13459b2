"""POST /sam3/visual_segment: a box or points to one mask each."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from autolabel.backends.base import Answer, Limits
from autolabel.backends.reading import confidence, member
from autolabel.backends.roboflow.server import Roboflow, mask_of, with_image
from autolabel.types import Detection, Picture, Prompt


class Visual(Roboflow):
    """The host answers with one mask for each prompt, in their order, whatever its score.

    No image_id is sent: the host would answer from its cache without a look at the picture. Prompts with and
    without a box never share a request, as the server would then take a box for another prompt's.
    """

    LIMITS: ClassVar[Limits] = replace(
        Roboflow.LIMITS,
        takes=frozenset({"boxes", "points"}),
        mixed=False,
        max_prompts=16,  # not stated; what the same server takes in its other call
        threshold=False,
    )
    PATH: ClassVar[str] = "/sam3/visual_segment"

    def _request(self, picture: Picture, prompts: Sequence[Prompt]) -> bytes:
        # a list around {"prompts": ...}, as the schema's own example has it, is passed over by the server
        rest = {"prompts": {"prompts": [_asked(prompt) for prompt in prompts]}, "format": "rle"}
        return with_image(picture, rest)

    def _answer(self, value: object, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        items = _predictions(value)
        if len(items) != len(prompts):
            raise ValueError(f"there are {len(items)} predictions for {len(prompts)} prompts")
        for item in items:
            member(item, "format", str, "a prediction")
        detections = [
            Detection(prompt.class_id, confidence(item.get("confidence")), prompt.key, mask_of(item, size))
            for prompt, item in zip(prompts, items, strict=True)
        ]
        filled = any(item["format"] != "rle" for item in items)
        return Answer(detections, degradations=("holes",) if filled else ())


def _asked(prompt: Prompt) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    if prompt.box_xyxy is not None:
        x0, y0, x1, y1 = prompt.box_xyxy
        # x, y is the centre here, and the top left corner in concept_segment
        asked["box"] = {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2, "width": x1 - x0, "height": y1 - y0}
    if prompt.points:
        asked["points"] = [{"x": p.x, "y": p.y, "positive": p.positive} for p in prompt.points]
    return asked


def _predictions(value: object) -> list[Any]:
    """The flat list that the server gives, or the one that the vendor's page describes, by prompt."""
    if isinstance(value, dict) and "prompt_results" not in value:
        return list(member(value, "predictions", list, "the answer"))
    results = member(value, "prompt_results", list, "the answer")
    numbers = [member(result, "prompt_index", int, "a prompt result") for result in results]
    if sorted(numbers) != list(range(len(numbers))):
        raise ValueError(f"the prompt results are numbered {str(numbers)[:60]}")
    found = []
    for number, result in sorted(zip(numbers, results, strict=True), key=lambda pair: pair[0]):
        predictions = member(result, "predictions", list, f"the result of prompt {number}")
        if len(predictions) != 1:
            raise ValueError(f"prompt {number} has {len(predictions)} predictions, not one")
        found += predictions
    return found
