"""One scene through every backend that can see it: the same instances, up to what each answer can hold."""

import cv2
import numpy as np
import orjson
import pytest

from autolabel.backends import limits_of, open_backend
from autolabel.backends.meter import Meter
from autolabel.config import BackendConfig
from autolabel.geometry import rle
from autolabel.labeler import chunks
from autolabel.testing import picture_of
from autolabel.types import Prompt
from tests.servers.host import Host
from tests.servers.model import segment
from tests.servers.roboflow import RoboflowServer
from tests.servers.segmentlens import SegmentLensServer
from tests.servers.segmind import SegmindServer

RED, GREEN = Prompt("red", 0, asked_at=0.1), Prompt("green", 1, asked_at=0.1)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Two red discs, one of them with a hole, and a green box, apart from one another."""
    image = np.full((160, 240, 3), 128, np.uint8)
    cv2.circle(image, (50, 60), 30, (0, 0, 255), -1)
    cv2.circle(image, (50, 60), 12, (128, 128, 128), -1)
    cv2.circle(image, (190, 50), 20, (0, 0, 255), -1)
    cv2.rectangle(image, (100, 100), (160, 140), (0, 255, 0), -1)
    path = tmp_path_factory.mktemp("scene") / "scene.png"
    cv2.imwrite(str(path), image)
    return image, picture_of(path)


def found(settings: BackendConfig, picture, prompts):
    """The instances of a backend, by class from left to right, as (mask, score), and what was lost."""
    import threading

    backend = open_backend(settings, floor=0.1, meter=Meter(), stop=threading.Event())
    answers = [backend.predict(picture, some) for some in chunks(prompts, backend.limits)]
    backend.close()
    detections = [d for answer in answers for d in answer.detections]
    detections.sort(key=lambda d: (d.class_id, rle.box_xywh(d.mask)[0]))
    lost = {name for answer in answers for name in answer.degradations}
    return [(rle.to_bitmap(d.mask), d.confidence) for d in detections], lost


def boxes(truth):
    """A box prompt for each instance."""
    prompts = []
    for i, (mask, _) in enumerate(truth):
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        prompts.append(Prompt(f"box {i}", i // 2, box_xyxy=(float(x), float(y), float(x + w), float(y + h))))
    return prompts


def without_hole(mask):
    rings, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), rings, -1, [1], -1).astype(bool)


CASES = [
    ("roboflow", "concept", RoboflowServer(), {}, 1.0),
    ("roboflow", "visual", RoboflowServer(), {}, 1.0),
    ("segmentlens", None, SegmentLensServer(), {}, 1.0),
    ("segmind", "sam3-image", SegmindServer(), {}, 0.97),
    ("segmind", "sam3-image", SegmindServer(shape="preview"), {"options": {"return_masks": False}}, 0.97),
    ("segmind", "sam-v2-image", SegmindServer(), {}, 0.97),
    ("replay", None, None, {}, 1.0),
    ("grabcut", None, None, {}, 0.9),
]


@pytest.mark.parametrize(("name", "model", "server", "keys", "least"), CASES)
def test_every_backend_sees_the_same_instances(scene, tmp_path, name, model, server, keys, least):
    """Masks agree (exactly, where no JPEG of a mask or colours lie between), scores where there are any."""
    image, picture = scene
    truth = [*segment(image, "red", 0.1), *segment(image, "green", 0.1)]
    settings = {"name": name, "model": model, "requests_per_second": 1000.0} | keys
    if name == "replay":
        records = [
            {"prompt": "red" if i < 2 else "green", "confidence": score, "segmentation": coco(mask)}
            for i, (mask, score) in enumerate(truth)
        ]
        (tmp_path / "scene.png.json").write_bytes(orjson.dumps({"detections": records}))
        settings["answers"] = str(tmp_path)
    with Host(server or RoboflowServer()) as host:
        backend = BackendConfig(**settings, **({"base_url": host.url} if server else {}))
        limits = limits_of(backend)
        visual = "text" not in limits.takes
        instances, lost = found(backend, picture, boxes(truth) if visual else [RED, GREEN])
    assert len(instances) == 3
    for (mask, score), (true, true_score) in zip(instances, truth, strict=True):
        expected = without_hole(true) if "holes" in limits.loses else true
        assert (mask & expected).sum() / (mask | expected).sum() >= least
        assert score is None if "scores" in limits.loses else visual or score == true_score
    assert lost <= set(limits.loses) | {"scores"}
    assert set(limits.loses) - {"scores"} <= lost | {"instances"}


def coco(mask):
    coded = rle.from_bitmap(mask)
    return {"size": coded.size, "counts": coded.counts.decode()}
