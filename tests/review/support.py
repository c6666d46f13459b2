"""What the tests of the review share: a small labelled run, and its page on a real port."""

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import orjson
import yaml

import autolabel
from autolabel import Config
from autolabel.geometry import rle
from autolabel.review.server import bound, make_server
from autolabel.review.session import Session

WH = (96, 64)
BOXES = {"a.png": [("car", 0.9, (4, 4, 30, 30)), ("car", 0.6, (6, 6, 32, 32)), ("person", 0.7, (50, 10, 80, 50))],
         "b/ü <b>.png": [("car", 0.55, (10, 10, 40, 40))],
         "c.png": []}  # fmt: skip


def counts(box_xyxy: tuple[int, int, int, int], wh: tuple[int, int] = WH) -> str:
    """The RLE counts of a filled box."""
    bitmap = np.zeros((wh[1], wh[0]), np.bool_)
    x0, y0, x1, y1 = box_xyxy
    bitmap[y0:y1, x0:x1] = True
    return rle.from_bitmap(bitmap).counts.decode()


def write_photos(folder: Path, boxes: dict[str, list[Any]] = BOXES) -> None:
    """Pictures with a light patch at every box."""
    for i, (name, found) in enumerate(boxes.items()):
        pixels = np.full((WH[1], WH[0], 3), 40 + i, np.uint8)
        for _, _, (x0, y0, x1, y1) in found:
            pixels[y0:y1, x0:x1] = (90, 160, 230)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def write_answers(folder: Path, boxes: dict[str, list[Any]] = BOXES) -> None:
    """What the replay backend answers for them."""
    for name, found in boxes.items():
        detections = [
            {
                "prompt": prompt,
                "confidence": score,
                "segmentation": {"size": [WH[1], WH[0]], "counts": counts(box)},
            }
            for prompt, score, box in found
        ]
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps({"detections": detections}))


def labelled(name: str = "street.yaml", **keys: Any) -> Config:
    """A config file in the working directory, and its run, labelled by replay."""
    write_photos(Path("photos"))
    write_answers(Path("answers"))
    data = {
        "images": "photos",
        "classes": ["car", "person"],
        "backend": {"name": "replay", "answers": "answers"},
    } | keys
    Path(name).write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    config = Config.load(name)
    autolabel.label(config)
    return config


@dataclass(frozen=True)
class Page:
    """A served review: its address, token and session, and a client that was let in."""

    url: str
    token: str
    session: Session
    client: httpx.Client

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def send(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """A request as the page itself makes it, but for `headers`."""
        own = {"origin": self.url, "content-type": "application/json"} | headers
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return self.client.request(method, path, content=content, headers=own)

    def index(self) -> dict[str, Any]:
        """The index, once it is there."""
        for _ in range(100):
            response = self.client.get("/api/index")
            if response.status_code == 200:
                return response.json()
            assert response.status_code == 202, response.text
            time.sleep(0.05)
        raise AssertionError("the index never came")


@contextmanager
def served(config: Config, **options: Any) -> Iterator[Page]:
    """The review of a run on a real port."""
    with Session(config, **options) as session, bound("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        server, keys = make_server(session, "127.0.0.1", port)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        url = f"http://127.0.0.1:{port}"
        try:
            with httpx.Client(base_url=url) as client:
                wait_for(server)
                client.get("/", params={"token": keys.token})
                yield Page(url, keys.token, session, client)
        finally:
            server.should_exit = True
            thread.join()


def wait_for(server: Any) -> None:
    """Wait until a server of another thread listens."""
    for _ in range(500):
        if server.started:
            return
        time.sleep(0.01)
    raise AssertionError("the server never started")


def column(index: dict[str, Any], name: str, dtype: str) -> list[Any]:
    """A column of the index as numbers."""
    return np.frombuffer(base64.b64decode(index[name]), dtype).tolist()


def rejected(instance: list[str], category: str = "car") -> dict[str, Any]:
    """A decision against an answered instance, as the page makes it."""
    origin = {
        "id": instance[0],
        "category": category,
        "prompt": category,
        "confidence": None,
        "counts": instance[1],
    }
    return {"origin": origin, "verdict": "rejected", "category": None, "counts": None, "how": "", "at": ""}


def added(box: tuple[int, int, int, int], category: str = "car") -> dict[str, Any]:
    """An instance that was drawn by hand, as the page makes it."""
    return {
        "origin": None,
        "verdict": "accepted",
        "category": category,
        "counts": counts(box),
        "how": "box",
        "at": "",
    }


def review(*instances: dict[str, Any], verdict: str | None = None, made_on: str = "") -> dict[str, Any]:
    """The review document of an image."""
    return {"verdict": verdict, "made_on": made_on, "at": "", "instances": list(instances)}
