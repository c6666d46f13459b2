"""Writing and reading COCO, YOLO-seg and VOC beside other libraries: rates, memory and what survives.

python -m benchmarks.formats [--images 60] [--rounds 3] [--most 2000]     all tables, in one run
python -m benchmarks.formats --million     a million instances as COCO, against the bars

Annotations of 640x480 images with 10 objects each, one process, in /dev/shm where there is such a place, so
that a busy disk is not what is measured. Ours and theirs take turns; rates are medians, and a ratio is within
this run. ./scripts/conformance installs what can be compared with; without it there are fewer lines. FiftyOne
is left out: it needs a database server beside it.
"""

import argparse
import contextlib
import importlib.util
import io
import logging
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

from autolabel.formats import find_datasets, open_writer
from autolabel.formats.base import ExportImage
from autolabel.formats.images import ImageStore
from autolabel.formats.problems import Findings
from autolabel.geometry import rle
from autolabel.types import Category, Detection
from benchmarks import peers

WIDTH, HEIGHT, PER_IMAGE = 640, 480, 10
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
CATEGORIES = [Category(index, name, (name,)) for index, name in enumerate(("car", "person", "dog"))]
OURS = {
    "coco polygon": ("coco", {"segmentation": "polygon"}),
    "coco rle": ("coco", {"segmentation": "rle"}),
    "yolo": ("yolo", {"parts": "bridge"}),
    "voc": ("voc", {}),
}
BARS = {"rle": 15, "polygon": 200}  # seconds for a million instances, on one core of a small machine
GROWTH_BAR = 50  # MB


def blob(rng: np.random.Generator, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A wavy outline like an object's, filled: (height, width) bool."""
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = sum(rng.normal(0, 0.12 / n) * np.cos(n * angles + rng.uniform(0, 6)) for n in range(1, 9))
    radii = rng.uniform(0.03, 0.16) * height * (1 + waves)
    centre = rng.uniform((0, 0), (width, height))
    points = centre + np.stack([radii * np.cos(angles), 1.4 * radii * np.sin(angles)], axis=1)
    canvas = np.zeros((height, width), np.uint8)
    cv2.fillPoly(canvas, [points.astype(np.int32)], [1])
    return canvas.astype(bool)


def scenes(count: int, seed: int = 0) -> list[list[Detection]]:
    """The detections of `count` images."""
    rng = np.random.default_rng(seed)
    answers = []
    for _ in range(count):
        masks: list[np.ndarray] = []
        while len(masks) < PER_IMAGE:
            if (mask := blob(rng)).any():
                masks.append(mask)
        answers.append(
            [
                Detection(index % 3, round(0.99 - index / 20, 3), CATEGORIES[index % 3].name, found)
                for index, found in enumerate(map(rle.from_bitmap, masks))
            ]
        )
    return answers


def exported(
    answers: Sequence[list[Detection]], count: int, pictures: Path = Path()
) -> Iterator[ExportImage]:
    """`count` images that take turns with the answers."""
    for index in range(count):
        name = f"{index:06d}.jpg"
        split = "val" if index % 5 == 0 else "train"
        yield ExportImage(name, pictures / name, WIDTH, HEIGHT, split, answers[index % len(answers)])


def write(labels: Sequence[str], images: Iterator[ExportImage], root: Path, store: str = "none") -> None:
    """Write the images into all formats, as an export does."""
    shared = ImageStore(store)
    writers = [
        open_writer(OURS[label][0], root / label, CATEGORIES, ("train", "val"), shared, **OURS[label][1])
        for label in labels
    ]
    for image in images:
        for writer in writers:
            writer.add(image)
    for writer in writers:
        writer.close()


def read(folder: Path) -> int:
    """Read a dataset with our reader; the number of instances, with their masks."""
    count = 0
    for found in find_datasets(folder):
        for image in found.open(Findings()).images():
            count += sum(1 for instance in image.instances if instance.mask is not None)
    return count


def in_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each call after an untimed one; what they print is not shown."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for nth in range(rounds + 1):
        for name, call in calls.items():
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                start = time.perf_counter()
                call()
                if nth:
                    times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def speed(images: int, rounds: int, folder: Path) -> None:
    """Print the rates of writing and reading, theirs beside ours."""
    answers = scenes(images)
    pictures = folder / "pictures"
    pictures.mkdir()
    for image in exported(answers, images, pictures):
        cv2.imwrite(str(image.path), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    target = folder / "ours"
    theirs = peers.writers(answers, [c.name for c in CATEGORIES], pictures, folder / "theirs")
    print(f"\n{'writing':14}{'instances/s':>12}  {'peer':22}{'instances/s':>12}{'ratio':>8}")
    for label in OURS:
        calls: dict[str, Callable[[], object]] = {
            "ours": lambda label=label: write([label], exported(answers, images), target)
        }
        calls |= {name: fresh(call, folder / "theirs") for name, call in theirs[label.split()[0]].items()}
        table(label, in_turns(calls, rounds), images * PER_IMAGE)
        shutil.rmtree(target)
    write(list(OURS), exported(answers, images, pictures), target, "link")
    print(f"\n{'reading':14}{'instances/s':>12}  {'peer':22}{'instances/s':>12}{'ratio':>8}")
    for label in OURS:
        if (count := read(target / label)) != images * PER_IMAGE:
            print(f"{label}: our reader found {count} of {images * PER_IMAGE} instances")
        calls = {"ours": lambda label=label: read(target / label)}
        calls |= peers.readers(label, target / label)
        table(label, in_turns(calls, rounds), images * PER_IMAGE)
    for name in peers.PACKAGES:
        if importlib.util.find_spec(name) is None:
            print(f"{name}: not installed")


def fresh(call: Callable[[], object], folder: Path) -> Callable[[], object]:
    """The call with an empty folder to write to."""

    def written() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        call()

    return written


def table(label: str, seconds: dict[str, float], instances: int) -> None:
    """A line for every peer."""
    ours = seconds.pop("ours")
    for name, spent in (seconds or {"": float("nan")}).items():
        print(
            f"{label:14}{instances / ours:>12,.0f}  {name:22}{instances / spent:>12,.0f}{spent / ours:>8.1f}"
        )


def growth(arguments: Sequence[str]) -> str:
    """How far the peak of a fresh process rises above its start, in MB, for what the arguments name."""
    command = [sys.executable, "-m", "benchmarks.formats", "--grow", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{float(ran.stdout.split()[-1]):.1f}" if ran.returncode == 0 else "failed"


def memory(most: int) -> None:
    """Print the growth of writing and of reading, for 200 images and for `most`."""
    print(f"\n{'peak MB above the start':30}{'200 images':>12}{most:>10,}")
    whats = {"write": "ours, write all four"}
    whats |= {f"read-{label}": f"ours, read {label}" for label in ("coco polygon", "yolo", "voc")}
    if importlib.util.find_spec("supervision"):
        whats["peer"] = "supervision, read coco rle"
    for what, name in whats.items():
        # supervision holds 3 MB an image: 2,000 are enough to see it
        large = growth([what, str(most if what != "peer" else min(most, 2_000))])
        print(f"{name:30}{growth([what, '200']):>12}{large:>10}")


def grow(what: str, count: int) -> None:
    """Print the growth of this process in MB while it writes or reads `count` images."""
    answers = scenes(20)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if what == "write":
            write(list(OURS), exported(answers, 20), folder / "warm")  # what is loaded on first use
            measured = measure(lambda: write(list(OURS), exported(answers, count), folder / "set"))
        else:
            label = "coco rle" if what == "peer" else what.removeprefix("read-")
            for images, part in ((20, "warm"), (count, "set")):
                command = [sys.executable, "-m", "benchmarks.formats", "--make", label, str(images)]
                subprocess.run([*command, str(folder / part)], check=True)
            call = (
                (lambda part: peers.readers(label, folder / part / label)["supervision"]())
                if what == "peer"
                else (lambda part: read(folder / part / label))
            )
            call("warm")
            measured = measure(lambda: call("set"))
    print(f"{measured[1]:.1f}")


def make(label: str, count: int, folder: Path) -> None:
    """Write a dataset with its pictures, for a process that reads it."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    encoded = cv2.imencode(".jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
    images = list(exported(scenes(20), count, pictures))
    for image in images:
        image.path.write_bytes(encoded)
    write([label], iter(images), folder, "none" if label.startswith("coco") else "copy")


def measure(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds of a call and how far the peak memory rises above the start in MB (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before, start = status_mb("VmRSS"), time.perf_counter()
    call()
    return time.perf_counter() - start, status_mb("VmHWM") - before


def status_mb(key: str) -> float:
    """MB of this process, as Linux counts them: VmRSS now, VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024


def million() -> None:
    """Print seconds and memory of 100,000 images of 10 instances as COCO, beside the bars."""
    answers = scenes(500)
    print(f"{'a million instances':22}{'s':>8}{'bar':>6}{'MB':>8}{'bar':>5}{'GB written':>12}")
    for option, bar in BARS.items():
        with tempfile.TemporaryDirectory() as name:
            label, folder = f"coco {option}", Path(name)
            write([label], exported(answers, 100), folder / "warm")
            spent, grown = measure(
                lambda label=label, folder=folder: write([label], exported(answers, 100_000), folder)
            )
            size = sum(path.stat().st_size for path in (folder / label).rglob("*.json")) / 1e9
        print(f"{label:22}{spent:>8.1f}{bar:>6}{grown:>8.1f}{GROWTH_BAR:>5}{size:>12.2f}")


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=2_000, help="images for the memory table")
    parser.add_argument("--million", action="store_true", help="a million instances instead")
    parser.add_argument("--grow", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")
    logging.disable()
    if arguments.grow:
        grow(arguments.grow[0], int(arguments.grow[1]))
    elif arguments.make:
        make(arguments.make[0], int(arguments.make[1]), Path(arguments.make[2]))
    elif arguments.million:
        million()
    else:
        with tempfile.TemporaryDirectory(dir=MEMORY) as name:
            speed(arguments.images, arguments.rounds, Path(name))
            peers.fidelity(Path(name) / "nasty")
        memory(arguments.most)


if __name__ == "__main__":
    main()
