"""What holds for every hosted backend, against a local server that behaves as the host, or goes wrong."""

import email.utils
import time

import cv2
import numpy as np
import orjson
import pytest

from autolabel.backends.meter import Meter
from autolabel.errors import AnswerError, KeyRefused, NoCredits, RefusedError, UnknownModel
from autolabel.geometry import rle
from tests.backends.support import (
    GREEN,
    KEY,
    NOTHING,
    RED,
    ROBOFLOW,
    SCENE,
    SHORT,
    Service,
    opened,
    picture,
    polygon,
)
from tests.servers.host import Fault, Host, Request, Response, json_response
from tests.servers.model import segment

ECHO = {
    "detail": [{"type": "x", "loc": ["body", "image"], "msg": "Field odd", "input": "SECRETBASE64" * 100}]
}
HTML = Response(200, b"<html><body>Please log in</body></html>", {"Content-Type": "text/html"})


def test_every_prompt_gets_its_instances(text_service: Service) -> None:
    """Masks, scores, class ids and prompts arrive exactly as the model made them."""
    with Host(text_service.answer()) as host, opened(text_service, host.url) as backend:
        answer = backend.predict(SCENE, [GREEN, NOTHING, RED])
    image = cv2.imdecode(np.frombuffer(SCENE.data, np.uint8), cv2.IMREAD_COLOR)
    expected = [
        (prompt.text, prompt.class_id, score, mask)
        for prompt in (GREEN, NOTHING, RED)
        for mask, score in segment(image, prompt.text, 0.1)
    ]
    assert len(answer.detections) == len(expected) == 3
    for detection, (text, class_id, score, mask) in zip(answer.detections, expected, strict=True):
        assert (detection.prompt, detection.class_id, detection.confidence) == (text, class_id, score)
        assert np.array_equal(rle.to_bitmap(detection.mask), mask)
    assert backend.read(answer.body, (120, 200), [GREEN, NOTHING, RED]) == answer


def test_nothing_found_is_an_answer(text_service: Service) -> None:
    """A host that finds nothing gives no detections, and no error."""
    with Host(text_service.answer()) as host, opened(text_service, host.url) as backend:
        assert backend.predict(SCENE, [NOTHING]).detections == []


def test_an_empty_mask_stays(service: Service) -> None:
    """An instance without pixels is kept, for the filter to count."""
    body = service.body(polygon([]))
    with Host(service.answer(), always=Response(200, body)) as host, opened(service, host.url) as backend:
        [detection] = backend.predict(SCENE, [service.ask]).detections
    assert rle.area(detection.mask) == 0


def test_parts_of_a_polygon_are_one_instance(service: Service) -> None:
    """Several rings are parts of one instance; dots and lines count as cv2 paints them."""
    rings = [[[1, 1], [1, 4], [5, 4], [5, 1]], [[10, 10]], [[20, 20], [29, 20]]]
    [detection] = _read(service, service.body(polygon(*rings)))
    expected = np.zeros((120, 200), np.uint8)
    for ring in rings:
        cv2.fillPoly(expected, [np.array(ring, np.int32)], [1])
    assert np.array_equal(rle.to_bitmap(detection.mask), expected.astype(bool))
    assert rle.area(detection.mask) == 20 + 1 + 10


def test_polygons_are_recorded_as_without_holes(text_service: Service) -> None:
    """What was read from polygons says that holes are lost."""
    with opened(text_service, "http://127.0.0.1:9") as backend:
        assert backend.read(
            text_service.body(polygon([[1, 1]])), (120, 200), [text_service.ask]
        ).degradations == ("holes",)
        assert backend.read(text_service.body(), (120, 200), [text_service.ask]).degradations == ()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *[(401, KeyRefused), (403, KeyRefused), (423, KeyRefused), (402, NoCredits), (406, NoCredits)],
        *[(404, UnknownModel), (405, UnknownModel), (410, UnknownModel)],
    ],
)
@pytest.mark.parametrize("shape", ["message", "error", "detail"])
def test_causes_for_every_image_stop_the_run(
    service: Service, status: int, error: type[Exception], shape: str
) -> None:
    """Key, credits and model are asked once, and the error quotes the host."""
    answer = json_response({shape: "The host's own words."}, status)
    meter = Meter(price=1.0)
    with (
        Host(service.answer(), always=answer) as host,
        opened(service, host.url, meter=meter) as backend,
        pytest.raises(error, match="The host's own words") as caught,
    ):
        backend.predict(SCENE, [service.ask])
    assert str(status) in str(caught.value)
    assert (meter.requests, meter.retries, meter.billed) == (1, 0, 0)


@pytest.mark.parametrize("status", [400, 413, 422, 409, 451])
def test_other_refusals_concern_one_image(service: Service, status: int) -> None:
    """They are not repeated, cost nothing, and never quote what the host echoes of the request."""
    meter = Meter(price=1.0)
    with (
        Host(service.answer(), always=json_response(ECHO, status)) as host,
        opened(service, host.url, meter=meter) as backend,
        pytest.raises(RefusedError, match=rf"answered {status}: body.image: Field odd; ") as caught,
    ):
        backend.predict(SCENE, [service.ask])
    assert "SECRET" not in str(caught.value)
    assert (meter.requests, meter.billed) == (1, 0)


@pytest.mark.parametrize("status", [429, 500, 501, 502, 503, 504, 507])
def test_passing_trouble_is_asked_again(service: Service, status: int) -> None:
    """A refusal that may pass is repeated until an answer comes; a 5xx may have been billed, a 429 not."""
    meter = Meter(price=0.5)
    script = [json_response({"message": "busy"}, status)] * 2
    with (
        Host(service.answer(), script=script) as host,
        opened(service, host.url, meter=meter) as backend,
    ):
        assert len(backend.predict(SCENE, [service.ask]).detections) == service.hits
    assert (meter.requests, meter.retries) == (3, 2)
    assert meter.billed == (1 if status == 429 else 3)
    assert len({request.body for request in host.requests}) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_trouble_that_stays_becomes_a_reason(service: Service, status: int) -> None:
    """After the last try the image fails with the host's words, the same kind for the same cause."""
    kinds = set()
    for number in (17, 4096):
        answer = json_response({"message": f"busy, {number} in the queue"}, status)
        with (
            Host(service.answer(), always=answer) as host,
            opened(service, host.url) as backend,
            pytest.raises(RefusedError, match=f"answered {status} after 4 tries: busy, {number}") as caught,
        ):
            backend.predict(SCENE, [service.ask])
        assert len(host.log) == SHORT.tries
        kinds.add(caught.value.kind)
    assert len(kinds) == 1


BROKEN = {
    "reset": Fault(reset=True),
    "no body": Fault(json_response({"prompt_results": []}), cut=0),
    "cut body": Fault(json_response({"prompt_results": []}), cut=9),
    "html": HTML,
    "half a JSON text": Response(200, b'{"prompt_results": ['),
    "empty": Response(200, b""),
    "bad gzip": Response(200, b"no gzip", {"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("trouble", BROKEN.values(), ids=BROKEN)
def test_broken_answers_are_asked_for_again(service: Service, trouble: Fault | Response) -> None:
    """A connection or body that breaks is repeated, and counts as billed."""
    meter = Meter(price=0.5)
    with (
        Host(service.answer(), script=[trouble, trouble]) as host,
        opened(service, host.url, meter=meter) as backend,
    ):
        assert len(backend.predict(SCENE, [service.ask]).detections) == service.hits
    assert (meter.requests, meter.retries, meter.billed, meter.cost) == (3, 2, 3, 1.5)


def test_a_broken_connection_becomes_a_reason(service: Service) -> None:
    """A host that always breaks off ends as a refusal that says so."""
    with (
        Host(service.answer(), always=BROKEN["reset"]) as host,
        opened(service, host.url) as backend,
        pytest.raises(RefusedError, match="broke off before its answer was whole after 4 tries") as caught,
    ):
        backend.predict(SCENE, [service.ask])
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_html_in_place_of_json_is_kept(service: Service) -> None:
    """A 200 without JSON fails with status, type and beginning, and carries the body."""
    with (
        Host(service.answer(), always=HTML) as host,
        opened(service, host.url) as backend,
        pytest.raises(AnswerError, match=r"answered 200 \(text/html\).* is not JSON: <html>") as caught,
    ):
        backend.predict(SCENE, [service.ask])
    assert caught.value.body == HTML.body


def test_the_content_type_does_not_matter(service: Service) -> None:
    """JSON under a wrong Content-Type is read."""
    answer = Response(200, service.body(polygon([[3, 4]])), {"Content-Type": "text/plain"})
    with Host(service.answer(), always=answer) as host, opened(service, host.url) as backend:
        assert len(backend.predict(SCENE, [service.ask]).detections) == 1


def test_a_time_out_is_asked_again_then_a_reason(service: Service) -> None:
    """A host that does not answer in time is tried again, counts as billed, and the setting is named."""
    meter = Meter(price=1.0)
    with (
        Host(service.answer(), always=Fault(hang_s=30)) as host,
        opened(service, host.url, meter=meter, timeout_s=0.05) as backend,
        pytest.raises(RefusedError, match=r"within 0.05 s after 4 tries; raise backend.timeout_s"),
    ):
        backend.predict(SCENE, [service.ask])
    assert (meter.requests, meter.billed) == (4, 4)


def test_no_connection_is_no_request(service: Service) -> None:
    """Where nothing listens nothing is sent or billed, and the error names the setting."""
    with Host(service.answer()) as host:
        url = host.url
    meter = Meter(price=1.0)
    with opened(service, url, meter=meter) as backend, pytest.raises(RefusedError) as caught:
        backend.predict(SCENE, [service.ask])
    assert str(caught.value).startswith(f"no connection to {url.removeprefix('http://')} after 4 tries (")
    assert str(caught.value).endswith("check the network and backend.base_url")
    assert (meter.requests, meter.retries, meter.billed) == (0, 0, 0)


def test_redirects_are_not_followed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect could carry the key away: it is an error that says where it points, without the key."""
    monkeypatch.setenv(service.variable, KEY)
    with Host(service.answer()) as elsewhere:
        away = Response(307, b"", {"Location": f"{elsewhere.url}/?api_key={KEY}"})
        with (
            Host(service.answer(), always=away) as host,
            opened(service, host.url) as backend,
            pytest.raises(RefusedError, match=f"307: it points to {elsewhere.url}") as caught,
        ):
            backend.predict(SCENE, [service.ask])
    assert elsewhere.log == []
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("form", "status"), [("seconds", 429), ("date", 503), ("date by the host's clock", 429)]
)
def test_retry_after_is_waited_for(service: Service, form: str, status: int) -> None:
    """Both forms of Retry-After hold the next request back, a date by the clock of the host."""
    headers = {
        "seconds": {"retry_after": "1"},
        "date": {"retry_after": email.utils.formatdate(time.time() + 2, usegmt=True)},
        "date by the host's clock": {
            "retry_after": "Wed, 21 Oct 2015 07:28:01 GMT",
            "date": "Wed, 21 Oct 2015 07:28:00 GMT",
        },
    }[form]
    with (
        Host(service.answer(), script=[json_response({}, status, **headers)]) as host,
        opened(service, host.url) as backend,
    ):
        backend.predict(SCENE, [service.ask])
    first, second = host.log
    assert 0.9 < second.arrived - first.arrived < 5


def test_a_retry_after_of_days_is_not_waited_for(service: Service) -> None:
    """More than an hour ends the request with a reason that says how long."""
    with (
        Host(service.answer(), always=json_response({}, 429, retry_after="86400")) as host,
        opened(service, host.url) as backend,
        pytest.raises(RefusedError, match="asks to wait for 86400 s, more than an hour"),
    ):
        backend.predict(SCENE, [service.ask])
    assert len(host.log) == 1


@pytest.mark.parametrize("value", ["soon", "", "nan", "-5", "Wed, 99 Oct 2015 07:28:00 GMT"])
def test_a_retry_after_that_is_none_is_passed_over(service: Service, value: str) -> None:
    """Nonsense in Retry-After leaves the usual wait."""
    with (
        Host(service.answer(), script=[json_response({}, 503, retry_after=value)]) as host,
        opened(service, host.url) as backend,
    ):
        assert len(backend.predict(SCENE, [service.ask]).detections) == service.hits


WRONG = {
    "no object": ([], "the answer is list"),
    "null": (None, "the answer is null"),
    "no results": ({"time": 1}, "the answer has no 'prompt_results'"),
    "results of null": ({"prompt_results": None}, "'prompt_results' of the answer is null"),
    "no result for the prompt": ({"prompt_results": []}, "the prompt 'red' has no result"),
    "no predictions": (
        {"prompt_results": [{"prompt_index": 0, "echo": {"text": "red"}}]},
        "no 'predictions'",
    ),
    "another prompt": (
        {"prompt_results": [{"prompt_index": 0, "echo": {"text": "cat"}, "predictions": []}]},
        "red",
    ),
    "a result too many": (
        {
            "prompt_results": [
                {"prompt_index": 0, "echo": {"text": "red"}, "predictions": []},
                {"prompt_index": 1, "echo": {"text": "cat"}, "predictions": []},
            ]
        },
        "prompt",
    ),
}


@pytest.mark.parametrize(("value", "words"), WRONG.values(), ids=WRONG)
def test_an_answer_of_another_shape_is_no_empty_label(
    text_service: Service, value: object, words: str
) -> None:
    """What is not understood is an error with the reason and the beginning, and the body is kept."""
    body = orjson.dumps(value)
    with (
        Host(text_service.answer(), always=Response(200, body)) as host,
        opened(text_service, host.url) as backend,
        pytest.raises(AnswerError) as caught,
    ):
        backend.predict(SCENE, [RED])
    assert words in str(caught.value)
    assert f"the answer begins {body.decode()[:60]}" in str(caught.value)
    assert caught.value.body == body
    assert len(host.log) == 1  # asking again would be paid for, and change nothing


BAD_PREDICTIONS = {
    "no object": ("text", "is str text, not an object"),
    "no masks": ({"format": "polygon", "confidence": 0.5}, "mask"),
    "masks of null": ({"format": "polygon", "confidence": 0.5, "masks": None}, "mask"),
    "score above 1": (polygon([[1, 1]], confidence=1.5), "a confidence is float 1.5"),
    "score below 0": (polygon([[1, 1]], confidence=-0.1), "a confidence is float -0.1"),
    "score as text": (polygon([[1, 1]], confidence="0.9"), "a confidence is str 0.9"),
    "score as bool": (polygon([[1, 1]], confidence=True), "a confidence is bool True"),
    "score as list": (polygon([[1, 1]], confidence=[0.5]), "a confidence is list"),
    "a ring too shallow": (polygon([1, 1]), "a ring is"),
    "a ring too deep": (polygon([[[1, 1]]]), "a ring is"),
    "points of three": (polygon([[1, 1, 1]]), "a ring is"),
    "points of two kinds": (polygon([[1, 1], [2]]), "a ring is"),
    "points of text": (polygon([["1", "2"]]), "a ring is"),
    "points of null": (polygon([[None, 2]]), "a ring is"),
    "outside the image": (polygon([[500, 500], [600, 500], [600, 600]]), "reaches (500, 500), outside"),
    "partly in another frame": (polygon([[10, 10], [400, 10], [10, 100]]), "reaches (400, 10), outside"),
    "just outside": (polygon([[201, 50], [202, 50]]), "lies outside the image of 200 x 120 px"),
}


@pytest.mark.parametrize(("prediction", "words"), BAD_PREDICTIONS.values(), ids=BAD_PREDICTIONS)
def test_a_prediction_of_another_shape_is_an_error(service: Service, prediction: object, words: str) -> None:
    """A mask or score that can't be right fails the answer."""
    with pytest.raises(AnswerError) as caught:
        _read(service, service.body(prediction))  # type: ignore[arg-type]
    assert words in str(caught.value)


@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 400])
def test_scores_that_are_no_numbers_are_errors(service: Service, literal: bytes) -> None:
    """Python's servers may write NaN and Infinity into JSON: such a score is an error, asked once."""
    body = service.body(polygon([[1, 1]], confidence=0.123)).replace(b"0.123", literal)
    with (
        Host(service.answer(), always=Response(200, body)) as host,
        opened(service, host.url) as backend,
        pytest.raises(AnswerError, match="a confidence is"),
    ):
        backend.predict(SCENE, [service.ask])
    assert len(host.log) == 1


def test_coordinates_without_end_are_errors(service: Service) -> None:
    """Coordinates that are not finite, or too large for a number, fail the answer."""
    for literal in (b"NaN", b"Infinity", b"1e999", b"9" * 400):
        body = service.body(polygon([[1, 123456]])).replace(b"123456", literal)
        with pytest.raises(AnswerError):
            _read(service, body)


def test_a_polygon_may_reach_a_little_over_the_edge(service: Service) -> None:
    """Rounding at the edge is cut off, not an error."""
    [detection] = _read(service, service.body(polygon([[-1, -1], [200, -1], [200, 120], [-1, 120]])))
    assert rle.area(detection.mask) == 200 * 120


def test_an_image_that_is_none_is_refused_once(service: Service) -> None:
    """The host's 400 for a file that is no image is quoted."""
    bad = type(SCENE)("a.png", 10, 10, b"no image at all")
    with (
        Host(service.answer()) as host,
        opened(service, host.url) as backend,
        pytest.raises(RefusedError, match="answered 400: "),
    ):
        backend.predict(bad, [service.ask])
    assert len(host.log) == 1


def test_the_key_of_the_environment_is_sent(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key goes as a bearer token; a wrong one, none, and an account without credits stop the run."""
    accounts = {KEY: "ok", "poor": "no credits"}
    monkeypatch.setenv(service.variable, KEY)
    with Host(service.answer(accounts)) as host:
        with opened(service, host.url) as backend:
            backend.predict(SCENE, [service.ask])
        monkeypatch.setenv(service.variable, "poor")
        with opened(service, host.url) as backend, pytest.raises(NoCredits, match="credits"):
            backend.predict(SCENE, [service.ask])
        monkeypatch.setenv(service.variable, "wrong")
        with opened(service, host.url) as backend, pytest.raises(KeyRefused, match=service.variable):
            backend.predict(SCENE, [service.ask])
        monkeypatch.delenv(service.variable)
        with opened(service, host.url) as backend, pytest.raises(KeyRefused):
            backend.predict(SCENE, [service.ask])
    sent = [request.headers.get("authorization") for request in host.requests]
    assert sent == [f"Bearer {KEY}", "Bearer poor", "Bearer wrong", None]
    assert all(request.query == {} for request in host.requests)


def test_names_of_any_language_are_prompts(text_service: Service) -> None:
    """Prompts travel as UTF-8 and come back under their own text."""

    def one_instance(request: Request) -> Response:
        prompt = orjson.loads(request.body)["prompts"][0]
        text = prompt if isinstance(prompt, str) else prompt["text"]
        return Response(200, text_service.body(polygon([[1, 2]]), text=text))

    prompts = ['a "quoted" \\ name', "žluťoučký kůň", "猫 🐈"]
    with Host(one_instance) as host, opened(text_service, host.url) as backend:
        for text in prompts:
            asked = type(RED)(text, 3)
            assert [d.prompt for d in backend.predict(SCENE, [asked]).detections] == [text]


def test_a_jpeg_of_any_size_is_read_in_its_own_frame(text_service: Service) -> None:
    """The frame of the masks is that of the sent picture, also when it is tall, or one pixel wide."""
    for height, width in ((1, 7), (7, 1), (90, 31)):
        with Host(text_service.answer()) as host, opened(text_service, host.url) as backend:
            sent = picture(np.full((height, width, 3), 255, np.uint8))
            found = backend.predict(sent, [type(RED)("white", 0)]).detections
        expected = 1 if height * width >= 4 else 0
        assert [d.mask.size for d in found] == [(height, width)] * expected
        assert all(rle.area(d.mask) == height * width for d in found)


def test_retry_default_is_four_tries_or_more() -> None:
    """Without injected waits a request is tried at least four times."""
    assert type(SHORT)().tries >= 4
    assert ROBOFLOW.backend.LIMITS.max_prompts == 16


def _read(service: Service, body: bytes) -> list:
    with opened(service, "http://127.0.0.1:9") as backend:
        return backend.read(body, (120, 200), [service.ask]).detections
