"""Reads Pascal VOC: image sets, XML boxes, and mask pictures of objects or of classes only.

The files are parsed in `sets`, `classes`, `annotation` and `pictures`; how an image's labels come together
is in `instances`.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from autolabel.errors import ImageError, InputError
from autolabel.formats.problems import Problem, Report, Rule
from autolabel.formats.reading import DatasetImage, inside, plain_name, read_file
from autolabel.formats.voc import annotation, classes, pictures, sets
from autolabel.formats.voc.annotation import Annotation
from autolabel.formats.voc.instances import Labels, gather
from autolabel.formats.voc.pictures import Pixels
from autolabel.sources.images import probe, read_bytes
from autolabel.sources.listing import OTHER_SUFFIXES, READ_SUFFIXES

_OBJECTS, _CLASSES = "SegmentationObject", "SegmentationClass"
_IMAGES = ("JPEGImages", "images")
_IMAGE_SUFFIXES = READ_SUFFIXES + OTHER_SUFFIXES
_MAX_PICTURE = 1 << 28  # bytes


class VocReader:
    """A Pascal VOC dataset, one year of it; `root` is the folder with Annotations.

    Images that stand in no image set are reported after the others and not yielded.
    """

    root: Path
    classes: Sequence[str]
    splits: Sequence[str]

    def __init__(self, found: Path, report: Report) -> None:
        bases = _bases(found)
        if not bases:
            raise InputError(
                f"{found} holds no Annotations folder with XML files, and no image sets of masks"
            )
        if len(bases) > 1:
            names = ", ".join(base.name for base in bases)
            raise InputError(f"{found} holds more than one VOC dataset ({names}); name one of the folders")
        self.root = Path(os.path.realpath(bases[0]))
        self._report = report
        labelmap = classes.read_labelmap(self.root, report)
        self._sets = sets.read_sets(self.root, labelmap.names if labelmap else classes.VOC_NAMES, report)
        self._listed = bool(self._sets.splits)
        if not self._listed:
            self._sets.splits["train"] = self._every_stem()
        self._classes = labelmap or classes.from_found(self._find_names())
        self.classes, self.splits = self._classes.names, list(self._sets.splits)
        self._others: dict[str, str] | None = None
        self._whole = self._report_missing_folders()

    @classmethod
    def find(cls, path: Path) -> Path | None:
        """The folder with Annotations or mask pictures; the one above where there is more than one year."""
        bases = _bases(path)
        return bases[0] if len(bases) == 1 else path if bases else None

    def images(self) -> Iterator[DatasetImage]:
        """Yield every image once, split by split, in the order of the image sets."""
        listed: set[str] = set()
        for split, stems in self._sets.splits.items():
            listed.update(stems)
            for stem in stems:
                if (image := self._read(stem, split, self._report)) is not None:
                    yield image
        for stem in sorted(self._labelled_stems() - listed) if self._listed else ():
            skipped: list[Problem] = []
            image = self._read(stem, "", skipped.append)
            count = sum(problem.instances for problem in skipped) + (len(image.instances) if image else 0)
            what = f"{stem!r} is in no image set and is skipped"
            labels, name = (image.labels, image.file_name) if image else (f"Annotations/{stem}.xml", stem)
            self._report(Problem(Rule.NOT_IN_A_SPLIT, labels, what, count, name))

    def _read(self, stem: str, split: str, report: Report) -> DatasetImage | None:
        """One image with its instances; None where its labels can't be read: it would pass for background."""
        found = self._annotation(stem, report)
        name, path = self._image_file(stem, found or Annotation(), report)
        if stem in self._sets.segmented:
            for folder in self._whole:
                if not self._exists(f"{folder}/{stem}.png"):
                    what = "the picture of a listed image is not there"
                    report(Problem(Rule.MASK_MISSING, f"{folder}/{stem}.png", what))
        objects, in_classes = self._picture(_OBJECTS, stem, report), self._picture(_CLASSES, stem, report)
        parts = in_classes is not None and not self._exists(f"{_OBJECTS}/{stem}.png")
        labels = Labels(stem, found, objects, in_classes, parts)
        if parts and stem not in self._sets.segmented and _OBJECTS in self._whole:
            what = "there is no object picture: each connected part of a class is an instance"
            report(Problem(Rule.NO_OBJECT_PICTURE, labels.class_picture, what))
        if not any(map(self._exists, (labels.file, labels.masks, labels.class_picture))):
            report(
                Problem(Rule.NO_ANNOTATION, labels.file, "there is neither an annotation nor a mask picture")
            )
        if found is None and self._exists(labels.file) and objects is None and not parts:
            what = "the labels of the image can't be read, so it is skipped"
            report(Problem(Rule.NO_ANNOTATION, labels.file, what, image=name))
            return None
        height, width = self._frame(labels, path, report)
        instances = gather(labels, (height, width), self._classes, report)
        source = labels.masks if found is None and (objects is not None or parts) else labels.file
        return DatasetImage(name, path, split, width, height, instances, source)

    def _exists(self, file: str) -> bool:
        return os.path.lexists(self.root / file)

    def _load(self, file: str, limit: int, report: Report) -> bytes | None:
        """The content of a file; None where there is none, or where that was reported."""
        path = inside(self.root, Path(file))
        if path is None:
            report(Problem(Rule.PATH_OUTSIDE, file, "a link leads out of the dataset's folder"))
        elif os.path.lexists(path):
            try:
                return read_file(path, limit)
            except ValueError as ex:
                report(Problem(Rule.UNREADABLE_FILE, file, str(ex)))
        return None

    def _annotation(self, stem: str, report: Report) -> Annotation | None:
        file = f"Annotations/{stem}.xml"
        data = self._load(file, annotation.MAX_BYTES, report)
        return None if data is None else annotation.parse(data, file, report)

    def _picture(self, folder: str, stem: str, report: Report) -> Pixels | None:
        """The (h, w) labels of a mask picture, None where there is none that can be read."""
        file = f"{folder}/{stem}.png"
        data = self._load(file, _MAX_PICTURE, report)
        if data is None:
            return None
        try:
            pixels = pictures.decode(data)
            if pixels.ndim == 2:
                return pixels
            labels = (
                pictures.object_labels(pixels, classes.voc_colours())
                if folder == _OBJECTS
                else pictures.class_labels(pixels, self._classes.colours)
            )
        except ValueError as ex:
            report(Problem(Rule.UNREADABLE_FILE, file, str(ex)))
            return None
        report(Problem(Rule.MASK_NOT_INDEXED, file, "the picture holds colours, no labels"))
        return labels

    def _image_file(self, stem: str, found: Annotation, report: Report) -> tuple[str, Path | None]:
        """The file_name, and the file where it is there."""
        usual = f"JPEGImages/{stem}.jpg"
        file = usual if self._exists(usual) else self._other_image(stem, found)
        suffix = Path(file or usual).suffix
        path = inside(self.root, Path(file)) if file else None
        if file and path is None:
            report(
                Problem(Rule.PATH_OUTSIDE, file, "the image is a link that leads out of the dataset's folder")
            )
        elif path is None or not os.path.isfile(path):  # noqa: PTH113 - Path's raises for some names
            path = None
            report(
                Problem(Rule.IMAGE_MISSING, usual, "there is no such file, nor another image of this name")
            )
        elif file != usual:
            report(Problem(Rule.NOT_JPEG, file or usual, f"the image is not {usual}"))
        return f"{stem}{suffix}", path

    def _other_image(self, stem: str, found: Annotation) -> str | None:
        """An image that is not where VOC has it: of another suffix, in `images`, or beside its annotation."""
        if self._others is None:
            self._others = {}
            for folder in _IMAGES:
                for other, file in sets.find_stems(self.root, folder, _IMAGE_SUFFIXES, _ignore):
                    self._others.setdefault(other, file)
        beside = plain_name(found.filename)
        if stem in self._others or beside is None or len(beside.encode()) > sets.LONGEST_NAME:
            return self._others.get(stem)
        file = f"Annotations/{beside}"
        return file if beside.lower().endswith(_IMAGE_SUFFIXES) and self._exists(file) else None

    def _frame(self, labels: Labels, path: Path | None, report: Report) -> tuple[int, int]:
        """The (height, width) that the labels are for; of the image where they disagree, 0 where unknown."""
        stated = labels.annotation.size if labels.annotation else None
        pixels = [picture for picture in (labels.objects, labels.classes) if picture is not None]
        sizes = [*([stated] if stated else []), *((each.shape[0], each.shape[1]) for each in pixels)]
        if len(set(sizes)) == 1:
            return sizes[0]
        frame = sizes[0] if sizes else (0, 0)
        if path is not None:
            try:
                info = probe(read_bytes(path))
                frame = info.height, info.width
            except ImageError:
                pass  # `check` says so
        if stated and stated != frame:
            what = (
                f"the annotation is for {stated[1]} x {stated[0]} px, the image has {frame[1]} x {frame[0]}"
            )
            report(Problem(Rule.IMAGE_SIZE, f"Annotations/{labels.stem}.xml", what))
        return frame

    def _report_missing_folders(self) -> list[str]:
        """The folders in which each image that is listed for segmentation must have a picture."""
        whole = [folder for folder in (_OBJECTS, _CLASSES) if (self.root / folder).is_dir()]
        if whole == [_CLASSES]:
            what = "there is no such folder: each connected part of a class is an instance"
            self._report(Problem(Rule.NO_OBJECT_PICTURE, _OBJECTS, what))
        elif self._sets.segmented and len(whole) < 2:
            for folder in (each for each in (_OBJECTS, _CLASSES) if each not in whole):
                what = "there is no such folder, but images are listed for segmentation"
                self._report(Problem(Rule.MASK_MISSING, folder, what))
        return whole

    def _labelled_stems(self) -> set[str]:
        """The stems of all annotations and mask pictures."""
        folders = (("Annotations", ".xml"), (_OBJECTS, ".png"), (_CLASSES, ".png"))
        return {
            stem
            for folder, suffix in folders
            for stem, _ in sets.find_stems(self.root, folder, (suffix,), self._report)
        }

    def _every_stem(self) -> list[str]:
        """All stems of a dataset without image sets, also those of images without labels."""
        images = (sets.find_stems(self.root, folder, _IMAGE_SUFFIXES, self._report) for folder in _IMAGES)
        return sorted(self._labelled_stems().union(*({stem for stem, _ in found} for found in images)))

    def _find_names(self) -> set[str]:
        """The names of all objects: a first pass over the annotations, whose problems are reported later."""
        names: set[str] = set()
        for stem in (stem for stems in self._sets.splits.values() for stem in stems):
            found = self._annotation(stem, _ignore)
            names.update(each.name for each in (found.objects if found else ()) if each.name)
        return names


def _bases(path: Path) -> list[Path]:
    """The datasets that a folder is, or holds as years (VOC2012) of a devkit."""
    if _is_base(path):
        return [path]
    for folder in (path, path / "VOCdevkit"):
        try:
            years = sorted(each for each in folder.iterdir() if each.name.startswith("VOC"))
        except OSError:
            continue
        own = Path(os.path.realpath(path))
        if bases := [year for year in years if _is_base(year) and inside(own, year.absolute())]:
            return bases
    return []


def _is_base(folder: Path) -> bool:
    """Whether there are labels and image sets, or XML annotations (COCO has such a folder, too)."""
    try:
        if (folder / "ImageSets").is_dir():
            return any((folder / name).is_dir() for name in ("Annotations", _OBJECTS, _CLASSES))
        with os.scandir(folder / "Annotations") as entries:
            return any(entry.name.lower().endswith(".xml") for entry in entries)
    except OSError:
        return False


def _ignore(problem: Problem) -> None:
    """A report for what is reported elsewhere."""
