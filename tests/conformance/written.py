"""The datasets under test, and the comparison of what a reader finds in them with the truth."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from autolabel.formats import open_writer
from autolabel.formats.base import ExportImage
from autolabel.formats.images import ImageStore
from autolabel.geometry import rle
from autolabel.types import Detection
from tests.conformance.scenes import CATEGORIES, Mask, Scene, scenes

SPLITS = ("train", "val")
DATASETS = {
    "coco-polygon": ("coco", {"segmentation": "polygon"}),
    "coco-rle": ("coco", {"segmentation": "rle"}),
    "yolo": ("yolo", {"parts": "bridge"}),
    "voc": ("voc", {}),
}


@dataclass(frozen=True, slots=True)
class Written:
    """All formats below `root`, each in a folder named by its key in DATASETS.

    `names` has, by format, the scene of every file name as the format has it; `lost` the instances that the
    writer said it can't hold.
    """

    root: Path
    scenes: list[Scene]
    names: dict[str, dict[str, Scene]]
    lost: dict[str, int]

    def of(self, *splits: str) -> list[Scene]:
        return [scene for scene in self.scenes if scene.split in splits]


def write_all(root: Path) -> Written:
    """Write all scenes into all formats, with an image file for each."""
    store = ImageStore("link")
    writers = {
        label: open_writer(name, root / label, CATEGORIES, SPLITS, store, **options)
        for label, (name, options) in DATASETS.items()
    }
    lost = dict.fromkeys(DATASETS, 0)
    every = scenes()
    for scene in every:
        detections = [
            Detection(truth.class_id, 0.5, "", rle.from_bitmap(truth.mask)) for truth in scene.truths
        ]
        source = _picture(root / "source" / scene.name, scene.size)
        image = ExportImage(scene.name, source, scene.size[1], scene.size[0], scene.split, detections)
        for label, writer in writers.items():
            lost[label] += len(writer.add(image))
    reports = {label: writer.close() for label, writer in writers.items()}
    names = {
        label: {report.renamed.get(scene.name, scene.name): scene for scene in every}
        for label, report in reports.items()
    }
    return Written(root, every, names, lost)


@dataclass(slots=True)
class Comparison:
    """What one reader made of one format. Every difference is kept with its image and instance."""

    format: str
    reader: str
    wrong: list[str] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)

    def same(self, scene: Scene, what: str, found: object, expected: object) -> bool:
        """Note where a value is not the expected one."""
        if found != expected:
            self.wrong.append(f"{scene.name!r} ({scene.kind}): {what} is {found}, not {expected}")
        return found == expected

    def mask(self, scene: Scene, index: int, found: np.ndarray, expected: Mask, least: float = 1.0) -> float:
        """Note where a mask's IoU with the expected one is below `least`; returns the IoU."""
        found = found.astype(bool)
        value = -1.0
        if found.shape == expected.shape:
            value = np.count_nonzero(found & expected) / max(1, np.count_nonzero(found | expected))
        self.ious.append(value)
        if value < least:
            self.wrong.append(f"{scene.name!r} ({scene.kind}): instance {index} has IoU {value:.6f}")
        return value

    def finish(self, instances: int) -> None:
        """Fail with the first differences, or if not all instances were compared."""
        head = f"{self.format} read by {self.reader}"
        assert not self.wrong, "\n".join((f"{head}: {len(self.wrong)} differences", *self.wrong[:12]))
        assert len(self.ious) == instances, f"{head}: {len(self.ious)} of {instances} instances were compared"


def count(every: list[Scene]) -> int:
    """The number of instances."""
    return sum(len(scene.truths) for scene in every)


def box_xyxy(mask: Mask) -> tuple[int, int, int, int]:
    """The box of a mask in px, ends exclusive, the slow and plain way."""
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def _picture(path: Path, size: tuple[int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shade = (sum(path.name.encode()) % 200 + 20, size[0] % 256, size[1] % 256)
    Image.new("RGB", (size[1], size[0]), shade).save(path, "PNG" if path.suffix == ".png" else "JPEG")
    return path
