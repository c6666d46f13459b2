"""The backend through the registry: the contract that all keep, clips, and the end of a run."""

import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the local model needs torch: pip install '.[local]'")
pytest.importorskip("transformers", reason="the local model needs transformers: pip install '.[local]'")

from autolabel.backends import open_backend
from autolabel.backends.base import Backend, Tracker
from autolabel.backends.meter import Meter
from autolabel.config import BackendConfig
from autolabel.errors import AnswerError, ImageError, RefusedError
from autolabel.testing import BackendContract, picture_of
from autolabel.types import Exemplar, Footage, Point, Prompt
from tests.backends.support import FIXTURES

CAT, DOG = Prompt("cat", 0), Prompt("dog", 1)


class TestSam3(BackendContract):
    prompts = (
        CAT,
        DOG,
        Prompt("cat", 0, exemplars=(Exemplar((10, 10, 60, 60)), Exemplar((70, 10, 90, 60), positive=False))),
        Prompt("dog", 1, exemplars=(Exemplar((10, 10, 60, 60)),)),
        Prompt("cat", 0, box_xyxy=(20.0, 10.0, 90.0, 70.0)),
        Prompt("cat", 0, points=(Point(30, 40), Point(100, 20, positive=False))),
        Prompt("dog", 1, box_xyxy=(5.0, 5.0, 50.0, 50.0), points=(Point(30, 40),)),
    )
    picture = picture_of(FIXTURES / "scene.png")

    @pytest.fixture(autouse=True)
    def _weights(self, video_folder: Path, footage: Footage) -> None:
        type(self).settings = BackendConfig(name="sam3", model=str(video_folder))
        type(self).footage = footage


class TestDetectorAlone(BackendContract):
    prompts = TestSam3.prompts[:4]
    picture = TestSam3.picture

    @pytest.fixture(autouse=True)
    def _weights(self, detector_folder: Path) -> None:
        type(self).settings = BackendConfig(name="sam3", model=str(detector_folder))


@pytest.fixture
def footage(tmp_path: Path, pictures: list[np.ndarray]) -> Footage:
    """Five frames on disk."""
    paths = tuple(tmp_path / f"{number}.jpg" for number in range(5))
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.roll(pictures[0], 5 * number, axis=1))
    return Footage("clip.mp4", 130, 90, paths, tuple(number / 10 for number in range(5)))


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def backend(video_folder: Path, stop: threading.Event) -> Iterator[Backend]:
    settings = BackendConfig(name="sam3", model=str(video_folder))
    opened = open_backend(settings, floor=0.0, meter=Meter(0.0), stop=stop)
    yield opened
    opened.close()


def test_a_clip_gets_tracks_on_every_frame(backend: Backend, footage: Footage) -> None:
    """Five frames in, five lists out: masks of the frame, keys and classes of the prompts, ids that stay."""
    assert isinstance(backend, Tracker)
    tracks = backend.track(footage, [DOG, CAT])
    assert len(tracks.frames) == 5
    for frame in tracks.frames:
        assert {(found.prompt, found.class_id) for found in frame} <= {("dog", 1), ("cat", 0)}
        assert {found.mask.size for found in frame} <= {(90, 130)}
        assert len({found.track_id for found in frame}) == len(frame)
    assert {found.prompt for found in tracks.frames[0]} == {"dog", "cat"}
    with pytest.raises(AnswerError):
        backend.read_tracks(b"{}", footage, [DOG])


def test_a_clip_ends_with_the_run(backend: Backend, footage: Footage, stop: threading.Event) -> None:
    """A long clip does not hold up a run that was stopped."""
    stop.set()
    with pytest.raises(RefusedError) as caught:
        backend.track(footage, [CAT])
    assert caught.value.kind == "interrupted"


def test_a_frame_that_is_gone_concerns_the_clip(backend: Backend, footage: Footage) -> None:
    """It is the clip's trouble, and the run goes on."""
    footage.paths[2].write_bytes(b"no picture")
    with pytest.raises(ImageError, match="can't be decoded"):
        backend.track(footage, [CAT])
    footage.paths[2].unlink()
    with pytest.raises(ImageError):
        backend.track(footage, [CAT])
