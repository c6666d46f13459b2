"""What is SegmentLens' alone: its limits, its keys, and answers that leave parts out."""

import base64
from typing import Any

import numpy as np
import orjson
import pytest

from autolabel.errors import AnswerError, RefusedError
from tests.backends.support import GREEN, KEY, RED, SCENE, SEGMENTLENS, opened, picture, polygon
from tests.servers.host import Host
from tests.servers.segmentlens import SegmentLensServer


def results(*texts: str | None) -> bytes:
    """An answer with one result for each text, the n-th with n dots; None echoes nothing."""
    return orjson.dumps(
        {
            "prompt_results": [
                {
                    **({} if text is None else {"echo": {"text": text}}),
                    "predictions": [polygon([[i, i]]) for i in range(number + 1)],
                }
                for number, text in enumerate(texts)
            ]
        }
    )


def read(body: bytes) -> list[str]:
    with opened(SEGMENTLENS, "http://127.0.0.1:9") as backend:
        return [d.prompt for d in backend.read(body, (120, 200), [RED, GREEN]).detections]


def test_the_request_is_what_the_page_shows() -> None:
    """The image goes as bare base64, the prompts as texts, and nothing else."""
    with Host(SEGMENTLENS.answer()) as host, opened(SEGMENTLENS, host.url) as backend:
        backend.predict(SCENE, [RED, GREEN])
    [request] = host.requests
    assert (request.path, request.headers["content-type"]) == ("/api/v1/segment", "application/json")
    body = orjson.loads(request.body)
    assert body == {"image": base64.b64encode(SCENE.data).decode(), "prompts": ["red", "green"]}


@pytest.mark.parametrize("status", [400, 413])
def test_too_large_may_be_400_or_413(status: int) -> None:
    """Either status names the limits, as the vendor's page names either."""
    sent = picture(np.zeros((8, 1100, 3), np.uint8))
    with (
        Host(SegmentLensServer(too_large=status)) as host,
        opened(SEGMENTLENS, host.url) as backend,
        pytest.raises(RefusedError, match=r"Image too large.* limits are 1024 px and 2 MB as base64"),
    ):
        backend.predict(sent, [RED])


def test_results_are_matched_by_their_text() -> None:
    """A result answers the prompt it echoes, in any order."""
    assert read(results("green", "red")) == ["red", "red", "green"]


@pytest.mark.parametrize("texts", [(None, None), ("red", None), (None, "green")])
def test_results_without_text_are_matched_by_position(texts: tuple[str | None, ...]) -> None:
    """Where the counts agree and no text contradicts, position decides."""
    assert read(results(*texts)) == ["red", "green", "green"]


@pytest.mark.parametrize(
    "texts", [(None,), (None, None, None), ("red",), ("red", "cat"), ("red", "red"), ("green", None), ()]
)
def test_results_that_fit_no_prompt_are_errors(texts: tuple[str | None, ...]) -> None:
    """A prompt without a result of its own is no empty label."""
    with pytest.raises(AnswerError):
        read(results(*texts))


@pytest.mark.parametrize("leave_out", ["confidence", "null"])
def test_a_missing_confidence_is_none(leave_out: str) -> None:
    """The vendor's demo expects answers without a score."""
    prediction: dict[str, Any] = polygon([[1, 1]], confidence=None)
    if leave_out == "confidence":
        del prediction["confidence"]
    with opened(SEGMENTLENS, "http://127.0.0.1:9") as backend:
        [detection] = backend.read(SEGMENTLENS.body(prediction), (120, 200), [RED]).detections
    assert detection.confidence is None


def test_the_second_name_of_the_key_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """SAM3_API_KEY, the name in the vendor's demo, holds where SEGMENTLENS_API_KEY is not set."""
    monkeypatch.setenv("SAM3_API_KEY", KEY)
    with Host(SegmentLensServer({KEY: "ok"})) as host, opened(SEGMENTLENS, host.url) as backend:
        assert len(backend.predict(SCENE, [RED]).detections) == 2
