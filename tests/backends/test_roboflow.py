"""Roboflow: the bodies and the schema of the vendor's own server, and what is the host's alone."""

import base64
import re
from typing import Any

import cv2
import numpy as np
import orjson
import pytest
from pycocotools import mask as coco

from autolabel.errors import AnswerError, KeyRefused, NoCredits, RefusedError, UnknownModel
from autolabel.geometry import rle
from autolabel.types import Prompt
from tests.backends.schema import problems
from tests.backends.support import FIXTURES, GREEN, KEY, NOTHING, RED, ROBOFLOW, SCENE, opened
from tests.servers.host import Host, Request, Response, json_response
from tests.servers.roboflow import RoboflowServer

RECORDED = {
    path.stem: orjson.loads(path.read_bytes())
    for path in sorted(FIXTURES.glob("*.json"))
    if path.stem != "openapi"
}
GOOD = [name for name, kept in RECORDED.items() if kept["status"] == 200 and not name.startswith("pvs")]
STOPS = {401: KeyRefused, 403: KeyRefused, 423: KeyRefused, 402: NoCredits, 404: UnknownModel}


def replayed(name: str) -> Response:
    """A recorded response, headers and all."""
    kept = RECORDED[name]
    return Response(kept["status"], orjson.dumps(kept["body"]), kept["headers"])


def painted(prediction: dict[str, Any]) -> np.ndarray:
    """The mask of a prediction as pycocotools or cv2 make it."""
    if prediction["format"] == "rle":
        return coco.decode(prediction["masks"]).astype(bool)
    canvas = np.zeros((120, 200), np.uint8)
    for ring in prediction["masks"]:
        if ring:
            cv2.fillPoly(canvas, [np.array(ring, np.int32)], [1])
    return canvas.astype(bool)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools
@pytest.mark.parametrize("name", GOOD)
def test_recorded_answers_are_read(name: str) -> None:
    """Every 200 of the vendor's server is read, to the masks that pycocotools and cv2 make of it."""
    results = RECORDED[name]["body"]["prompt_results"]
    prompts = [Prompt(result["echo"]["text"], 5 + i) for i, result in enumerate(results)]
    with Host(ROBOFLOW.answer(), always=replayed(name)) as host, opened(ROBOFLOW, host.url) as backend:
        found = backend.predict(SCENE, prompts).detections
    expected = [
        (prompt.text, prompt.class_id, prediction["confidence"], painted(prediction))
        for prompt, result in zip(prompts, results, strict=True)
        for prediction in result["predictions"]
    ]
    assert len(found) == len(expected) > 0
    for detection, (text, class_id, score, mask) in zip(found, expected, strict=True):
        assert (detection.prompt, detection.class_id, detection.confidence) == (text, class_id, score)
        assert np.array_equal(rle.to_bitmap(detection.mask), mask)


def test_rle_keeps_the_hole_that_polygons_lose() -> None:
    """The donut has its hole as RLE, and its polygon answer says that holes are lost."""
    donut = [Prompt("donut", 0)]
    with opened(ROBOFLOW, "http://127.0.0.1:9") as backend:
        kept = backend.read(replayed("pcs_donut_rle").body, (120, 200), donut)
        filled = backend.read(replayed("pcs_donut_polygon").body, (120, 200), donut)
    assert rle.area(kept.detections[0].mask) < rle.area(filled.detections[0].mask)
    assert (kept.degradations, filled.degradations) == ((), ("holes",))


def test_there_are_recorded_answers() -> None:
    """The fixtures were found."""
    assert len(GOOD) == 13
    assert len(RECORDED) - len(GOOD) == 19


@pytest.mark.parametrize("name", [name for name, kept in RECORDED.items() if kept["status"] != 200])
def test_recorded_errors_become_reasons(name: str) -> None:
    """Every error of the vendor's server is told in its own words, without the echoed request."""
    kept = RECORDED[name]
    error = STOPS.get(kept["status"], RefusedError)
    with (
        Host(ROBOFLOW.answer(), always=Response(kept["status"], orjson.dumps(kept["body"]))) as host,
        opened(ROBOFLOW, host.url) as backend,
        pytest.raises(error) as caught,
    ):
        backend.predict(SCENE, [RED])
    body = kept["body"]
    said = body["message"] if "message" in body else body["detail"][0]["msg"]
    assert " ".join(said.split())[:150].rstrip(".") in str(caught.value)
    assert "input" not in str(caught.value).replace("input image", "")
    assert len(host.log) == (4 if kept["status"] >= 500 else 1)


@pytest.mark.parametrize("count", [1, 16])
def test_the_request_is_what_the_vendor_publishes(count: int) -> None:
    """The body fits the schema of the vendor's server, whose `id` is required only on paper."""
    schemas = orjson.loads((FIXTURES / "openapi.json").read_bytes())["schemas"]
    with Host(ROBOFLOW.answer()) as host, opened(ROBOFLOW, host.url, floor=0.25) as backend:
        backend.predict(SCENE, [Prompt(f"thing {i}", i) for i in range(count)])
    [request] = host.requests
    body = orjson.loads(request.body)
    assert problems(body, schemas["Sam3SegmentationRequest"], schemas) == ["body lacks id"]
    assert problems({**body, "image": 1}, schemas["Sam3SegmentationRequest"], schemas) != ["body lacks id"]
    assert request.path == "/sam3/concept_segment"
    assert request.headers["content-type"] == "application/json"
    assert base64.b64decode(body.pop("image")["value"]) == SCENE.data
    assert body == {
        "prompts": [{"type": "text", "text": f"thing {i}", "output_prob_thresh": 0.25} for i in range(count)],
        "output_prob_thresh": 0.25,
        "format": "rle",
    }


@pytest.mark.parametrize("form", ["polygon", "rle"])
def test_the_local_server_answers_as_the_vendor_does(form: str) -> None:
    """The server of these tests gives scene.png the very answer of the vendor's, but for its times."""
    request = {
        "image": {"type": "base64", "value": base64.b64encode(SCENE.data).decode()},
        "prompts": [{"type": "text", "text": text} for text in ("red", "green", "nothing")],
        "format": form,
    }
    answer = RoboflowServer()(Request("/sam3/concept_segment", {}, {}, orjson.dumps(request)))
    theirs = RECORDED[f"pcs_two_prompts_{form}"]["body"]
    assert orjson.loads(answer.body)["prompt_results"] == theirs["prompt_results"]
    request["prompts"] = []
    answer = RoboflowServer()(Request("/sam3/concept_segment", {}, {}, orjson.dumps(request)))
    kept = RECORDED["pcs_no_prompts_422"]
    assert answer.status == kept["status"]
    assert orjson.loads(answer.body)["detail"][0]["msg"] == kept["body"]["detail"][0]["msg"]


@pytest.mark.parametrize("floor", [0.92, 0.5, 0.01, 0.0])
def test_the_floor_holds_for_every_prompt(floor: float) -> None:
    """A threshold stands on each prompt, and a floor of 0 is not the server's 0.5."""
    with Host(ROBOFLOW.answer()) as host, opened(ROBOFLOW, host.url, floor=floor) as backend:
        found = backend.predict(SCENE, [RED, GREEN, NOTHING]).detections
    assert [d.confidence for d in found] == [score for score in (0.95, 0.9, 0.95) if score >= floor]


def test_a_server_that_answers_polygons_is_read_all_the_same() -> None:
    """Polygons in answer to a request for RLE give the same masks, holes aside."""
    with Host(RoboflowServer(forced_format="polygon")) as host, opened(ROBOFLOW, host.url) as backend:
        polygons = backend.predict(SCENE, [RED, GREEN])
    with Host(RoboflowServer()) as host, opened(ROBOFLOW, host.url) as backend:
        assert polygons.detections == backend.predict(SCENE, [RED, GREEN]).detections
    assert polygons.degradations == ("holes",)


def test_an_old_server_needs_the_key_in_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that overlooks the header is asked by query on demand, and its 400 or 401 says so."""
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    with Host(RoboflowServer({KEY: "ok"}, bearer=False)) as host:
        with opened(ROBOFLOW, host.url) as backend, pytest.raises(KeyRefused, match=r"backend\.auth: query"):
            backend.predict(SCENE, [RED])
        with opened(ROBOFLOW, host.url, auth="query") as backend:
            assert len(backend.predict(SCENE, [RED]).detections) == 2
    assert host.requests[-1].query == {"api_key": KEY}
    assert "authorization" not in host.requests[-1].headers
    no_key = json_response({"message": "Required Roboflow API key is missing."}, 400)
    with (
        Host(ROBOFLOW.answer(), always=no_key) as host,
        opened(ROBOFLOW, host.url) as backend,
        pytest.raises(RefusedError, match=r"inference 1\.5\.0 needs backend\.auth: query"),
    ):
        backend.predict(SCENE, [RED])


BAD = {
    "rle of another size": (
        {"masks": {"size": [60, 100], "counts": "P`h0"}},
        "size [60, 100], not [120, 200]",
    ),
    "rle too short": ({"masks": {"size": [120, 200], "counts": "P^g"}}, "run"),
    "rle that is none": ({"masks": {"size": [120, 200], "counts": "\u00e9~"}}, "counts"),
    "rle as polygon": ({"masks": [[[1, 1]]]}, "not a COCO RLE"),
    "rle without masks": ({}, "not a COCO RLE"),
    "polygon as rle": (
        {"format": "polygon", "masks": {"size": [120, 200], "counts": "P^g0"}},
        "list of rings",
    ),
    "unknown format": ({"format": "binary", "masks": []}, "unknown format 'binary'"),
    "no format": ({"format": None, "masks": []}, "'format' of a prediction is null"),
    "no confidence": ({"confidence": None, "masks": {"size": [120, 200], "counts": "P^g0"}}, "confidence"),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_a_mask_of_another_shape_is_an_error(change: dict[str, Any], words: str) -> None:
    """A mask is read by its own format, and of the sent size, or not at all."""
    body = ROBOFLOW.body({"format": "rle", "confidence": 0.5} | change)
    with (
        opened(ROBOFLOW, "http://127.0.0.1:9") as backend,
        pytest.raises(AnswerError, match=re.escape(words)),
    ):
        backend.read(body, (120, 200), [RED])


INDICES = {
    "twice": [(0, "red"), (0, "red")],
    "unknown": [(0, "red"), (7, "green")],
    "negative": [(0, "red"), (-1, "green")],
    "swapped echo": [(0, "green"), (1, "red")],
    "one missing": [(1, "green")],
    "as text": [("0", "red"), (1, "green")],
    "as bool": [(False, "red"), (True, "green")],
}


@pytest.mark.parametrize("results", INDICES.values(), ids=INDICES)
def test_results_that_fit_no_prompt_are_errors(results: list[tuple[Any, str]]) -> None:
    """A result belongs to the prompt of its index, whose text it echoes; each prompt has one."""
    body = orjson.dumps(
        {
            "prompt_results": [
                {"prompt_index": index, "echo": {"text": text}, "predictions": []} for index, text in results
            ]
        }
    )
    with opened(ROBOFLOW, "http://127.0.0.1:9") as backend, pytest.raises(AnswerError):
        backend.read(body, (120, 200), [RED, GREEN])


def test_results_may_come_in_any_order_and_without_echo() -> None:
    """The index alone says which prompt a result answers."""
    body = orjson.dumps(
        {"prompt_results": [{"prompt_index": 1, "predictions": []}, {"prompt_index": 0, "predictions": []}]}
    )
    with opened(ROBOFLOW, "http://127.0.0.1:9") as backend:
        assert backend.read(body, (120, 200), [RED, GREEN]).detections == []
