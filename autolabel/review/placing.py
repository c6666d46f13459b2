"""Where the decisions of all reviews stand among the present answers, for the index."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autolabel.errors import ImageError
from autolabel.pipeline import glances
from autolabel.pipeline.results import Run
from autolabel.review.contents import Entry
from autolabel.review.deciding import Answers, answers_of, placed, shown, stored_review

Key = tuple[bytes, int, str]  # content, revision and answers digest
_TELLS = 50  # reviews between two words on the progress


def place_reviews(
    run: Run,
    entries: Sequence[Entry],
    searched: Mapping[Key, dict[str, Any]],
    progress: Callable[[float], None],
) -> tuple[dict[str, Any], dict[Key, dict[str, Any]]]:
    """What the index says of every review of its images, by their digest; and what was searched for by masks.

    That takes some 20 ms an image, so `searched` has it from the time before. Files of one content may have
    answers of their own: then those of the others stand under "of", by number. `progress` is told the share
    that is done, and may raise to end it.
    """
    numbers: dict[bytes, list[int]] = {}
    for number, entry in enumerate(entries):
        numbers.setdefault(entry.labelled.image, []).append(number)
    names = {category.name for category in run.categories}
    found: dict[str, Any] = {}
    kept: dict[Key, dict[str, Any]] = {}
    total = len(run.store.revisions())
    for done, (image, revision, document) in enumerate(run.store.reviews()):
        if done % _TELLS == 0:
            progress(done / total)
        told: dict[int, dict[str, Any]] = {}
        for number in numbers.get(image, ()):
            entry = entries[number]
            matched = placed(document, glances.numbered(entry.ids), names)
            if matched is None:
                key = (image, revision, entry.digest)
                kept[key] = kept.get(key) or searched.get(key) or _searched(run, entry)
            told[number] = kept[key] if matched is None else {"revision": revision} | matched
        if told:
            found[image.hex()] = _together(told)
    return found, kept


def _searched(run: Run, entry: Entry) -> dict[str, Any]:
    try:
        answers = answers_of(run, entry.labelled)
    except ImageError:  # since the index was made: the page is told so when it asks for them
        size = (entry.labelled.height, entry.labelled.width)
        answers = Answers([], [], "", size, run.categories)
    return shown(stored_review(run.store, entry.labelled), answers)


def _together(told: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """What is told of the files of one content: as of the first, and where others differ."""
    (_, first), *others = told.items()
    places = {number: {"lost": each["lost"], "matched": each["matched"]} for number, each in others}
    differing = {
        str(number): each
        for number, each in places.items()
        if each != {"lost": first["lost"], "matched": first["matched"]}
    }
    return first | ({"of": differing} if differing else {})
