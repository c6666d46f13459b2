"""Segmind's models against a server that behaves as its pages, its SDK and public clients say, or goes wrong."""

import base64
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import cv2
import numpy as np
import orjson
import pytest
from hypothesis import given, settings

from autolabel.backends.base import Queued
from autolabel.backends.http import Retry
from autolabel.backends.meter import Meter
from autolabel.backends.segmind.client import Segmind
from autolabel.backends.segmind.sam3_image import Sam3Image
from autolabel.backends.segmind.sam_v2_image import SamV2Image
from autolabel.config import BackendConfig
from autolabel.errors import (
    AnswerError,
    BudgetReached,
    ConfigError,
    KeyRefused,
    NoCredits,
    RefusedError,
    StopRun,
    UnknownModel,
)
from autolabel.geometry import rle
from autolabel.testing import BackendContract
from autolabel.types import Picture, Point, Prompt
from tests.backends.support import GREEN, KEY, NOTHING, RED, SCENE, SHORT, picture
from tests.backends.test_any_json import ANY, damaged
from tests.servers.host import Fault, Host, Request, Response, json_response
from tests.servers.model import segment
from tests.servers.segmind import HTML_405, SIGNATURE, Files, SegmindServer

MODELS = [Sam3Image, SamV2Image]
SIZE = (120, 200)
APART = {"return_masks": True}
LEFT_RED, RIGHT_RED = (10, 10, 40, 50), (60, 10, 90, 50)  # of SCENE
GOOD = Response(
    200, cv2.imencode(".png", np.zeros(SIZE, np.uint8))[1].tobytes(), {"Content-Type": "image/png"}
)


@contextmanager
def asking(
    url: str,
    model: type[Segmind] = Sam3Image,
    *,
    floor: float = 0.1,
    meter: Meter | None = None,
    stop: threading.Event | None = None,
    retry: Retry = SHORT,
    **settings: Any,
) -> Iterator[Segmind]:
    """A model that asks `url`, without a rate limit that tests would notice."""
    config = BackendConfig(
        name="segmind", model=model.MODEL, base_url=url, **({"requests_per_second": 1e6} | settings)
    )
    model.check_options(config)
    backend = model(config, floor=floor, meter=meter or Meter(), stop=stop or threading.Event(), retry=retry)
    try:
        yield backend
    finally:
        backend.close()


def expected(text: str, threshold: float = 0.0) -> list[tuple[np.ndarray, float]]:
    image = cv2.imdecode(np.frombuffer(SCENE.data, np.uint8), cv2.IMREAD_COLOR)
    return segment(image, text, threshold)


def same(mask: Any, pixels: np.ndarray) -> bool:
    """Equal but for what JPEG does to an edge."""
    found = rle.to_bitmap(mask)
    return found.shape == pixels.shape and (found ^ pixels).sum() <= 0.01 * pixels.sum()


def posts(host: Host) -> list[Request]:
    return [request for request in host.requests if request.method == "POST"]


def sent(host: Host) -> dict[str, Any]:
    return orjson.loads(posts(host)[0].body)


# -- what is asked ---------------------------------------------------------------------------------------


def test_sam3_image_is_asked_as_its_page_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key goes as x-api-key, the image as base64, the threshold and the options with the request."""
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    options = {"max_masks": 5, "points_per_side": 16}
    with Host(SegmindServer({KEY: "ok"})) as host, asking(host.url, options=options) as backend:
        backend.predict(SCENE, [Prompt("red", 0, asked_at=0.35)])
    [request] = host.requests
    assert (request.path, request.headers["x-api-key"]) == ("/v1/sam3-image", KEY)
    assert "authorization" not in request.headers
    assert orjson.loads(request.body) == {
        "image": base64.b64encode(SCENE.data).decode(),
        "text_prompt": "red",
        "threshold": 0.35,
        "return_preview": True,
        "return_overlay": False,
        "return_masks": True,
        "max_masks": 5,
        "points_per_side": 16,
    }


@pytest.mark.parametrize(
    ("asked_at", "floor", "threshold"), [(0.01, 0.3, 0.1), (None, 0.01, 0.1), (None, 0.4, 0.4)]
)
def test_the_threshold_is_within_what_the_host_takes(
    asked_at: float | None, floor: float, threshold: float
) -> None:
    """The class's own confidence goes first, then the floor, and never less than 0.1."""
    with Host(SegmindServer()) as host, asking(host.url, floor=floor) as backend:
        backend.predict(SCENE, [Prompt("red", 0, asked_at=asked_at)])
    assert sent(host)["threshold"] == threshold


def test_boxes_and_points_go_as_texts() -> None:
    """The host takes JSON as text only, points with one list of labels; the class's name is not asked."""
    visual = Prompt("cat", 0, box_xyxy=(10.2, 9.6, 40, 50), points=(Point(20, 20), Point(200, 120, False)))
    with Host(SegmindServer(), always=GOOD) as host, asking(host.url) as backend:
        backend.predict(SCENE, [visual])
    body = sent(host)
    assert "text_prompt" not in body
    assert body["boxes_input"] == "[[10, 10, 40, 50]]"
    assert body["points_input"] == "[[20, 20], [199, 119]]"
    assert body["point_labels_input"] == "[[1, 0]]"


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        (RED, {"prompt": "red"}),
        (Prompt("x", 0, points=(Point(20, 20),)), {"coordinates": "[20, 20]"}),
        (
            Prompt("x", 0, points=(Point(20, 20), Point(70.9, 30), Point(5, 5, False))),
            {"coordinates": "[[20, 20], [70, 30]]", "remove_coordinates": "[5, 5]"},
        ),
    ],
)
def test_sam_v2_image_is_asked_for_the_mask_alone(prompt: Prompt, asked: dict[str, str]) -> None:
    """No overlay, and a text or points, never both: the host would pass over the points."""
    with Host(SegmindServer()) as host, asking(host.url, SamV2Image) as backend:
        backend.predict(SCENE, [prompt])
    image = base64.b64encode(SCENE.data).decode()
    assert sent(host) == {"image": image, "overlay_mask": False, "base64": False} | asked


WRONG_OPTIONS = {
    "unknown": (
        Sam3Image,
        {"max_mask": 3},
        "backend.options.max_mask means nothing to sam3-image: known are max_m",
    ),
    "too large": (Sam3Image, {"max_masks": 101}, "should be a whole number from 0 to 100, not 101"),
    "no whole number": (Sam3Image, {"max_masks": 1.5}, "should be a whole number"),
    "no number": (Sam3Image, {"pred_iou_thresh": "0.5"}, "should be a number from 0.5 to 1, not 0.5"),
    "NaN": (Sam3Image, {"pred_iou_thresh": float("nan")}, "should be a number from 0.5 to 1, not nan"),
    "a bool": (Sam3Image, {"points_per_side": True}, "should be a whole number from 0 to 128, not True"),
    "no bool": (Sam3Image, {"return_masks": 1}, "should be true or false, not 1"),
    "none known": (SamV2Image, {"max_masks": 3}, "means nothing to sam-v2-image: leave it out"),
}


@pytest.mark.parametrize(("model", "options", "words"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS)
def test_options_are_checked_before_anything_is_asked(
    model: type[Segmind], options: dict[str, Any], words: str
) -> None:
    """An option that is unknown or out of range is one sentence that names it."""
    with pytest.raises(ConfigError) as caught:
        model.check_options(BackendConfig(name="segmind", options=options))
    assert words in str(caught.value)


def test_options_in_range_pass() -> None:
    """The ends of each range are taken, and a whole number where any number is."""
    options = {"max_masks": 0, "pred_iou_thresh": 1, "points_per_side": 128, "return_masks": False}
    Sam3Image.check_options(BackendConfig(name="segmind", options=options))


def test_limits_say_what_is_lost() -> None:
    """return_masks decides, before anything is asked, whether scores come and instances can get lost."""
    for options, scores, loses in (
        ({}, False, ("scores",)),
        ({"return_masks": True}, True, ()),
        ({"return_masks": False}, False, ("scores", "instances")),
    ):
        limits = Sam3Image.limits_for(BackendConfig(name="segmind", options=options))
        assert (limits.scores, limits.loses) == (scores, loses)
    for model in MODELS:
        assert (model.LIMITS.max_prompts, model.LIMITS.bills_once) == (1, True)


def test_the_vendor_needs_a_key() -> None:
    """Without a key the vendor's own address is an error that names the variable."""
    with pytest.raises(
        ConfigError, match=r"^SEGMIND_API_KEY is not set: put the key for https://api.segmind.com"
    ):
        Sam3Image(BackendConfig(name="segmind"), floor=0.1, meter=Meter(), stop=threading.Event())


# -- what comes back -------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("shape", ["base64", "data uri", "files"])
@pytest.mark.parametrize("options", [{}, APART])
def test_masks_apart_are_instances(shape: str, api: str, options: dict[str, bool]) -> None:
    """Each mask is an instance, within the JSON or fetched, at once or through the queue; with a score if told."""
    with Host(Files()) as elsewhere:
        files = elsewhere._answer
        files.url = elsewhere.url
        with (
            Host(SegmindServer(shape=shape, files=files)) as host,
            asking(host.url, api=api, options=options) as backend,
        ):
            answer = backend.predict(SCENE, [RED])
    assert [d.confidence for d in answer.detections] == ([0.95, 0.9] if options else [None, None])
    assert all(same(d.mask, mask) for d, (mask, _) in zip(answer.detections, expected("red"), strict=True))
    assert {(d.prompt, d.class_id) for d in answer.detections} == {("red", 0)}
    assert answer.degradations == (() if options else ("scores",))
    assert backend.read(answer.body, SIZE, [RED]) == answer  # the files are gone, their content is kept
    assert len(elsewhere.log) == (2 if shape == "files" else 0)  # the picture of all is not fetched
    assert not files.was_sent_a_key


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("model", MODELS)
def test_a_picture_of_all_is_its_parts(model: type[Segmind], api: str) -> None:
    """One picture for all instances becomes its connected parts, without scores, and says so."""
    with Host(SegmindServer(shape="preview")) as host, asking(host.url, model, api=api) as backend:
        answer = backend.predict(SCENE, [RED])
    assert [d.confidence for d in answer.detections] == [None, None]
    assert all(same(d.mask, mask) for d, (mask, _) in zip(answer.detections, expected("red"), strict=True))
    assert answer.degradations == ("scores", "instances")
    assert backend.read(answer.body, SIZE, [RED]) == answer


def test_a_picture_of_all_is_no_answer_where_scores_are_wanted() -> None:
    """Asked from the floor up, it would hold more than the classes want: an error that names the option."""
    with (
        Host(SegmindServer(shape="preview")) as host,
        asking(host.url, options=APART) as backend,
        pytest.raises(AnswerError, match=r"leave backend\.options\.return_masks out") as caught,
    ):
        backend.predict(SCENE, [RED])
    assert caught.value.body
    assert len(host.log) == 1


def test_parts_touch_at_corners() -> None:
    """Pixels that meet at a corner are one part."""
    drawn = np.zeros(SIZE, np.uint8)
    drawn[10:20, 10:20] = drawn[20:30, 20:30] = drawn[50:60, 50:60] = 255
    assert [rle.area(d.mask) for d in read(png(drawn)).detections] == [200, 100]


@pytest.mark.parametrize("empty", ["bare", "count", "black"])
def test_nothing_found_is_an_answer(empty: str) -> None:
    """No instances, in each form in which the host may say it."""
    with Host(SegmindServer(empty=empty)) as host, asking(host.url) as backend:
        answer = backend.predict(SCENE, [NOTHING])
    assert (answer.detections, answer.degradations) == ([], ())


FORMS = {
    "JPEG": lambda data: data,
    "base64": base64.b64encode,
    "base64 in lines": base64.encodebytes,
    "base64 as JSON": lambda data: orjson.dumps(base64.b64encode(data).decode()),
    "data URI as JSON": lambda data: orjson.dumps("data:image/png;base64," + base64.b64encode(data).decode()),
    "image": lambda data: orjson.dumps({"image": base64.b64encode(data).decode()}),
    "preview_mask": lambda data: orjson.dumps(
        {"preview_mask": base64.b64encode(data).decode(), "status": "x"}
    ),
    "list of one": lambda data: orjson.dumps([base64.b64encode(data).decode()]),
    "output": lambda data: orjson.dumps({"status": "COMPLETED", "output": base64.b64encode(data).decode()}),
    "output list": lambda data: orjson.dumps({"output": [base64.b64encode(data).decode()]}),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("content_type", ["image/png", "application/json", "text/plain", None])
def test_the_content_decides_and_not_the_content_type(form: Any, content_type: str | None) -> None:
    """A picture is read in every wrapping, under a wrong Content-Type, and under none."""
    drawn = np.zeros(SIZE, np.uint8)
    drawn[10:20, 10:20] = 255
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = Response(200, form(png(drawn)), headers)
    with Host(SegmindServer(), always=answer) as host, asking(host.url) as backend:
        assert [rle.area(d.mask) for d in backend.predict(SCENE, [RED]).detections] == [100]


@pytest.mark.parametrize("scale", [0.5, 2.0])
@pytest.mark.parametrize("shape", ["base64", "preview"])
def test_masks_of_another_size_are_scaled(shape: str, scale: float) -> None:
    """A mask of the same proportions is brought to the picture's size."""
    with Host(SegmindServer(shape=shape, scale=scale)) as host, asking(host.url) as backend:
        found = backend.predict(SCENE, [RED]).detections
    assert [d.mask.size for d in found] == [SIZE, SIZE]
    for detection, (mask, _) in zip(found, expected("red"), strict=True):
        assert abs(rle.area(detection.mask) - int(mask.sum())) <= 80


def test_a_grey_picture_in_colour_channels_is_read() -> None:
    """A JPEG with three equal channels is a mask."""
    with Host(SegmindServer(rgb=True)) as host, asking(host.url) as backend:
        assert len(backend.predict(SCENE, [RED]).detections) == 2


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def read(body: bytes, prompt: Prompt = RED) -> Any:
    with asking("http://127.0.0.1:9") as backend:
        return backend.read(body, SIZE, [prompt])


WHITE = np.full(SIZE, 255, np.uint8)
B64 = base64.b64encode(png(WHITE)).decode()
COLOURED = np.zeros((*SIZE, 3), np.uint8)
COLOURED[30:] = (0, 0, 255)
BAD = {
    "html": (b"<html>Please log in</html>", "a picture is no picture"),
    "nothing": (b"", "no picture"),
    "JSON null": (b"null", "it holds NoneType None, and no picture"),
    "a number": (b"7", "it holds int 7"),
    "an empty object": (b"{}", "neither masks nor a picture, and does not say that nothing was found"),
    "an error": (b'{"status":"error","message":"cuda"}', "neither masks nor a picture"),
    "success with an unknown key": (b'{"status":"success","result":"a.png"}', "neither masks nor a picture"),
    "a count without masks": (b'{"status":"success","masks_count":3}', "neither masks nor a picture"),
    "a job": (b'{"request_id":"a","status":"QUEUED"}', "neither masks nor a picture"),
    "two pictures": (orjson.dumps([B64, B64]), "it holds list"),
    "masks of null": (b'{"masks":[null]}', "a picture is NoneType None, not a text"),
    "masks of text": (b'{"masks":"abc"}', "'masks' of the answer is str abc, not a list"),
    "masks of words": (b'{"masks":["cat"]}', "a picture is no picture, but begins 'cat'"),
    "an address": (
        b'{"masks":["https://a.b/c.png?X-Amz-Signature=SECRET"]}',
        "lies elsewhere and was not fetched",
    ),
    "another count": (orjson.dumps({"masks": [B64], "masks_count": 2}), "it holds 1 masks and counts 2"),
    "too few scores": (orjson.dumps({"masks": [B64], "scores": []}), "it holds 1 masks and 0 scores"),
    "a score above 1": (orjson.dumps({"masks": [B64], "scores": [1.5]}), "a confidence is float 1.5"),
    "a score of null": (orjson.dumps({"masks": [B64], "scores": [None]}), "a confidence is null"),
    "a score of NaN": (
        orjson.dumps({"masks": [B64], "scores": [0.5]}).replace(b"0.5", b"NaN"),
        "a confidence is",
    ),
    "colours": (png(COLOURED), "is coloured: it shows the image"),
    "grey": (png(np.full(SIZE, 128, np.uint8)), "is grey, not white on black"),
    "zeros and ones": (png(np.eye(120, 200, dtype=np.uint8)), "is grey, not white on black"),
    "labels": (png(np.tile(np.arange(200, dtype=np.uint8) // 50, (120, 1))), "is grey, not white on black"),
    "another frame": (png(np.zeros((200, 120), np.uint8)), "has 120 x 200 px, in another proportion"),
    "nearly the frame": (png(np.zeros((116, 200), np.uint8)), "has 200 x 116 px, in another proportion"),
    "a job that is done": (b'{"request_id":"a","status":"success"}', "neither masks nor a picture"),
    "success alone": (b'{"status":"success"}', "neither masks nor a picture"),
    "an error that counts": (b'{"status":"error","masks_count":0}', "neither masks nor a picture"),
    "no output": (b'{"status":"COMPLETED","output":null}', "it holds NoneType None"),
    "a square": (png(np.zeros((256, 256), np.uint8)), "has 256 x 256 px"),
    "cut": (
        png(np.random.default_rng(0).integers(0, 2, SIZE, np.uint8) * 255)[:-500],
        "the picture of a mask",
    ),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "no picture"),
}


@pytest.mark.parametrize(("body", "words"), BAD.values(), ids=BAD)
def test_what_is_not_understood_is_no_empty_label(body: bytes, words: str) -> None:
    """Each is an error that says what was found, with the body; nothing of a signed address shows."""
    with pytest.raises(AnswerError) as caught:
        read(body)
    assert words in str(caught.value)
    assert caught.value.body == body
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, b"<html>Please log in</html>", {"Content-Type": "text/html"}),
        Response(200, b"", {"Content-Type": "image/jpeg"}),
        Response(200, b"MP4 or so", {}),
    ],
)
def test_neither_a_picture_nor_json_names_the_content_type(answer: Response) -> None:
    """The error quotes status, type and beginning; the request is not repeated, as it was billed."""
    meter = Meter(price=0.005)
    with (
        Host(SegmindServer(), always=answer) as host,
        asking(host.url, meter=meter) as backend,
        pytest.raises(AnswerError) as caught,
    ):
        backend.predict(SCENE, [RED])
    kind = answer.headers.get("Content-Type", "of no content type")
    assert f"answered 200 in a shape that is not understood: it is {kind}, and neither" in str(caught.value)
    assert answer.body.decode() in str(caught.value)
    assert (len(host.log), meter.billed) == (1, 1)


# -- boxes and points ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["base64", "preview"])
@pytest.mark.parametrize(("box", "index"), [(LEFT_RED, 0), (RIGHT_RED, 1)])
def test_a_box_gets_the_one_instance_in_it(shape: str, box: Any, index: int) -> None:
    """The host returns all that are like the object in the box; the detection is the one there."""
    with Host(SegmindServer(shape=shape)) as host, asking(host.url) as backend:
        [detection] = backend.predict(SCENE, [Prompt("cat", 4, box_xyxy=box)]).detections
    assert same(detection.mask, expected("red")[index][0])
    assert (detection.class_id, detection.prompt) == (4, Prompt("cat", 4, box_xyxy=box).key)
    assert detection.confidence is None


@pytest.mark.parametrize(("apart", "area"), [(True, 400), (False, 500)])
def test_two_things_in_a_box(apart: bool, area: int) -> None:
    """Masks apart: the one whose box is most like it. One picture: all that lies there, as parts of the one."""
    large, small = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    large[10:30, 10:30], small[35:45, 10:20] = 255, 255
    masks = [base64.b64encode(png(mask)).decode() for mask in (small, large)]
    body = orjson.dumps({"masks": masks}) if apart else png(large | small)
    [detection] = read(body, Prompt("x", 0, box_xyxy=(8, 8, 32, 46))).detections
    assert rle.area(detection.mask) == area


def test_the_smallest_is_what_a_point_shows() -> None:
    """Of masks that hold a point, the one with the fewest pixels."""
    large, small = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    large[10:40, 10:40], small[15:20, 15:20] = 255, 255
    body = orjson.dumps({"masks": [base64.b64encode(png(mask)).decode() for mask in (large, small)]})
    [detection] = read(body, Prompt("x", 0, points=(Point(17, 17),))).detections
    assert rle.area(detection.mask) == 25


@pytest.mark.parametrize("model", MODELS)
def test_points_get_what_holds_them(model: type[Segmind]) -> None:
    """A positive point is in the mask, and a negative one in none."""
    asked = Prompt("cat", 0, points=(Point(20, 20), Point(70, 20, positive=False)))
    with Host(SegmindServer()) as host, asking(host.url, model) as backend:
        answer = backend.predict(SCENE, [asked])
    assert same(answer.detections[0].mask, expected("red")[0][0])


@pytest.mark.parametrize("empty", ["bare", "black"])
def test_a_box_of_nothing_gets_an_empty_mask(empty: str) -> None:
    """It is counted with the empty masks, not lost."""
    with Host(SegmindServer(empty=empty)) as host, asking(host.url) as backend:
        [detection] = backend.predict(SCENE, [Prompt("x", 0, box_xyxy=(0, 60, 9, 70))]).detections
    assert rle.area(detection.mask) == 0


# -- what goes wrong -------------------------------------------------------------------------------------

UNCLEAR = {
    "time-out": Fault(hang_s=30),
    "reset": Fault(reset=True),
    "no answer": Fault(GOOD, cut=0),
    "cut body": Fault(GOOD, cut=20),
    "504": json_response({"error": "Gateway Timeout"}, 504),
    "520": Response(520, b"<html>error", {"Content-Type": "text/html"}),
    "bad gzip": Response(200, b"no gzip", {"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("trouble", UNCLEAR.values(), ids=UNCLEAR)
def test_an_unclear_request_is_never_sent_again(trouble: Fault | Response, api: str) -> None:
    """It may be billed: it counts so, is kept as an answer without content, and the way out is named."""
    meter = Meter(price=0.005)
    with (
        Host(SegmindServer(), script=[trouble]) as host,
        asking(host.url, meter=meter, timeout_s=0.3, api=api) as backend,
        pytest.raises(AnswerError, match=r"is unclear \(.*--retry-unclear to ask, and pay, again$") as caught,
    ):
        backend.predict(SCENE, [RED])
    assert caught.value.body == b""
    assert (len(host.log), meter.requests, meter.retries, meter.billed) == (1, 1, 0, 1)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_certain_refusal_is_asked_again(status: int) -> None:
    """What was certainly not accepted is repeated, and not billed."""
    meter = Meter(price=1.0)
    with (
        Host(SegmindServer(), script=[json_response({"error": "busy"}, status)] * 2) as host,
        asking(host.url, meter=meter) as backend,
    ):
        assert len(backend.predict(SCENE, [RED]).detections) == 2
    assert (meter.requests, meter.retries, meter.billed, meter.cost) == (3, 2, 1, 0.005)


def test_a_refusal_that_stays_becomes_a_reason() -> None:
    """After the last try the image fails with the host's words, unbilled."""
    meter = Meter(price=1.0)
    with (
        Host(SegmindServer(), always=json_response({"error": "list index out of range"}, 500)) as host,
        asking(host.url, meter=meter) as backend,
        pytest.raises(RefusedError, match="answered 500 after 4 tries: list index out of range"),
    ):
        backend.predict(SCENE, [RED])
    assert (len(host.log), meter.billed) == (4, 0)


def test_no_connection_is_tried_again_and_free() -> None:
    """What never left is no unclear outcome."""
    meter = Meter(price=1.0)
    with Host(SegmindServer()) as host:
        url = host.url
    with (
        asking(url, meter=meter) as backend,
        pytest.raises(RefusedError, match=r"no connection to .* after 4 tries"),
    ):
        backend.predict(SCENE, [RED])
    assert (meter.requests, meter.billed) == (0, 0)


RESETS = {
    "ISO": lambda then: then.isoformat(),
    "ISO with Z": lambda then: then.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    "plain": lambda then: then.strftime("%Y-%m-%d %H:%M:%S.%f"),
    "plain with UTC": lambda then: then.strftime("%Y-%m-%d %H:%M:%S.%f UTC"),
    "seconds": lambda then: str(then.timestamp()),
    "milliseconds": lambda then: str(int(then.timestamp() * 1000)),
}


@pytest.mark.parametrize("written", RESETS.values(), ids=RESETS)
def test_the_end_of_the_window_is_waited_for(written: Any) -> None:
    """A 429 without Retry-After waits until the time that x-rate-limit-reset-at-utc names."""
    headers = {"x-rate-limit-remaining": "0"}

    def limited() -> Iterator[Response | None]:
        headers["x-rate-limit-reset-at-utc"] = written(datetime.now(UTC) + timedelta(seconds=0.4))
        yield Response(429, b'{"error":"Too many requests"}', headers)
        while True:
            yield None

    with Host(SegmindServer(), script=limited()) as host, asking(host.url) as backend:
        backend.predict(SCENE, [RED])
    first, second = host.log
    assert 0.3 < second.arrived - first.arrived < 5


def test_a_used_up_window_holds_the_next_request_back() -> None:
    """A 200 that says that none remain makes the next request wait, before it is refused."""
    soon = (datetime.now(UTC) + timedelta(seconds=0.5)).isoformat()
    full = {"x-rate-limit-remaining": "0", "x-rate-limit-reset-at-utc": soon}
    with Host(SegmindServer(headers=full)) as host, asking(host.url) as backend:
        for _ in range(2):
            backend.predict(SCENE, [RED])
    assert host.log[1].arrived - host.log[0].arrived > 0.2


STOPS = {
    "401": (
        json_response({"error": "Unauthorized", "error_description": "Invalid key"}, 401),
        KeyRefused,
        "Invalid key",
    ),
    "403": (json_response({"error": "Forbidden"}, 403), KeyRefused, "check the key in SEGMIND_API_KEY"),
    "404": (json_response({"error": "not found"}, 404), UnknownModel, "check backend.model"),
    "405": (HTML_405, UnknownModel, "check backend.model"),
    "410": (json_response({"error": "retired"}, 410), UnknownModel, "410: retired; check backend.model"),
    "402": (json_response({"error": "pay"}, 402), NoCredits, "add credits"),
    "406": (
        Response(406, b"Insufficient credits", {"Content-Type": "text/plain"}),
        NoCredits,
        "Insufficient credits; add",
    ),
}


@pytest.mark.parametrize(("answer", "kind", "words"), STOPS.values(), ids=STOPS)
def test_what_would_hit_every_image_stops_the_run(answer: Response, kind: type[StopRun], words: str) -> None:
    """The key, the credits, an unknown or retired model: once, unbilled."""
    meter = Meter(price=1.0)
    with (
        Host(SegmindServer(), always=answer) as host,
        asking(host.url, meter=meter) as backend,
        pytest.raises(kind, match=words),
    ):
        backend.predict(SCENE, [RED])
    assert (len(host.log), meter.billed) == (1, 0)


@pytest.mark.parametrize("said", [b"Unsupported Content-Type", b'{"error":"content type must be JSON"}'])
def test_a_406_about_the_content_type_is_no_lack_of_credits(said: bytes) -> None:
    """The host uses 406 for both; the image fails, and the run goes on."""
    with (
        Host(SegmindServer(), always=Response(406, said, {})) as host,
        asking(host.url) as backend,
        pytest.raises(RefusedError, match="answered 406"),
    ):
        backend.predict(SCENE, [RED])


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_image_is_asked_once(status: int) -> None:
    """A fault of the request is the image's, with the host's words."""
    with (
        Host(SegmindServer(), always=json_response({"error": "image could not be read"}, status)) as host,
        asking(host.url) as backend,
        pytest.raises(RefusedError, match=f"answered {status}: image could not be read"),
    ):
        backend.predict(SCENE, [RED])
    assert len(host.log) == 1


# -- the queue -------------------------------------------------------------------------------------------


def test_a_job_is_looked_up_until_it_is_done() -> None:
    """One POST, then GETs at our own address, with the key; they are neither requests nor billed."""
    meter = Meter(price=0.5)
    server = SegmindServer(polls=4, cost=0.25)
    with Host(server) as host, asking(host.url, meter=meter, api="v2") as backend:
        assert len(backend.predict(SCENE, [RED]).detections) == 2
    paths = [(request.method, request.path) for request in host.requests]
    assert paths == [
        ("POST", "/v2/sam3-image"),
        *[("GET", "/v2/requests/job-0/status")] * 4,
        ("GET", "/v2/requests/job-0"),
    ]
    assert (meter.requests, meter.billed, meter.cost) == (1, 1, 0.25)


def test_a_job_that_was_accepted_is_resumed_elsewhere() -> None:
    """The accepting body is all that another session needs; it does not pay again."""
    server, meter = SegmindServer(), Meter(price=0.5)
    with Host(server) as host:
        with asking(host.url, api="v2") as backend:
            assert isinstance(backend, Queued)
            accepted = backend.submit(SCENE, [RED])
        assert orjson.loads(accepted)["status"] == "QUEUED"
        with asking(host.url, meter=meter, api="v2") as backend:
            answer = backend.resume(accepted, SIZE, [RED])
    assert len(answer.detections) == 2
    assert backend.read(answer.body, SIZE, [RED]) == answer
    assert len(posts(host)) == 1
    assert (meter.requests, meter.billed, meter.cost) == (0, 0, 0.0)


def test_an_answer_at_once_is_resumed_too() -> None:
    """What v1 accepts with is the answer: submit and resume hold for both ways."""
    with Host(SegmindServer()) as host, asking(host.url) as backend:
        accepted = backend.submit(SCENE, [RED])
        assert backend.resume(accepted, SIZE, [RED]) == backend.read(accepted, SIZE, [RED])
    assert len(host.log) == 1


def test_a_failed_job_is_a_refusal_and_free() -> None:
    """A 422 with FAILED is not billed, and fails the image with the host's words."""
    meter = Meter(price=0.5)
    with (
        Host(SegmindServer(fails="CUDA out of memory")) as host,
        asking(host.url, meter=meter, api="v2") as backend,
        pytest.raises(RefusedError, match="took the request and failed: CUDA out of memory; check") as caught,
    ):
        backend.predict(SCENE, [RED])
    assert caught.value.kind == "failed CUDA out of memory"
    assert (len(posts(host)), meter.cost) == (1, 0.0)


def test_look_ups_are_repeated() -> None:
    """Trouble while a job is looked up sends no second job."""
    trouble = [
        json_response({}, 502),
        Fault(reset=True),
        json_response({}, 429),
        None,
        json_response({}, 500),
    ]
    with Host(SegmindServer(polls=1), script=[None, *trouble]) as host, asking(host.url, api="v2") as backend:
        assert len(backend.predict(SCENE, [RED]).detections) == 2
    assert len(posts(host)) == 1


@pytest.mark.parametrize(
    "answer",
    [
        json_response({"error": "Request not found"}, 404),
        json_response({}, 503),
        json_response({"status": "ODD"}),
        Response(200, b"<html>"),
        Fault(reset=True),
    ],
)
def test_a_job_that_can_not_be_looked_up_keeps_its_name(answer: Response | Fault) -> None:
    """The error carries the accepting body, and no second job is sent."""
    with (
        Host(SegmindServer(), script=[None], always=answer) as host,
        asking(host.url, api="v2") as backend,
        pytest.raises(AnswerError) as caught,
    ):
        backend.predict(SCENE, [RED])
    assert orjson.loads(caught.value.body or b"")["request_id"] == "job-0"
    assert len(posts(host)) == 1


def test_a_run_that_ends_leaves_the_job_to_be_resumed() -> None:
    """Waiting for a job ends at once with the run; who keeps the accepting body resumes it."""
    stop = threading.Event()
    with Host(SegmindServer(polls=10**6)) as host, asking(host.url, stop=stop, api="v2") as backend:
        accepted = backend.submit(SCENE, [RED])
        timer = threading.Timer(0.1, stop.set)
        timer.start()
        with pytest.raises(RefusedError, match="the run ended") as caught:
            backend.resume(accepted, SIZE, [RED])
        timer.join()
    assert caught.value.kind == "interrupted"


@pytest.mark.parametrize("name", ["../../v1/get-user-credits", "a?b", "", "a" * 200])
def test_a_job_name_is_no_path(name: str) -> None:
    """A name that would change the address is an error."""
    accepted = orjson.dumps({"request_id": name, "status": "QUEUED"})
    with Host(SegmindServer()) as host, asking(host.url) as backend, pytest.raises(AnswerError):
        backend.resume(accepted, SIZE, [RED])
    assert host.log == []


# -- cost, keys and files --------------------------------------------------------------------------------


def test_the_host_says_what_it_cost() -> None:
    """x-cost goes before the price, and the budget ends by it."""
    meter = Meter(price=0.005, budget=1.0)
    with Host(SegmindServer(cost=0.6)) as host, asking(host.url, meter=meter) as backend:
        for _ in range(2):
            backend.predict(SCENE, [RED])
        with pytest.raises(BudgetReached):
            backend.predict(SCENE, [RED])
    assert (meter.cost, meter.billed) == (1.2, 2)


@pytest.mark.parametrize("said", ["", "free", "nan", "-1", "inf"])
def test_a_cost_that_is_none_leaves_the_price(said: str) -> None:
    """Nonsense in x-cost is passed over."""
    meter = Meter(price=0.25)
    answer = Response(200, GOOD.body, {"x-cost": said})
    with Host(SegmindServer(), always=answer) as host, asking(host.url, meter=meter) as backend:
        backend.predict(SCENE, [RED])
    assert meter.cost == 0.25


def test_neither_key_nor_signature_shows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No key goes to the host of the files; a file that is gone is an error without its signed query."""
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
        caplog.set_level(logging.DEBUG, name)
    files = Files(gone=True)
    with Host(files) as elsewhere:
        files.url = elsewhere.url
        server = SegmindServer({KEY: "ok"}, shape="files", files=files)
        with Host(server) as host, asking(host.url) as backend, pytest.raises(AnswerError) as caught:
            backend.predict(SCENE, [RED])
    assert "which holds a file of the answer, answered 403" in str(caught.value)
    assert len(elsewhere.log) == 1
    assert not files.was_sent_a_key
    assert orjson.loads(caught.value.body or b"")["masks_count"] == 2
    for secret in (KEY, SIGNATURE):
        assert secret not in str(caught.value) + caplog.text + repr(vars(backend))
    assert caplog.records


def test_files_are_fetched_again() -> None:
    """Trouble while a mask is fetched asks no second time for the answer."""
    files = Files()
    with Host(files, script=[json_response({}, 503), Fault(reset=True), Fault(GOOD, cut=9)]) as elsewhere:
        files.url = elsewhere.url
        with Host(SegmindServer(shape="files", files=files)) as host, asking(host.url) as backend:
            assert len(backend.predict(SCENE, [RED]).detections) == 2
    assert (len(host.log), len(elsewhere.log)) == (1, 5)


@pytest.mark.parametrize(
    "address", ["https://", "http://[", "https://a b/c", "http://127.0.0.1:9/x?Sig=SECRET"]
)
def test_an_address_that_leads_nowhere_keeps_the_answer(address: str) -> None:
    """The answer is paid for: its body stays with the error, which names no query."""
    body = orjson.dumps({"status": "success", "masks": [address], "scores": [0.9]})
    with (
        Host(SegmindServer(), always=Response(200, body)) as host,
        asking(host.url) as backend,
        pytest.raises(AnswerError, match="accepted and may be billed") as caught,
    ):
        backend.predict(SCENE, [RED])
    assert caught.value.body == body
    assert "SECRET" not in str(caught.value)
    assert len(host.log) == 1


def test_an_image_that_is_none_is_refused() -> None:
    """The host's words for a file that is no image are quoted."""
    bad = Picture("a.png", 10, 10, b"no image at all")
    with (
        Host(SegmindServer()) as host,
        asking(host.url) as backend,
        pytest.raises(RefusedError, match="could not be"),
    ):
        backend.predict(bad, [RED])


def test_any_frame_is_kept() -> None:
    """A tall, a wide and a tiny picture come back in their own frame."""
    for height, width in ((90, 31), (31, 90), (8, 8)):
        asked = picture(np.full((height, width, 3), 255, np.uint8))
        with Host(SegmindServer()) as host, asking(host.url) as backend:
            [detection] = backend.predict(asked, [Prompt("white", 0)]).detections
        assert rle.area(detection.mask) == height * width


WORKER = {
    "status": "success",
    "infer_time": 0.1,
    "masks": [B64],
    "masks_count": 1,
    "boxes": [[0, 0, 200, 120]],
    "scores": [0.9],
    "preview_mask": B64,
}


@settings(max_examples=150, deadline=None)
@given(damaged(WORKER) | damaged({"status": "COMPLETED", "output": WORKER}) | ANY)
def test_any_json_is_read_or_an_error(value: Any) -> None:
    """Whatever stands in place of a part: masks in the frame, or an AnswerError, and never an empty answer."""
    try:
        answer = read(orjson.dumps(value))
    except AnswerError:
        return
    assert [d.mask.size for d in answer.detections] == [SIZE]


def test_green_is_read_with_its_hole() -> None:
    """A picture of a mask keeps holes."""
    with Host(SegmindServer()) as host, asking(host.url) as backend:
        [detection] = backend.predict(SCENE, [GREEN]).detections
    assert same(detection.mask, expected("green")[0][0])


class TestSam3Image(BackendContract):
    """What holds for every backend, for the default that takes either shape of answer."""

    prompts = (RED, GREEN, Prompt("cat", 0, box_xyxy=LEFT_RED), Prompt("cat", 0, points=(Point(70, 20),)))
    picture = SCENE
    nothing = NOTHING
    options: ClassVar[dict[str, bool]] = {}
    place = "sam3_image:Sam3Image"

    @pytest.fixture(autouse=True)
    def _host(self):
        with Host(SegmindServer()) as host:
            type(self).settings = BackendConfig(
                name=f"autolabel.backends.segmind.{self.place}",
                base_url=host.url,
                requests_per_second=1e6,
                options=self.options,
            )
            yield


class TestSam3ImageApart(TestSam3Image):
    """The same with scores."""

    options: ClassVar[dict[str, bool]] = APART


class TestSam3ImageOfAll(TestSam3Image):
    """The same with one picture."""

    options: ClassVar[dict[str, bool]] = {"return_masks": False}


class TestSamV2Image(TestSam3Image):
    """The same for SAM 2."""

    prompts = (RED, GREEN, Prompt("cat", 0, points=(Point(70, 20), Point(20, 20, positive=False))))
    place = "sam_v2_image:SamV2Image"
