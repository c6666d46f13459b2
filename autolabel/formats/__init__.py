"""The dataset formats: one registry line each, and the call that opens a writer by name."""

from collections.abc import Callable, Sequence
from pathlib import Path

from autolabel.errors import ConfigError
from autolabel.formats.base import Writer
from autolabel.formats.coco import CocoWriter
from autolabel.formats.images import ImageStore
from autolabel.formats.voc import VocWriter
from autolabel.formats.yolo import YoloWriter
from autolabel.types import Category

FORMATS: dict[str, Callable[..., Writer]] = {
    "coco": CocoWriter,
    "yolo": YoloWriter,
    "voc": VocWriter,
}


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
    return FORMATS[name](root, categories, splits, store, **options)
