"""`convert`: a dataset of one format written in another, image by image, with every loss counted."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from tqdm import tqdm

from autolabel.errors import AutolabelError, ImageError, InputError, UsageError
from autolabel.formats import FORMATS, Found, find_datasets, open_writer
from autolabel.formats.base import ExportImage, FormatReport, Writer
from autolabel.formats.images import ImageStore
from autolabel.formats.problems import Findings, Problem, Report, printable
from autolabel.formats.reading import DatasetImage, Instance, Reader
from autolabel.formats.tree import check_output, staged
from autolabel.geometry import rle
from autolabel.types import Category, Detection
from autolabel.version import __version__

_SHOWN = 10


@dataclass(slots=True)
class Conversion:
    """What became of a dataset: read = written + the sum of `lost`.

    `lost` counts instances by reason: those of `formats.base.Lost`, `no_mask`, `image_failed`, and
    `unreadable` for records that the reader had to skip. `changed` is what the format holds only otherwise,
    as its writer counts it; `failures` are (image, reason).
    """

    source: Found
    to: str
    output: str
    images: int = 0
    read: int = 0
    written: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    changed: dict[str, int] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    renamed_classes: dict[str, str] = field(default_factory=dict)
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    @property
    def exit_code(self) -> int:
        """3 where images or records could not be read, or no instance is left; other losses are expected."""
        nothing = self.read and not self.written
        return 3 if self.failures or self.findings.lost or nothing else 0

    def to_json(self) -> dict[str, Any]:
        """The summary, which `--json` prints."""
        return {
            "from": self.source.format,
            "to": self.to,
            "images": self.images,
            "failed": len(self.failures),
            "instances": {
                "read": self.read,
                "written": self.written,
                "lost": dict(sorted(self.lost.items())),
            },
            "changed": self.changed,
            "renamed": len(self.renamed),
            "problems": {rule.name.lower(): count for rule, count in self.findings.counts.items()},
            "splits": self.splits,
            "output": self.output,
        }

    def lines(self) -> Iterator[str]:
        """Yield the summary for a terminal."""
        good = self.images - len(self.failures)
        yield (
            f"{self.source.format} -> {self.to}: {good} of {self.images} images, "
            f"{self.written} of {self.read} instances"
        )
        if self.lost:
            yield f"  instances lost: {_counts(self.lost)}"
        if self.lost["crowd"]:
            yield f"  {self.to} has no crowds; tools that give them to single objects mean iscrowd 0"
        if self.changed:
            yield f"  changed to fit {self.to}: {_counts(self.changed)}"
        if self.renamed or self.renamed_classes:
            names = f"{len(self.renamed)} images, {len(self.renamed_classes)} classes"
            yield f"  renamed: {names} (dataset.json has the list)"
        for split, row in self.splits.items():
            yield f"  {split}: {row['images']} images, {sum(row['instances'].values())} instances"
        yield f"wrote {self.output}"

    def troubles(self) -> Iterator[str]:
        """Yield the failed images, and what is wrong with the source."""
        yield from (f"failed: {name}: {reason}" for name, reason in self.failures[:_SHOWN])
        if len(self.failures) > _SHOWN:
            yield f"... and {len(self.failures) - _SHOWN} more failed, in failures.csv"
        for rule, count in self.findings.lost.items():
            yield f"not read: {count} x {rule.name.lower()}, such as {self.findings.examples[rule][0]}"
        if sum(self.findings.counts.values()) > self.findings.lost.total():
            yield f"the source breaks rules of its format; `autolabel check {self.source.path}` lists them"


def convert(source: str | Path, output: str | Path, to: str, *, overwrite: bool = False) -> Conversion:
    """Write the dataset at `source` into the folder `output` in the format `to`.

    Splits, classes and file names stay, as far as the format allows. Images and records that can't be read
    are left out and counted. Raises UsageError where there is nothing to convert, or `output` can't be used.
    """
    if to not in FORMATS:
        raise UsageError(f"{to!r} is no dataset format; choose from {', '.join(FORMATS)}")
    source, output = Path(source), Path(output)
    found = _only(find_datasets(source), source)
    check_output(output, overwrite=overwrite, sources=[source])
    done = Conversion(found, to, str(output))
    try:
        with staged(output, overwrite=overwrite) as folder, _Losses(folder) as losses:
            reader = found.open(losses.report(done.findings))
            _write(reader, folder, done, losses)
            losses.failures(done.failures)
            _write_manifest(folder, reader, done)
    except OSError as error:
        raise AutolabelError(f"{output} can't be written ({error.strerror}); what was there stays") from None
    return done


def _only(found: Sequence[Found], source: Path) -> Found:
    if len(found) > 1:
        places = ", ".join(str(each.path) for each in found)
        raise InputError(f"{source} holds several datasets ({places}); name one of them")
    return found[0]


def _write(reader: Reader, folder: Path, done: Conversion, losses: "_Losses") -> None:
    categories = [Category(index, name, (name,)) for index, name in enumerate(reader.classes)]
    writer = open_writer(done.to, folder, categories, reader.splits, ImageStore("copy", verify=True))
    done.splits = {
        split: {"images": 0, "instances": dict.fromkeys(reader.classes, 0)} for split in reader.splits
    }
    for image in tqdm(reader.images(), unit="image", desc="convert", disable=None, leave=False):
        done.images += 1
        done.read += len(image.instances)
        _put(image, writer, reader.classes, done, losses)
    done.failures += done.findings.images
    done.images += len(done.findings.images)
    done.read += done.findings.instances
    report = writer.close()
    if not any(row["images"] for row in done.splits.values()):
        raise InputError(f"nothing of {done.source.path} can be converted: {_first_reason(done)}")
    _take_in(report, done)


def _first_reason(done: Conversion) -> str:
    if done.failures:
        return ": ".join(done.failures[0])
    worst = next((each[0] for rule, each in done.findings.examples.items() if rule.severity == "error"), None)
    return "it lists no image" if worst is None else str(worst)


def _put(
    image: DatasetImage, writer: Writer, classes: Sequence[str], done: Conversion, losses: "_Losses"
) -> None:
    """Write one image, or note why it can't be."""
    held, lost = _sorted_out(image.instances)
    try:
        if image.path is None:
            raise ImageError("the dataset's folder has no such file")
        detections = [detection for _, detection in held]
        origin = {id(detection): instance for instance, detection in held}
        size = (image.width, image.height)
        not_held = writer.add(ExportImage(image.file_name, image.path, *size, image.split, detections))
        lost += [(origin[id(each.detection)], each.reason) for each in not_held]
    except ImageError as error:
        done.failures.append((printable(image.file_name), printable(str(error))))
        lost = [(instance, "image_failed") for instance in image.instances]
    else:
        row = done.splits[image.split]
        row["images"] += 1
        gone = {id(instance) for instance, _ in lost}
        for instance in image.instances:
            if id(instance) not in gone:
                done.written += 1
                row["instances"][classes[instance.class_id]] += 1
    for instance, reason in lost:
        done.lost[reason] += 1
        record = f"{image.labels}: {instance.where}"
        losses.add(
            printable(image.file_name), printable(classes[instance.class_id]), printable(record), reason
        )


def _sorted_out(
    instances: Sequence[Instance],
) -> tuple[list[tuple[Instance, Detection]], list[tuple[Instance, str]]]:
    """The instances that have a mask, as detections, and the others with the reason why they are lost."""
    held, lost = [], []
    for each in instances:
        if each.mask is None or not rle.area(each.mask):
            lost.append((each, "no_mask"))
            continue
        detection = Detection(
            each.class_id, each.confidence, each.prompt, each.mask, each.track_id, crowd=each.crowd
        )
        held.append((each, detection))
    return held, lost


def _take_in(report: FormatReport, done: Conversion) -> None:
    done.changed = report.degradations
    done.renamed, done.renamed_classes = report.renamed, report.renamed_classes
    if done.findings.instances:
        done.lost["unreadable"] += done.findings.instances


class _Losses:
    """The open dropped.csv of a conversion: a line for every instance that is not written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = (folder / "dropped.csv").open("w", encoding="utf-8", errors="replace", newline="")
        self._table = csv.writer(self._file, lineterminator="\n")
        self._table.writerow(["image", "class", "record", "reason", "instances"])

    def __enter__(self) -> "_Losses":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, image: str, category: str, record: str, reason: str) -> None:
        """Note one instance."""
        self._table.writerow([image, category, record, reason, 1])

    def report(self, findings: Findings) -> Report:
        """A report that passes on to `findings` and notes what the reader skips."""

        def note(problem: Problem) -> None:
            findings(problem)
            if problem.instances:
                rule = problem.rule.name.lower()
                self._table.writerow([problem.image or "", "", str(problem), rule, problem.instances])

        return note

    def failures(self, failures: Sequence[tuple[str, str]]) -> None:
        """Write failures.csv."""
        with (self._folder / "failures.csv").open(
            "w", encoding="utf-8", errors="replace", newline=""
        ) as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["image", "reason"])
            table.writerows(sorted(failures))


def _write_manifest(folder: Path, reader: Reader, done: Conversion) -> None:
    data = {"version": __version__, "classes": list(reader.classes), **done.to_json()}
    data |= {"renamed": done.renamed, "renamed_classes": done.renamed_classes}
    del data["output"]  # the dataset may be moved
    (folder / "dataset.json").write_bytes(
        orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))
