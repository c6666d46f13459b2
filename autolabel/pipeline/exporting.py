"""`export`: kept answers become a dataset: filtered, split, written. Never touches the network."""

import csv
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import orjson
from tqdm import tqdm

from autolabel import filters
from autolabel.config import Config
from autolabel.errors import AutolabelError, ImageError, Interrupted
from autolabel.formats import open_writer
from autolabel.formats.base import ExportImage, FormatReport, Writer
from autolabel.formats.images import ImageStore
from autolabel.formats.tree import check_output, staged
from autolabel.geometry import rle
from autolabel.pipeline import manifest
from autolabel.pipeline.flags import Flags
from autolabel.pipeline.inventory import check_run, sources_of
from autolabel.pipeline.results import Labelled, Run, Survey
from autolabel.pipeline.summary import FORMAT_LIMIT, Summary
from autolabel.splits import SPLITS, assign
from autolabel.types import Category, Detection, FrameItem, ImageItem

log = logging.getLogger(__name__)


def export(
    config: Config,
    *,
    sample: Sequence[ImageItem] | None = None,
    overwrite: bool = False,
    resplit: bool = False,
) -> Summary:
    """Write the dataset of `config` from kept answers, or of the `sample` of its images alone.

    The old dataset is replaced only once the new one is whole, and stays where no image has an answer.
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
            _write(run, found, summary, overwrite=overwrite, resplit=resplit)
        except OSError as error:
            reason = f"{config.output} can't be written ({error.strerror}); the old dataset stays"
            raise AutolabelError(reason) from None
        except KeyboardInterrupt:
            stop = Interrupted("interrupted before the new dataset was whole; the old one stays")
            stop.summary = replace(summary, answered=0, exported=0, dropped=Counter(), splits={}, prompts={})
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


def _write(run: Run, found: Survey, summary: Summary, *, overwrite: bool, resplit: bool) -> None:
    config = run.config
    entries = found.labelled
    if config.export.empty_images == "skip":
        entries = [entry for entry in entries if run.result(entry).detections]
    if not entries:
        why = "no instance is left in any image" if found.labelled else "no image has a whole answer"
        summary.warnings.append(f"{why}, so nothing is written and {config.output} stays as it is")
        return
    splits = _splits(run, entries, summary, resplit=resplit)
    with staged(Path(config.output), overwrite=overwrite) as folder:
        used = [s for s in SPLITS if config.split.shares[s] > 0 or s in splits.values()]
        with _Export(run, folder, used, summary) as out:
            bar = tqdm(found.labelled, unit="image", desc="export", disable=None, leave=False)
            for entry in bar:
                out.add(entry, splits.get(entry.item.file_name))
        summary.failures.sort()
        _write_failures(folder / "failures.csv", summary.failures)
        flagged = out.flags.counts if out.flags else {}
        visual = run.asked.visual.settings if run.asked.visual else None
        manifest.write(
            folder / "dataset.json", config, summary, out.reports, out.degradations, flagged, visual
        )
        if flagged:
            counts = ", ".join(f"{count} {reason}" for reason, count in sorted(flagged.items()))
            summary.warnings.append(f"masks that don't fit their box: {counts}; flagged.csv lists them")
    summary.output = config.output


def _splits(run: Run, entries: Sequence[Labelled], summary: Summary, *, resplit: bool) -> dict[str, str]:
    """The split of every image, by file_name; records new ones, and points out what the record contradicts.

    The frames of a clip share the clip's, but for those from a number on that `_cut_clip` gave to val.
    """
    settings = run.config.split
    kept = {} if resplit else run.store.splits()
    sizes = Counter(entry.unit for entry in entries if isinstance(entry.item, FrameItem))
    assigned = assign([entry.unit for entry in entries], kept, settings.shares, settings.seed, sizes)
    moved = sum(kept.get(unit, split) != split for unit, split in assigned.items())
    if moved:
        summary.warnings.append(f"val would have been empty: {moved} image(s) moved there from another split")
    now = orjson.dumps({**settings.shares, "seed": settings.seed}).decode()
    then = run.store.note("split") if kept else None
    if then is not None and then != now:
        summary.warnings.append(
            f"the kept splits were made with {then}, the config says {now}: "
            "only new images follow it; --resplit starts over"
        )
    with run.store.transaction():
        # a sample may need an image of train as its val: the whole folder does not
        lasting = {unit: split for unit, split in assigned.items() if kept.get(unit, split) == split}
        run.store.put_splits(lasting if run.is_sample else assigned, afresh=resplit and not run.is_sample)
        if then is None:
            run.store.put_note("split", now)
        cuts = _cuts(run, entries, assigned, resplit=resplit)
    splits = {entry.item.file_name: _split_of(entry, assigned, cuts) for entry in entries}
    summary.notes += _divided_clips(entries, splits)
    return splits


def _cuts(
    run: Run, entries: Sequence[Labelled], assigned: Mapping[bytes, str], *, resplit: bool
) -> dict[bytes, int]:
    """The frame number from which a clip's frames are val, by the clip's content; kept in the run.

    Where one clip is all there is, val would be empty without its last part.
    """
    name = "val of {} from frame".format
    clips = {entry.unit for entry in entries if isinstance(entry.item, FrameItem)}
    kept = {clip: run.store.note(name(clip.hex())) for clip in clips if not resplit}
    cuts = {clip: int(number) for clip, number in kept.items() if number}
    share = run.config.split.val
    if len(assigned) == 1 and clips and not cuts and share > 0 and "val" not in assigned.values():
        numbers = sorted({entry.item.number for entry in entries if isinstance(entry.item, FrameItem)})
        if len(numbers) > 1:
            count = min(len(numbers) - 1, max(1, round(share * len(numbers))))
            cuts = {next(iter(clips)): numbers[-count]}
    for clip in clips if not run.is_sample else ():
        run.store.put_note(name(clip.hex()), str(cuts.get(clip, "")))
    return cuts


def _split_of(entry: Labelled, assigned: Mapping[bytes, str], cuts: Mapping[bytes, int]) -> str:
    if isinstance(entry.item, FrameItem) and entry.item.number >= cuts.get(entry.unit, sys.maxsize):
        return "val"
    return assigned[entry.unit]


def _divided_clips(entries: Sequence[Labelled], splits: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each clip that is not in one split as a whole."""
    clips: dict[str, Counter[str]] = {}
    for entry in entries:
        if isinstance(entry.item, FrameItem):
            name = entry.item.file_name
            clips.setdefault(entry.item.clip.file_name, Counter())[splits[name]] += 1
    for name, counts in clips.items():
        if len(counts) > 1:
            yield (
                f"{name} was the only clip when it was split: val has the last {counts['val']} of its "
                f"{counts.total()} frames"
            )


class _Export:
    """The open files of one export."""

    def __init__(self, run: Run, folder: Path, splits: Sequence[str], summary: Summary) -> None:
        config = run.config
        self._run = run
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
            answered, degradations = self._run.answers(entry)
            kept, dropped = filters.apply(answered, self._run.categories, self._run.config.filter)
            _check_boxes(answered)
            frame = item if isinstance(item, FrameItem) else None
            image = ExportImage(
                item.file_name, item.path, entry.width, entry.height, split or "", kept, frame
            )
            if split and self._run.config.export.images != "none":
                # where nothing was asked about an image, nobody has looked whether it is whole
                self._images.open(image, verify=not answered)
        except ImageError as error:  # the file has changed or gone since it was labelled
            self._summary.labelled -= 1
            self._summary.failed += 1
            self._summary.failures.append((item.file_name, str(error)))
            return
        self.degradations.update(degradations)
        for drop in dropped:
            self._drop(image, drop.detection, drop.reason, drop.kept_by)
        if self.flags:
            empty = [drop.detection for drop in dropped if drop.reason == "empty_mask"]
            self.flags.add(item.file_name, [*kept, *empty])
        self._summary.answered += len(answered)
        for detection in answered:
            self._summary.prompts.setdefault(detection.prompt, [0, 0])[0] += 1
        if split:
            self._put(image, split)

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


def _check_boxes(answered: Sequence[Detection]) -> None:
    """Raise ImageError where every box got an empty mask: the image is known not to be without objects."""
    boxes = [d for d in answered if d.asked is not None and d.asked.box_xyxy is not None]
    if boxes and len(boxes) == len(answered) and not any(rle.area(d.mask) for d in boxes):
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
