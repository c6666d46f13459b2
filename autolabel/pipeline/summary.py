"""What a command did: the numbers behind `--json`, and the lines a person reads."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from autolabel.pipeline.reviewing import ReviewCounts

FORMAT_LIMIT = "format_limit:"


@dataclass(slots=True)
class Summary:
    """The outcome of label, export or run. `requests` counts every request sent, retries included.

    `dropped` counts instances by reason; those of a format (`format_limit:voc`) stand beside the
    identity answered = exported + dropped, since the other formats hold them. What a reviewer added counts as
    answered too. `notes` are warnings about the dataset itself, which its manifest repeats. `unwritten` says
    that there was something to export, and nothing of it was accepted.
    """

    images: int = 0
    labelled: int = 0
    failed: int = 0
    requests: int = 0
    retries: int = 0
    cost: float | None = None
    seconds: float = 0.0
    answered: int = 0
    exported: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    output: str | None = None
    run: str = ""
    prompts: dict[str, list[int]] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    review: ReviewCounts = field(default_factory=ReviewCounts)
    unwritten: bool = False

    def fail(self, name: str, reason: str) -> None:
        """Count an image as failed that was counted as labelled."""
        self.labelled -= 1
        self.failed += 1
        self.failures.append((name, reason))

    @property
    def exit_code(self) -> int:
        """0 where everything is well, 3 where images failed or a review left nothing to write."""
        return 3 if self.failed or self.unwritten else 0

    def to_json(self) -> dict[str, Any]:
        """The keys that other programs read; `review` is one of them where anything is decided."""
        return {
            "images": self.images,
            "labelled": self.labelled,
            "failed": self.failed,
            "requests": self.requests,
            "retries": self.retries,
            "cost": None if self.cost is None else round(self.cost, 6),
            "seconds": round(self.seconds, 3),
            "instances": {
                "answered": self.answered,
                "exported": self.exported,
                "dropped": dict(sorted(self.dropped.items())),
            },
            "splits": self.splits,
            "output": self.output,
            "run": self.run,
        } | ({"review": asdict(self.review)} if self.review else {})

    def lines(self) -> Iterator[str]:
        """Yield the summary for a terminal."""
        cost = "" if self.cost is None else f", cost ${self.cost:.4g}"
        retries = f" ({self.retries} of them retries)" if self.retries else ""
        yield (
            f"{self.images} images: {self.labelled} labelled, {self.failed} failed; "
            f"{self.requests} requests{retries}{cost}, {self.seconds:.1f} s"
        )
        if self.output:
            yield from self._export_lines()
        elif self.prompts:
            hits = ", ".join(f"{prompt} {n[0]}" for prompt, n in self.prompts.items())
            yield f"answers: {self.answered} instances ({hits})"
        if self.output:
            yield f"wrote {self.output}"

    def troubles(self) -> Iterator[str]:
        """Yield what needs attention: failed images and warnings."""
        yield from first("failed", [f"{name}: {reason}" for name, reason in self.failures])
        yield from (f"warning: {warning}" for warning in (*self.warnings, *self.notes))

    def _export_lines(self) -> Iterator[str]:
        yield f"instances: {self.answered} answered, {self.exported} exported"
        reasons = {name: n for name, n in self.dropped.items() if not name.startswith(FORMAT_LIMIT)}
        limits = {name: n for name, n in self.dropped.items() if name.startswith(FORMAT_LIMIT)}
        if reasons:
            yield f"  dropped: {_counts(reasons)}"
        if limits:
            yield f"  not held by a format: {_counts(limits)}"
        if self.prompts:
            yield "  by prompt: " + ", ".join(
                f"{prompt} {kept} of {answered}" for prompt, (answered, kept) in self.prompts.items()
            )
        yield from (f"  {line}" for line in self.review.lines())
        yield from _table(self.splits)


def first(what: str, entries: list[str], most: int = 10) -> Iterator[str]:
    """Yield the first `most` of the entries, and how many more there are."""
    yield from (f"{what}: {entry}" for entry in entries[:most])
    if len(entries) > most:
        yield f"... and {len(entries) - most} more {what}"


def _table(splits: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """One row a split, one column a class."""
    classes = list(next(iter(splits.values()))["instances"]) if splits else []
    rows = [["split", "images", *classes]]
    rows += [
        [name, str(row["images"]), *(str(row["instances"][c]) for c in classes)]
        for name, row in splits.items()
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "  " + "  ".join([row[0].ljust(widths[0]), *cells])


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))
