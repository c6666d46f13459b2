"""The contract that `autolabel.testing` hands out, on each of our own backends that is at hand."""

import cv2
import numpy as np
import orjson
import pytest

from autolabel.config import BackendConfig
from autolabel.geometry import rle
from autolabel.testing import BackendContract, picture_of
from autolabel.types import Exemplar, Footage, Picture, Point, Prompt
from tests.backends.support import FIXTURES, GREEN, NOTHING, RED
from tests.servers.host import Host
from tests.servers.roboflow import RoboflowServer
from tests.servers.segmentlens import SegmentLensServer
from tests.sources import clips

SCENE = picture_of(FIXTURES / "scene.png")
PIXELS = cv2.imread(str(FIXTURES / "scene.png"))


def box_of(colour: str) -> tuple[float, float, float, float]:
    from tests.servers.model import segment

    x, y, w, h = cv2.boundingRect(segment(PIXELS, colour, 0.0)[0][0].astype(np.uint8))
    return float(x), float(y), float(x + w), float(y + h)


def centre_of(colour: str) -> Point:
    from tests.servers.model import segment

    ys, xs = np.nonzero(segment(PIXELS, colour, 0.0)[0][0])
    return Point(float(xs[len(xs) // 2]), float(ys[len(ys) // 2]))


BOXES = (
    Prompt("box of red", 0, box_xyxy=box_of("red")),
    Prompt("points of green", 1, points=(centre_of("green"), Point(1, 1, positive=False))),
    Prompt("box of green", 1, box_xyxy=box_of("green"), points=(centre_of("green"),)),
)


class TestGrabCut(BackendContract):
    settings = BackendConfig(name="grabcut")
    prompts = BOXES
    picture = SCENE


class TestRoboflow(BackendContract):
    prompts = (RED, GREEN, Prompt("green", 1, exemplars=(Exemplar(box_of("red")),)))
    picture = SCENE
    nothing = NOTHING

    @pytest.fixture(autouse=True)
    def _host(self):
        with Host(RoboflowServer()) as host:
            type(self).settings = BackendConfig(name="roboflow", base_url=host.url)
            yield


class TestRoboflowVisual(BackendContract):
    prompts = BOXES
    picture = SCENE
    nothing = Prompt("box of nothing", 0, box_xyxy=(0.0, 0.0, 3.0, 3.0))

    @pytest.fixture(autouse=True)
    def _host(self):
        with Host(RoboflowServer()) as host:
            type(self).settings = BackendConfig(name="roboflow", model="visual", base_url=host.url)
            yield


class TestSegmentLens(BackendContract):
    prompts = (RED, GREEN)
    picture = SCENE
    nothing = NOTHING

    @pytest.fixture(autouse=True)
    def _host(self):
        with Host(SegmentLensServer()) as host:
            type(self).settings = BackendConfig(
                name="segmentlens", base_url=host.url, requests_per_second=1000.0
            )
            yield


class TestTracker(BackendContract):
    settings = BackendConfig(name="tests.run.tracker:Colours")
    prompts = (RED, GREEN)
    picture = SCENE
    nothing = NOTHING

    @pytest.fixture(autouse=True)
    def _footage(self, tmp_path):
        paths = tuple(tmp_path / f"{number}.png" for number in range(4))
        for number, path in enumerate(paths):
            cv2.imwrite(str(path), clips.scene(20 + number))
        type(self).footage = Footage("a.mp4", clips.WIDTH, clips.HEIGHT, paths, (0.0, 0.1, 0.2, 0.3))


class TestReplay(BackendContract):
    prompts = (RED, GREEN)
    picture = SCENE
    nothing = NOTHING

    @pytest.fixture(autouse=True)
    def _answers(self, tmp_path):
        from tests.servers.model import segment

        detections = []
        for prompt in self.prompts:
            for mask, score in segment(PIXELS, prompt.text, 0.0):
                coded = rle.from_bitmap(mask)
                detections.append(
                    {
                        "prompt": prompt.text,
                        "confidence": score,
                        "segmentation": {"size": coded.size, "counts": coded.counts.decode()},
                    }
                )
        (tmp_path / "scene.png.json").write_bytes(orjson.dumps({"detections": detections}))
        type(self).settings = BackendConfig(name="replay", answers=str(tmp_path))


def test_the_contract_finds_a_backend_that_breaks_it(tmp_path, monkeypatch):
    """A backend with masks of another size, unknown prompts or scores beyond 1 fails the contract."""
    (tmp_path / "odd.py").write_text(
        "from autolabel.backends.base import Answer, Model\n"
        "from autolabel.geometry import rle\n"
        "from autolabel.types import Detection\n"
        "class Odd(Model):\n"
        "    def predict(self, picture, prompts):\n"
        "        size = (picture.height, picture.width + self.wider)\n"
        "        return Answer([Detection(0, self.score, self.key or p.key, rle.empty(size)) for p in prompts])\n"
        "    wider, score, key = 0, 0.5, None\n"
        "class Wide(Odd):\n    wider = 1\n"
        "class High(Odd):\n    score = 1.5\n"
        "class Other(Odd):\n    key = 'other'\n"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("Wide", "High", "Other", "Odd"):

        class Contract(BackendContract):
            settings = BackendConfig(name=f"odd:{name}")
            prompts = (RED,)
            picture = Picture("a.png", 20, 10, SCENE.data)

        with pytest.raises((AssertionError, ValueError)):
            Contract().test_every_prompt_is_answered_in_the_picture()
