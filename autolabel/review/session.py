"""A review of one run, for whoever shows it: the page's server, the widget and the report.

Every method may be called from any thread. What goes wrong is a Problem with one sentence.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import orjson

from autolabel import decisions, thumbs
from autolabel.config import Config
from autolabel.errors import ImageError
from autolabel.pipeline import glances
from autolabel.pipeline.inventory import select, thumbs_path
from autolabel.pipeline.results import Labelled, Run
from autolabel.pipeline.reviewing import read
from autolabel.review import pictures
from autolabel.review.building import Building
from autolabel.review.contents import Contents, Entry, build
from autolabel.review.deciding import Answers, answers_of, checked, is_same, shown
from autolabel.review.heading import head
from autolabel.review.matching import Matches, Searched, indexed, match, search, stored, told_by_ids
from autolabel.review.pointing import Pointing, prompt_of
from autolabel.review.problems import Changed, NotFound, Preparing, Problem, ReadOnly, Refused
from autolabel.review.saving import FileChanged, save_thresholds
from autolabel.store import Store
from autolabel.types import ImageItem

MOST_IMAGES = 200  # of one call of `images`
_DECODED_AT_ONCE = 4
_MOST_WAITING = 4  # requests for masks, which are answered one by one
_CONTENTS = 0.6  # the share of an index's work that is its contents; the rest is matching
_AT_ONCE_S = 2.0  # how long an index may take to come at once


class Session:
    """An open review. Close it, or use it as a context manager."""

    def __init__(
        self,
        config: Config,
        *,
        read_only: bool = False,
        items: Sequence[ImageItem] | None = None,
    ) -> None:
        """Open the run of `config`, with all its images or only some, `items`.

        Raises InputError where nothing was labelled yet.
        """
        self.read_only = read_only
        self.config = config
        self._run = Run(config, items)
        self._items = items
        self._lock = threading.RLock()  # of the run's store, and of all that is below
        self._thumbs = thumbs.Thumbs(thumbs_path(config))
        self._thumbs_lock = threading.Lock()
        self._decoding = threading.Semaphore(_DECODED_AT_ONCE)
        self._pointing = Pointing(config)
        self._pointing_lock = threading.Lock()
        self._pointing_turns = threading.BoundedSemaphore(1 + _MOST_WAITING)
        self._contents: Contents | None = None
        self._searched: Searched = {}  # reviews whose answers came anew
        self._building: Building[tuple[Contents, Matches]] | None = None
        self._begin()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what is under way, and close the run."""
        if self._building is not None:
            self._building.stop()
            self._building.join()
        self._pointing.stop()
        with self._pointing_lock:
            self._pointing.close()
        with self._thumbs_lock:
            self._thumbs.close()
        with self._lock:
            self._run.__exit__()

    def index(self, *, wait: bool = True) -> bytes:
        """What the page begins with, as JSON, of the run as it is now.

        Unless it may `wait`, Preparing is raised where much has to be made first. Images keep their numbers
        as long as the session lasts; those that are no longer there are "gone".
        """
        with self._lock:
            building = self._building or self._begin()
        building.join(None if wait else _AT_ONCE_S)
        if building.is_alive():
            raise Preparing(building.progress)
        with self._lock:
            if self._building is building:
                self._building = None  # the next call looks again
            contents, matches = building.result()
            self._contents, self._searched = contents, matches.searched
            shown_config = head(self.config, read_only=self.read_only)
            reviews = self._shown_reviews(contents, matches)
        made = {"failed": contents.failed, "reviews": reviews}
        return orjson.dumps(shown_config | dict(contents.columns) | made)

    def prepare(self, seconds: float) -> None:
        """Wait so long for what the index is made of, if it is not there before."""
        with self._lock:
            building = self._building
        if building is not None:
            building.join(seconds)

    def images(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Ids and masks of the answered instances of some images, or the "error" of each. Raises Refused.

        "answers" is their digest now, which may be another than that of the index.
        """
        if len(numbers) > MOST_IMAGES:
            raise Refused(f"{len(numbers)} images at once; ask for {MOST_IMAGES} at most")
        return [self._image(number) for number in numbers]

    def digest(self, number: int) -> bytes:
        """The content of an image, as a digest."""
        return self._entry(number).labelled.image

    def thumb(self, number: int) -> bytes:
        """A small JPEG of an image: kept, or made of its file now. Raises NotFound, Refused, Changed."""
        entry = self._entry(number).labelled
        with self._thumbs_lock:
            kept = self._thumbs.get(entry.image)
        if kept is not None:
            return kept
        with self._decoding:
            data, info = pictures.read(entry)
            try:
                made = thumbs.make(data, info)
            except ImageError as error:
                raise Refused(f"{entry.item.file_name} {error}") from None
        with self._thumbs_lock:
            self._thumbs.put(entry.image, made)
        return made

    def picture(self, number: int) -> tuple[bytes, str]:
        """An image at full size, upright, and its media type. Raises NotFound, Refused, Changed."""
        entry = self._entry(number).labelled
        with self._decoding:
            return pictures.shown(entry)

    def decide(self, number: int, image: str, base: int, document: object) -> dict[str, Any]:
        """Put a review in place of the one with revision `base` (0: none yet) of the image `image` (hex).

        Returns what is kept then, "ok" saying whether it is this one. Raises ReadOnly, NotFound, Refused, and
        Changed where the answers are no longer those of the index.
        """
        if self.read_only:
            raise ReadOnly("the review is open for reading only")
        entry = self._entry(number)
        if image != entry.labelled.image.hex():
            raise Refused(f"image {number} is of another content; reload")
        with self._lock:
            answers, others = self._answers(entry), self._others(entry)
            before = stored(self._run.store, entry.labelled)
            if before[0] != base:
                return {"ok": False} | shown(before, answers, others)
            history = partial(self._history, entry, before[0])
            review = checked(document, answers, others.values(), before[1], history)
            if is_same(review, before):  # said already, as by a request that was sent again
                return {"ok": True} | shown(before, answers, others)
            data = orjson.dumps(decisions.to_json(review))
            revision = self._run.store.put_review(entry.labelled.image, data, review.at, base=base)
            if revision is None:  # another process came between
                return {"ok": False} | shown(stored(self._run.store, entry.labelled), answers, others)
            return {"ok": True} | shown((revision, review), answers, others)

    def mask(self, number: int, prompt: object) -> dict[str, str]:
        """The mask of what a box or points show: {"counts"}. It may be paid for. Raises as `decide` does."""
        if self.read_only:
            raise ReadOnly("the review is open for reading only")
        entry = self._entry(number)
        wanted = prompt_of(prompt, self._run.categories)
        question = glances.question_digest(self._run.asked, entry.labelled.item, entry.prompts)
        if not self._pointing_turns.acquire(blocking=False):  # each that waits holds a thread of the server
            raise Refused(f"{1 + _MOST_WAITING} masks are under way; wait for them")
        try:
            with self._pointing_lock, Store(self._run.store.path) as store:
                found = self._pointing.ask(store, entry.labelled, question, wanted)
        finally:
            self._pointing_turns.release()
        return {"counts": found.counts.decode()}

    def save(self, thresholds: object) -> dict[str, str]:
        """Write thresholds into the config file: {"saved": its path}. Raises ReadOnly and Refused."""
        origin = self.config.origin
        if self.read_only or origin is None:
            raise ReadOnly("there is no config file to save to, or it is open for reading only")
        with self._lock:
            try:
                self._take(save_thresholds(self.config, thresholds))
            except FileChanged as changed:
                self._take(changed.config or self.config)  # which a reload shows
                raise
        return {"saved": str(origin[0])}

    def _take(self, config: Config) -> None:
        """Go on with other thresholds."""
        self.config = self._run.config = config
        self._run.categories = config.categories

    def _begin(self) -> Building[tuple[Contents, Matches]]:
        self._building = Building(self._build)
        self._building.start()
        return self._building

    def _build(self, progress: Callable[[float], None]) -> tuple[Contents, Matches]:
        """The contents of the run as it is now, with a store of this thread's own."""
        before = self._contents.entries if self._contents else ()
        asked, categories = self._run.asked, self._run.categories
        items = select(self.config) if self._items is None else self._items
        with Store(self._run.store.path) as store:
            made = build(items, asked, store, before, lambda share: progress(_CONTENTS * share))
            matches = match(
                store,
                asked,
                categories,
                made.files,
                self._searched,
                lambda share: progress(_CONTENTS + (1 - _CONTENTS) * share),
            )
        return made, matches

    def _entry(self, number: int) -> Entry:
        with self._lock:
            contents = self._contents
        if contents is None:
            raise Preparing(self._building.progress if self._building else 0.0)
        entries = contents.entries
        if not 0 <= number < len(entries):
            raise NotFound(f"there is no image {number}; reload")
        if entries[number].gone:
            raise NotFound(f"{entries[number].labelled.item.file_name} is gone; reload")
        return entries[number]

    def _image(self, number: int) -> dict[str, Any]:
        try:
            labelled = self._entry(number).labelled
            with self._lock:
                answers = self._present(labelled)
        except (Problem, ImageError) as problem:
            return {"n": number, "error": str(problem)}
        masks = [d.mask.counts.decode() for d in answers.detections]
        return {
            "n": number,
            "image": labelled.image.hex(),
            "answers": answers.digest,
            "instances": list(zip(answers.ids, masks, strict=True)),
        }

    def _present(self, entry: Labelled) -> Answers:
        """The answers to an image as they are now. Raises Changed where one is taken away."""
        try:
            return answers_of(self._run.store, self._run.asked, self._run.categories, entry)
        except ImageError:
            raise _changed(entry) from None

    def _answers(self, entry: Entry) -> Answers:
        """The answers to an image, which must be those of the index."""
        answers = self._present(entry.labelled)
        if answers.digest != entry.digest:
            raise _changed(entry.labelled)
        return answers

    def _others(self, entry: Entry) -> dict[int, Answers]:
        """The answers to further files of a content, where they are others, by number."""
        files = self._contents.files.get(entry.labelled.image, ()) if self._contents else ()
        store, asked, categories = self._run.store, self._run.asked, self._run.categories
        return {
            number: indexed(store, asked, categories, other)
            for number, other in files
            if other.digest != entry.digest
        }

    def _history(self, entry: Entry, before: int) -> list[decisions.Review]:
        """The reviews of an image before a revision, newest first, as far as they can be read."""
        size = (entry.labelled.height, entry.labelled.width)
        found = []
        for revision in range(before - 1, 0, -1):
            with suppress(ImageError):
                found.append(read(self._run.store, entry.labelled.image, size, revision))
        return found

    def _shown_reviews(self, contents: Contents, matches: Matches) -> dict[str, orjson.Fragment]:
        """Every review of an image of the index, by digest; what was decided meanwhile is looked up here."""
        store, names = self._run.store, {category.name for category in self._run.categories}
        found = {}
        for image, now in store.revisions().items():
            revision, text = matches.shown.get(image, (0, b""))
            files = contents.files.get(image, ())
            if files and revision != now:
                row = store.review(image, now)
                told = told_by_ids(now, row[1], files, names) if row else None
                text = told or orjson.dumps(search(store, self._run.asked, self._run.categories, files))
            if files and text:
                found[image.hex()] = orjson.Fragment(text)
        return found


def _changed(entry: Labelled) -> Changed:
    return Changed(f"the answers of {entry.item.file_name} have changed; reload the page")
