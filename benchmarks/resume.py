"""How soon a run goes on that has most of its answers: seconds from `label` to the first request.

    python -m benchmarks.resume [--images 100000]

The answers are put into the store directly; three images, last in the folder, are left to ask about, so all
others are looked up first. The host is a local server.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from autolabel import Config, label
from autolabel.geometry import rle
from autolabel.pipeline.inventory import select, store_path
from autolabel.pipeline.question import question
from autolabel.sources.images import digest
from autolabel.store import Exchange, FileRow, Store
from autolabel.types import Detection
from benchmarks.formats import MEMORY
from benchmarks.hosted import answer as respond
from benchmarks.hosted import config
from tests.servers.host import Host

LEFT = 3


def main() -> None:
    """Print the seconds beside the bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, Host(respond) as host:
        os.chdir(folder)
        asked = config(host.url, "resume")
        write_images(Path("photos"), images + LEFT)
        answer(asked, images)
        cpu, started = time.process_time(), time.monotonic()
        summary = label(asked)
        first = min(entry.arrived for entry in host.log) - started
        print(f"{images} images answered, {summary.requests} requests")
        print(f"first request after {first:.2f} s (bar 1), {time.process_time() - cpu:.2f} s of CPU in all")
        os.chdir("/")


def write_images(folder: Path, count: int) -> None:
    """Photographs of the same pixels and other content: a comment tells them apart."""
    folder.mkdir()
    data = cv2.imencode(".jpg", np.zeros((480, 640, 3), np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 10])[
        1
    ].tobytes()
    for index in range(count):
        note = b"\xff\xfe\x00\x0a%08d" % index
        (folder / f"{index:06}.jpg").write_bytes(data[:2] + note + data[2:])


def answer(asked: Config, count: int) -> None:
    """Keep an answer for the first `count` images, as a run would."""
    wanted = question(asked)
    mask = rle.from_bitmap(np.ones((480, 640), np.bool_))
    found = (Detection(0, 0.9, wanted.texts[0].key, mask),)
    exchange = Exchange(tuple(each.key for each in wanted.texts), wanted.text.floor, detections=found)
    with Store(store_path(asked)) as store, store.transaction():
        for item in select(asked)[:count]:
            status, image = item.path.stat(), digest(item.file_name.encode())[:16]
            store.put_file(item.location, status.st_size, status.st_mtime_ns, FileRow(image, 640, 480))
            store.put(image, wanted.text.source, (640, 480), [exchange])


if __name__ == "__main__":
    main()
