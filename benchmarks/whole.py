"""What a whole run costs beside the model: CPU time an image, and peak memory as the folder grows.

    python -m benchmarks.whole [--images 200 20000]

Each run labels by replay and exports all three formats, in a process of its own, on one thread. Images are
1024 px with 20 instances for the CPU figure, 640x480 with 10 for the memory.
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import orjson

from autolabel import Config, run
from autolabel.geometry import rle
from benchmarks.formats import blob, status_mb

PER_SCENE = 40  # images that share their pixels, so that making them is quick


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs=2, default=[200, 20_000], metavar=("FEW", "MANY"))
    few, many = parser.parse_args().images
    cpu_s, _, seconds = measured(100, (1024, 768), 20)
    print(f"{'what':<56}{'measured':>12}{'bar':>10}")
    row("CPU ms an image of 1024 px with 20 instances", cpu_s / 100 * 1000, "<= 20")
    row("seconds for 100 of them", seconds, "")
    _, small, _ = measured(few, (640, 480), 10)
    _, large, seconds = measured(many, (640, 480), 10)
    row(f"peak MB above the start, {few} images", small[1] - small[0], "")
    row(f"peak MB above the start, {many} images", large[1] - large[0], "<= 100")
    row("ratio of the peaks", large[1] / small[1], "<= 1.2")
    row(f"seconds for {many} images", seconds, "")


def measured(images: int, wh: tuple[int, int], instances: int) -> tuple[float, tuple[float, float], float]:
    """CPU seconds, MB of memory at the start and at the peak, and seconds of one run."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write(images, wh, instances)
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=one_run, args=(theirs,))
        process.start()
        result = ours.recv()
        process.join()
        os.chdir("/")
    return result


def one_run(pipe) -> None:
    """Label and export what lies in the working directory, and report."""
    cv2.setNumThreads(1)
    config = Config.model_validate(
        {"images": "photos", "classes": ["thing"], "backend": {"name": "replay", "answers": "answers"},
         "label": {"workers": 1}, "filter": {"nms_iou": 0.7}}
    )  # fmt: skip
    import autolabel.pipeline  # noqa: F401

    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten (Linux)
    start_mb = status_mb("VmRSS")
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.monotonic()
    summary = run(config)
    after = resource.getrusage(resource.RUSAGE_SELF)
    if summary.failed or not summary.exported:
        raise SystemExit(f"{summary.failed} images failed")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    pipe.send((cpu, (start_mb, status_mb("VmHWM")), time.monotonic() - started))


def write(images: int, wh: tuple[int, int], instances: int) -> None:
    """Photographs-like JPEG files and their answers."""
    Path("photos").mkdir()
    Path("answers").mkdir()
    rng = np.random.default_rng(0)
    for start in range(0, images, PER_SCENE):
        noise = rng.integers(0, 255, (wh[1] // 8, wh[0] // 8, 3), dtype=np.uint8)
        scene = cv2.resize(noise, wh, interpolation=cv2.INTER_CUBIC)
        data = cv2.imencode(".jpg", scene, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
        found = orjson.dumps({"detections": [detection(rng, wh) for _ in range(instances)]})
        for i in range(start, min(start + PER_SCENE, images)):
            # a comment segment makes another content of the same pixels
            note = f"{i:08}".encode()
            body = data[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + data[2:]
            Path(f"photos/{i:06}.jpg").write_bytes(body)
            Path(f"answers/{i:06}.jpg.json").write_bytes(found)


def detection(rng: np.random.Generator, wh: tuple[int, int]) -> dict[str, object]:
    """One object in the form that the replay backend reads."""
    mask = rle.from_bitmap(blob(rng, *wh))
    segmentation = {"size": list(mask.size), "counts": mask.counts.decode()}
    return {"prompt": "thing", "confidence": round(rng.uniform(0.5, 1), 3), "segmentation": segmentation}


def row(what: str, value: float, bar: str) -> None:
    """Print one row."""
    print(f"{what:<56}{value:>12.2f}{bar:>10}", flush=True)


if __name__ == "__main__":
    main()
