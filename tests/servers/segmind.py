"""Segmind's models as its pages, its SDK and public clients describe them, with the tiny model; traps included.

What is not known of the live service (how an answer to `return_masks` looks behind the gateway, and how one
without objects) is a choice of the one who starts it.
"""

import base64
import itertools
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson

from tests.servers.host import Request, Response, json_response
from tests.servers.model import COLOURS, segment

SIGNATURE = "SIGNEDbyTheStore0123"
HTML_405 = Response(
    405, b"<!doctype html><title>405 Method Not Allowed</title>", {"Content-Type": "text/html"}
)
MODELS = ("sam3-image", "sam-v2-image", "sam3-video")
RETIRED = "sam-img2img"


class Files:
    """Another host, with the masks: it wants a signature, and knows when it was sent a key."""

    def __init__(self, *, gone: bool = False) -> None:
        self.url = ""  # where it is served
        self.was_sent_a_key = False
        self._gone = gone
        self._files: dict[str, bytes] = {}
        self._numbers = itertools.count()

    def put(self, data: bytes, suffix: str = "jpg") -> str:
        """Keep a file and return its signed address."""
        path = f"/masks/{next(self._numbers)}.{suffix}"
        self._files[path] = data
        return f"{self.url}{path}?X-Amz-Expires=604800&X-Amz-Signature={SIGNATURE}"

    def __call__(self, request: Request) -> Response:
        if "x-api-key" in request.headers or "authorization" in request.headers or "api_key" in request.query:
            self.was_sent_a_key = True
        if self._gone or request.query.get("X-Amz-Signature") != SIGNATURE or request.path not in self._files:
            return Response(403, f"<Error>Denied {request.path}?{request.query}</Error>".encode(), {})
        return Response(200, self._files[request.path], {"Content-Type": "binary/octet-stream"})


@dataclass
class SegmindServer:
    """The answering half of a fake host. `keys` maps a key to "ok" or "no credits"; None lets all in.

    `shape` is how instances come: "files" (addresses), "base64", "data uri", or "preview" (the gateway hands
    out the picture of all, whatever was asked). `empty` is what comes where there are none: "bare" (the
    worker's JSON without masks), "count" (it says 0) or "black" (a picture). `polls` is how often a job of the
    queue is looked up before it ends, `fails` its error.
    """

    keys: Mapping[str, str] | None = None
    files: Files = field(default_factory=Files)
    shape: str = "base64"
    empty: str = "bare"
    scale: float = 1.0  # of the masks
    rgb: bool = False
    polls: int = 2
    fails: str | None = None
    cost: float = 0.005
    headers: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    resampled: Callable[[int], Iterable[int]] = range  # which frames a video of masks has
    fps: float = 10.0  # of that
    lock: Any = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Response:
        refused = self._refusal(request)
        if refused is not None:
            return refused
        parts = request.path.strip("/").split("/")
        if parts[:2] == ["v2", "requests"]:
            return self._job(request, parts[2:])
        if parts == ["upload-asset"]:
            return self._upload(request)
        if len(parts) != 2 or parts[0] not in ("v1", "v2"):
            return json_response({"error": "Not Found"}, 404)
        if request.method != "POST":
            return HTML_405
        if parts[1] not in MODELS:
            status = 410 if parts[1] == RETIRED else 404
            return json_response({"error": f"Model {parts[1]} not found"}, status)
        if request.headers.get("content-type") != "application/json":
            return Response(406, b"Content-Type must be application/json", {"Content-Type": "text/plain"})
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            return json_response({"error": "Invalid JSON"}, 400)
        try:
            output = self._output(parts[1], body)
        except ValueError as error:
            return json_response({"error": str(error)}, 400)
        return self._at_once(output) if parts[0] == "v1" else self._queued(output)

    def _refusal(self, request: Request) -> Response | None:
        if self.keys is None:
            return None
        state = self.keys.get(request.headers.get("x-api-key", ""))  # a bearer token is not looked at
        if state is None:
            said = {"error": "Unauthorized", "error_description": "Invalid API key", "status_code": 401}
            return json_response(said, 401)
        if state != "ok":
            return Response(406, b"Insufficient credits", {"Content-Type": "text/plain"})
        return None

    def _upload(self, request: Request) -> Response:
        """As workflows-api.segmind.com answers the vendor's SDK."""
        [text] = orjson.loads(request.body)["data_urls"]
        head, _, data = text.partition(";base64,")
        if not head.startswith("data:video/"):
            return json_response({"error": "unsupported media"}, 400)
        with self.lock:
            address = f"https://assets.example/{len(self.uploads)}.mp4"
            self.uploads[address] = base64.b64decode(data)
        return json_response({"file_urls": [address], "message": "ok"})

    def _at_once(self, output: bytes | dict[str, Any] | str) -> Response:
        headers = {
            "x-cost": str(self.cost),
            "x-remaining-credits": "9.99",
            "x-request-id": "abc",
            **self.headers,
        }
        if isinstance(output, bytes):
            kind = "video/mp4" if output[4:8] == b"ftyp" else "image/jpeg"
            return Response(200, output, {"Content-Type": kind} | headers)
        return Response(200, orjson.dumps(output), {"Content-Type": "application/json"} | headers)

    def _queued(self, output: bytes | dict[str, Any] | str) -> Response:
        held = self.files.put(output) if isinstance(output, bytes) and self.files.url else output
        if isinstance(held, bytes):
            held = base64.b64encode(held).decode()
        with self.lock:
            name = f"job-{len(self.jobs)}"
            self.jobs[name] = {"output": held, "polls": self.polls}
        # addresses at the vendor's own host: a client that follows them leaves this one
        where = f"https://api.segmind.com/v2/requests/{name}"
        said = {
            "request_id": name,
            "status_url": f"{where}/status",
            "response_url": where,
            "status": "QUEUED",
        }
        return json_response(said, 200)

    def _job(self, request: Request, parts: list[str]) -> Response:
        if request.method != "GET":
            return HTML_405
        job = self.jobs.get(parts[0])
        if job is None:
            return json_response({"error": "Request not found"}, 404)
        if parts[1:] == ["status"]:
            with self.lock:
                job["polls"] -= 1
            state = "PROCESSING" if job["polls"] > 0 else "COMPLETED"
            state = "FAILED" if self.fails and state == "COMPLETED" else state
            return json_response({"request_id": parts[0], "status": state}, 422 if state == "FAILED" else 200)
        if self.fails:
            return json_response({"status": "FAILED", "error": self.fails}, 422)
        metrics = {"inference_time": 1.0, "cost": self.cost, "remaining_credits": 9.99}
        return json_response({"status": "COMPLETED", "output": job["output"], "metrics": metrics})

    def _output(self, model: str, body: Any) -> bytes | dict[str, Any] | str:
        """What a model answers. Raises ValueError for a fault in the request."""
        if model == "sam-v2-image":
            return self._sam_v2(body)
        if model == "sam3-video":
            return self._video(body)
        image = _decoded(body.get("image"))
        found = _instances(image, body)
        limit = _number(body, "max_masks", 0, 100, 0)
        found = found[: int(limit)] if limit else found
        _number(body, "pred_iou_thresh", 0.5, 1, 0.88)
        _number(body, "points_per_side", 0, 128, 32)
        if body.get("return_overlay"):
            return _encoded(image)
        if not body.get("return_masks") or self.shape == "preview":
            if not body.get("return_preview", True):
                raise ValueError("Nothing to return")
            return self._union(image, [mask for mask, _ in found]) if found else self._nothing(image)
        if not found:
            return self._nothing(image)
        masks = [self._mask(mask) for mask, _ in found]
        return {
            "status": "success",
            "infer_time": 0.1,
            "masks": [self._handed_out(mask) for mask in masks],
            "masks_count": len(masks),
            "boxes": [_box(mask) for mask, _ in found],
            "scores": [score for _, score in found],
            "preview_mask": self._handed_out(self._union(image, [mask for mask, _ in found])),
        }

    def _sam_v2(self, body: Any) -> bytes | dict[str, Any] | str:
        image = _decoded(body.get("image"))
        if body.get("prompt"):
            masks = [mask for mask, _ in segment(image, body["prompt"], 0.0)]
        else:
            wanted, removed = _places(body.get("coordinates")), _places(body.get("remove_coordinates"))
            if not wanted:
                raise ValueError("Provide either a prompt or coordinates")
            masks = [mask for mask in _all(image) if _holds(mask, wanted) and not _holds(mask, removed)]
        if body.get("overlay_mask", True):
            image[np.logical_or.reduce([np.zeros(image.shape[:2], bool), *masks])] = (255, 0, 255)
            return _encoded(image)
        picture = self._union(image, masks)
        return {"image": base64.b64encode(picture).decode()} if body.get("base64") else picture

    def _video(self, body: Any) -> bytes:
        if body.get("video") not in self.uploads:
            raise ValueError("video could not be read")
        frames = frames_of(self.uploads[body["video"]])
        found = [[mask for mask, _ in segment(frame, body.get("text_prompt") or "", 0.0)] for frame in frames]
        masks = [np.logical_or.reduce([np.zeros(frames[0].shape[:2], bool), *some]) for some in found]
        if body.get("return_overlay", True):
            return video_of(
                [np.where(m[..., None], (255, 0, 255), f) for m, f in zip(masks, frames, strict=True)]
            )
        white = [np.where(mask[..., None], 255, 0).repeat(3, axis=2) for mask in masks]
        return video_of([white[index] for index in self.resampled(len(white))], self.fps)

    def _nothing(self, image: np.ndarray) -> bytes | dict[str, Any]:
        if self.empty == "black":
            return self._union(image, [])
        counted = {"masks": [], "masks_count": 0, "boxes": [], "scores": []} if self.empty == "count" else {}
        return {"status": "success", "infer_time": 0.1} | counted

    def _union(self, image: np.ndarray, masks: list[np.ndarray]) -> bytes:
        return self._mask(np.logical_or.reduce([np.zeros(image.shape[:2], bool), *masks]))

    def _mask(self, mask: np.ndarray) -> bytes:
        picture = np.where(mask, 255, 0).astype(np.uint8)
        if self.scale != 1:
            picture = cv2.resize(picture, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_NEAREST)
        return _encoded(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if self.rgb else picture)

    def _handed_out(self, picture: bytes) -> str:
        if self.shape == "files":
            return self.files.put(picture)
        text = base64.b64encode(picture).decode()
        return f"data:image/jpeg;base64,{text}" if self.shape == "data uri" else text


def video_of(frames: Sequence[np.ndarray], fps: float = 10.0) -> bytes:
    """An MP4 of BGR frames."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mp4"
        height, width = frames[0].shape[:2]
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
        for frame in frames:
            writer.write(frame.astype(np.uint8))
        writer.release()
        return path.read_bytes()


def frames_of(data: bytes) -> list[np.ndarray]:
    """The BGR frames of an MP4."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mp4"
        path.write_bytes(data)
        video = cv2.VideoCapture(str(path))
        found = []
        while (read := video.read())[0]:
            found.append(read[1])
        video.release()
        return found


def _encoded(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def _decoded(value: Any) -> np.ndarray:
    if not isinstance(value, str) or not value:
        raise ValueError("image is required")
    data = base64.b64decode(value.partition(",")[2] if value.startswith("data:") else value)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise ValueError("image could not be read")
    return image


def _instances(image: np.ndarray, body: Any) -> list[tuple[np.ndarray, float]]:
    threshold = _number(body, "threshold", 0.1, 1, 0.5)
    if body.get("text_prompt"):
        if not isinstance(body["text_prompt"], str):
            raise ValueError("text_prompt must be a string")
        return segment(image, body["text_prompt"], threshold)
    boxes, points = _listed(body.get("boxes_input")), _listed(body.get("points_input"))
    labels = (_listed(body.get("point_labels_input", "[[1]]")) or [[1]])[0]
    if boxes:
        # a box shows the kind of object: all that are like it come back
        x0, y0, x1, y1 = (int(value) for value in boxes[0])
        return segment(image, _colour(image[(y0 + y1) // 2, (x0 + x1) // 2]), threshold)
    if len(labels) != len(points):
        raise ValueError("point_labels_input must have a label for each point")
    wanted = [point for point, label in zip(points, labels, strict=True) if label]
    removed = [point for point, label in zip(points, labels, strict=True) if not label]
    return [(mask, 0.9) for mask in _all(image) if _holds(mask, wanted) and not _holds(mask, removed)]


def _number(body: Any, key: str, low: float, high: float, default: float) -> float:
    value = body.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{key} must be between {low} and {high}")
    return value


def _listed(value: Any) -> list[Any]:
    """A list as the text of JSON that it has to be."""
    if value is None:
        return []
    if not isinstance(value, str):
        raise ValueError("inputs must be strings")
    found = orjson.loads(value)
    if not isinstance(found, list):
        raise ValueError("inputs must be lists")
    return found


def _places(value: Any) -> list[Any]:
    """[x, y] or [[x, y], ...] as text."""
    found = _listed(value)
    return [found] if found and not isinstance(found[0], list) else found


def _all(image: np.ndarray) -> list[np.ndarray]:
    return [mask for colour in COLOURS for mask, _ in segment(image, colour, 0.0)]


def _holds(mask: np.ndarray, places: list[Any]) -> bool:
    return any(mask[y, x] for x, y in places)


def _colour(pixel: np.ndarray) -> str:
    return min(COLOURS, key=lambda name: int(np.abs(np.array(COLOURS[name]) - pixel).sum()))


def _box(mask: np.ndarray) -> list[int]:
    y, x = np.nonzero(mask)
    return [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]
