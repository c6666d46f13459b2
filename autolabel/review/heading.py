"""What the index says of the config as it is now: thresholds, where they go, and who answers prompts."""

from typing import Any

from autolabel.config import Config
from autolabel.errors import ConfigError
from autolabel.pipeline.question import visual_asker

VERSION = 1  # of the index


def head(config: Config, *, read_only: bool) -> dict[str, Any]:
    """The keys of the index that are the config's."""
    settings = config.filter
    return {
        "version": VERSION,
        "title": config.run,
        "read_only": read_only,
        "can_save": config.origin is not None and not read_only,
        "config": str(config.origin[0]) if config.origin else None,
        "visual": None if read_only else _visual(config),
        "classes": [
            {
                "name": category.name,
                "confidence": category.confidence,
                "nms_iou": category.nms_iou,
                "min_area": category.min_area,
                "max_instances": category.max_instances,
            }
            for category in config.categories
        ],
        "filter": {
            "cross_class_iou": settings.cross_class_iou,
            "nms_metric": settings.nms_metric,
            "max_area": settings.max_area,
            "floor": config.label.confidence,
        },
    }


def _visual(config: Config) -> dict[str, Any] | None:
    """Who answers boxes and points, and which of them."""
    takes: list[str] = []
    name = ""
    for kind in ("boxes", "points"):
        try:
            asked = visual_asker(config, {kind})
        except ConfigError:
            continue
        if kind in asked.limits.takes:
            takes.append(kind)
            name = name or asked.settings.name
    return {"name": name, "takes": takes} if takes else None
