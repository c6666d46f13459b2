"""Instances per second of each format beside supervision's writers, and memory by the number of images.

python -m benchmarks.export [--images 100] [--rounds 3]

Annotations only, as supervision's writers are timed: 640x480, 10 blobs per image, one process, written to
memory (/dev/shm) where there is such a place, so that a busy disk is not what is measured.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from autolabel.formats import FORMATS, open_writer
from autolabel.formats.base import ExportImage
from autolabel.formats.images import ImageStore
from autolabel.formats.tree import staged
from autolabel.geometry import rle
from autolabel.types import Category, Detection

WIDTH, HEIGHT, PER_IMAGE = 640, 480, 10
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
CATEGORIES = [Category(index, name, (name,)) for index, name in enumerate(("car", "person", "dog"))]


def blob(rng: np.random.Generator, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A wavy outline like an object's, filled: (height, width) bool."""
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = sum(rng.normal(0, 0.12 / n) * np.cos(n * angles + rng.uniform(0, 6)) for n in range(1, 9))
    radii = rng.uniform(0.03, 0.16) * height * (1 + waves)
    centre = rng.uniform((0, 0), (width, height))
    points = centre + np.stack([radii * np.cos(angles), 1.4 * radii * np.sin(angles)], axis=1)
    canvas = np.zeros((height, width), np.uint8)
    cv2.fillPoly(canvas, [points.astype(np.int32)], 1)
    return canvas.astype(bool)


def scenes(count: int, seed: int = 0) -> list[list[Detection]]:
    """The detections of `count` images."""
    rng = np.random.default_rng(seed)
    answers = []
    for _ in range(count):
        masks = []
        while len(masks) < PER_IMAGE:
            mask = blob(rng)
            if mask.any():
                masks.append(rle.from_bitmap(mask))
        answers.append(
            [
                Detection(index % 3, round(0.99 - index / 20, 3), CATEGORIES[index % 3].name, mask)
                for index, mask in enumerate(masks)
            ]
        )
    return answers


def exported(answers: Sequence[list[Detection]], count: int) -> Iterator[ExportImage]:
    """`count` images that take turns with the answers."""
    for index in range(count):
        split = "val" if index % 5 == 0 else "train"
        name = f"{index:06d}.jpg"
        yield ExportImage(name, Path(name), WIDTH, HEIGHT, split, answers[index % len(answers)])


def write(
    formats: Sequence[str], images: Iterator[ExportImage], output: Path, options: dict[str, dict]
) -> None:
    """Write the images into all formats, as an export does, without their files."""
    with staged(output, overwrite=True) as folder:
        store = ImageStore("none")
        writers = [
            open_writer(name, folder / name, CATEGORIES, ("train", "val"), store, **options.get(name, {}))
            for name in formats
        ]
        for image in images:
            for writer in writers:
                writer.add(image)
        for writer in writers:
            writer.close()


def ours(name: str, answers: Sequence[list[Detection]], folder: Path, **options: object) -> None:
    write([name], exported(answers, len(answers)), folder / "ours", {name: options})


def supervisions(answers: Sequence[list[Detection]], folder: Path) -> dict[str, Callable[[], None]]:
    """The writers of supervision on the same masks, which it holds dense."""
    import supervision as sv

    images, annotations = [], {}
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for index, detections in enumerate(answers):
        path = str(folder / f"{index:06d}.jpg")
        cv2.imwrite(path, pixels)
        masks = np.array([rle.to_bitmap(item.mask) for item in detections])
        classes = np.array([item.class_id for item in detections])
        images.append(path)
        annotations[path] = sv.Detections(xyxy=sv.mask_to_xyxy(masks), mask=masks, class_id=classes)
    dataset = sv.DetectionDataset([c.name for c in CATEGORIES], images, annotations)
    target = folder / "theirs"
    return {
        "coco": lambda: dataset.as_coco(annotations_path=str(target / "coco.json")),
        "yolo": lambda: dataset.as_yolo(annotations_directory_path=str(target / "yolo")),
        "voc": lambda: dataset.as_pascal_voc(annotations_directory_path=str(target / "voc")),
    }


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def speed(images: int, rounds: int) -> None:
    """Print the rates, medians of rounds in which all writers take turns."""
    answers = scenes(images)
    with tempfile.TemporaryDirectory(dir=MEMORY) as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        theirs = supervisions(answers, folder)
        calls = {
            ("coco", "polygon"): lambda: ours("coco", answers, folder),
            ("coco", "rle"): lambda: ours("coco", answers, folder, segmentation="rle"),
            ("yolo", "bridge"): lambda: ours("yolo", answers, folder),
            ("voc", ""): lambda: ours("voc", answers, folder),
        }
        times: dict[tuple[str, str], list[float]] = {}
        for _ in range(rounds):
            for key, call in calls.items():
                times.setdefault(key, []).append(seconds(call))
            for key, call in theirs.items():
                shutil.rmtree(folder / "theirs", ignore_errors=True)
                (folder / "theirs").mkdir()
                with Path(os.devnull).open("w") as null, contextlib.redirect_stderr(null):
                    times.setdefault((key, "supervision"), []).append(seconds(call))
    instances = images * PER_IMAGE
    medians = {key: statistics.median(values) for key, values in times.items()}
    print(f"{'format':16}{'instances/s':>12}{'supervision':>13}{'ratio':>8}")
    for (name, option), median in medians.items():
        if option != "supervision":
            other = medians[name, "supervision"]
            label = f"{name} {option}".strip()
            print(f"{label:16}{instances / median:>12,.0f}{instances / other:>13,.0f}{other / median:>8.1f}")
    mine = medians["coco", "polygon"] + medians["yolo", "bridge"] + medians["voc", ""]
    other = sum(medians[name, "supervision"] for name in FORMATS)
    print(f"{'all three':16}{instances / mine:>12,.0f}{instances / other:>13,.0f}{other / mine:>8.1f}")


def memory() -> None:
    """Print how far the peak rises above the start, for 200 and 2,000 images, each in a fresh process."""
    for count in (200, 2_000):
        command = [sys.executable, "-m", "benchmarks.export", "--grow", str(count)]
        grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        print(f"{count:>6} images, all three formats: peak {grown} MB above the start")


def grow(count: int) -> None:
    """Print the growth of this process in MB while it writes `count` images into all formats."""
    answers = scenes(20)
    with tempfile.TemporaryDirectory() as name:
        write(list(FORMATS), exported(answers, 20), Path(name) / "set", {})  # what is loaded on first use
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten (Linux)
        before = status_mb("VmRSS")
        write(list(FORMATS), exported(answers, count), Path(name) / "set", {})
    print(f"{status_mb('VmHWM') - before:.1f}")


def status_mb(key: str) -> float:
    """MB of this process, as Linux counts them: VmRSS now, VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--grow", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.grow:
        grow(arguments.grow)
    else:
        speed(arguments.images, arguments.rounds)
        memory()
