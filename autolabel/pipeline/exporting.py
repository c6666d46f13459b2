"""`export`: kept answers become a dataset: filtered, split, written. Never touches the network."""

import csv
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from autolabel.config import Config
from autolabel.errors import AutolabelError, ImageError, Interrupted
from autolabel.filters import Dropped
from autolabel.formats import open_writer
from autolabel.formats.base import ExportImage, FormatReport, Writer
from autolabel.formats.images import ImageStore
from autolabel.formats.tree import check_output, staged
from autolabel.geometry import rle
from autolabel.pipeline import manifest
from autolabel.pipeline.choosing import choose, left_out, why_nothing
from autolabel.pipeline.flags import Flags
from autolabel.pipeline.inventory import check_run, sources_of
from autolabel.pipeline.results import Labelled, Run, Survey
from autolabel.pipeline.reviewing import ReviewCounts, Reviewed, Unmet
from autolabel.pipeline.splitting import split
from autolabel.pipeline.summary import FORMAT_LIMIT, Summary
from autolabel.splits import SPLITS
from autolabel.types import Category, Detection, FrameItem, ImageItem


def export(
    config: Config,
    *,
    sample: Sequence[ImageItem] | None = None,
    overwrite: bool = False,
    resplit: bool = False,
    reviewed_only: bool = False,
) -> Summary:
    """Write the dataset of `config` from kept answers, or of the `sample` of its images alone.

    Decisions of the review come before the filters; with `reviewed_only` its accepted images alone are
    written. The old dataset is replaced only once the new one is whole, and stays where there is no image to
    write.
    Raises UsageError where nothing is labelled yet or the output can't be written.
    """
    started = time.monotonic()
    check(config, overwrite=overwrite)
    with Run(config, sample) as run, run.store.exclusive("export"):
        summary = Summary(run=config.run)
        try:
            found = run.survey()
            summary = _summary(found, config)
            summary.warnings += [run.asked.warning] if run.asked.warning else []
            _write(run, found, summary, overwrite=overwrite, resplit=resplit, reviewed_only=reviewed_only)
        except OSError as error:
            reason = f"{config.output} can't be written ({error.strerror}); the old dataset stays"
            raise AutolabelError(reason) from None
        except KeyboardInterrupt:
            stop = Interrupted("interrupted before the new dataset was whole; the old one stays")
            stop.summary = replace(
                summary,
                answered=0,
                exported=0,
                dropped=Counter(),
                splits={},
                prompts={},
                review=ReviewCounts(),
            )
            raise stop from None
    summary.seconds = time.monotonic() - started
    return summary


def check(config: Config, *, overwrite: bool = True) -> None:
    """Raise OutputError where the run or the output folder may not be written.

    Neither lies among the images, and what autolabel did not write is only replaced with `overwrite`.
    """
    check_run(config)
    output, run = Path(config.output), Path(config.run)
    check_output(output, overwrite=overwrite, sources=sources_of(config), keep=[run])


def _summary(found: Survey, config: Config) -> Summary:
    return Summary(
        images=len(found.labelled) + len(found.failures),
        labelled=len(found.labelled),
        failed=len(found.failures),
        failures=found.failures,
        run=config.run,
    )


def _write(
    run: Run, found: Survey, summary: Summary, *, overwrite: bool, resplit: bool, reviewed_only: bool
) -> None:
    config = run.config
    revisions = run.store.revisions()  # of one moment: a reviewer may be at work
    labelled, entries = choose(run, found.labelled, summary, revisions, reviewed_only=reviewed_only)
    if not entries:
        why, summary.unwritten = why_nothing(config, found, reviewed_only=reviewed_only)
        summary.warnings.append(f"{why}, so nothing is written and {config.output} stays as it is")
        return
    splits = split(run, entries, summary, resplit=resplit, is_part=run.is_sample or reviewed_only)
    with staged(Path(config.output), overwrite=overwrite) as folder:
        used = [s for s in SPLITS if config.split.shares[s] > 0 or s in splits.values()]
        with _Export(run, folder, used, summary, revisions, reviewed_only=reviewed_only) as out:
            bar = tqdm(labelled, unit="image", desc="export", disable=None, leave=False)
            for entry in bar:
                out.add(entry, splits.get(entry.item.file_name))
        summary.failures.sort()
        _write_failures(folder / "failures.csv", summary.failures)
        flagged = out.flags.counts if out.flags else {}
        visual = run.asked.visual.settings if run.asked.visual else None
        manifest.write(
            folder / "dataset.json",
            config,
            summary,
            out.reports,
            out.degradations,
            flagged,
            visual,
            reviewed_only=reviewed_only,
        )
        if flagged:
            counts = ", ".join(f"{count} {reason}" for reason, count in sorted(flagged.items()))
            summary.warnings.append(f"masks that don't fit their box: {counts}; flagged.csv lists them")
        summary.warnings += summary.review.warnings()
    summary.output = config.output


class _Export:
    """The open files of one export."""

    def __init__(
        self,
        run: Run,
        folder: Path,
        splits: Sequence[str],
        summary: Summary,
        revisions: Mapping[bytes, int],
        *,
        reviewed_only: bool,
    ) -> None:
        config = run.config
        self._run = run
        self._revisions = revisions
        self._unmet: dict[bytes, Unmet] = {}  # by content
        self._reviewed_only = reviewed_only
        self._summary = summary
        self._images = ImageStore(config.export.images)
        self._writers: dict[str, Writer] = {
            name: open_writer(
                name,
                folder / name,
                run.categories,
                splits=splits,
                store=self._images,
                **config.export.options(name),
            )
            for name in config.export.formats
        }
        self._dropped_file: IO[str] = (folder / "dropped.csv").open("w", encoding="utf-8", newline="")
        self._dropped = csv.writer(self._dropped_file, lineterminator="\n")
        self._dropped.writerow(["image", "class", "prompt", "confidence", "reason", "kept_by"])
        boxes = any(p.box_xyxy for entry in run.asked.by_image.values() for p in entry.prompts)
        self.flags = Flags(folder / "flagged.csv", run.categories) if boxes else None
        self.reports: dict[str, FormatReport] = {}
        self.degradations: Counter[str] = Counter()
        names = [category.name for category in run.categories]
        summary.splits = {s: {"images": 0, "instances": dict.fromkeys(names, 0)} for s in splits}
        summary.prompts = {prompt.text: [0, 0] for prompt in run.asked.texts}

    def __enter__(self) -> "_Export":
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self._dropped_file.close()
        if self.flags:
            self.flags.close()
        for name, writer in self._writers.items():
            self.reports[name] = writer.close()
        if self._images.links_failed:
            self._summary.warnings.append(
                f"hard links don't work here: {self._images.links_failed} images were copied instead"
            )

    def add(self, entry: Labelled, split: str | None) -> None:
        """Filter one image and write it into every format; without a split it is only accounted for."""
        item = entry.item
        try:
            found = self._run.reviewed(entry, self._revisions)
            reason = left_out(found.applied, reviewed_only=self._reviewed_only)
            kept, dropped = found.kept, found.dropped
            if reason:
                kept, dropped = [], [Dropped(d, reason) for d in found.applied.detections]
            _check(found, split, kept)
            frame = item if isinstance(item, FrameItem) else None
            image = ExportImage(
                item.file_name, item.path, entry.width, entry.height, split or "", kept, frame
            )
            if split and not reason and self._run.config.export.images != "none":
                # where nothing was asked about an image, nobody has looked whether it is whole
                self._images.open(image, verify=not any(d.asked for d in found.applied.detections))
        except ImageError as error:  # the file has changed or gone since it was labelled
            self._summary.fail(item.file_name, str(error))
            return
        self._account(image, found, kept, dropped)
        unmet = self._summary.review.add(
            found.review, found.applied, left_out=reason is not None, before=self._unmet.get(entry.image)
        )
        if entry.image in self._revisions:  # few are: what the others lack is nothing
            self._unmet[entry.image] = unmet
        if split and not reason:
            self._put(image, split)

    def _account(
        self, image: ExportImage, found: Reviewed, kept: Sequence[Detection], dropped: Sequence[Dropped]
    ) -> None:
        self.degradations.update(found.degradations)
        for drop in dropped:
            self._drop(image, drop.detection, drop.reason, drop.kept_by)
        if self.flags:
            empty = [drop.detection for drop in dropped if drop.reason == "empty_mask"]
            self.flags.add(image.file_name, [*kept, *empty])
        self._summary.answered += len(found.applied.detections)
        for detection in found.applied.detections:
            self._summary.prompts.setdefault(detection.prompt, [0, 0])[0] += 1

    def _put(self, image: ExportImage, split: str) -> None:
        for name, writer in self._writers.items():
            try:
                not_held: Sequence[Detection] = [lost.detection for lost in writer.add(image)]
            except (
                ImageError
            ) as error:  # what this format needs can't be made of the image, as JPEG of huge ones
                not_held = image.detections
                self._summary.warnings.append(f"{name} leaves out {image.file_name}: {error}")
            for detection in not_held:
                self._drop(image, detection, FORMAT_LIMIT + name, None)
        self._count(split, image.detections)

    def _count(self, split: str, kept: Sequence[Detection]) -> None:
        summary = self._summary
        summary.exported += len(kept)
        row: dict[str, Any] = summary.splits[split]
        row["images"] += 1
        for detection in kept:
            summary.prompts[detection.prompt][1] += 1
            row["instances"][self._run.categories[detection.class_id].name] += 1

    def _drop(self, image: ExportImage, detection: Detection, reason: str, kept_by: Detection | None) -> None:
        self._summary.dropped[reason] += 1
        category, prompt, confidence = _naming(detection, self._run.categories)
        winner = "/".join(_naming(kept_by, self._run.categories)) if kept_by else ""
        self._dropped.writerow([image.file_name, category, prompt, confidence, reason, winner])


def _check(found: Reviewed, split: str | None, kept: Sequence[Detection]) -> None:
    """Raise ImageError for an image that got no mask at all, or another answer since the splits were made."""
    if split is None and kept:
        raise ImageError("its answers have changed while the dataset was written; export again")
    applied = found.applied
    if applied.state in ("accepted", "rejected"):
        return  # somebody has looked
    left = [d for i, d in enumerate(applied.detections) if i not in applied.rejected]
    boxes = [d for d in left if d.asked is not None and d.asked.box_xyxy is not None]
    if boxes and len(boxes) == len(left) and not any(rle.area(d.mask) for d in boxes):
        raise ImageError(
            f"none of its {len(boxes)} boxes got a mask, and it is not without objects; "
            "set `visual` to a model, or leave the image out"
        )


def _naming(detection: Detection, categories: Sequence[Category]) -> tuple[str, str, str]:
    confidence = "" if detection.confidence is None else f"{detection.confidence:.6g}"
    return categories[detection.class_id].name, detection.prompt, confidence


def _write_failures(path: Path, failures: Sequence[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "reason"])
        table.writerows(failures)
