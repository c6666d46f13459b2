"""Reads YOLO datasets (polygons or boxes) as Ultralytics does, and tells where it would lose something."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from autolabel.errors import ImageError
from autolabel.formats.problems import Problem, Report, Rule
from autolabel.formats.reading import DatasetImage, Instance, inside, read_file
from autolabel.formats.yolo.data import find_data, read_data
from autolabel.formats.yolo.listing import (
    Listing,
    files_below,
    label_path,
    list_images,
    outer_label_path,
    shown,
)
from autolabel.formats.yolo.rows import Frame, count_rows, is_label, read_rows
from autolabel.sources.images import Info, probe, read_bytes

_LARGEST = 2**26  # bytes of a label file
_LEAST_SIDE = 10  # px


class YoloReader:
    """A folder with a data.yaml. Every row that has one meaning is an instance, box rows one without a mask.

    What Ultralytics would drop is reported, and is skipped only where it can't be understood.
    """

    root: Path
    classes: Sequence[str]
    splits: Sequence[str]

    def __init__(self, found: Path, report: Report) -> None:
        self._data = read_data(found, report)
        self._report = report
        self._owners: dict[str, str] = {}  # label file: the first image that has it
        self.root = self._data.root
        self.classes = self._data.classes
        self.splits = list(self._data.splits)

    @classmethod
    def find(cls, path: Path) -> Path | None:
        """The data.yaml that `path` is or has: by name, or the only YAML file with names and splits."""
        return find_data(path)

    def images(self) -> Iterator[DatasetImage]:
        """Yield every image once, split by split, sorted by path."""
        self._owners.clear()
        others: list[tuple[str, str]] = []
        for split, sources in self._data.splits.items():
            listing = list_images(sources, self._data, self._report)
            yield from self._split(split, listing)
            others += [(path, listing.folder) for path in listing.others]
        for path, folder in others:
            self._report_other(path, folder)
        self._report_unclaimed()

    def _split(self, split: str, listing: Listing) -> Iterator[DatasetImage]:
        kinds: Counter[str] = Counter()
        unlabelled = []
        for path in listing.images:
            file_name = shown(path, listing.folder)
            label = self._label(path)
            if label is None:
                unlabelled.append(file_name)
            else:
                self._claim(label, path)
            info = self._info(path, file_name, label)
            instances = None if info is None else self._instances(label, info, file_name)
            if info is None or instances is None:
                continue
            kinds[_kind(instances)] += 1
            labels = shown(label or label_path(path, self.root), self.root)
            real = inside(self.root, Path(path))
            yield DatasetImage(file_name, real, split, info.width, info.height, instances, labels)
        if unlabelled:
            what = f"{len(unlabelled)} images have none, the first is {unlabelled[0]}"
            self._report(Problem(Rule.NO_LABEL_FILE, split, what))
        if kinds["boxes"] and kinds["polygons"]:
            what = f"{kinds['boxes']} label files have boxes only, beside {kinds['polygons']} with polygons"
            self._report(Problem(Rule.BOX_ROW, split, what))

    def _label(self, path: str) -> str | None:
        """The label file of an image, None where there is none."""
        label, outer = label_path(path, self.root), outer_label_path(path, self.root)
        if os.path.lexists(label):
            return label
        if os.path.lexists(outer):
            what = f"its label is {shown(outer, self.root)}, and looked for at {shown(label, self.root)}"
            self._report(Problem(Rule.IMAGES_FOLDER, shown(path, self.root), what))
            return outer
        return None

    def _claim(self, label: str, path: str) -> None:
        owner = self._owners.setdefault(label, path)
        if owner != path:
            what = f"is the label of {shown(owner, self.root)} and {shown(path, self.root)}"
            self._report(Problem(Rule.LABEL_SHARED, shown(label, self.root), what))

    def _info(self, path: str, file_name: str, label: str | None) -> Info | None:
        """What an image is; None where it can't be read, and was reported with its labels."""
        file = inside(self.root, Path(path))
        if file is None:
            self._skip(Rule.PATH_OUTSIDE, path, "leads out of the dataset's folder", file_name, label)
        elif not os.path.lexists(file):
            self._skip(Rule.IMAGE_MISSING, path, "is listed and not there", file_name, label)
        else:
            try:
                info = probe(read_bytes(file))
            except ImageError as ex:
                self._skip(Rule.IMAGE_UNREADABLE, path, str(ex), file_name, label)
                return None
            if min(info.width, info.height) < _LEAST_SIDE:
                what = f"has {info.width} x {info.height} px"
                self._report(Problem(Rule.TINY_IMAGE, shown(path, self.root), what))
            return info
        return None

    def _skip(self, rule: Rule, path: str, what: str, file_name: str, label: str | None) -> None:
        rows = self._count(label)
        self._report(Problem(rule, shown(path, self.root), what, instances=rows, image=file_name))

    def _instances(self, label: str | None, info: Info, file_name: str) -> list[Instance] | None:
        """The instances of an image; None where its label can't be read, and was reported."""
        if label is None:
            return []
        where = shown(label, self.root)
        try:
            data = self._read(label)
        except _LabelError as ex:
            self._report(Problem(ex.rule, where, ex.what, image=file_name))
            return None
        frame = Frame(info.width, info.height, len(self.classes), self._data.keypoints)
        return read_rows(data, where, frame, self._report)

    def _read(self, label: str) -> bytes:
        file = inside(self.root, Path(label))
        if file is None:
            raise _LabelError(Rule.PATH_OUTSIDE, "is a link that leads out of the dataset's folder")
        try:
            return read_file(file, _LARGEST)
        except ValueError as ex:
            raise _LabelError(Rule.UNREADABLE_FILE, str(ex)) from ex

    def _count(self, label: str | None) -> int:
        """The rows of a label file, 0 where it can't be read."""
        try:
            return 0 if label is None else count_rows(self._read(label))
        except _LabelError:
            return 0

    def _report_other(self, path: str, folder: str) -> None:
        """Report an image of a suffix that is not read, where it has a label of its own."""
        label = label_path(path, self.root)
        if label in self._owners or not os.path.lexists(label):
            return
        self._owners[label] = path
        what = f"is a {Path(path).suffix} file"
        self._skip(Rule.IMAGE_NOT_LISTED, path, what, shown(path, folder), label)

    def _report_unclaimed(self) -> None:
        """Report label files beside the splits' own that no image has."""
        images = [source for sources in self._data.splits.values() for source in sources if source.is_dir()]
        folders = {str(Path(label_path(f"{folder}/x.jpg", self.root)).parent) for folder in images}
        for folder in filter(os.path.isdir, sorted(folders)):
            if any(folder.startswith(f"{other}/") for other in folders):
                continue
            for path in sorted(files_below(Path(folder), self.root, self._report)):
                if path.endswith(".txt") and path not in self._owners:
                    self._report_without_image(path)

    def _report_without_image(self, path: str) -> None:
        where = shown(path, self.root)
        try:
            data = self._read(path)
        except _LabelError as ex:
            self._report(Problem(ex.rule, where, ex.what))
            return
        if is_label(data):  # and no list of classes, or a text about the dataset
            rows = count_rows(data)
            self._report(Problem(Rule.LABEL_WITHOUT_IMAGE, where, f"has {rows} rows", instances=rows))


class _LabelError(Exception):
    """A label file that can't be read, and why."""

    def __init__(self, rule: Rule, what: str) -> None:
        super().__init__(what)
        self.rule = rule
        self.what = what


def _kind(instances: Sequence[Instance]) -> str:
    """Whether an image has polygons, or boxes only, or nothing."""
    if not instances:
        return "nothing"
    return "polygons" if any(each.mask is not None for each in instances) else "boxes"
