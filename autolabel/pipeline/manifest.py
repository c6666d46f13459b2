"""dataset.json: what a dataset was made of, to make it again. Holds no key, clock or local path."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from autolabel.backends import answer_options, base_url_of, model_of
from autolabel.config import BackendConfig, Config
from autolabel.formats.base import FormatReport
from autolabel.pipeline.summary import Summary
from autolabel.version import __version__


def write(
    path: Path,
    config: Config,
    summary: Summary,
    reports: Mapping[str, FormatReport],
    degradations: Mapping[str, int],
    flagged: Mapping[str, int],
    visual: BackendConfig | None,
    *,
    reviewed_only: bool = False,
) -> None:
    """Write the manifest. `degradations` counts instances by what the host's answer could not hold, `flagged`
    those whose mask does not fit the box that was asked for; `visual` answered boxes and points.

    A review is in it only where there is one.
    """
    losses: dict[str, Any] = {"answers": dict(sorted(degradations.items()))} if degradations else {}
    losses |= {name: report.degradations for name, report in reports.items() if report.degradations}
    data: dict[str, Any] = {
        "version": __version__,
        "config": _config(config),
        "model": _answerer(config.backend),
        "visual": _answerer(visual) if visual else None,
        "classes": [category.name for category in config.categories],
        "images": {"labelled": summary.labelled, "failed": summary.failed},
        "splits": summary.splits,
        "notes": summary.notes,
        "instances": {"answered": summary.answered, "exported": summary.exported},
        "dropped": dict(sorted(summary.dropped.items())),
        "flagged": dict(sorted(flagged.items())),
        "degradations": losses,
        "renamed": {name: report.renamed for name, report in reports.items() if report.renamed},
        "renamed_classes": {
            name: report.renamed_classes for name, report in reports.items() if report.renamed_classes
        },
    }
    if summary.review:
        data["review"] = asdict(summary.review)
    if reviewed_only:
        data["reviewed_only"] = True
    path.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def _answerer(settings: BackendConfig) -> dict[str, str | None]:
    model = model_of(settings)
    return {
        "backend": settings.name,
        "model": _portable(model) if model else None,
        "base_url": base_url_of(settings),
    }


def _config(config: Config) -> dict[str, Any]:
    """What changes the dataset: not where it lies, nor how fast or for how much it was asked."""
    data = config.model_dump(mode="json", exclude={"run", "output"})
    data["images"] = [_portable(source) for source in config.images]
    # the thresholds that hold for each class: a null in the file may mean "off" or "as the filter says"
    data["classes"] = [
        given | asdict(category) for given, category in zip(data["classes"], config.categories, strict=True)
    ]
    label = config.label
    data["label"] = {"confidence": label.confidence} | {
        key: _portable(path) for key, path in (("boxes", label.boxes), ("prompts", label.prompts)) if path
    }
    data["backend"] = _backend(config.backend)
    data["visual"] = _backend(config.visual) if config.visual else None
    return data


def _backend(settings: BackendConfig) -> dict[str, Any]:
    data = settings.model_dump(mode="json", include={"name", "model", "base_url", "answers"})
    data["options"] = answer_options(settings)
    for key in ("answers", "model"):
        if data[key] is not None:
            data[key] = _portable(data[key])
    return data


def _portable(path: str) -> str:
    """A path as it was given, or its last part where it names a place on this machine only."""
    return Path(path).name if Path(path).is_absolute() else Path(path).as_posix()
