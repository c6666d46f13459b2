"""Which of the labelled images go into the dataset, and why none does."""

from collections.abc import Mapping, Sequence

from autolabel.config import Config
from autolabel.decisions import Applied
from autolabel.errors import ImageError
from autolabel.filters import Reason
from autolabel.pipeline.results import Labelled, Run, Survey
from autolabel.pipeline.summary import Summary


def choose(
    run: Run,
    labelled: Sequence[Labelled],
    summary: Summary,
    revisions: Mapping[bytes, int],
    *,
    reviewed_only: bool,
) -> tuple[Sequence[Labelled], Sequence[Labelled]]:
    """The images without those that turn out to fail, and of these the ones that go into the dataset.

    `revisions` are the store's; what fails is counted in `summary`.
    """
    if not revisions and not reviewed_only and run.config.export.empty_images == "keep":
        return labelled, labelled
    whole: list[Labelled] = []
    chosen: list[Labelled] = []
    for entry in labelled:
        try:
            is_chosen = _is_chosen(run, entry, revisions, reviewed_only=reviewed_only)
        except ImageError as error:
            summary.fail(entry.item.file_name, str(error))
            continue
        whole.append(entry)
        if is_chosen:
            chosen.append(entry)
    return whole, chosen


def left_out(applied: Applied, *, reviewed_only: bool) -> Reason | None:
    """Why all instances of an image are dropped, where the review is the cause."""
    if applied.state == "rejected":
        return "review_rejected"
    return "not_reviewed" if reviewed_only and applied.state != "accepted" else None


def why_nothing(config: Config, found: Survey, *, reviewed_only: bool) -> tuple[str, bool]:
    """Why there is no image to write, and whether the review is the cause."""
    if not found.labelled:
        return "no image has a whole answer", False
    if reviewed_only:
        return "no image is accepted in the review", True
    if config.export.empty_images == "skip":
        return "no instance is left in any image", False
    return "every image is rejected in the review or failed", True


def _is_chosen(run: Run, entry: Labelled, revisions: Mapping[bytes, int], *, reviewed_only: bool) -> bool:
    """Whether an image goes into the dataset; its answers are only read where they decide that."""
    skips_empty = run.config.export.empty_images == "skip"
    verdict = run.review_of(entry, revisions).verdict
    if verdict == "rejected" or (reviewed_only and verdict != "accepted"):
        return False
    if not skips_empty and not reviewed_only:
        return True
    found = run.reviewed(entry, revisions)
    return not left_out(found.applied, reviewed_only=reviewed_only) and bool(found.kept or not skips_empty)
