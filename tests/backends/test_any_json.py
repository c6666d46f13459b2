"""Whatever JSON a host or a file holds: it is read, or it is an error of the kind that is promised."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autolabel.backends import open_backend
from autolabel.backends.hosted import Hosted
from autolabel.backends.meter import Meter
from autolabel.backends.reading import NOT_JSON, parse
from autolabel.config import BackendConfig
from autolabel.errors import AnswerError, ConfigError, ImageError
from tests.backends.support import FIXTURES, GREEN, RED, SERVICES, Service, opened, polygon
from tests.backends.test_replay import CAT, DOG, PICTURE, dataset, detection, kept, write

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
HOST_ANSWER = {
    "prompt_results": [
        {"prompt_index": 0, "echo": {"text": "red"}, "predictions": [polygon([[1, 1], [5, 1], [5, 4]], [])]},
        {
            "prompt_index": 1,
            "echo": {"text": "green"},
            "predictions": [
                {"format": "rle", "confidence": 0.5, "masks": {"size": [120, 200], "counts": "P^g0"}}
            ],
        },
    ]
}
FAST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def damaged(draw: st.DrawFn, good: Any) -> Any:
    """`good` with anything in place of one of its parts."""
    if isinstance(good, dict | list) and good and draw(st.integers(0, 9)):
        keys = list(good) if isinstance(good, dict) else list(range(len(good)))
        key = draw(st.sampled_from(keys))
        copy = good.copy()
        copy[key] = draw(damaged(good[key]))
        return copy
    return draw(ANY)


@pytest.fixture
def reader(service: Service) -> Iterator[Hosted]:
    """Each host's backend; nothing is asked."""
    with opened(service, "http://127.0.0.1:9") as backend:
        yield backend


@FAST
@given(value=damaged(HOST_ANSWER))
def test_a_damaged_answer_is_read_or_an_answer_error(reader: Hosted, value: Any) -> None:
    """Nothing but AnswerError comes out of a reader, and its message is one short line."""
    try:
        reader.read(orjson.dumps(value), (120, 200), [RED, GREEN])
    except AnswerError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 700


@FAST
@given(value=damaged(kept(detection(), detection("dog", None, {"size": [6, 8], "counts": "P1000"}))))
def test_a_damaged_answer_file_is_an_image_error(tmp_path: Path, value: Any) -> None:
    """An answer file fails its own image at most."""
    write(tmp_path / f"{PICTURE.file_name}.json", value)
    _replay(tmp_path)


@FAST
@given(
    value=damaged(dataset()) | damaged([{"image_id": 139, "category_id": 1, "segmentation": [], "score": 1}])
)
def test_a_damaged_coco_file_is_a_config_error(tmp_path: Path, value: Any) -> None:
    """A COCO file fails when it is opened, or fails single images."""
    _replay(write(tmp_path / "coco.json", value))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * 900 + "]" * 900, '{"prompt_results":' * 500 + "1" + "}" * 500]
)
def test_nesting_without_end_is_an_error(text: str) -> None:
    """Deep nesting ends in an error, not in a crash."""
    for service in SERVICES:
        with opened(service, "http://127.0.0.1:9") as backend, pytest.raises(AnswerError):
            backend.read(text.encode(), (120, 200), [RED])


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"\x00", b"<html>", b"nul", b"9" * 10_000])
def test_what_is_no_json_is_told_apart(body: bytes) -> None:
    """`null` is JSON, these are not."""
    assert parse(body) is NOT_JSON
    assert parse(b"null") is None
    assert parse((FIXTURES / "openapi.json").read_bytes()) is not NOT_JSON


def _replay(answers: Path) -> None:
    config = BackendConfig(name="replay", answers=str(answers))
    try:
        backend = open_backend(config, floor=0.1, meter=Meter(), stop=threading.Event())
    except ConfigError:
        return
    try:
        backend.predict(PICTURE, [CAT, DOG])
    except ImageError as error:
        assert "\n" not in str(error)
