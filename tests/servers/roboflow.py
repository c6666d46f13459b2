"""Roboflow's two calls as its open-source server (inference 1.8.3) behaves, with the tiny model.

Kept from the vendor: the order of the checks, the shapes of errors, the turned-around thresholds, the prompts
that visual_segment passes over, its cache by image_id and its unpadded boxes.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import orjson
from pycocotools import mask as coco

from tests.servers.host import Request, Response, json_response
from tests.servers.model import Box, polygons, segment, segment_one

PATH = "/sam3/concept_segment"
VISUAL_PATH = "/sam3/visual_segment"
MAX_PROMPTS = 16


class RoboflowServer:
    """The answering half of a fake host. `keys` maps a key to "ok" or "no credits"; None lets all in.

    `bearer=False` is a server before 1.5.0, which does not look at the Authorization header.
    `forced_format` answers in that format whatever is asked, as some servers up to 1.5.0 do.
    `by_prompt` answers visual prompts in the shape of the vendor's page, which no server was seen to give.
    """

    def __init__(
        self,
        keys: Mapping[str, str] | None = None,
        *,
        bearer: bool = True,
        forced_format: str | None = None,
        by_prompt: bool = False,
    ) -> None:
        self._by_prompt = by_prompt
        self._embedded: dict[str, np.ndarray] = {}
        self._keys = keys
        self._bearer = bearer
        self._forced_format = forced_format

    def __call__(self, request: Request) -> Response:
        body = _parsed(request.body)
        refused = self._refusal(request, body)
        if refused is not None:
            return refused
        if request.path not in (PATH, VISUAL_PATH):
            return json_response({"message": "Internal error."}, 500)
        problems = _problems(body) if request.path == PATH else _visual_problems(body)
        if problems:
            return json_response({"detail": problems}, 422)
        try:
            image = _decoded(body["image"]["value"])
        except ValueError as error:
            return json_response({"message": f"Could not load input image. Cause: {error}"}, 400)
        if request.path == VISUAL_PATH:
            return self._visual(body, image)
        results = self._results(body, image)
        return json_response(
            {
                "inference_id": None,
                "frame_id": None,
                "time": 0.001,
                "resolved_model": None,
                "prompt_results": results,
            }
        )

    def _visual(self, body: Mapping[str, Any], image: np.ndarray) -> Response:
        wanted = body.get("format") or "json"
        if wanted not in ("json", "polygon", "rle"):
            return Response(500, b"Internal Server Error", {"Content-Type": "text/plain"})
        if body.get("image_id"):  # what is cached is answered from, whatever the new image shows
            image = self._embedded.setdefault(body["image_id"], image)
        form = self._forced_format or ("polygon" if wanted == "json" else wanted)
        predictions = []
        for box, points in _aligned(_visual_prompts(body.get("prompts"))):
            mask, score = segment_one(image, box, points)
            predictions.append({"masks": _encoded(mask, form), "confidence": score, "format": form})
        if self._by_prompt:
            results = [{"prompt_index": i, "predictions": [p]} for i, p in enumerate(predictions)]
            return json_response({"prompt_results": results, "time": 0.001})
        return json_response({"time": 0.001, "predictions": predictions})

    def _refusal(self, request: Request, body: Any) -> Response | None:
        """Check the key before anything else is looked at, as serverless does."""
        if self._keys is None:
            return None
        header = request.headers.get("authorization", "")
        bearer = header.removeprefix("Bearer ") if self._bearer and header.startswith("Bearer ") else None
        in_body = body.get("api_key") if isinstance(body, dict) else None
        state = self._keys.get(request.query.get("api_key") or bearer or in_body or "")
        if state is None:
            return json_response({"status": 401, "message": "Unauthorized api_key"}, 401)
        if state != "ok":
            message = "This workspace cannot currently spend credits for serverless inference."
            return json_response({"status": 402, "message": message}, 402)
        return None

    def _results(self, body: Mapping[str, Any], image: np.ndarray) -> list[dict[str, Any]]:
        prompts = body["prompts"]
        asked = body.get("output_prob_thresh") or 0.5  # so 0 is 0.5
        own = [prompt.get("output_prob_thresh") for prompt in prompts]
        lowest = min([asked, *(value for value in own if value is not None)])
        return [
            {
                "prompt_index": i,
                "echo": {
                    "prompt_index": i,
                    "type": "text",
                    "text": prompt.get("text"),
                    "num_boxes": len(prompt.get("boxes") or []),
                },
                "predictions": self._predictions(
                    image,
                    prompt.get("text") or "visual",
                    # a prompt without its own threshold gets all that the lowest of them lets through
                    lowest if own[i] is None else own[i],
                    body.get("format") or "polygon",
                    _shown(prompt),
                ),
            }
            for i, prompt in enumerate(prompts)
        ]

    def _predictions(
        self, image: np.ndarray, text: str, threshold: float, wanted: str, shown: list[tuple[Box, bool]]
    ) -> list[dict[str, Any]]:
        form = self._forced_format or ("polygon" if wanted == "json" else wanted)
        if form not in ("polygon", "rle"):
            return []  # an unknown format is no error
        return [
            {"masks": _encoded(mask, form), "confidence": score, "format": form}
            for mask, score in segment(image, text, threshold, shown)
        ]


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _problems(body: Any) -> list[dict[str, Any]]:
    """Return what pydantic would say, each entry with an echo of what it was given."""
    if not isinstance(body, dict):
        return [_problem("model_attributes_type", [], "Input should be a valid dictionary", body)]
    image, prompts = body.get("image"), body.get("prompts")
    if not isinstance(image, dict) or image.get("type") != "base64":
        return [_problem("model_attributes_type", ["image"], "Input should be a valid dictionary", image)]
    if not isinstance(prompts, list) or not all(isinstance(prompt, dict) for prompt in prompts):
        return [_problem("list_type", ["prompts"], "Input should be a valid list", body)]
    if not prompts:
        text = "List should have at least 1 item after validation, not 0"
        return [_problem("too_short", ["prompts"], text, prompts)]
    if len(prompts) > MAX_PROMPTS:
        text = f"Value error, Exceeded SAM3_MAX_PROMPT_BATCH_SIZE={MAX_PROMPTS}: got {len(prompts)}"
        return [_problem("value_error", ["prompts"], text, prompts)]
    for prompt in prompts:
        if len(prompt.get("boxes") or []) != len(prompt.get("box_labels") or []):
            return [_problem("value_error", ["prompts"], "Value error, box_labels must match boxes", prompt)]
    return []


def _visual_problems(body: Any) -> list[dict[str, Any]]:
    image = body.get("image") if isinstance(body, dict) else None
    if not isinstance(image, dict) or image.get("type") != "base64":
        return [_problem("model_attributes_type", ["image"], "Input should be a valid dictionary", image)]
    for prompt in _visual_prompts(body.get("prompts")):
        box = prompt.get("box")
        if box is not None and set(box) != {"x", "y", "width", "height"}:
            return [_problem("missing", ["prompts", "box", "x"], "Field required", box)]
        for point in prompt.get("points") or []:
            if set(point) != {"x", "y", "positive"}:
                return [_problem("missing", ["prompts", "points", "positive"], "Field required", point)]
    return []


def _visual_prompts(value: Any) -> list[dict[str, Any]]:
    """Return the prompts: of {"prompts": [...]}, a list, or one alone; a list around the first is passed over."""
    if isinstance(value, dict):
        return value.get("prompts", [value])
    return [prompt for prompt in value or [] if "prompts" not in prompt]


def _aligned(prompts: list[dict[str, Any]]) -> list[tuple[Box | None, list[tuple[float, float, bool]]]]:
    """Return box (of a centre) and points of each prompt; boxes move up where an earlier prompt has none."""
    boxes = [prompt["box"] for prompt in prompts if prompt.get("box")]
    found = []
    for i, prompt in enumerate(prompts):
        box = boxes[i] if i < len(boxes) else None
        across, down = (box["width"] / 2, box["height"] / 2) if box else (0, 0)
        xyxy = (box["x"] - across, box["y"] - down, box["x"] + across, box["y"] + down) if box else None
        points = [(point["x"], point["y"], point["positive"]) for point in prompt.get("points") or []]
        found.append((xyxy, points))
    return found or [(None, [])]


def _shown(prompt: Mapping[str, Any]) -> list[tuple[Box, bool]]:
    """Return the examples of a prompt: boxes by their top left corner, or xyxy."""
    boxes = [
        (b["x0"], b["y0"], b["x1"], b["y1"])
        if "x0" in b
        else (b["x"], b["y"], b["x"] + b["width"], b["y"] + b["height"])
        for b in prompt.get("boxes") or []
    ]
    return list(zip(boxes, map(bool, prompt.get("box_labels") or []), strict=True)) if boxes else []


def _problem(kind: str, where: list[str], text: str, given: Any) -> dict[str, Any]:
    return {"type": kind, "loc": ["body", *where], "msg": text, "input": given}


def _decoded(value: Any) -> np.ndarray:
    """Return the pixels, upright: cv2 applies EXIF orientation here."""
    text = value if isinstance(value, str) else ""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("Malformed base64 input image.") from None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise ValueError("Could not decode bytes.")
    return image


def _encoded(mask: np.ndarray, form: str) -> Any:
    if form == "polygon":
        return polygons(mask)
    coded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": coded["size"], "counts": coded["counts"].decode()}
