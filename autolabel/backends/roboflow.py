"""Roboflow's SAM 3, serverless, dedicated or self-hosted: POST /sam3/concept_segment (text prompts).

The wire facts were seen against the vendor's open-source server (inference 1.8.3) where not said otherwise.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson

from autolabel.backends.base import Answer, Limits
from autolabel.backends.hosted import Hosted
from autolabel.backends.reading import confidence, host_rings, member
from autolabel.config import BackendConfig
from autolabel.geometry import rle
from autolabel.types import RLE, Detection, Picture, Prompt

_LOWEST_FLOOR = 1e-6  # the server turns a threshold of 0 into 0.5


class Roboflow(Hosted):
    """Asks for masks as RLE, which keeps holes; a server that answers polygons all the same is read too.

    The host's NMS stays off: it works across prompts in one pass. A threshold stands on every prompt, as a
    prompt without one gets what the lowest threshold of the others lets through.
    """

    KEY_VARIABLES: ClassVar[tuple[str, ...]] = ("ROBOFLOW_API_KEY",)
    BASE_URL: ClassVar[str | None] = "https://serverless.roboflow.com"
    LIMITS: ClassVar[Limits] = Limits(
        max_base64_bytes=20_000_000,  # the documentation: uploads up to 20 MB on serverless
        max_prompts=16,  # SAM3_MAX_PROMPT_BATCH_SIZE of the server
        requests_per_second=20,  # the vendor's blog on parallel inference; a price is not stated
    )
    MODELS: ClassVar[tuple[str, ...]] = ("concept",)
    OWN_SERVERS: ClassVar[bool] = True
    TAKES: ClassVar[frozenset[str]] = frozenset({"base_url", "auth"})
    PATH: ClassVar[str] = "/sam3/concept_segment"

    def _request(self, picture: Picture, prompts: Sequence[Prompt]) -> bytes:
        floor = max(self.floor, _LOWEST_FLOOR)
        rest = {
            "prompts": [
                {"type": "text", "text": prompt.text, "output_prob_thresh": floor} for prompt in prompts
            ],
            "output_prob_thresh": floor,
            "format": "rle",
        }
        # spliced, as a JSON encoder would look at each of a million base64 characters
        image = base64.b64encode(picture.data)
        return b"".join((b'{"image":{"type":"base64","value":"', image, b'"},', orjson.dumps(rest)[1:]))

    def _answer(self, value: object, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        pairs = [
            (prompt, item)
            for prompt, predictions in zip(prompts, _by_prompt(value, prompts), strict=True)
            for item in predictions
        ]
        detections = [
            Detection(prompt.class_id, confidence(item.get("confidence")), prompt.text, _mask(item, size))
            for prompt, item in pairs
        ]
        filled = any(item["format"] != "rle" for _, item in pairs)
        return Answer(detections, degradations=("holes",) if filled else ())

    def _advice(self, settings: BackendConfig, *, own_server: bool) -> Mapping[int, str]:
        if not own_server or settings.auth != "bearer":
            return {}
        # such a server does not look at the Authorization header and misses the key (read in its code)
        old = "a server older than inference 1.5.0 needs backend.auth: query"
        return {400: f"if it misses the key: {old}", 401: old}


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


def _mask(prediction: Mapping[str, Any], size: tuple[int, int]) -> RLE:
    """Read a mask by the prediction's own format; servers up to 1.5.0 may answer polygons for rle."""
    if prediction["format"] == "rle":
        return rle.from_coco(prediction.get("masks"), size)
    if prediction["format"] in ("polygon", "json"):
        return host_rings(prediction.get("masks"), size)
    raise ValueError(f"a prediction has the unknown format {prediction['format'][:60]!r}")
