"""The keys of a configuration, their types, defaults and bounds. Unknown keys are errors."""

import math
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from autolabel.types import Box, Category

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _text(value: str) -> str:
    """A name or prompt: trimmed, not empty, on one line."""
    value = value.strip()
    if not value:
        raise ValueError("should not be empty")
    if not value.isprintable():
        raise ValueError("should hold no control characters or line breaks")
    return value


def _path(value: str) -> str:
    """A path as it is given to the system: nothing in it is expanded."""
    if not value.strip() or "\0" in value:
        raise ValueError("should be a path")
    if value.startswith("~"):
        raise ValueError("should be written out: ~ is not expanded")
    return value


def _listed(value: Any) -> Any:
    """One path is a list of one."""
    return (value,) if isinstance(value, str) else value


def _box(value: Box) -> Box:
    """A box with an inside: numbers x0, y0, x1, y1."""
    x0, y0, x1, y1 = value
    if not (all(map(math.isfinite, value)) and x0 < x1 and y0 < y1):
        raise ValueError("should be [x0, y0, x1, y1] in pixels, with x0 < x1 and y0 < y1")
    return value


Text = Annotated[str, AfterValidator(_text)]
BoxText = Annotated[Box, Field(strict=False), AfterValidator(_box)]
PathText = Annotated[str, AfterValidator(_path)]


class Section(BaseModel):
    """What every part of the configuration shares: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class ExemplarConfig(Section):
    """A box on one of the images, by file_name, that shows the class or (not `positive`) what it is not."""

    image: Text
    box: BoxText
    positive: bool = True


class ClassConfig(Section):
    """One class: its prompts (synonyms), exemplars, and what overrides the filter for it."""

    name: Text
    prompts: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    exemplars: Annotated[tuple[ExemplarConfig, ...], Field(strict=False)] = ()
    confidence: Share | None = None
    nms_iou: Share | None = None
    min_area: Annotated[int, Field(ge=0)] | None = None
    max_instances: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_is_the_first_prompt(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if value is None or isinstance(value, bool | int | float):
            raise ValueError("should be a class name; put it in quotes")
        if isinstance(value, dict) and value.get("prompts") is None and isinstance(value.get("name"), str):
            value = {**value, "prompts": [value["name"]]}
        return value

    @field_validator("prompts")
    @classmethod
    def _prompts_differ(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("should hold at least one prompt")
        twice = [prompt for prompt, n in Counter(value).items() if n > 1]
        if twice:
            raise ValueError(f"holds the prompt {twice[0]!r} twice; leave one out")
        return value


class BackendConfig(Section):
    """Which host or model answers, and where."""

    name: Text
    model: Text | None = None
    base_url: str | None = None
    requests_per_second: Positive | None = None
    timeout_s: Positive = 120.0
    price_per_request: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    auth: Literal["bearer", "query"] = "bearer"
    answers: PathText | None = None
    api: Literal["v1", "v2"] | None = None
    options: dict[str, Any] = {}  # checked by the backend

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            url = urlsplit(value)
            port_is_fine = url.port is None or url.port > 0
        except ValueError:
            port_is_fine = False
        if not port_is_fine or url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("should be an address such as http://127.0.0.1:9001")
        return value.rstrip("/")


class LabelConfig(Section):
    """How the model is asked."""

    confidence: Annotated[float, Field(gt=0, le=1)] = 0.1
    workers: Annotated[int, Field(ge=1, le=256)] = 8
    engine: Literal["local"] = "local"
    budget: Positive | None = None
    boxes: PathText | None = None
    prompts: PathText | None = None


class VideoConfig(Section):
    """Which frames of a video are images: so many a second (None: every frame), from second to second."""

    fps: Positive | None = None
    start: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    end: Positive | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "VideoConfig":
        if self.end is not None and (self.start or 0) >= self.end:
            raise ValueError(f"start {self.start:g} s is not before end {self.end:g} s")
        return self


class FilterConfig(Section):
    """What is kept of the answers."""

    confidence: Share = 0.5
    nms_iou: Share | None = 0.7
    cross_class_iou: Share | None = 0.9
    nms_metric: Literal["iou", "ios"] = "iou"
    min_area: Annotated[int, Field(ge=0)] = 0
    max_area: Annotated[float, Field(gt=0, le=1)] | None = None


class SplitConfig(Section):
    """Shares of the splits, and the seed of the assignment."""

    train: Share = 0.8
    val: Share = 0.2
    test: Share = 0.0
    seed: int = 0

    @model_validator(mode="after")
    def _whole(self) -> "SplitConfig":
        total = self.train + self.val + self.test
        if not math.isclose(total, 1, abs_tol=1e-3):
            raise ValueError(
                f"train {self.train:g} + val {self.val:g} + test {self.test:g} is {total:g}; "
                "the three shares should sum to 1"
            )
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Split name to share, in the order train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}


class CocoConfig(Section):
    """How COCO holds a mask."""

    segmentation: Literal["polygon", "rle"] = "polygon"


class YoloConfig(Section):
    """What becomes of an instance with several parts in one-ring rows."""

    parts: Literal["bridge", "split", "largest"] = "bridge"


class VocConfig(Section):
    """The width in pixels of the void border between VOC objects."""

    void_border: Annotated[int, Field(ge=0, le=50)] = 0


class ExportConfig(Section):
    """What is written."""

    formats: Annotated[tuple[Literal["coco", "yolo", "voc"], ...], Field(strict=False)] = (
        "coco",
        "yolo",
        "voc",
    )
    images: Literal["link", "copy", "none"] = "link"
    empty_images: Literal["keep", "skip"] = "keep"
    coco: CocoConfig = CocoConfig()
    yolo: YoloConfig = YoloConfig()
    voc: VocConfig = VocConfig()

    @field_validator("formats")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("should name at least one of coco, yolo and voc")
        return tuple(dict.fromkeys(value))

    def options(self, format_name: str) -> dict[str, Any]:
        """Keyword arguments of one format's writer."""
        section: Section = getattr(self, format_name)
        return section.model_dump()


class Config(Section):
    """A whole configuration. Paths are relative to the working directory."""

    images: Annotated[tuple[PathText, ...], BeforeValidator(_listed), Field(strict=False)]
    output: PathText = "datasets/autolabel"
    run: PathText = "runs/autolabel"
    classes: Annotated[tuple[ClassConfig, ...], Field(strict=False)]
    backend: BackendConfig
    visual: BackendConfig | None = None
    label: LabelConfig = LabelConfig()
    video: VideoConfig = VideoConfig()
    filter: FilterConfig = FilterConfig()
    split: SplitConfig = SplitConfig()
    export: ExportConfig = ExportConfig()

    @field_validator("images")
    @classmethod
    def _some_images(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("should name at least one folder, file or glob")
        return value

    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, value: tuple[ClassConfig, ...]) -> tuple[ClassConfig, ...]:
        if not value:
            raise ValueError("should name at least one class")
        twice = [name for name, n in Counter(item.name for item in value).items() if n > 1]
        if twice:
            raise ValueError(f"names the class {twice[0]!r} twice; give its synonyms as prompts of one class")
        owner: dict[str, str] = {}
        for item in value:
            for prompt in item.prompts:
                if prompt in owner:
                    raise ValueError(
                        f"gives the prompt {prompt!r} to the classes {owner[prompt]!r} and {item.name!r}; "
                        "leave it in one of them"
                    )
                owner[prompt] = item.name
        return value

    @model_validator(mode="after")
    def _floor_reaches_every_class(self) -> "Config":
        for category in self.categories:
            if category.confidence < self.label.confidence:
                raise ValueError(
                    f"label.confidence is {self.label.confidence:g}, above the confidence "
                    f"{category.confidence:g} of class {category.name!r}; lower label.confidence, "
                    "or answers between the two would never be asked for"
                )
        return self

    @cached_property
    def origin(self) -> tuple[Path, tuple[str, ...]] | None:
        """The file that it was read from, and the overrides; None where it was not read from one.

        It is no field: configurations that say the same are equal, wherever they come from.
        """
        return None

    @property
    def categories(self) -> list[Category]:
        """The classes with the thresholds that hold for each, ids from 0 in the order of the file."""
        return [self._category(i, item) for i, item in enumerate(self.classes)]

    def _category(self, class_id: int, item: ClassConfig) -> Category:
        # null turns a step off, which is not the same as a key that was left out
        nms_iou = item.nms_iou if "nms_iou" in item.model_fields_set else self.filter.nms_iou
        return Category(
            id=class_id,
            name=item.name,
            prompts=item.prompts,
            confidence=self.filter.confidence if item.confidence is None else item.confidence,
            nms_iou=nms_iou,
            min_area=self.filter.min_area if item.min_area is None else item.min_area,
            max_instances=item.max_instances,
        )

    @classmethod
    def load(cls, path: str, overrides: tuple[str, ...] | list[str] = ()) -> "Config":
        """Read a YAML file; `overrides` are "dotted.key=value" texts. Raises ConfigError."""
        from autolabel.config.load import load_config  # noqa: PLC0415  (load.py builds on this module)

        return load_config(path, overrides)
