"""`run`: label, then export, so that what can't be exported is found before anything is paid for."""

import time
from dataclasses import replace

from autolabel.config import Config
from autolabel.errors import AutolabelError, StopRun, UsageError
from autolabel.pipeline.exporting import check, export
from autolabel.pipeline.inventory import select
from autolabel.pipeline.labelling import label
from autolabel.pipeline.summary import Summary


def run(
    config: Config,
    *,
    limit: int | None = None,
    overwrite: bool = False,
    resplit: bool = False,
    retry_unclear: bool = False,
) -> Summary:
    """Label the images, or a sample of `limit` of them, and export the dataset.

    Where every image failed nothing is exported and the old dataset stays. Raises UsageError before
    anything was asked, and StopRun where the labelling ended early, likewise without an export.
    """
    started = time.monotonic()
    items = select(config, limit)
    check(config, overwrite=overwrite)
    labelled = label(config, items=items, retry_unclear=retry_unclear)
    if not labelled.labelled:
        labelled.warnings.append(
            f"every image failed, so nothing is written and {config.output} stays as it is"
        )
        return labelled
    sample = None if limit is None else items
    del items  # the export lists the folder again
    try:
        summary = export(config, sample=sample, overwrite=overwrite, resplit=resplit)
    except UsageError as error:  # what was fine before anything was asked has changed meanwhile
        raise AutolabelError(f"{error}; every answer is kept, for `autolabel export`") from None
    except StopRun as stop:
        stop.summary = _with_costs(stop.summary, labelled, started)
        raise
    return _with_costs(summary, labelled, started)


def _with_costs(summary: Summary, labelled: Summary, started: float) -> Summary:
    return replace(
        summary,
        requests=labelled.requests,
        retries=labelled.retries,
        cost=labelled.cost,
        seconds=time.monotonic() - started,
    )
