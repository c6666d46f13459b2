"""`review --apply`: decisions that were made in a report, away from the run, are put into the run's store."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import orjson

from autolabel import decisions
from autolabel.config import Config
from autolabel.decisions import Origin, Review
from autolabel.errors import ImageError, InputError
from autolabel.pipeline.results import Labelled, Run
from autolabel.pipeline.reviewing import ReviewCounts, read
from autolabel.pipeline.summary import first
from autolabel.review.deciding import answers_of, filled
from autolabel.review.matching import stored
from autolabel.store import Store


@dataclass(frozen=True, slots=True)
class Applying:
    """What became of the decisions in a file: counts of images, and the names of those to look at.

    `already` had the same decisions. Of `conflicts` the run knows others than the file was made from,
    `unknown` are not among its labelled images, and what stands for `refused` is no review of theirs: these
    are left alone. `unmet` are applied, and counted so, but something of them has no effect in the run as it
    is: a decision's answer or class is gone, or the image was accepted on other answers.
    """

    path: str
    run: str
    images: int
    applied: int
    already: int
    conflicts: tuple[tuple[str, str], ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    unmet: tuple[tuple[str, str], ...] = ()

    @property
    def exit_code(self) -> int:
        """0 where everything is applied, 3 where something is not, or has no effect."""
        return 3 if any(self._troubles.values()) else 0

    @property
    def _troubles(self) -> dict[str, tuple[tuple[str, str], ...]]:
        return {
            "conflicts": self.conflicts,
            "unknown": self.unknown,
            "refused": self.refused,
            "unmet": self.unmet,
        }

    def to_json(self) -> dict[str, Any]:
        """The keys that other programs read."""
        return {
            "images": self.images,
            "applied": self.applied,
            "already": self.already,
            **{
                kind: [{"image": name, "reason": why} for name, why in some]
                for kind, some in self._troubles.items()
            },
            "run": self.run,
        }

    def lines(self) -> Iterator[str]:
        """Yield the outcome for a terminal."""
        parts = [f"{self.applied} applied", f"{self.already} already there"]
        parts += [f"{len(some)} {_WORDS[kind][0]}" for kind, some in self._troubles.items() if some]
        yield f"{self.path}: decisions on {self.images} images: {', '.join(parts)}"

    def troubles(self) -> Iterator[str]:
        """Yield what was not applied, or has no effect."""
        for kind, some in self._troubles.items():
            yield from first(_WORDS[kind][1], [f"{name}: {why}" for name, why in some])


_WORDS = {  # for many, and for one
    "conflicts": ("in conflict", "conflict"),
    "unknown": ("unknown", "unknown"),
    "refused": ("refused", "refused"),
    "unmet": ("in part without effect", "without effect"),
}


class _Image(msgspec.Struct, forbid_unknown_fields=True):
    image: str
    name: str
    base: Annotated[int, msgspec.Meta(ge=0)]
    review: dict[str, Any]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    autolabel_decisions: Literal[1]
    images: list[_Image]
    made: str = ""  # which report it is from


def apply_decisions(config: Config, path: str | Path) -> Applying:
    """Put the decisions of the file at `path` into the run of `config`, each image in a commit of its own.

    What was decided in the run since the file was made is never overwritten. Raises InputError, before
    anything is applied, where `path` is no such file or nothing is labelled yet.
    """
    given = _parsed(Path(path))
    counts: Counter[str] = Counter()
    troubles: dict[str, list[tuple[str, str]]] = {kind: [] for kind in _WORDS}
    with Run(config) as run:
        known: dict[str, list[Labelled]] = {}
        for entry in run.survey().labelled:
            known.setdefault(entry.image.hex(), []).append(entry)
        for place, one in enumerate(given.images):
            files = known.get(one.image)
            if files is None:
                why = f"images[{place}] is not among the labelled images of {config.run}"
                troubles["unknown"].append((_printable(one.name), why))
                continue
            kind, why = _put(run, files[0], one, place, given.made)
            counts[kind] += 1
            if kind in ("applied", "already"):
                kind, why = "unmet", _unmet(run, files)
            if why:
                troubles[kind].append((files[0].item.file_name, why))
    return Applying(
        str(path),
        config.run,
        len(given.images),
        counts["applied"],
        counts["already"],
        **{kind: tuple(some) for kind, some in troubles.items()},
    )


def _parsed(path: Path) -> _File:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); name a file of decisions") from None
    try:
        given = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"{path} is no file of decisions ({error}); name one that was saved from a report"
        ) from None
    met: dict[str, int] = {}
    for place, one in enumerate(given.images):
        other = met.setdefault(one.image, place)
        if other != place:
            raise InputError(
                f"{path} has images[{other}] and images[{place}] for one image; leave one of them out"
            )
    return given


def _put(run: Run, entry: Labelled, given: _Image, place: int, made: str) -> tuple[str, str]:
    """What became of the decisions on one image, "applied", "already", "conflicts" or "refused", and why."""
    store, size = run.store, (entry.height, entry.width)
    try:
        review = decisions.from_json(filled(given.review, _origins(run, entry, given.review)), size)
    except (ValueError, ImageError) as error:
        return "refused", f"images[{place}].review: {error}"
    current = store.review(entry.image)
    now = current[0] if current else 0
    # a reviewer may go on in a file of which something was applied; an older download comes too late
    mine = f"revision of {given.image} by report {made}"
    if _same(store, entry.image, size, review):
        if made and now:
            store.put_note(mine, str(now))
        return "already", ""
    goes_on = made and store.note(mine) == str(now) and review.at >= stored(store, entry)[1].at
    base = now if goes_on else given.base
    with store.transaction():
        document = orjson.dumps(decisions.to_json(review))
        revision = store.put_review(entry.image, document, review.at, base=base)
        if revision is not None and made:
            store.put_note(mine, str(revision))
    if revision is not None:
        return "applied", ""
    return "conflicts", (
        f"the run has revision {now} of its decisions, and the file was made from {given.base}; "
        "open the review and decide there"
    )


def _origins(run: Run, entry: Labelled, review: dict[str, Any]) -> dict[str, Origin]:
    """The present answers by their ids, where a document names some by these alone."""
    instances = review.get("instances")
    each = instances if isinstance(instances, list) else []
    origins: list[object] = [d.get("origin") if isinstance(d, dict) else {} for d in each]
    if all(not isinstance(origin, dict) or "counts" in origin for origin in origins):
        return {}
    return answers_of(run.store, run.asked, run.categories, entry).origins


def _unmet(run: Run, files: Sequence[Labelled]) -> str:
    """What of the present review of a content has no effect in any of its files; nothing where all has."""
    counts, before = ReviewCounts(), None
    try:
        for entry in files:
            found = run.reviewed(entry)
            before = counts.add(found.review, found.applied, left_out=False, before=before)
    except ImageError as error:
        return str(error)
    reasons = [f"{counts.lost} of its decisions found no instance, or no class"] if counts.lost else []
    reasons += ["it was accepted on other answers than it has now"] if counts.stale else []
    return f"{' and '.join(reasons)}; open the review, which shows it" if reasons else ""


def _same(store: Store, image: bytes, size: tuple[int, int], review: Review) -> bool:
    """Whether the run has these decisions already, whenever they were made."""
    try:
        return _timeless(read(store, image, size)) == _timeless(review)
    except ImageError:  # what is there can't be read, and is replaced
        return False


def _timeless(review: Review) -> Review:
    return replace(review, at="", instances=tuple(replace(d, at="") for d in review.instances))


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[:200])
