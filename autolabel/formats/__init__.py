"""The dataset formats: one registry line each, and the calls that open a writer or a reader by name."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autolabel.errors import ConfigError, InputError
from autolabel.formats.base import Writer
from autolabel.formats.coco.reader import CocoReader
from autolabel.formats.coco.writer import CocoWriter
from autolabel.formats.images import ImageStore
from autolabel.formats.problems import Report
from autolabel.formats.reading import Reader, inside
from autolabel.formats.voc.reader import VocReader
from autolabel.formats.voc.writer import VocWriter
from autolabel.formats.yolo.reader import YoloReader
from autolabel.formats.yolo.writer import YoloWriter
from autolabel.types import Category


@dataclass(frozen=True, slots=True)
class Format:
    """How a format is written and read."""

    writer: Callable[..., Writer]
    reader: type[Reader]


FORMATS: dict[str, Format] = {
    "coco": Format(CocoWriter, CocoReader),
    "yolo": Format(YoloWriter, YoloReader),
    "voc": Format(VocWriter, VocReader),
}


@dataclass(frozen=True, slots=True)
class Found:
    """A dataset that was recognised: its format, and what its reader opens."""

    format: str
    path: Path

    def open(self, report: Report) -> Reader:
        """The reader, which tells `report` of every problem. Raises InputError where nothing can be read."""
        return FORMATS[self.format].reader(self.path, report)


def open_writer(
    name: str,
    root: Path,
    categories: Sequence[Category],
    splits: Sequence[str],
    store: ImageStore,
    **options: object,
) -> Writer:
    """The writer of format `name` below `root`, the format's own folder in a staged dataset.

    `splits` are all the names that images may carry; `options` are the format's own
    (coco: segmentation, yolo: parts, voc: void_border). Raises ConfigError for an unknown name.
    """
    if name not in FORMATS:
        raise ConfigError(f"{name!r} is no dataset format; choose from {', '.join(FORMATS)}")
    return FORMATS[name].writer(root, categories, splits, store, **options)


def find_datasets(path: Path) -> list[Found]:
    """The datasets at a file or folder; where it is none itself, those in its folders named as formats.

    Raises InputError where nothing is recognised.
    """
    if not os.path.exists(path):  # noqa: PTH110 - Path's raises for a name that is too long
        raise InputError(f"{path} does not exist")
    for places in (dict.fromkeys(FORMATS, path), {name: path / name for name in FORMATS}):
        found = [
            Found(name, there)
            for name, place in places.items()
            if inside(path.resolve(), place.absolute())
            and (there := FORMATS[name].reader.find(place)) is not None
        ]
        if found:
            return found
    raise InputError(
        f"{path} is no dataset that is known: looked for a COCO annotation file (*.json, annotations/*.json, "
        "*/_annotations.coco.json), a YOLO data.yaml, and VOC's Annotations folder"
    )
