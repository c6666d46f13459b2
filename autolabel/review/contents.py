"""What a run holds, for the page's index: its images in order, and columns of figures of all instances."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ImageError
from autolabel.pipeline import glances
from autolabel.pipeline.glances import Glance
from autolabel.pipeline.inventory import identify, why_unanswered
from autolabel.pipeline.question import Question
from autolabel.pipeline.results import Labelled
from autolabel.store import Store
from autolabel.types import FrameItem, ImageItem, Prompt

_TOLD_EVERY = 100  # images that are looked up
_LISTED = 0.3  # the share of the work that looking them up is, where glances have to be made
_TOGETHER = 20  # glances of one commit, when they are made here


@dataclass(frozen=True, slots=True)
class Entry:
    """An image of the index: `digest` is its answers digest, `ids` its instance ids (8 bytes each).

    One that is `gone`, or has no whole answer any more, keeps its number and has no instances.
    """

    labelled: Labelled
    prompts: tuple[Prompt, ...]
    digest: str
    ids: bytes
    gone: bool = False

    @property
    def key(self) -> tuple[str, bytes]:
        """What keeps a number as long as a session lasts: name and content."""
        return self.labelled.item.file_name, self.labelled.image


@dataclass(frozen=True, slots=True)
class Contents:
    """The images with a whole answer, the number of the others, and the columns of the index.

    `files` has the numbered entries of each content.
    """

    entries: list[Entry]
    failed: int
    columns: Mapping[str, Any]
    files: Mapping[bytes, Sequence[tuple[int, Entry]]]


@dataclass(slots=True)
class _Row:
    """An image under way: its glance is made when its turn comes, where there is none."""

    labelled: Labelled
    prompts: tuple[Prompt, ...]
    glance: Glance | None
    gone: bool = False

    def entry(self) -> Entry:
        """What the session keeps of it."""
        glance = self.glance or glances.NOTHING
        return Entry(self.labelled, self.prompts, glance.digest, glance.ids, self.gone)


def build(
    items: Sequence[ImageItem],
    asked: Question,
    store: Store,
    before: Sequence[Entry],
    progress: Callable[[float], None],
) -> Contents:
    """Look through images of a run, and make the glances that it lacks, which takes most of the time.

    Those that were there `before` keep their numbers, and new ones come after them. `progress` is told the
    share that is done, and may raise to end it.
    """
    failed = 0
    rows: list[_Row] = []
    for done, row in enumerate(_rows(items, asked, store)):
        if done % _TOLD_EVERY == 0:
            progress(_LISTED * done / len(items))
        if row is None:
            failed += 1
        else:
            rows.append(row)
    lacking = [row for row in rows if row.glance is None]
    for start in range(0, len(lacking), _TOGETHER):
        progress(_LISTED + (1 - _LISTED) * (1 - (len(lacking) - start) / len(rows)))
        _complete(store, asked, lacking[start : start + _TOGETHER])
    whole = [row for row in rows if row.glance is not None]
    failed += len(rows) - len(whole)
    rows = _in_order(whole, before)
    entries = [row.entry() for row in rows]
    files: dict[bytes, list[tuple[int, Entry]]] = {}
    for number, entry in enumerate(entries):
        if not entry.gone:
            files.setdefault(entry.labelled.image, []).append((number, entry))
    return Contents(entries, failed, _columns(asked, rows, store.splits()), files)


def _in_order(rows: Sequence[_Row], before: Sequence[Entry]) -> list[_Row]:
    """The images that were there before at their places, vanished ones too, then the others."""
    found = {row.entry().key: row for row in rows}
    kept = [
        found[e.key] if e.key in found else _Row(e.labelled, (), glances.NOTHING, gone=True) for e in before
    ]
    known = {entry.key for entry in before}
    return [*kept, *(row for key, row in found.items() if key not in known)]


def _rows(items: Sequence[ImageItem], asked: Question, store: Store) -> Iterator[_Row | None]:
    """Yield every image with its kept glance, if there is one; None for an image without a whole answer."""
    kept = {image: (question, data) for image, question, data in store.glances()}
    digests: dict[int, bytes] = {}  # of the prompts that images share
    sides: dict[int, int] = {}  # images share their few numbers, which takes less memory
    for item in items:
        try:
            row = identify(store, item)
            prompts = asked.prompts(item.file_name, (row.width, row.height))
        except ImageError:
            yield None
            continue
        width, height = (sides.setdefault(side, side) for side in (row.width, row.height))
        labelled = Labelled(item, row.image, width, height)
        question, data = kept.get(row.image, (b"", b""))
        shared = prompts is asked.texts and not isinstance(item, FrameItem)
        digest = digests.get(0) if shared else None
        if digest is None:
            digest = glances.question_digest(asked, item, prompts)
            if shared:
                digests[0] = digest
        glance = glances.unpack(data) if question == digest else None
        if glance is None and why_unanswered(store, item, row, asked, prompts) is not None:
            yield None
            continue
        yield _Row(labelled, prompts, glance if prompts else glances.NOTHING)


def _complete(store: Store, asked: Question, rows: Sequence[_Row]) -> None:
    """Make the glances of some images, in place. Those whose answers change meanwhile are not kept."""
    made = []
    for row in rows:
        item, image = row.labelled.item, row.labelled.image
        found = glances.answers(store, asked, item, image, row.prompts)
        if found is not None:
            row.glance = glances.make(found, row.prompts)
            made.append((row, found, row.glance))
    with store.transaction():
        for row, found, glance in made:
            item, image = row.labelled.item, row.labelled.image
            if glances.answers(store, asked, item, image, row.prompts) == found:
                question = glances.question_digest(asked, item, row.prompts)
                store.put_glance(image, question, glances.pack(glance))


def _columns(asked: Question, rows: Sequence[_Row], splits: Mapping[bytes, str]) -> dict[str, Any]:
    """The index's images and the figures of their instances."""
    found = [(row, row.glance) for row in rows if row.glance is not None]
    counts = np.array([glance.count for _, glance in found], np.int64)
    pairs = np.array([glance.pairs for _, glance in found], np.int64)
    place = np.frombuffer(b"".join(glance.prompt for _, glance in found), "<u2").astype(np.int64)
    texts, text_of, class_of, first_of = _prompts(asked, [row.prompts for row, _ in found])
    place += np.repeat(first_of, counts)
    return {
        "prompts": texts,
        "gone": [number for number, (row, _) in enumerate(found) if row.gone],
        "images": {
            "name": [row.labelled.item.file_name for row, _ in found],
            "image": [row.labelled.image.hex() for row, _ in found],
            "width": [row.labelled.width for row, _ in found],
            "height": [row.labelled.height for row, _ in found],
            "split": [splits.get(row.labelled.unit, "") for row, _ in found],
            "answers": [glance.digest for _, glance in found],
        },
        "offsets": _b64(_offsets(counts)),
        "category": _b64(class_of[place].astype("<u2")),
        "prompt": _b64(text_of[place].astype("<u2")),
        "score": _joined(glance.score for _, glance in found),
        "area": _joined(glance.area for _, glance in found),
        "pair_offsets": _b64(_offsets(pairs)),
        "pair_a": _joined(glance.first for _, glance in found),
        "pair_b": _joined(glance.second for _, glance in found),
        "pair_shared": _joined(glance.shared for _, glance in found),
    }


def _prompts(
    asked: Question, of_images: Sequence[tuple[Prompt, ...]]
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All texts; then, of every prompt of every image (those that are shared once), text and class; and where
    the prompts of each image begin among these.
    """
    texts: dict[str, int] = {prompt.text: i for i, prompt in enumerate(asked.texts)}
    begins: dict[int, int] = {}
    text_of: list[int] = []
    class_of: list[int] = []
    first_of: list[int] = []
    for prompts in of_images:
        if id(prompts) not in begins:
            begins[id(prompts)] = len(text_of)
            text_of += [texts.setdefault(prompt.text, len(texts)) for prompt in prompts]
            class_of += [prompt.class_id for prompt in prompts]
        first_of.append(begins[id(prompts)])
    return (
        list(texts),
        np.array(text_of, np.int64),
        np.array(class_of, np.int64),
        np.array(first_of, np.int64),
    )


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.uint32]:
    return np.concatenate(([0], np.cumsum(counts))).astype("<u4")


def _joined(parts: Iterator[bytes]) -> str:
    return b64encode(b"".join(parts)).decode()


def _b64(values: NDArray[Any]) -> str:
    return b64encode(values.tobytes()).decode()
