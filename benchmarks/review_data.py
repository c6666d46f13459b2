"""Makes a labelled run to try the review with, quickly: real JPEG files, and masks of what is drawn in them.

    python -m benchmarks.review_data FOLDER [--images 10000] [--instances 200000] [--bare] [--reviewed]

Writes FOLDER/photos, FOLDER/street.yaml and FOLDER/runs/street, as a labelling would have left them; with
`--bare` without thumbs and glances, as an older version would have; with `--reviewed` every image and each of
its instances is accepted, through the documents that a page sends. Then, in FOLDER:
`autolabel review street.yaml`.
"""

import argparse
import os
import time
from pathlib import Path

import cv2
import numpy as np
import orjson

from autolabel import Config, thumbs
from autolabel.geometry import rle
from autolabel.pipeline import glances
from autolabel.pipeline.inventory import thumbs_path
from autolabel.pipeline.question import question
from autolabel.review.session import MOST_IMAGES, Session
from autolabel.sources import images
from autolabel.store import Exchange, FileRow, Store
from autolabel.thumbs import Thumbs
from autolabel.types import Detection, ImageItem

WH = (1024, 768)
CLASSES = {"car": (60, 60, 200), "person": (70, 190, 90), "bicycle": (200, 130, 50), "sign": (40, 180, 220)}
CONFIG = """\
# made by benchmarks/review_data.py
images: photos
classes:
  - car  # short form
  - name: person
    prompts: [person, pedestrian]
    confidence: 0.4
  - bicycle
  - sign
backend:
  name: sam3
"""
TOGETHER = 200  # images of one commit
SHAPES, SCENES = 600, 40  # drawn from, so that making them is quick
DUPLICATES = 0.15  # of the instances lie on another one, shifted a little


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--instances", type=int, default=200_000)
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--reviewed", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(given.folder)
    config = make(given.images, given.instances, bare=given.bare)
    if given.reviewed:
        accept(config)


def make(count: int, instances: int, *, bare: bool = False) -> Config:
    """Make the run in the working directory."""
    started = time.monotonic()
    Path("photos").mkdir()
    Path("street.yaml").write_text(CONFIG, encoding="utf-8")
    config = Config.load("street.yaml")
    asked = question(config)
    rng = np.random.default_rng(0)
    shapes, scenes = [blob(rng) for _ in range(SHAPES)], [scene(rng) for _ in range(SCENES)]
    small = Thumbs(thumbs_path(config))
    with Store(Path(config.run) / "answers.sqlite") as store:
        for start in range(0, count, TOGETHER):
            with store.transaction():
                for i in range(start, min(start + TOGETHER, count)):
                    many = instances * (i + 1) // count - instances * i // count
                    item, row, data = one_image(config, asked, store, rng, shapes, scenes, i, many)
                    if not bare:
                        glances.keep(store, asked, item, row.image, asked.texts)
                        small.put(row.image, thumbs.make(data, images.probe(data)))
            print(f"{min(start + TOGETHER, count)} images, {time.monotonic() - started:.0f} s", flush=True)
        picked = [row_of(store, path).image for path in sorted(Path("photos").iterdir())]
        store.put_splits({image: "val" if i % 5 == 0 else "train" for i, image in enumerate(picked)})
    small.close()
    return config


def accept(config: Config) -> None:
    """Accept every image and all of its instances, as a page does."""
    with Session(config) as session:
        index = orjson.loads(session.index())["images"]
        numbers = range(len(index["name"]))
        for start in range(0, len(numbers), MOST_IMAGES):
            for image in session.images(numbers[start : start + MOST_IMAGES]):
                instances = [id_ for id_, _ in image["instances"]]  # accepted with the image
                document = {"verdict": "accepted", "made_on": image["answers"], "instances": instances}
                assert session.decide(image["n"], image["image"], 0, document)["ok"]
            print(f"{min(start + MOST_IMAGES, len(numbers))} images reviewed", flush=True)


def one_image(config, asked, store, rng, shapes, scenes, number, many):
    """Draw an image, write it, and keep its answers."""
    width, height = WH
    pixels = scenes[number % len(scenes)].copy()
    prompts = [(c, p) for c in config.categories for p in c.prompts]
    found: list[Detection] = []
    placed = []
    for _ in range(many):
        if placed and rng.random() < DUPLICATES:
            shape, x, y, (category, prompt) = placed[rng.integers(len(placed))]
            x, y = x + int(rng.integers(-4, 5)), y + int(rng.integers(-4, 5))
            if rng.random() < 0.5:
                category, prompt = prompts[rng.integers(len(prompts))]
        else:
            shape = shapes[rng.integers(len(shapes))]
            x, y = int(rng.integers(0, width - shape.shape[1])), int(rng.integers(0, height - shape.shape[0]))
            category, prompt = prompts[rng.integers(len(prompts))]
            placed.append((shape, x, y, (category, prompt)))
            colour = np.array(CLASSES[category.name]) + rng.integers(-30, 30, 3)
            pixels[y : y + shape.shape[0], x : x + shape.shape[1]][shape] = np.clip(colour, 0, 255)
        x, y = min(max(x, 0), width - shape.shape[1]), min(max(y, 0), height - shape.shape[0])
        mask = rle.from_bitmap(shape, offset_xy=(x, y), size=(height, width))
        confidence = round(float(np.clip(rng.beta(3, 1.6), 0.1, 0.99)), 4)
        found.append(Detection(0, confidence, prompt, mask))
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    path = Path(f"photos/street-{number:06}.jpg").absolute()
    path.write_bytes(data)
    row, stat = FileRow(images.digest(data), width, height), path.stat()
    store.put_file(path, stat.st_size, stat.st_mtime_ns, row)
    exchange = Exchange(tuple(p.key for p in asked.texts), config.label.confidence, WH, detections=found)
    store.put(row.image, asked.text.source, WH, [exchange])
    return ImageItem(path.name, path), row, data


def row_of(store: Store, path: Path) -> FileRow:
    """What is known of a file."""
    stat = path.stat()
    row = store.file(path.absolute(), stat.st_size, stat.st_mtime_ns)
    if row is None:
        raise SystemExit(f"{path} changed meanwhile")
    return row


def blob(rng: np.random.Generator) -> np.ndarray:
    """A bitmap of a smooth outline, 20 to 200 px across."""
    side = int(np.exp(rng.uniform(np.log(20), np.log(200))))
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    radius = np.ones_like(angle)
    for wave in range(2, 6):
        radius += rng.normal(0, 0.18 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    radius *= side / 2 / radius.max()
    ring = np.stack((side / 2 + radius * np.cos(angle), side / 2 + radius * np.sin(angle)), axis=1)
    bitmap = np.zeros((side, side), np.uint8)
    cv2.fillPoly(bitmap, [np.round(ring).astype(np.int32)], 1)
    return bitmap.astype(np.bool_)


def scene(rng: np.random.Generator) -> np.ndarray:
    """BGR pixels of a background that is grey and uneven."""
    noise = rng.integers(90, 170, (WH[1] // 16, WH[0] // 16, 3), dtype=np.uint8)
    return cv2.resize(noise, WH, interpolation=cv2.INTER_CUBIC)


if __name__ == "__main__":
    main()
