"""Reads COCO instance segmentation, one file a split, record by record.

Where the files lie is in `files`, what a record is in `records`, and how its mask is read in `masks`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Raw

from autolabel.errors import ImageError, InputError
from autolabel.formats.coco import records
from autolabel.formats.coco.files import AnnotationFile, annotation_files, find_image, is_dataset, root_of
from autolabel.formats.coco.masks import read_mask
from autolabel.formats.coco.records import BAD, Annotation, AnyContents, Contents, Header, identifier, shown
from autolabel.formats.problems import Problem, Report, Rule
from autolabel.formats.reading import DatasetImage, Instance, plain_name, read_file
from autolabel.geometry.rle import check_frame
from autolabel.sources.images import probe, read_bytes

_LARGEST = 2**34  # bytes of a file
_NEEDED = ("bbox", "area", "iscrowd")  # what COCO's evaluation needs beside ids and masks

_Id = int | str


class CocoReader:
    """A folder of COCO files (one a split), or one file; see `formats.reading.Reader`.

    Memory holds one file and its records at a time. Classes are those of all files by name, in the order of
    their ids. Of two images that share an id the second is skipped, of two annotations neither.
    """

    def __init__(self, found: Path, report: Report) -> None:
        self.root = root_of(found)
        self._report = report
        self._classes_of: dict[Path, dict[_Id, int]] = {}
        self._files: list[AnnotationFile] = []
        names: dict[str, int] = {}
        listed = annotation_files(found)
        for file in listed:
            header = self._load(file, Header, report)
            if header is not None:
                self._files.append(file)
                self._classes_of[file.path] = self._read_classes(file, header.categories, names)
        if not self._files:
            raise InputError(f"{found} has no COCO file that can be read")
        self.classes: Sequence[str] = list(names)
        self.splits: Sequence[str] = list(dict.fromkeys(file.split for file in self._files))

    @classmethod
    def find(cls, path: Path) -> Path | None:
        """A folder with COCO files, or one file; see `files`."""
        return path if is_dataset(path) else None

    def images(self) -> Iterator[DatasetImage]:
        """Yield every image with its instances, in the order of the files."""
        for file in self._files:
            contents = self._load(file, Contents, self._report_anew)
            if contents is not None:
                yield from _Split(
                    self.root, file, contents, self._classes_of[file.path], self._report
                ).images()

    def _report_anew(self, problem: Problem) -> None:
        if problem.rule is not Rule.NOT_STRICT_JSON:  # reported with the classes
            self._report(problem)

    def _load(self, file: AnnotationFile, kind: type[AnyContents], report: Report) -> AnyContents | None:
        where = file.path.relative_to(self.root).as_posix()
        try:
            contents, strict = records.parse_file(read_file(file.path, _LARGEST), kind)
        except ValueError as error:
            report(Problem(Rule.UNREADABLE_FILE, where, str(error)))
            return None
        if not strict:
            report(Problem(Rule.NOT_STRICT_JSON, where, "has NaN or Infinity, read as null"))
        return contents

    def _read_classes(
        self, file: AnnotationFile, raw: Sequence[Raw], names: dict[str, int]
    ) -> dict[_Id, int]:
        """Class ids by category id; new names are added to `names`, in the order of their ids."""
        where = file.path.relative_to(self.root).as_posix()
        found: list[tuple[_Id, str]] = []
        for index, each in enumerate(raw):
            try:
                category = records.category(each)
            except BAD as error:
                self._report(Problem(Rule.BAD_RECORD, where, f"category number {index + 1}: {error}"))
                continue
            found.append((identifier(category.id), shown(category.name)))
        for number, times in Counter(number for number, _ in found).items():
            if times > 1:
                self._report(
                    Problem(
                        Rule.DUPLICATE_CATEGORY_ID, where, f"{times} categories have the id {shown(number)}"
                    )
                )
        for name, times in Counter(name for _, name in dict(found).items()).items():
            if times > 1:
                self._report(Problem(Rule.CLASS_TWICE, where, f"{times} categories are named {name}"))
        found.sort(key=lambda each: (isinstance(each[0], str), each[0]))
        return {number: names.setdefault(name, len(names)) for number, name in found}


class _Split:
    """One file while its images are yielded."""

    def __init__(
        self, root: Path, file: AnnotationFile, contents: Contents, classes: dict[_Id, int], report: Report
    ) -> None:
        self._root = root
        self._split = file.split
        self._where = file.path.relative_to(root).as_posix()
        self._folders = list(file.folders)
        self._records = contents
        self._classes = classes
        self._report = report
        self._missing: Counter[str] = Counter()

    def images(self) -> Iterator[DatasetImage]:
        annotations = self._by_image()
        ids: set[_Id] = set()
        names: set[str] = set()
        for index, raw in enumerate(self._records.images, 1):
            try:
                image = records.image(raw)
            except BAD as error:
                self._report(
                    Problem(
                        Rule.BAD_RECORD,
                        self._where,
                        f"image number {index}: {error}",
                        image=f"image number {index}",
                    )
                )
                continue
            if image.file_name is None or image.id is None:
                lacking = "id" if image.id is None else "file_name"
                name = shown(image.file_name or f"image number {index}")
                self._skip(Rule.BAD_RECORD, name, f"image number {index} has no {lacking}", [])
                continue
            number, name = identifier(image.id), shown(image.file_name)
            if number in ids:
                self._skip(
                    Rule.DUPLICATE_IMAGE_ID, name, f"{name} has the id {shown(number)} of another image", []
                )
                continue
            ids.add(number)
            if name in names:
                self._report(Problem(Rule.FILE_NAME_TWICE, self._where, f"image {shown(number)}: {name}"))
            names.add(name)
            found = self._image(image, number, annotations.pop(number, []))
            if found is not None:
                yield found
        for number, rest in annotations.items():
            for each in rest:
                what = f"{_name(each)} is of image {shown(number)}, which is not there"
                self._report(Problem(Rule.UNKNOWN_IMAGE, self._where, what, instances=1))

    def _by_image(self) -> dict[_Id, list[Annotation]]:
        """The annotations by image, in their order; bad ones are reported."""
        grouped: dict[_Id, list[Annotation]] = defaultdict(list)
        seen: set[_Id] = set()
        for index, raw in enumerate(self._records.annotations, 1):
            try:
                each, wrong = records.annotation(raw)
            except (TypeError, *BAD) as error:
                what = "names no image or no category" if isinstance(error, TypeError) else str(error)
                self._report(
                    Problem(Rule.BAD_RECORD, self._where, f"annotation number {index}: {what}", instances=1)
                )
                continue
            if each.id is None:
                self._report(Problem(Rule.MISSING_ID, self._where, f"annotation number {index} has no id"))
            elif (number := identifier(each.id)) in seen:
                self._report(
                    Problem(Rule.DUPLICATE_ANNOTATION_ID, self._where, f"{_name(each)} is there twice")
                )
            else:
                seen.add(number)
            if wrong:
                what = f"{_name(each)} has what can't be read as {', '.join(wrong)}"
                self._report(Problem(Rule.BAD_RECORD, self._where, what))
            self._missing.update(key for key in _NEEDED if getattr(each, key) is None and key not in wrong)
            grouped[identifier(each.image_id)].append(each)
        for key, count in self._missing.items():
            self._report(Problem(Rule.MISSING_KEY, self._where, f"{count} annotations have no {key}"))
        self._records.annotations = []
        return grouped

    def _skip(self, rule: Rule, name: str, what: str, annotations: Sequence[Annotation]) -> None:
        self._report(Problem(rule, self._where, what, instances=len(annotations), image=name))

    def _image(
        self, image: records.Image, number: _Id, annotations: Sequence[Annotation]
    ) -> DatasetImage | None:
        """One image with its instances, or None where it has to be skipped."""
        stated = shown(image.file_name)
        name = plain_name(image.file_name or "")
        path, outside = find_image(self._root, name, self._folders) if name is not None else (None, True)
        if name is None or outside:
            self._skip(Rule.PATH_OUTSIDE, stated, f"{stated} leads out of the dataset's folder", annotations)
            return None
        size = _size(image, path)
        if size is None:
            what = f"image {shown(number)} ({stated}) has no width and height"
            self._skip(Rule.BAD_RECORD, stated, what, annotations)
            return None
        if path is None:
            self._report(Problem(Rule.IMAGE_MISSING, self._where, f"image {shown(number)}: {stated}"))
        found = [instance for each in annotations if (instance := self._instance(each, size)) is not None]
        return DatasetImage(name, path, self._split, size[1], size[0], found, self._where)

    def _instance(self, each: Annotation, size: tuple[int, int]) -> Instance | None:
        name = _name(each)
        class_id = self._classes.get(identifier(each.category_id))
        if class_id is None:
            what = f"{name} is of category {shown(each.category_id)}, which is not there"
            self._report(Problem(Rule.UNKNOWN_CLASS, self._where, what, instances=1))
            return None
        try:
            mask, broken = read_mask(each.segmentation, size)
        except (ValueError, *BAD) as error:
            self._report(Problem(Rule.BAD_GEOMETRY, self._where, f"{name}: {error}", instances=1))
            return None
        for rule, what in broken:
            self._report(Problem(rule, self._where, f"{name} {what}"))
        if each.iscrowd:
            self._report(Problem(Rule.CROWD, self._where, f"{name} has iscrowd 1"))
        box = None
        if each.bbox is not None:
            x, y, w, h = each.bbox
            box = (x, y, x + w, y + h)
        prompt = "" if each.prompt is None else shown(each.prompt)
        return Instance(
            class_id, mask, name, box, each.area, bool(each.iscrowd), each.score, prompt, each.track_id
        )


def _name(each: Annotation) -> str:
    return (
        f"annotation {shown(each.id)}"
        if each.id is not None
        else f"an annotation of image {shown(each.image_id)}"
    )


def _size(image: records.Image, path: Path | None) -> tuple[int, int] | None:
    """(height, width) as stated, or else those of the file; None where neither is there."""
    stated = (image.height, image.width)
    if all(side is not None and side == int(side) for side in stated):
        size = (int(image.height or 0), int(image.width or 0))
    else:
        try:
            if path is None:
                return None
            info = probe(read_bytes(path))
        except ImageError:
            return None
        size = (info.height, info.width)
    try:
        check_frame(size)
    except ValueError:
        return None
    return size
