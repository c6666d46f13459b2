"""A folder of images and class names become a segmentation dataset, labelled by SAM 3.

Everything public is here; each name is imported when it is first used, so that `import autolabel` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autolabel.version import __version__

if TYPE_CHECKING:
    from autolabel.checks import Checked, check
    from autolabel.config import Config
    from autolabel.conversion import Conversion, convert
    from autolabel.draw import contact_sheet, to_supervision
    from autolabel.errors import (
        AnswerError,
        AutolabelError,
        BudgetReached,
        ConfigError,
        ImageError,
        InputError,
        Interrupted,
        KeyRefused,
        NoCredits,
        OutputError,
        RefusedError,
        SameRefusal,
        StopRun,
        UnknownModel,
        UsageError,
    )
    from autolabel.pipeline import Plan, Run, Summary, export, label, open_run, plan, run
    from autolabel.types import RLE, Category, Detection, ImageItem, ImageResult, Picture, Prompt

_HOMES = {
    "autolabel.checks": ("Checked", "check"),
    "autolabel.config": ("Config",),
    "autolabel.conversion": ("Conversion", "convert"),
    "autolabel.draw": ("contact_sheet", "to_supervision"),
    "autolabel.errors": (
        "AnswerError",
        "AutolabelError",
        "BudgetReached",
        "ConfigError",
        "ImageError",
        "InputError",
        "Interrupted",
        "KeyRefused",
        "NoCredits",
        "OutputError",
        "RefusedError",
        "SameRefusal",
        "StopRun",
        "UnknownModel",
        "UsageError",
    ),
    "autolabel.pipeline": ("Plan", "Run", "Summary", "export", "label", "open_run", "plan", "run"),
    "autolabel.types": ("RLE", "Category", "Detection", "ImageItem", "ImageResult", "Picture", "Prompt"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "RLE",
    "AnswerError",
    "AutolabelError",
    "BudgetReached",
    "Category",
    "Checked",
    "Config",
    "ConfigError",
    "Conversion",
    "Detection",
    "ImageError",
    "ImageItem",
    "ImageResult",
    "InputError",
    "Interrupted",
    "KeyRefused",
    "NoCredits",
    "OutputError",
    "Picture",
    "Plan",
    "Prompt",
    "RefusedError",
    "Run",
    "SameRefusal",
    "StopRun",
    "Summary",
    "UnknownModel",
    "UsageError",
    "__version__",
    "check",
    "contact_sheet",
    "convert",
    "export",
    "label",
    "open_run",
    "plan",
    "run",
    "to_supervision",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'autolabel' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
