"""Every hosted backend through every fault: an answer, a refusal, or a stop; never an empty label."""

import base64
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import pytest

from autolabel.backends import BACKENDS, backend_class, open_backend
from autolabel.backends.hosted import Hosted
from autolabel.backends.http import Retry
from autolabel.backends.meter import Meter
from autolabel.backends.segmind.client import Segmind
from autolabel.backends.segmind.sam3_video import Sam3Video
from autolabel.config import BackendConfig
from autolabel.errors import AnswerError, KeyRefused, NoCredits, RefusedError, UnknownModel
from autolabel.types import Detection, Footage, Prompt
from tests.backends.support import ON_RED, RED, SCENE
from tests.servers.host import Fault, Host, Request, Response, json_response
from tests.servers.roboflow import RoboflowServer
from tests.servers.segmentlens import SegmentLensServer
from tests.servers.segmind import SegmindServer
from tests.sources import clips

SHORT = Retry(tries=4, first_wait_s=0.001, max_wait_s=0.005)
UNION = {"options": {"return_masks": False}}
APART = {"options": {"return_masks": True}}


@dataclass(frozen=True)
class Case:
    """A hosted model: how it is set up, who answers in its place, and what is asked."""

    name: str
    model: str | None
    server: Callable[[], Callable[[Request], Response]]
    prompt: Prompt = RED
    keys: Any = None
    bills_once: bool = False

    def __str__(self) -> str:
        keys = "" if not self.keys else "-" + "-".join(map(str, self.keys.get("options", self.keys).values()))
        return f"{self.name}-{self.model}{keys}"


CASES = [
    Case("roboflow", "concept", RoboflowServer),
    Case("roboflow", "visual", RoboflowServer, ON_RED),
    Case("segmentlens", None, SegmentLensServer),
    Case("segmind", "sam3-image", SegmindServer, keys=APART, bills_once=True),
    Case("segmind", "sam3-image", SegmindServer, keys=UNION, bills_once=True),
    Case("segmind", "sam3-image", SegmindServer, keys={"api": "v2"}, bills_once=True),
    Case("segmind", "sam-v2-image", SegmindServer, bills_once=True),
    Case("segmind", "sam3-video", SegmindServer, keys={"api": "v1"}, bills_once=True),
    Case("segmind", "sam3-video", SegmindServer, bills_once=True),
]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    """Three frames."""
    folder = tmp_path_factory.mktemp("frames")
    paths = tuple(folder / f"{number}.jpg" for number in range(3))
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), clips.scene(20 + number))
    return Footage("clip.mp4", clips.WIDTH, clips.HEIGHT, paths, (0.0, 0.1, 0.2))


@pytest.fixture
def ask(footage: Footage, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Detection]]:
    """Ask a case at an address, with short waits, and return what it found."""
    for base in (Hosted, Segmind, Sam3Video):
        monkeypatch.setitem(base.__init__.__kwdefaults__, "retry", SHORT)

    def asked(case: Case, url: str, **settings: Any) -> list[Detection]:
        given = {"name": case.name, "model": case.model, "base_url": url, "requests_per_second": 1e6}
        config = BackendConfig(**given, **(case.keys or {}), **settings)
        backend = open_backend(config, floor=0.1, meter=Meter(), stop=threading.Event())
        try:
            if hasattr(backend, "track"):
                return [d for frame in backend.track(footage, [case.prompt]).frames for d in frame]
            return backend.predict(SCENE, [case.prompt]).detections  # type: ignore[union-attr]
        finally:
            backend.close()

    return asked


def is_asked(request: Request) -> bool:
    """Whether it is the request itself, not an upload or a look-up."""
    return request.method == "POST" and "upload" not in request.path


def failing(case: Case, *faults: Any) -> Callable[[Request], Any]:
    """A server that answers with `faults` in turn (the last for ever, unless it is None), then as it should."""
    server, left = case.server(), list(faults)

    def answer(request: Request) -> Any:
        if not is_asked(request) or not left or left[0] is None:
            return server(request)
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


def test_the_registry_has_no_other_host() -> None:
    """Whoever adds a hosted model adds it here."""
    hosted = {
        (name, model or None)
        for name, models in BACKENDS.items()
        for model in models
        if model != "*" and backend_class(BackendConfig(name=name, model=model or None)).BASE_URL
    }
    assert hosted == {(case.name, case.model) for case in CASES}


def test_a_good_answer(case: Case, ask: Any) -> None:
    """Without a fault every case finds something, and nothing where nothing is."""
    with Host(case.server()) as host:
        assert ask(case, host.url)
        if not case.prompt.is_visual:
            assert ask(replace(case, prompt=Prompt("nothing", 2)), host.url) == []


STATUSES = [
    *[(400, RefusedError), (401, KeyRefused), (402, NoCredits), (403, KeyRefused), (404, UnknownModel)],
    *[(406, NoCredits), (413, RefusedError), (422, RefusedError), (429, RefusedError), (500, RefusedError)],
    *[(502, RefusedError), (503, RefusedError), (504, RefusedError)],
]


@pytest.mark.parametrize(("status", "error"), STATUSES)
def test_a_status_that_stays(case: Case, ask: Any, status: int, error: type[Exception]) -> None:
    """Refusals, stops and unclear outcomes are told apart, and quote status and words."""
    said = json_response({"error": "the host's own words"}, status)
    if status == 504 and case.bills_once:
        error = AnswerError
    with Host(failing(case, said)) as host:
        with pytest.raises(error) as caught:
            ask(case, host.url)
        tries = sum(map(is_asked, host.requests))
    assert str(status) in str(caught.value)
    assert "the host's own words" in str(caught.value)
    passing = status in (429, 500, 502, 503) or (status == 504 and not case.bills_once)
    assert tries == (SHORT.tries if passing else 1)


@pytest.mark.parametrize("status", [204, 206])
def test_a_success_that_is_no_answer(case: Case, ask: Any, status: int) -> None:
    """It may be billed, so a host that bills once is not asked again by itself."""
    with Host(failing(case, Response(status, b""))) as host:
        with pytest.raises(AnswerError if case.bills_once else RefusedError):
            ask(case, host.url)
        assert sum(map(is_asked, host.requests)) == 1


@pytest.mark.parametrize("retry_after", [None, "0", "1"])
def test_a_429_that_passes(case: Case, ask: Any, retry_after: str | None) -> None:
    """With and without Retry-After it is asked again, and answered."""
    headers = {} if retry_after is None else {"retry_after": retry_after}
    with Host(failing(case, json_response({"error": "slow down"}, 429, **headers), None)) as host:
        assert ask(case, host.url)


BROKEN = {
    "cut": Fault(json_response({"prompt_results": [], "masks": []}), cut=9),
    "reset": Fault(reset=True),
    "time-out": Fault(hang_s=20),
    "html": Response(200, b"<html><body>Please log in</body></html>", {"Content-Type": "text/html"}),
    "html that says JSON": Response(200, b"<html>", {"Content-Type": "application/json"}),
    "empty": Response(200, b""),
    "half a JSON text": Response(200, b'{"prompt_results": ['),
    "another JSON": json_response({"detail": "hello"}),
    "a list": json_response([]),
    "null": json_response(None),
    "a text": json_response("done"),
    "a number": json_response(7),
    "bytes": Response(200, b"\x89PNG\r\n\x1a\n nothing more", {"Content-Type": "image/png"}),
    "half a picture": Response(200, SCENE.data[:600], {"Content-Type": "image/png"}),
}


@pytest.mark.parametrize("trouble", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_is_none(case: Case, ask: Any, trouble: Any) -> None:
    """It is a failure that says what came; one that may be billed is sent once where the host bills once."""
    with Host(failing(case, trouble)) as host:
        with pytest.raises((AnswerError, RefusedError)) as caught:
            ask(case, host.url, timeout_s=0.3)
        tries = sum(map(is_asked, host.requests))
    if case.bills_once:
        assert tries == 1
        assert isinstance(caught.value, AnswerError)
        assert caught.value.body is not None
    if isinstance(trouble, Response) and trouble.body:
        shown = re.sub(r"\s+", " ", trouble.body[:20].decode(errors="replace")).strip()
        assert "200" in str(caught.value)
        assert shown[:6] in str(caught.value)


def test_a_wrong_content_type_does_not_matter(case: Case, ask: Any) -> None:
    """What was answered counts, not what it is called."""
    server = case.server()

    def mislabelled(request: Request) -> Response:
        answer = server(request)
        return replace(answer, headers={**answer.headers, "Content-Type": "text/plain; charset=utf-7"})

    with Host(mislabelled) as host:
        assert ask(case, host.url)


def test_masks_of_another_picture(case: Case, ask: Any, tmp_path: Path) -> None:
    """Masks in another frame, which reach out of the picture, are an error, never scaled in silence."""
    if case.model == "sam3-video":
        pytest.skip("a video of another frame is in test_segmind_video")
    server = case.server()

    def enlarged(request: Request) -> Response:
        if not is_asked(request):
            return server(request)
        body = orjson.loads(request.body)
        image = cv2.imdecode(np.frombuffer(SCENE.data, np.uint8), cv2.IMREAD_COLOR)
        data = cv2.imencode(".png", cv2.resize(image, None, fx=3, fy=2, interpolation=cv2.INTER_NEAREST))[1]
        text = base64.b64encode(data).decode()
        body["image"] = {"type": "base64", "value": text} if isinstance(body["image"], dict) else text
        prompts = body.get("prompts")
        if isinstance(prompts, dict):
            box = prompts["prompts"][0]["box"]
            box |= {
                "x": 3 * box["x"],
                "y": 2 * box["y"],
                "width": 3 * box["width"],
                "height": 2 * box["height"],
            }
        return server(replace(request, body=orjson.dumps(body)))

    with Host(enlarged) as host, pytest.raises(AnswerError) as caught:
        ask(case, host.url)
    assert re.search(r"outside|size|proportion", str(caught.value)), str(caught.value)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "1.5", '"high"', "true"])
def test_scores_that_are_none(case: Case, ask: Any, literal: str) -> None:
    """A score that is no number in 0..1 fails the answer."""
    server, changed = case.server(), []

    def odd(request: Request) -> Response:
        answer = server(request)
        body = re.sub(rb'("confidence":|"scores":\[)[0-9.]+', rb"\g<1>" + literal.encode(), answer.body)
        changed.extend([True] if body != answer.body else [])
        return replace(answer, body=body)

    with Host(odd) as host:
        try:
            found = ask(case, host.url)
        except AnswerError as error:
            assert "confidence" in str(error)
        else:
            assert not changed or all(d.confidence is None for d in found)
