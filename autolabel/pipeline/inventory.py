"""The images of a run: which there are, what content each has, and which prompts it still needs."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from autolabel.backends import identity
from autolabel.config import Config
from autolabel.errors import ImageError, InputError, OutputError
from autolabel.sources import images
from autolabel.sources.listing import list_images
from autolabel.store import WHOLE_IMAGE, Exchange, FileRow, Store
from autolabel.types import ImageItem, Prompt

STORE = "answers.sqlite"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about every image: the prompts in order, where (a cache key), and from which floor up."""

    prompts: tuple[Prompt, ...]
    source: str
    floor: float


def question(config: Config) -> Question:
    """The question that `config` asks."""
    prompts = tuple(Prompt(text, c.id) for c in config.categories for text in c.prompts)
    return Question(prompts, identity(config.backend), config.label.confidence)


def select(config: Config, limit: int | None = None) -> list[ImageItem]:
    """List the images, or a sample of `limit` of them drawn by the split's seed; in file_name order.

    Raises InputError where there are none, and OutputError where the run folder lies among them.
    """
    check_run(config)
    items = list_images(config.images)
    if limit is not None and limit < 1:
        raise InputError(f"--limit is {limit}; it should be 1 or more")
    if limit is None or limit >= len(items):
        return items
    return sample(items, limit, config.split.seed)


def sample(items: Sequence[ImageItem], count: int, seed: int) -> list[ImageItem]:
    """Draw `count` images that depend on their names and `seed` alone, in file_name order."""
    key = str(seed).encode()[:64]
    drawn = sorted(items, key=lambda item: blake2b(item.file_name.encode(), key=key).digest())[:count]
    return sorted(drawn, key=lambda item: item.file_name)


def identify(store: Store | None, item: ImageItem) -> FileRow:
    """The content of an image: from the store where the file has not changed since, else read and kept.

    Raises ImageError where the file can't be read as an image.
    """
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
    """Instances by prompt, by location, of the images that have every answer in a file that has not changed.

    The others are to be looked at one by one; so may be some that have every answer.
    """
    found = {}
    texts = {prompt.text for prompt in asked.prompts}
    kept = store.answered_files([item.location for item in items], asked.source, asked.floor)
    for item in items:
        size, mtime_ns, instances = kept.get(os.fsencode(item.location), (0, 0, {}))
        if texts <= instances.keys() and _unchanged(item, size, mtime_ns):
            found[item.location] = instances
    return found


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


def missing(store: Store | None, image: bytes, asked: Question) -> tuple[Prompt, ...]:
    """The prompts that no kept answer serves."""
    kept = store.answered(image, asked.source, asked.floor) if store else {}
    return tuple(prompt for prompt in asked.prompts if prompt.text not in kept)


def unread(store: Store, image: bytes, asked: Question) -> list[Exchange]:
    """The kept bodies that were not understood and could serve the question."""
    return [e for e in store.unread(image, asked.source) if e.floor <= asked.floor]


def unpaid(store: Store | None, image: bytes, asked: Question) -> tuple[Prompt, ...]:
    """The prompts to ask for: neither answered, nor to be read from a body that is kept."""
    prompts = missing(store, image, asked)
    paid = {text for e in unread(store, image, asked) for text in e.prompts} if store and prompts else set()
    return tuple(prompt for prompt in prompts if prompt.text not in paid)


def why_unanswered(store: Store, image: bytes, asked: Question) -> str | None:
    """The reason that an image has no whole answer; None where it has one."""
    unanswered = missing(store, image, asked)
    if not unanswered:
        return None
    reasons = store.failures(image, asked.source)
    texts = (*(prompt.text for prompt in unanswered), WHOLE_IMAGE)
    return next((reasons[text] for text in texts if text in reasons), "not asked yet")


def store_path(config: Config) -> Path:
    """Where the run's answers are kept."""
    return Path(config.run) / STORE


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
