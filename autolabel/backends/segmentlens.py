"""SegmentLens' SAM 3: POST /api/v1/segment (text prompts, polygons back).

From the vendor's API page and its public demo; nothing here was seen against the live service.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson

from autolabel.backends.base import Answer, Limits
from autolabel.backends.hosted import Hosted
from autolabel.backends.reading import confidence, host_rings, member
from autolabel.types import Detection, Picture, Prompt


class SegmentLens(Hosted):
    """Takes no threshold and no format.

    Its polygons are read as pixel centres of a mask's border, in pixels of the sent image, as the same
    model's other host writes them. That is an assumption: the page does not say.
    """

    KEY_VARIABLES: ClassVar[tuple[str, ...]] = ("SEGMENTLENS_API_KEY", "SAM3_API_KEY")
    BASE_URL: ClassVar[str | None] = "https://sam3.ai"
    LIMITS: ClassVar[Limits] = Limits(
        max_side=1024,
        max_base64_bytes=2_000_000,  # "2MB": the smaller of its two meanings
        max_prompts=16,  # not stated; what the same model's other host takes
        requests_per_second=10,  # per user; a price is not stated
        threshold=False,
        loses=("holes",),
        returns="polygons: parts, no holes; scores",
        source="its API page",
    )
    PATH: ClassVar[str] = "/api/v1/segment"

    def _request(self, picture: Picture, prompts: Sequence[Prompt]) -> bytes:
        rest = {"prompts": [prompt.text for prompt in prompts]}
        # spliced, as a JSON encoder would look at each of a million base64 characters
        image = base64.b64encode(picture.data)
        return b"".join((b'{"image":"', image, b'",', orjson.dumps(rest)[1:]))

    def _answer(self, value: object, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        results = member(value, "prompt_results", list, "the answer")
        detections = [
            _detection(item, prompt, size)
            for prompt, result in zip(prompts, _in_order(results, prompts), strict=True)
            for item in member(result, "predictions", list, f"the result of {prompt.text!r}")
        ]
        return Answer(detections, degradations=("holes",) if detections else ())

    def _advice(self, *, own_server: bool) -> Mapping[int, str]:  # noqa: ARG002
        # the page names 400 in one place and 413 in another
        limits = f"the limits are {self.limits.max_side} px and 2 MB as base64"
        return {400: f"the image may be too large: {limits}", 413: limits}


def _in_order(results: list[Any], prompts: Sequence[Prompt]) -> list[Any]:
    """Return one result for each prompt: by the text it echoes, by position where it echoes none."""
    texts = [_echoed(result) for result in results]
    asked = [prompt.text for prompt in prompts]
    if len(texts) == len(asked) and all(
        text in (None, want) for text, want in zip(texts, asked, strict=True)
    ):
        return results
    by_text = dict(zip(texts, results, strict=True))
    missing = [text for text in asked if text not in by_text]
    if missing:
        raise ValueError(f"the prompt {missing[0]!r} has no result")
    if len(results) != len(asked):
        raise ValueError(f"there are {len(results)} results for {len(asked)} prompts")
    return [by_text[text] for text in asked]


def _echoed(result: object) -> str | None:
    echo = result.get("echo") if isinstance(result, dict) else None
    text = echo.get("text") if isinstance(echo, dict) else None
    return text if isinstance(text, str) else None


def _detection(item: object, prompt: Prompt, size: tuple[int, int]) -> Detection:
    masks = member(item, "masks", list, f"a prediction for {prompt.text!r}")
    # the vendor's demo expects answers without a confidence
    score = item.get("confidence") if isinstance(item, dict) else None
    return Detection(
        prompt.class_id, None if score is None else confidence(score), prompt.key, host_rings(masks, size)
    )
