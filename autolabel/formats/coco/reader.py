"""Reads COCO instance segmentation as pycocotools does: polygons and run lengths, of any common layout.

Which files there are is found in `layout`; `records` parses them, `split` goes through one of them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from autolabel.errors import InputError
from autolabel.formats.coco import layout, records
from autolabel.formats.coco.layout import File
from autolabel.formats.coco.records import Categories, CategoryRecord, Contents, Id, Kept, identifier, shown
from autolabel.formats.coco.split import Split
from autolabel.formats.problems import Problem, Report, Rule
from autolabel.formats.reading import DatasetImage, inside, read_file


class CocoReader:
    """A folder with annotation files, one a split, or one such file.

    The classes are those of all files by name, in the order of their ids. Of records that share an id the
    first image and category count, and all annotations; images that share a file_name become one.
    """

    root: Path
    classes: Sequence[str]
    splits: Sequence[str]

    def __init__(self, found: Path, report: Report) -> None:
        self.root, files = layout.locate(found)
        if not files:
            raise InputError(
                f"{found} holds no COCO annotation file, a JSON file with images and annotations"
            )
        self._report = report
        self._files: list[tuple[File, dict[Id, str]]] = []
        reason = ""
        for file in files:
            try:
                kept, flaw = self._load(file, Categories)
            except ValueError as ex:
                reason = reason or f"{file.name} can't be read: {ex}"
                report(Problem(Rule.UNREADABLE_FILE, file.name, str(ex)))
                continue
            if flaw:
                report(Problem(Rule.NOT_STRICT_JSON, file.name, flaw))
            self._files.append((file, self._names(file, kept)))
            self._compare()
        if not self._files:
            raise InputError(f"nothing of {found} can be used: {reason}")
        names = (name for _, by_id in self._files for name in by_id.values())
        self.classes = list(dict.fromkeys(names))
        self.splits = [file.split for file in files]

    @classmethod
    def find(cls, path: Path) -> Path | None:
        """The folder or JSON file itself, where it has a list of annotations."""
        return layout.find(path)

    def images(self) -> Iterator[DatasetImage]:
        """Yield every image once, split by split, in the order of the files."""
        index = {name: class_id for class_id, name in enumerate(self.classes)}
        for file, by_id in self._files:
            try:
                contents, _ = self._load(file, Contents)
            except ValueError as ex:
                self._report(Problem(Rule.UNREADABLE_FILE, file.name, str(ex)))
                continue
            class_of = {category: index[name] for category, name in by_id.items()}
            yield from Split(self.root, file, class_of, self._report).images(contents)

    def _load(self, file: File, kind: type[Kept]) -> tuple[Kept, str]:
        """What is kept of a file, and why strict readers refuse it. Raises ValueError where it is lost."""
        path = inside(self.root, Path(file.name))
        if path is None:
            raise ValueError("it is a link that leads out of the dataset's folder")
        return records.parse(read_file(path, layout.LARGEST), kind)

    def _names(self, file: File, kept: Categories) -> dict[Id, str]:
        """The class names by category id, sorted by it."""
        by_id: dict[Id, str] = {}
        id_of: dict[str, Id] = {}
        for index, raw in enumerate(kept.categories):
            try:
                record = records.decode_category(raw)
            except records.BROKEN as ex:
                self._report_category(Rule.BAD_RECORD, file, f"categories[{index}]", shown(ex))
                continue
            self._take(record, file, f"categories[{index}]", by_id, id_of)
        return dict(sorted(by_id.items(), key=lambda each: (isinstance(each[0], str), each[0])))

    def _compare(self) -> None:
        """Report category ids of the last file that are other classes in the first."""
        (first, names), (last, others) = self._files[0], self._files[-1]
        for own, name in others.items():
            if names.get(own, name) != name:
                what = f"is {shown(name)} here, and {shown(names[own])} in {first.name}"
                self._report_category(Rule.CATEGORY_DIFFERS, last, f"category {shown(own)}", what)

    def _take(
        self, record: CategoryRecord, file: File, where: str, by_id: dict[Id, str], id_of: dict[str, Id]
    ) -> None:
        """Add a category to those before it."""
        own, name = identifier(record.id), record.name
        if own is None:
            self._report_category(Rule.MISSING_ID, file, where, f"the id of {shown(name)}")
        elif not isinstance(name, str):
            self._report_category(Rule.BAD_RECORD, file, where, "it has no name")
        elif own in by_id:
            what = f"{shown(name)} has the id of {shown(by_id[own])}, which keeps it"
            self._report_category(Rule.DUPLICATE_CATEGORY_ID, file, f"category {shown(own)}", what)
        else:
            by_id[own] = name
            if id_of.setdefault(name, own) != own:
                what = f"{shown(name)} is category {shown(id_of[name])} too; both are read as one class"
                self._report_category(Rule.CLASS_TWICE, file, f"category {shown(own)}", what)

    def _report_category(self, rule: Rule, file: File, where: str, what: str) -> None:
        self._report(Problem(rule, f"{file.name}: {where}", what))
