"""The main job, wired: label a folder, export a dataset, plan it, open what is kept."""

from autolabel.pipeline.exporting import check, export
from autolabel.pipeline.labelling import label
from autolabel.pipeline.planning import Plan, plan
from autolabel.pipeline.results import Run, open_run
from autolabel.pipeline.running import run
from autolabel.pipeline.summary import Summary

__all__ = ["Plan", "Run", "Summary", "check", "export", "label", "open_run", "plan", "run"]
