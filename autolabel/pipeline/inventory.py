"""The images of a run: which there are, what content each has, and which prompts it still needs."""

import itertools
import os
from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from autolabel.backends import limits_of
from autolabel.config import Config
from autolabel.errors import ImageError, InputError, OutputError
from autolabel.pipeline.clips import with_frames
from autolabel.pipeline.question import Question
from autolabel.sources import images
from autolabel.sources.listing import list_images
from autolabel.store import WHOLE_IMAGE, AnswerRow, Exchange, FileRow, Store
from autolabel.types import FrameItem, ImageItem, LostItem, Prompt

STORE = "answers.sqlite"
THUMBS = "thumbs.sqlite"
_TOGETHER = 500  # images that are looked up in the store at once


def select(config: Config, limit: int | None = None, *, extract: bool = True) -> list[ImageItem]:
    """List the images, or a sample of `limit` of them drawn by the split's seed; in file_name order.

    Videos are listed as their frames, which are read out of them where `extract`. Raises InputError where
    there are no images, and OutputError where the run folder lies among them.
    """
    check_run(config)
    items = with_frames(list_images(config.images), config, extract=extract)
    if limit is not None and limit < 1:
        raise InputError(f"--limit is {limit}; it should be 1 or more")
    if limit is None or limit >= len(items):
        return items
    if limits_of(config.backend).clips:
        return sample_clips(items, limit, config.split.seed)
    return sample(items, limit, config.split.seed)


def sample(items: Sequence[ImageItem], count: int, seed: int, *, in_order: bool = True) -> list[ImageItem]:
    """Draw `count` images that depend on their names and `seed` alone; `in_order` of their file_names."""
    key = str(seed).encode()[:64]
    drawn = sorted(items, key=lambda item: blake2b(item.file_name.encode(), key=key).digest())[:count]
    return sorted(drawn, key=lambda item: item.file_name) if in_order else drawn


def sample_clips(items: Sequence[ImageItem], count: int, seed: int) -> list[ImageItem]:
    """Draw whole clips, which are asked about as such, and images, until there are `count` images or more."""
    units: dict[str, list[ImageItem]] = {}
    for item in items:
        units.setdefault(item.clip.file_name if isinstance(item, FrameItem) else item.file_name, []).append(
            item
        )
    drawn: list[ImageItem] = []
    for unit in sample([ImageItem(name, name) for name in units], len(units), seed, in_order=False):
        drawn += units[unit.file_name] if len(drawn) < count else []
    return sorted(drawn, key=lambda item: item.file_name)


def identify(store: Store | None, item: ImageItem) -> FileRow:
    """The content of an image: from the store where the file has not changed since, else read and kept.

    Raises ImageError where the file can't be read as an image.
    """
    if isinstance(item, LostItem):
        raise ImageError(item.reason)
    try:
        stat = os.stat(item.location)  # noqa: PTH116 - a Path takes as long as the look-up
    except OSError:
        return _read(item.path)
    row = store.file(item.location, stat.st_size, stat.st_mtime_ns) if store else None
    if row is None:
        row = _read(item.path)
        if store:
            store.put_file(item.location, stat.st_size, stat.st_mtime_ns, row)
    return row


def whole_answers(store: Store, items: Sequence[ImageItem], asked: Question) -> dict[str, dict[str, int]]:
    """Instances by prompt key, by location, of images that have every answer in a file that has not changed.

    The others are to be looked at one by one; so may be some that have every answer.
    """
    places = [item.location for item in items]
    rows: dict[bytes, tuple[FileRow, int, int]] = {}
    kept: dict[bytes, dict[tuple[str, str], int]] = defaultdict(dict)  # by source and key
    for asker in asked.askers:
        for path, (row, size, mtime_ns, counts) in store.answered_files(
            places, asker.source, asker.floor
        ).items():
            rows[path] = row, size, mtime_ns
            kept[path] |= {(asker.source, key): count for key, count in counts.items()}
    found = {}
    for item in items:
        path = os.fsencode(item.location)
        if path not in rows:
            continue
        row, size, mtime_ns = rows[path]
        try:
            prompts = asked.prompts(item.file_name, (row.width, row.height))
        except ImageError:
            continue
        wanted = {(asked.asker(p).source_of(p, item), p.key) for p in prompts}
        if wanted <= kept[path].keys() and _unchanged(item, size, mtime_ns):
            found[item.location] = {key: kept[path][source, key] for source, key in wanted}
    return found


def all_answered(store: Store, items: Sequence[ImageItem], asked: Question) -> bool:
    """Whether no image lacks an answer, so that nobody needs to be asked; ends at the first that does."""
    if any(asker.limits.free for asker in asked.askers):
        return False
    items = new_first(store, items)
    for start in range(0, len(items), _TOGETHER):
        some = items[start : start + _TOGETHER]
        whole = whole_answers(store, some, asked)
        for item in some:
            if item.location in whole:
                continue
            try:
                row = identify(store, item)
                prompts = asked.prompts(item.file_name, (row.width, row.height))
            except ImageError:
                continue  # nor can it be asked about
            if missing(store, item, row.image, asked, prompts):
                return False
    return True


def new_first(store: Store, items: Sequence[ImageItem]) -> list[ImageItem]:
    """The images of files that the store has never seen, then the others, each in their order.

    So a run that goes on asks at once, and looks up what it has while it waits.
    """
    known = store.path_hashes()
    if not known:
        return list(items)
    seen = [hash(os.fsencode(item.location)) in known for item in items]
    new = [item for item, old in zip(items, seen, strict=True) if not old]
    return new + [item for item, old in zip(items, seen, strict=True) if old]


def missing(
    store: Store | None, item: ImageItem, image: bytes, asked: Question, prompts: Sequence[Prompt]
) -> list[Prompt]:
    """The prompts that no kept answer serves, those of one key and source once."""
    found: list[Prompt] = []
    for source, (asker, by_key) in asked.by_source(prompts, item).items():
        kept = store.answered(image, source, asker.floor) if store else {}
        found += [prompt for key, prompt in by_key.items() if key not in kept]
    return found


def answer_rows(
    store: Store, asked: Question, item: ImageItem, image: bytes, prompts: Sequence[Prompt]
) -> list[AnswerRow] | None:
    """The kept answer to every prompt, in their order; None where one lacks."""
    rows = {source: store.answers(image, source) for source in asked.by_source(prompts, item)}
    found = [rows[asked.asker(p).source_of(p, item)].get(p.key) for p in prompts]
    whole = [row for row in found if row is not None]
    return whole if len(whole) == len(found) else None


def instances(
    store: Store, item: ImageItem, image: bytes, asked: Question, prompts: Sequence[Prompt]
) -> dict[str, int]:
    """The number of instances that every prompt, by its key, has got."""
    found: dict[str, int] = {}
    for source, (asker, by_key) in asked.by_source(prompts, item).items():
        kept = store.answered(image, source, asker.floor)
        found |= {key: kept.get(key, 0) for key in by_key}
    return found


def unread(store: Store, image: bytes, source: str, floor: float) -> list[Exchange]:
    """The kept bodies that were not understood, and the requests without a clear answer, that could serve."""
    return [exchange for exchange in store.unread(image, source) if exchange.floor <= floor]


def unpaid(
    store: Store | None, item: ImageItem, image: bytes, asked: Question, prompts: Sequence[Prompt]
) -> list[Prompt]:
    """The prompts to ask for: neither answered, nor to be read from a body that is kept, nor unclear."""
    wanted = missing(store, item, image, asked, prompts)
    if not store or not wanted:
        return wanted
    found: list[Prompt] = []
    for source, (asker, by_key) in asked.by_source(wanted, item).items():
        paid = {key for exchange in unread(store, image, source, asker.floor) for key in exchange.prompts}
        found += [prompt for key, prompt in by_key.items() if key not in paid]
    return found


def why_unanswered(
    store: Store, item: ImageItem, row: FileRow, asked: Question, prompts: Sequence[Prompt]
) -> str | None:
    """The reason that an image has no whole answer; None where it has one."""
    unanswered = missing(store, item, row.image, asked, prompts)
    if not unanswered:
        # nothing is asked where a dataset has no box in an image: then nobody has looked whether it is one
        return None if row.width else "can't be read as an image"
    reasons: dict[str, str] = {}
    for source in asked.by_source(unanswered, item):
        reasons |= store.failures(row.image, source)
    keys = (*(prompt.key for prompt in unanswered), WHOLE_IMAGE)
    return next((reasons[key] for key in keys if key in reasons), "not asked yet")


def store_path(config: Config) -> Path:
    """Where the run's answers are kept."""
    return Path(config.run) / STORE


def thumbs_path(config: Config) -> Path:
    """Where the run's thumbs are; they may be deleted."""
    return Path(config.run) / THUMBS


def check_run(config: Config) -> None:
    """Raise OutputError where the run folder lies among the images, which are never written to."""
    for source in sources_of(config):
        if Path(config.run).resolve().is_relative_to(source.resolve()):
            raise OutputError(
                f"the run folder {config.run} lies inside the images {source}, which are never written to; "
                "set `run` to a folder elsewhere"
            )


def sources_of(config: Config) -> Sequence[Path]:
    """The folders and files that must not be written to: each source, a glob by its fixed part.

    A glob of the working directory that does not go into folders leaves room for an output there.
    """
    places = []
    for source in config.images:
        path = Path(source)
        if not path.exists():
            fixed = itertools.takewhile(lambda part: not set(part) & set("*?["), path.parts)
            path = Path(*fixed)
            if path.resolve() == Path.cwd() and "**" not in source:
                continue
        places.append(path)
    return places


def _unchanged(item: ImageItem, size: int, mtime_ns: int) -> bool:
    try:
        stat = os.stat(item.location)  # noqa: PTH116 - as above
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (size, mtime_ns)


def _read(path: Path) -> FileRow:
    data = images.read_bytes(path)
    try:
        info = images.probe(data)
    except ImageError:
        return FileRow(images.digest(data), 0, 0)
    return FileRow(images.digest(data), info.width, info.height)
