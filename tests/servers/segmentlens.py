"""SegmentLens' segment call as its API page describes it, with the tiny model.

The page shows no error body: `{"error": ...}` is a guess.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import orjson

from tests.servers.host import Request, Response, json_response
from tests.servers.model import polygons, segment

PATH = "/api/v1/segment"
MAX_SIDE = 1024
MAX_BASE64 = 2 * 1024 * 1024


class SegmentLensServer:
    """The answering half of a fake host. `too_large` is the status for an image over the limits."""

    def __init__(self, keys: Mapping[str, str] | None = None, *, too_large: int = 413) -> None:
        self._keys = keys
        self._too_large = too_large

    def __call__(self, request: Request) -> Response:
        if self._keys is not None:
            state = self._keys.get(request.headers.get("authorization", "").removeprefix("Bearer "))
            if state is None:
                return json_response({"error": "Invalid or missing API Key"}, 401)
            if state != "ok":
                return json_response({"error": "Insufficient credits"}, 402)
        if request.path != PATH:
            return json_response({"error": "Not found"}, 404)
        try:
            body = orjson.loads(request.body)
            prompts, text = _checked(body)
        except ValueError as error:
            return json_response({"error": str(error)}, 400)
        if len(text) > MAX_BASE64:
            return json_response({"error": "Image too large"}, self._too_large)
        image = _decoded(text)
        if image is None:
            return json_response({"error": "Invalid image"}, 400)
        if max(image.shape[:2]) > MAX_SIDE:
            return json_response({"error": "Image too large"}, self._too_large)
        return json_response({"prompt_results": [_result(image, prompt) for prompt in prompts]})


def _checked(body: Any) -> tuple[list[str], str]:
    """Return prompts and base64 text of a request. Raises ValueError."""
    prompts = body.get("prompts") if isinstance(body, dict) else None
    image = body.get("image") if isinstance(body, dict) else None
    if not isinstance(image, str) or not image:
        raise ValueError("Missing required field: image")
    if not isinstance(prompts, list) or not prompts or not all(isinstance(text, str) for text in prompts):
        raise ValueError("At least one text prompt is required")
    return prompts, image.partition(",")[2] if image.startswith("data:") else image


def _decoded(text: str) -> np.ndarray | None:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None


def _result(image: np.ndarray, text: str) -> dict[str, Any]:
    return {
        "echo": {"text": text},
        "predictions": [
            {"label": text, "confidence": score, "masks": polygons(mask)}
            for mask, score in segment(image, text, 0.0)
        ],
    }
