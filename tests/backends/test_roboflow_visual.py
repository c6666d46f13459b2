"""Roboflow's visual_segment: the vendor's recorded bodies and schema, and the traps that its server has."""

import base64
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from pycocotools import mask as coco

from autolabel.errors import AnswerError
from autolabel.geometry import rle
from autolabel.labeler import chunks
from autolabel.types import Point, Prompt
from tests.backends.schema import problems
from tests.backends.support import FIXTURES, ON_RED, SCENE, VISUAL, opened
from tests.backends.test_roboflow import RECORDED, replayed
from tests.servers.host import Host, Request
from tests.servers.roboflow import VISUAL_PATH, RoboflowServer

PVS = [name for name in RECORDED if name.startswith("pvs")]
ON_GREEN = Prompt("points of green", 1, points=(Point(120, 60), Point(1, 1, positive=False)))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools
@pytest.mark.parametrize("name", PVS)
def test_recorded_answers_are_read(name: str) -> None:
    """Every answer of the vendor's server is read, in the order of the prompts."""
    predictions = RECORDED[name]["body"]["predictions"]
    prompts = [replace(ON_RED, class_id=5 + i, key="") for i in range(len(predictions))]
    with Host(VISUAL.answer(), always=replayed(name)) as host, opened(VISUAL, host.url) as backend:
        found = backend.predict(SCENE, prompts).detections
    assert [d.class_id for d in found] == [p.class_id for p in prompts]
    assert [d.confidence for d in found] == [p["confidence"] for p in predictions]
    for detection, prediction in zip(found, predictions, strict=True):
        if prediction["format"] == "rle":
            assert np.array_equal(
                rle.to_bitmap(detection.mask), coco.decode(prediction["masks"]).astype(bool)
            )
    assert len(PVS) == 4


def test_the_request_is_what_the_vendor_publishes() -> None:
    """Boxes go by their centre, prompts as {"prompts": [...]}, and no image_id; the body fits the schema."""
    schemas = orjson.loads((FIXTURES / "openapi.json").read_bytes())["schemas"]
    both = replace(ON_RED, points=(Point(20.5, 30),), key="")
    with Host(VISUAL.answer()) as host, opened(VISUAL, host.url) as backend:
        backend.predict(SCENE, [ON_RED, both])
    [request] = host.requests
    body = orjson.loads(request.body)
    # the published schema refers to a Point that is not published with it
    point_schema = {"type": "object", "properties": {key: {} for key in ("x", "y", "positive")}}
    known = schemas | {"Point-Input": point_schema}
    assert problems(body, schemas["Sam2SegmentationRequest"], known) in ([], ["body lacks id"])
    assert request.path == VISUAL_PATH
    assert base64.b64decode(body.pop("image")["value"]) == SCENE.data
    box = {"x": 25.0, "y": 30.0, "width": 30.0, "height": 40.0}
    point = {"x": 20.5, "y": 30.0, "positive": True}
    assert body == {"prompts": {"prompts": [{"box": box}, {"box": box, "points": [point]}]}, "format": "rle"}


def test_kinds_of_prompts_never_share_a_request() -> None:
    """Prompts with and without a box are asked apart, as the server would give a box to another prompt."""
    prompts = [ON_GREEN, ON_RED] * 20
    requests = chunks(prompts, VISUAL.backend.LIMITS)
    assert sorted(map(len, requests)) == [4, 4, 16, 16]
    assert all(len({p.box_xyxy is None for p in some}) == 1 for some in requests)
    mixed = orjson.dumps(
        {
            "image": {"type": "base64", "value": base64.b64encode(SCENE.data).decode()},
            "prompts": {"prompts": [{"points": [{"x": 120, "y": 60, "positive": True}]}, {"box": {
                "x": 25, "y": 30, "width": 30, "height": 40}}]},
            "format": "rle",
        }
    )  # fmt: skip
    answer = orjson.loads(RoboflowServer()(Request(VISUAL_PATH, {}, {}, mixed)).body)["predictions"]
    with Host(VISUAL.answer()) as host, opened(VISUAL, host.url) as backend:
        apart = [
            backend.predict(SCENE, some).detections for some in chunks([ON_GREEN, ON_RED], backend.limits)
        ]
    assert [d.mask.counts.decode() for d in itertools.chain(*apart)] != [p["masks"]["counts"] for p in answer]
    assert all(rle.area(d.mask) > 500 for d in itertools.chain(*apart))


def test_both_shapes_of_an_answer_are_read() -> None:
    """The flat list that the server gives, and the one by prompt that the vendor's page describes."""
    answers = []
    for by_prompt in (False, True):
        with Host(RoboflowServer(by_prompt=by_prompt)) as host, opened(VISUAL, host.url) as backend:
            answers.append(
                backend.predict(SCENE, [ON_RED, replace(ON_RED, class_id=1, key="other")]).detections
            )
    assert answers[0] == answers[1]
    assert len(answers[0]) == 2


GOOD = {"format": "polygon", "confidence": 0.5, "masks": [[[1, 1]]]}
WRONG: dict[str, tuple[Any, str]] = {
    "no object": ([], "the answer is"),
    "nothing in it": ({"time": 1}, "has no 'predictions'"),
    "null": ({"predictions": None}, "'predictions' of the answer is null"),
    "too few": ({"predictions": []}, "there are 0 predictions for 1 prompts"),
    "too many": ({"predictions": [GOOD, GOOD]}, "there are 2 predictions for 1 prompts"),
    "two of a prompt": (
        {"prompt_results": [{"prompt_index": 0, "predictions": [GOOD, GOOD]}]},
        "prompt 0 has 2 predictions, not one",
    ),
    "none of a prompt": ({"prompt_results": [{"prompt_index": 0, "predictions": []}]}, "has 0 predictions"),
    "odd numbers": ({"prompt_results": [{"prompt_index": 3, "predictions": [GOOD]}]}, "are numbered [3]"),
}


@pytest.mark.parametrize(("value", "words"), WRONG.values(), ids=WRONG)
def test_an_answer_of_another_shape_is_no_empty_label(value: object, words: str) -> None:
    """What is not understood is an error with its body."""
    body = orjson.dumps(value)
    with opened(VISUAL, "http://127.0.0.1:9") as backend, pytest.raises(AnswerError) as caught:
        backend.read(body, (120, 200), [ON_RED])
    assert words in str(caught.value)
    assert caught.value.body == body


def test_the_local_server_has_the_traps_of_the_vendors() -> None:
    """A list around {"prompts": ...} is passed over, an image_id answers from the cache, xyxy boxes are 422."""
    server = RoboflowServer()
    image = {"type": "base64", "value": base64.b64encode(SCENE.data).decode()}
    box = {"x": 120, "y": 60, "width": 50, "height": 50}

    def ask(**body: Any) -> Any:
        answer = server(Request(VISUAL_PATH, {}, {}, orjson.dumps({"image": image, "format": "rle", **body})))
        return answer.status, orjson.loads(answer.body)

    _, good = ask(prompts={"prompts": [{"box": box}]})
    _, wrapped = ask(prompts=[{"prompts": [{"box": box}]}])
    assert good["predictions"][0]["masks"] != wrapped["predictions"][0]["masks"]
    assert ask(prompts=[{"box": {"x0": 1, "y0": 1, "x1": 5, "y1": 5}}])[0] == 422
    assert ask(prompts=[{"points": [{"x": 1, "y": 1}]}])[0] == 422
