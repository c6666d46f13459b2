"""One annotation file: its images with their instances, and what is wrong with its records."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from autolabel.errors import ImageError
from autolabel.formats.coco import records
from autolabel.formats.coco.layout import File, find_image, image_folders
from autolabel.formats.coco.masks import read_mask
from autolabel.formats.coco.records import BROKEN, Contents, Id, ImageRecord, identifier, number, shown
from autolabel.formats.problems import Problem, Report, Rule
from autolabel.formats.reading import DatasetImage, Instance, inside, plain_name
from autolabel.sources.images import probe, read_bytes
from autolabel.sources.probe import MAX_PIXELS

_MOST_NAMED = 1_000  # broken image records that are reported one by one: a file may hold millions


@dataclass(slots=True)
class _Image:
    """An image with the ids it goes by: more than one where its file_name stands there twice."""

    record: ImageRecord
    ids: list[Id]
    where: str


@dataclass(slots=True)
class Split:
    """The reading of one file; `class_of` gives the class of each category id."""

    root: Path
    file: File
    class_of: Mapping[Id, int]
    report: Report
    _annotations: Sequence[msgspec.Raw] = ()
    _of_image: dict[Id, list[int]] = field(default_factory=dict)  # annotations by image, as indexes
    _lacking: dict[tuple[Rule, str], tuple[int, str]] = field(default_factory=dict)  # how many, and the first

    def images(self, contents: Contents) -> Iterator[DatasetImage]:
        """Yield every image once, in the file's order."""
        self._annotations = contents.annotations
        self._index()
        images = self._list_images(contents.images)
        self._report_orphans(images)
        folders = image_folders(self.file)
        for file_name, image in images.items():
            if read := self._read(file_name, image, folders):
                yield read
        for (rule, key), (count, first) in self._lacking.items():
            what = f"{key} is missing in {count} records, or is not what it must be; the first is {first}"
            self.report(Problem(rule, self.file.name, what))

    def _at(self, record: str) -> str:
        return f"{self.file.name}: {record}"

    def _note_lack(self, key: str, where: str, rule: Rule = Rule.MISSING_KEY) -> None:
        """Count a key that a record lacks: a tool that leaves one out does so a million times."""
        count, first = self._lacking.get((rule, key), (0, where))
        self._lacking[rule, key] = count + 1, first

    # --- annotations by image

    def _index(self) -> None:
        seen: set[Id] = set()
        for index, raw in enumerate(self._annotations):
            where = f"annotations[{index}]"
            try:
                key = records.decode_key(raw)
            except BROKEN as ex:
                self.report(Problem(Rule.BAD_RECORD, self._at(where), _reason(ex), instances=1))
                continue
            own, image = identifier(key.id), identifier(key.image_id)
            if own is None:
                self._note_lack("id", where, Rule.MISSING_ID)
            elif own in seen:
                what = f"{where} has the id of one before it"
                self.report(Problem(Rule.DUPLICATE_ANNOTATION_ID, self._at(f"annotation {shown(own)}"), what))
            else:
                seen.add(own)
            if image is None:
                what = f"no image has its image_id, {shown(repr(key.image_id))}"
                self.report(Problem(Rule.UNKNOWN_IMAGE, self._at(where), what, instances=1))
            else:
                self._of_image.setdefault(image, []).append(index)

    def _report_orphans(self, images: Mapping[str, _Image]) -> None:
        known = {each for image in images.values() for each in image.ids}
        for image_id, indexes in self._of_image.items():
            for index in indexes if image_id not in known else ():
                own = identifier(records.decode_key(self._annotations[index]).id)
                what = f"no image has its image_id, {shown(repr(image_id))}"
                self.report(
                    Problem(Rule.UNKNOWN_IMAGE, self._at(_annotation_name(own, index)), what, instances=1)
                )

    # --- images

    def _list_images(self, raws: Sequence[msgspec.Raw]) -> dict[str, _Image]:
        """The images by file_name. What is skipped is reported with its annotations."""
        images: dict[str, _Image] = {}
        name_of: dict[Id, str] = {}
        broken = 0
        for index, raw in enumerate(raws):
            where = f"images[{index}]"
            try:
                record = records.decode_image(raw)
            except BROKEN as ex:
                broken += 1
                if broken <= _MOST_NAMED:
                    self.report(Problem(Rule.BAD_RECORD, self._at(where), _reason(ex), image=where))
                continue
            own = identifier(record.id)
            name = shown(record.file_name) if isinstance(record.file_name, str) else where
            if own is None:
                self.report(Problem(Rule.MISSING_ID, self._at(where), f"the id of {name}", image=name))
                continue
            where = f"image {shown(own)} ({name})"
            if own in name_of:
                what = f"images[{index}] is skipped: {name_of[own]} has this id before it"
                image = name if name != name_of[own] else None
                self.report(Problem(Rule.DUPLICATE_IMAGE_ID, self._at(where), what, image=image))
                continue
            name_of[own] = name
            self._take(_Image(record, [own], where), name, images)
        if broken > _MOST_NAMED:
            more = f"{broken - _MOST_NAMED} more records of images"
            self.report(Problem(Rule.BAD_RECORD, self.file.name, f"{more} are no such records", image=more))
        return images

    def _take(self, image: _Image, name: str, images: dict[str, _Image]) -> None:
        """Add an image to the others, or to the one of its name."""
        [own] = image.ids
        stated = image.record.file_name
        if not isinstance(stated, str) or not stated:
            self._skip(Rule.BAD_RECORD, image, "it has no file_name", name)
            return
        file_name = plain_name(stated) or self._below(stated)
        if file_name is None:
            self._skip(Rule.PATH_OUTSIDE, image, "its file_name leads out of the dataset's folder", name)
            return
        first = images.setdefault(file_name, image)
        if first is image:
            return
        if _size(first.record) != _size(image.record):
            self._skip(Rule.FILE_NAME_TWICE, image, f"{first.where} is of another size", name)
            return
        first.ids.append(own)
        what = f"{first.where} has this file_name too, and gets its annotations"
        self.report(Problem(Rule.FILE_NAME_TWICE, self._at(image.where), what))

    def _below(self, stated: str) -> str | None:
        """The name below the dataset's folder of a file in it whose path is absolute, or goes up and down."""
        found = inside(self.root, (self.root / self.file.name).parent / stated)
        return plain_name(found.relative_to(self.root).as_posix()) if found and found.is_file() else None

    def _skip(self, rule: Rule, image: _Image, what: str, name: str) -> None:
        """Report an image that is not yielded, with its annotations."""
        count = sum(len(self._of_image.pop(each, ())) for each in image.ids)
        self.report(Problem(rule, self._at(image.where), what, instances=count, image=name))

    def _read(self, file_name: str, image: _Image, folders: list[str]) -> DatasetImage | None:
        """An image with its instances; None where it is skipped and was reported."""
        try:
            path = find_image(self.root, folders, file_name)
        except ValueError as ex:
            self._skip(Rule.PATH_OUTSIDE, image, str(ex), file_name)
            return None
        try:
            width, height = self._frame(image, path)
        except ValueError as ex:
            self._skip(Rule.BAD_RECORD, image, str(ex), file_name)
            return None
        if path is None:
            self.report(Problem(Rule.IMAGE_MISSING, self._at(image.where), "there is no such file"))
        indexes = [index for each in image.ids for index in self._of_image.get(each, ())]
        found = (self._instance(index, (height, width)) for index in indexes)
        instances = [instance for instance in found if instance is not None]
        return DatasetImage(file_name, path, self.file.split, width, height, instances, self.file.name)

    def _frame(self, image: _Image, path: Path | None) -> tuple[int, int]:
        """The width and height of the record, or else of the file. Raises ValueError without either."""
        width, height = _size(image.record)
        if width is not None and height is not None:
            if width * height > MAX_PIXELS:
                raise ValueError(
                    f"it is of {shown(width)} x {shown(height)} pixels, too many to decode safely"
                )
            return width, height
        if path is None:
            raise ValueError("it has no width and height, and there is no such file")
        try:
            info = probe(read_bytes(path))
        except ImageError as ex:
            raise ValueError(f"it has no width and height, and its file {ex}") from ex
        self._note_lack("width or height", image.where, Rule.MISSING_SIZE)
        return info.width, info.height

    # --- instances

    def _instance(self, index: int, size: tuple[int, int]) -> Instance | None:
        """An annotation as an instance; None where it is skipped and was reported."""
        try:
            record = records.decode_annotation(self._annotations[index])
        except BROKEN as ex:
            where = self._at(f"annotations[{index}]")
            self.report(Problem(Rule.BAD_RECORD, where, _reason(ex), instances=1))
            return None
        name = _annotation_name(identifier(record.id), index)
        where = self._at(name)
        category = identifier(record.category_id)
        class_id = None if category is None else self.class_of.get(category)
        if class_id is None:
            what = f"no category has its category_id, {shown(repr(record.category_id))}"
            self.report(Problem(Rule.UNKNOWN_CLASS, where, what, instances=1))
            return None
        try:
            mask, flaws = read_mask(record.segmentation, size)
        except ValueError as ex:
            self.report(Problem(Rule.BAD_GEOMETRY, where, shown(ex), instances=1))
            return None
        for rule, what in flaws:
            self.report(Problem(rule, where, what))
        box, area = records.box_xyxy(record.bbox), number(record.area)
        if mask is None and box is None:
            self.report(Problem(Rule.BAD_RECORD, where, "it has neither a mask nor a box", instances=1))
            return None
        crowd = record.iscrowd if record.iscrowd in (0, 1) else None
        for key, value in (("bbox", box), ("area", area), ("iscrowd", crowd)):
            if value is None:
                self._note_lack(key, name)
        if crowd:
            self.report(Problem(Rule.CROWD, where, "iscrowd is 1"))
        return Instance(
            class_id,
            mask,
            name,
            box,
            area,
            bool(crowd),
            number(record.score),
            record.prompt if isinstance(record.prompt, str) else "",
            records.track(record.track_id),
            records.identifier(record.id),
        )


def _size(record: ImageRecord) -> tuple[int | None, int | None]:
    return records.pixels(record.width), records.pixels(record.height)


def _annotation_name(own: Id | None, index: int) -> str:
    return f"annotations[{index}]" if own is None else f"annotation {shown(own)}"


def _reason(ex: Exception) -> str:
    return "it is nested too deep" if isinstance(ex, RecursionError) else shown(ex)
