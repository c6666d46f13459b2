"""The reviews of a run as the index has them: what each says, and which answer each decision stands for.

Most places are told by ids. Where answers came anew they are searched by their masks, which takes a while; so
this happens beside the session, with a store of its own, and what was found is kept for the next time.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import orjson

from autolabel.decisions import Review
from autolabel.errors import ImageError
from autolabel.pipeline import glances
from autolabel.pipeline.question import Question
from autolabel.pipeline.results import Labelled
from autolabel.pipeline.reviewing import read
from autolabel.review.contents import Entry
from autolabel.review.deciding import Answers, answers_of, placed, shown
from autolabel.store import Store
from autolabel.types import Category

log = logging.getLogger(__name__)

_TOLD_EVERY = 100  # reviews
Searched = Mapping[tuple[bytes, int, str], bytes]  # by content, revision and answers digests: JSON


@dataclass(frozen=True, slots=True)
class Matches:
    """By content the revision of its review and what the index has of it, as JSON; and what was searched."""

    shown: dict[bytes, tuple[int, bytes]]
    searched: Searched


def match(
    store: Store,
    asked: Question,
    categories: Sequence[Category],
    files: Mapping[bytes, Sequence[tuple[int, Entry]]],
    known: Searched,
    progress: Callable[[float], None],
) -> Matches:
    """Every review of the contents `files`, which have their entries by number.

    `progress` is told the share that is done, and may raise to end it.
    """
    names = {category.name for category in categories}
    found: dict[bytes, tuple[int, bytes]] = {}
    searched: dict[tuple[bytes, int, str], bytes] = {}
    for done, (image, revision, document) in enumerate(store.reviews()):
        if done % _TOLD_EVERY == 0:
            progress(min(done / len(files), 1.0) if files else 1.0)
        if image not in files:
            continue
        entries = files[image]
        told = told_by_ids(revision, document, entries, names)
        if told is None:
            key = (image, revision, " ".join(entry.digest for _, entry in entries))
            told = known.get(key) or orjson.dumps(search(store, asked, categories, entries))
            searched[key] = told
            progress(min(done / len(files), 1.0))
        found[image] = revision, told
    return Matches(found, searched)


def told_by_ids(
    revision: int, document: bytes, entries: Sequence[tuple[int, Entry]], names: Collection[str]
) -> bytes | None:
    """`search` without a look at a mask; None where ids do not tell, or files of one content differ."""
    entry = entries[0][1]
    if any(other.digest != entry.digest for _, other in entries):
        return None
    size = (entry.labelled.height, entry.labelled.width)
    found = placed(document, size, glances.numbered(entry.ids), names)
    return None if found is None else orjson.dumps({"revision": revision, **found})


def search(
    store: Store, asked: Question, categories: Sequence[Category], entries: Sequence[tuple[int, Entry]]
) -> dict[str, object]:
    """The present review of one content, whose files are `entries`, as the index has it."""
    (_, first), *others = entries
    several = {
        number: indexed(store, asked, categories, entry)
        for number, entry in others
        if entry.digest != first.digest
    }
    return shown(stored(store, first.labelled), indexed(store, asked, categories, first), several)


def indexed(store: Store, asked: Question, categories: Sequence[Category], entry: Entry) -> Answers:
    """The answers to an image that the index has; none where they changed since: a page that asks is told."""
    with suppress(ImageError):
        answers = answers_of(store, asked, categories, entry.labelled)
        if answers.digest == entry.digest:
            return answers
    return Answers([], [], "", (entry.labelled.height, entry.labelled.width), categories)


def stored(store: Store, entry: Labelled) -> tuple[int, Review]:
    """The revision of an image's review, 0 for none, and the review; nothing where it can't be read."""
    row = store.review(entry.image)
    if row is None:
        return 0, Review()
    try:
        return row[0], read(store, entry.image, (entry.height, entry.width), row[0])
    except ImageError as error:  # it stays in the history, and can be replaced
        log.warning("%s: %s", entry.item.file_name, error)
        return row[0], Review()
