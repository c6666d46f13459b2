"""Reads yolo."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from autolabel.formats.problems import Report
from autolabel.formats.reading import DatasetImage


class YoloReader:
    """To be written."""

    root: Path
    classes: Sequence[str]
    splits: Sequence[str]

    def __init__(self, found: Path, report: Report) -> None:
        raise NotImplementedError

    @classmethod
    def find(cls, path: Path) -> Path | None:
        return None

    def images(self) -> Iterator[DatasetImage]:
        raise NotImplementedError
