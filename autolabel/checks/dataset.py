"""Goes through a dataset once and gathers what its reader and the rules on images and instances find."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from autolabel.checks.images import ImageRules
from autolabel.checks.instances import check_instances
from autolabel.formats import Found, find_datasets
from autolabel.formats.problems import Findings, Problem, Rule
from autolabel.formats.reading import Reader

_SHOWN = 3


@dataclass(slots=True)
class Checked:
    """What was found in one dataset; `splits` has the images and instances that could be read."""

    source: Found
    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)

    @property
    def exit_code(self) -> int:
        """3 where something would lose data."""
        return 3 if self.findings.by_severity()["error"] else 0

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints of the dataset; findings come worst first."""
        return {
            "format": self.source.format,
            "path": str(self.source.path),
            "splits": self.splits,
            "findings": [
                {
                    "rule": rule.name.lower(),
                    "severity": rule.severity,
                    "count": self.findings.counts[rule],
                    "advice": rule.advice,
                    "examples": [
                        {"where": each.where, "what": each.what} for each in self.findings.examples[rule]
                    ],
                }
                for rule in self._worst_first()
            ],
            "counts": self.findings.by_severity(),
        }

    def lines(self) -> Iterator[str]:
        """Yield a table for a terminal: by severity, with counts and the first examples."""
        images = sum(row["images"] for row in self.splits.values())
        instances = sum(row["instances"] for row in self.splits.values())
        counts = ", ".join(f"{count} {name}" for name, count in self.findings.by_severity().items())
        yield f"{self.source.format} {self.source.path}: {images} images, {instances} instances; {counts}"
        for rule in self._worst_first():
            count, name = self.findings.counts[rule], rule.name.lower()
            yield f"  {rule.severity:<8}{count:>7}  {name:<24}{rule.advice}"
            for each in self.findings.examples[rule][:_SHOWN]:
                yield f"{'':<19}{each}"
            if count > _SHOWN:
                yield f"{'':<19}... and {count - _SHOWN} more"

    def _worst_first(self) -> list[Rule]:
        order = list(Rule)
        severities = list(self.findings.by_severity())
        return sorted(
            self.findings.counts, key=lambda rule: (severities.index(rule.severity), order.index(rule))
        )


def check(path: str | Path) -> list[Checked]:
    """Verify the dataset at `path`, or those in its folders coco, yolo and voc. Only reads.

    Raises InputError where no dataset is recognised.
    """
    return [_check(found) for found in find_datasets(Path(path))]


def _check(found: Found) -> Checked:
    checked = Checked(found)
    report = checked.findings
    reader = found.open(report)
    checked.splits = {split: {"images": 0, "instances": 0} for split in reader.splits}
    used: Counter[int] = Counter()
    rules = ImageRules(reader.root, report)
    for image in tqdm(reader.images(), unit="image", desc="check", disable=None, leave=False):
        row = checked.splits[image.split]
        row["images"] += 1
        row["instances"] += len(image.instances)
        used.update(each.class_id for each in image.instances)
        rules.check(image)
        check_instances(image, reader.classes, report, boxes_are_exact=found.format == "coco")
    _check_whole(reader, checked, used)
    return checked


def _check_whole(reader: Reader, checked: Checked, used: Counter[int]) -> None:
    report = checked.findings
    for split, row in checked.splits.items():
        if not row["images"]:
            rule = Rule.EMPTY_TEST if split == "test" else Rule.EMPTY_SPLIT
            report(Problem(rule, split, "no image could be read, or none is listed"))
    if not used:
        report(Problem(Rule.NO_LABELS, str(reader.root.name), "no instance was read"))
        return
    for class_id, name in enumerate(reader.classes):
        if class_id not in used:
            report(Problem(Rule.UNUSED_CLASS, f"class {class_id}", name))
