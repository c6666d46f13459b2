"""POST /sam3/concept_segment: texts, with boxes of examples, to every instance of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from autolabel.backends.base import Answer, Limits
from autolabel.backends.reading import confidence, member
from autolabel.backends.roboflow.server import Roboflow, mask_of, with_image
from autolabel.types import Detection, Picture, Prompt

_LOWEST_FLOOR = 1e-6  # the server turns a threshold of 0 into 0.5


class Concept(Roboflow):
    """Asks for masks as RLE, which keeps holes; a server that answers polygons all the same is read too.

    The host's NMS stays off: it works across prompts in one pass. A threshold stands on every prompt, as a
    prompt without one gets what the lowest threshold of the others lets through.
    """

    LIMITS: ClassVar[Limits] = replace(
        Roboflow.LIMITS,
        takes=frozenset({"text", "exemplars"}),
        max_prompts=16,  # SAM3_MAX_PROMPT_BATCH_SIZE of the server
    )
    PATH: ClassVar[str] = "/sam3/concept_segment"

    def _request(self, picture: Picture, prompts: Sequence[Prompt]) -> bytes:
        floor = max(self.floor, _LOWEST_FLOOR)
        rest = {
            "prompts": [_asked(prompt, floor) for prompt in prompts],
            "output_prob_thresh": floor,
            "format": "rle",
        }
        return with_image(picture, rest)

    def _answer(self, value: object, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        pairs = [
            (prompt, item)
            for prompt, predictions in zip(prompts, _by_prompt(value, prompts), strict=True)
            for item in predictions
        ]
        detections = [
            Detection(prompt.class_id, confidence(item.get("confidence")), prompt.key, mask_of(item, size))
            for prompt, item in pairs
        ]
        filled = any(item["format"] != "rle" for _, item in pairs)
        return Answer(detections, degradations=("holes",) if filled else ())


def _asked(prompt: Prompt, floor: float) -> dict[str, Any]:
    asked: dict[str, Any] = {"type": "text", "text": prompt.text, "output_prob_thresh": floor}
    if prompt.exemplars:
        boxes = [exemplar.box_xyxy for exemplar in prompt.exemplars]
        # x, y is the top left corner here, and the centre in visual_segment
        asked["boxes"] = [{"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0} for x0, y0, x1, y1 in boxes]
        asked["box_labels"] = [int(exemplar.positive) for exemplar in prompt.exemplars]
    return asked


def _by_prompt(value: object, prompts: Sequence[Prompt]) -> list[list[dict[str, Any]]]:
    """Return the predictions of each prompt, in the order of `prompts`."""
    found: dict[int, list[dict[str, Any]]] = {}
    for result in member(value, "prompt_results", list, "the answer"):
        index = member(result, "prompt_index", int, "a prompt result")
        if not 0 <= index < len(prompts) or index in found:
            raise ValueError(f"prompt_index {index} is not asked for, or answered twice")
        _check_echo(result.get("echo"), prompts[index].text)
        found[index] = member(result, "predictions", list, f"the result of prompt {index}")
    missing = [prompt.text for index, prompt in enumerate(prompts) if index not in found]
    if missing:
        raise ValueError(f"the prompt {missing[0]!r} has no result")
    for items in found.values():
        for item in items:
            member(item, "format", str, "a prediction")
    return [found[index] for index in range(len(prompts))]


def _check_echo(echo: object, text: str) -> None:
    echoed = echo.get("text") if isinstance(echo, dict) else None
    if echoed is not None and echoed != text:
        raise ValueError(f"the prompt {text!r} comes back as {str(echoed)[:60]!r}")
