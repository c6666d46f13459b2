"""What the tests of the backends share: both hosts, pictures, and backends with short waits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson

from autolabel.backends.hosted import Hosted
from autolabel.backends.http import Retry
from autolabel.backends.meter import Meter
from autolabel.backends.roboflow.concept import Concept
from autolabel.backends.roboflow.visual import Visual
from autolabel.backends.segmentlens import SegmentLens
from autolabel.config import BackendConfig
from autolabel.types import Picture, Prompt
from tests.servers.host import Answer
from tests.servers.roboflow import RoboflowServer
from tests.servers.segmentlens import SegmentLensServer

FIXTURES = Path(__file__).parents[1] / "fixtures" / "roboflow"
SCENE = Picture("scene.png", 200, 120, (FIXTURES / "scene.png").read_bytes())
RED, GREEN, NOTHING = Prompt("red", 0), Prompt("green", 1), Prompt("nothing", 2)
SHORT = Retry(tries=4, first_wait_s=0.001, max_wait_s=0.005)
KEY = "rf_Key+with/odd=chars%&"


@dataclass(frozen=True)
class Service:
    """One host: its backend, the server that stands in for it, and where its key comes from."""

    name: str
    backend: type[Hosted]
    server: type[RoboflowServer] | type[SegmentLensServer]
    model: str | None = None
    ask: Prompt = RED  # finds `hits` instances on the scene
    hits: int = 2

    @property
    def variable(self) -> str:
        return self.backend.KEY_VARIABLES[0]

    def answer(self, keys: dict[str, str] | None = None) -> Answer:
        return self.server(keys)

    def body(self, *predictions: dict[str, Any], text: str = "red") -> bytes:
        """An answer to one prompt."""
        if self.model == "visual":
            return orjson.dumps({"predictions": list(predictions), "time": 0.1})
        result = {"prompt_index": 0, "echo": {"text": text}, "predictions": list(predictions)}
        return orjson.dumps({"prompt_results": [result], "time": 0.1})


ROBOFLOW = Service("roboflow", Concept, RoboflowServer)
SEGMENTLENS = Service("segmentlens", SegmentLens, SegmentLensServer)
ON_RED = Prompt("box of red", 0, box_xyxy=(10.0, 10.0, 40.0, 50.0))
VISUAL = Service("roboflow", Visual, RoboflowServer, "visual", ON_RED, 1)
TEXT_SERVICES = [ROBOFLOW, SEGMENTLENS]
SERVICES = [*TEXT_SERVICES, VISUAL]


def polygon(*rings: Any, confidence: Any = 0.9) -> dict[str, Any]:
    """A prediction of rings that both hosts could write."""
    return {"format": "polygon", "confidence": confidence, "masks": list(rings)}


@contextmanager
def opened(
    service: Service,
    url: str,
    *,
    floor: float = 0.1,
    meter: Meter | None = None,
    stop: threading.Event | None = None,
    retry: Retry = SHORT,
    **settings: Any,
) -> Iterator[Hosted]:
    """A backend that asks `url`, without a rate limit that tests would notice."""
    given = {"model": service.model, "requests_per_second": 1e6} | settings
    config = BackendConfig(name=service.name, base_url=url, **given)
    backend = service.backend(
        config, floor=floor, meter=meter or Meter(), stop=stop or threading.Event(), retry=retry
    )
    try:
        yield backend
    finally:
        backend.close()


def picture(image: np.ndarray, name: str = "made.png") -> Picture:
    """A picture of BGR pixels."""
    data = cv2.imencode(".png", image)[1].tobytes()
    return Picture(name, image.shape[1], image.shape[0], data)
