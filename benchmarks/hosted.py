"""How well `label` uses a host: throughput at 8 workers, an enforced rate limit, the usual script beside it.

    python -m benchmarks.hosted

The host is a local server in a process of its own; every figure is a ratio within one run. Times are the
server's: from the arrival of the first request to the last answer.
"""

import argparse
import base64
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import httpx
import numpy as np
import orjson

from autolabel import Config, label
from tests.servers.host import Host, Request, Response, json_response

LATENCY_S = 0.1
WORKERS = 8
RATE = 10
JITTER_S = 0.05


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_images(Path("photos"), images)
        print(
            f"{images} images of {size_kb(Path('photos'))} KB, 640x480, {LATENCY_S * 1000:.0f} ms an answer\n"
        )
        print(f"{'what':<52}{'measured':>12}{'bar':>10}")
        throughput(images)
        rate_limit(images)


def throughput(images: int) -> None:
    """8 workers against the ideal, and against one request after the other."""
    with server(latency_s=LATENCY_S) as (url, log):
        label(config(url, "free"))
        busy = log().seconds
    row(f"share of ideal throughput at {WORKERS} workers", images * LATENCY_S / WORKERS / busy, ">= 0.90")
    few = images // 5
    with server(latency_s=LATENCY_S) as (url, log):
        sequential(url, sorted(Path("photos").iterdir())[:few])
        alone = log().seconds * images / few
    row("times as fast as the usual sequential script", alone / busy, ">= 7")


def rate_limit(images: int) -> None:
    """An enforced limit over a sliding second: no refusal, and hardly a slot left unused."""
    with server(latency_s=LATENCY_S, rate=RATE, jitter_s=JITTER_S) as (url, log):
        summary = label(config(url, "limited", requests_per_second=RATE))
        seen = log()
    # the first RATE requests are a burst that costs no waiting: they don't count towards the rate
    row(f"requests a second of {RATE} allowed", (images - RATE) / seen.last_arrival, ">= 9.3")
    row("429s", seen.refused, "0")
    row("most requests in one second at the server", seen.most, f"<= {RATE}")
    row("retries", summary.retries, "0")


class Log:
    """What the server saw, in seconds since its first request."""

    def __init__(self, arrivals: list[float], refused: int, most: int) -> None:
        self.last_arrival = max(arrivals) - min(arrivals)
        self.seconds = self.last_arrival + LATENCY_S
        self.refused = refused
        self.most = most


@contextmanager
def server(**options: float) -> Iterator[tuple[str, "Reader"]]:
    """Run a host in another process; yield its URL and a function that ends it and returns its log."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, options))
    process.start()
    try:
        yield ours.recv(), Reader(ours)
    finally:
        process.join(10)


class Reader:
    """Asks the server's process for its log, which ends it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def __call__(self) -> Log:
        self._pipe.send("log")
        return Log(*self._pipe.recv())


def serve(pipe: Connection, options: dict[str, float]) -> None:
    """The server's process."""
    with Host(answer, **options) as host:
        pipe.send(host.url)
        pipe.recv()
        refused = sum(entry.status == 429 for entry in host.log)
        pipe.send(([entry.arrived for entry in host.log], refused, host.most_in_a_window()))


def answer(request: Request) -> Response:
    """Five instances for each prompt, of a 640x480 picture."""
    count = request.body.count(b'"text":"')
    results = [
        {"prompt_index": i, "echo": {"text": f"thing {i}"}, "predictions": [PREDICTION] * 5}
        for i in range(count)
    ]
    return json_response({"prompt_results": results, "time": 0.1})


def prediction() -> dict[str, object]:
    """A disc as RLE."""
    from autolabel.geometry import rle

    mask = cv2.circle(np.zeros((480, 640), np.uint8), (300, 200), 80, 1, -1)
    encoded = rle.from_bitmap(mask)
    return {
        "format": "rle", "confidence": 0.9,
        "masks": {"size": list(encoded.size), "counts": encoded.counts.decode()},
    }  # fmt: skip


PREDICTION = prediction()


def sequential(url: str, paths: list[Path]) -> None:
    """What people write: one image after the other, JSON by the client, a new connection each."""
    for path in paths:
        image = base64.b64encode(path.read_bytes()).decode()
        body = {
            "image": {"type": "base64", "value": image},
            "prompts": [{"type": "text", "text": f"thing {i}"} for i in range(2)],
        }
        orjson.loads(httpx.post(f"{url}/sam3/concept_segment", json=body, timeout=60).content)


def config(url: str, name: str, requests_per_second: float = 1e6) -> Config:
    """Two prompts of one class list, asked of the local server."""
    backend = {"name": "roboflow", "base_url": url, "requests_per_second": requests_per_second}
    return Config.model_validate(
        {"images": "photos", "run": f"runs/{name}", "classes": ["thing 0", "thing 1"], "backend": backend,
         "label": {"workers": WORKERS}}
    )  # fmt: skip


def write_images(folder: Path, count: int) -> None:
    """JPEG files of about 100 KB and different content."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        noise = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        scene = cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
        scene = cv2.add(scene, rng.integers(0, 30, (480, 640, 3), dtype=np.uint8))
        cv2.imwrite(str(folder / f"{i:04}.jpg"), scene, [cv2.IMWRITE_JPEG_QUALITY, 85])


def size_kb(folder: Path) -> int:
    """The mean size of its files."""
    sizes = [path.stat().st_size for path in folder.iterdir()]
    return sum(sizes) // len(sizes) // 1000


def row(what: str, value: float, bar: str) -> None:
    """Print one row."""
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    print(f"{what:<52}{text:>12}{bar:>10}", flush=True)


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"\n{time.monotonic() - started:.0f} s")
