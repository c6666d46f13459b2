"""The split of every image of an export: drawn for new ones, and kept in the run."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import orjson

from autolabel.pipeline.results import Labelled, Run
from autolabel.pipeline.summary import Summary
from autolabel.splits import assign
from autolabel.types import FrameItem


def split(
    run: Run, entries: Sequence[Labelled], summary: Summary, *, resplit: bool, is_part: bool
) -> dict[str, str]:
    """The split of every image, by file_name; records new ones, and points out what the record contradicts.

    The frames of a clip share the clip's, but for those from a number on that `_cuts` gave to val. Where the
    images are but `is_part` of those that there are, what is kept of the others stays.
    """
    settings = run.config.split
    kept = {} if resplit else run.store.splits()
    sizes = Counter(entry.unit for entry in entries if isinstance(entry.item, FrameItem))
    assigned = assign([entry.unit for entry in entries], kept, settings.shares, settings.seed, sizes)
    moved = sum(kept.get(unit, name) != name for unit, name in assigned.items())
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
        # a part may need an image of train as its val: the whole folder does not
        lasting = {unit: name for unit, name in assigned.items() if kept.get(unit, name) == name}
        run.store.put_splits(lasting if is_part else assigned, afresh=resplit and not is_part)
        if then is None:
            run.store.put_note("split", now)
        cuts = _cuts(run, entries, assigned, resplit=resplit, is_part=is_part)
    splits = {entry.item.file_name: _split_of(entry, assigned, cuts) for entry in entries}
    summary.notes += _divided_clips(entries, splits)
    return splits


def _cuts(
    run: Run, entries: Sequence[Labelled], assigned: Mapping[bytes, str], *, resplit: bool, is_part: bool
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
    for clip in clips if not is_part else ():
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
