"""What a configuration asks about each image, and whom. Asks nobody."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from autolabel.backends import identity, limits_of, model_of
from autolabel.backends.base import Limits
from autolabel.config import BackendConfig, Config
from autolabel.errors import ConfigError, ImageError
from autolabel.pipeline.clips import with_frames
from autolabel.pipeline.prompting import ImagePrompts, boxes_of, exemplars_of, prompts_by_hand
from autolabel.sources.listing import list_images
from autolabel.types import Box, Category, Exemplar, FrameItem, ImageItem, LostItem, Prompt

GRABCUT = BackendConfig(name="grabcut")


@dataclass(frozen=True, slots=True)
class Asked:
    """Who answers: `source` is the part of the cache key that says so, `floor` the confidence asked for."""

    settings: BackendConfig
    limits: Limits
    source: str
    floor: float

    def source_of(self, prompt: Prompt, item: ImageItem) -> str:
        """What its answer is kept under, beside the content: of a tracked frame with clip and number."""
        if not self.tracks(prompt, item):
            return self.source
        frame = cast(FrameItem, item)
        clip = frame.clip
        of = f'{{"clip":"{clip.content.hex()}","frames":"{clip.chosen}","frame":{frame.number}}}'
        return f"{self.source}\n{of}"

    def tracks(self, prompt: Prompt, item: ImageItem) -> bool:
        """Whether a prompt is asked about the whole clip that an image is a frame of."""
        is_text = not prompt.is_visual and not prompt.exemplars
        return self.limits.clips and is_text and isinstance(item, FrameItem)


@dataclass(frozen=True)
class Question:
    """The prompts of every image, and who answers texts and who boxes and points (perhaps the same).

    `texts` are asked about every image that `by_image` does not name. `place` is the file that must name an
    image where there are no texts.
    """

    texts: tuple[Prompt, ...]
    by_image: Mapping[str, ImagePrompts]
    text: Asked | None
    visual: Asked | None
    place: str = ""
    warning: str | None = None

    @property
    def who(self) -> str | None:
        """A sentence on who answers boxes and points, where that is not who answers texts."""
        if self.visual is None or (self.text and self.text.source == self.visual.source):
            return None
        return f"boxes and points are answered by {_name(self.visual.settings)}; `visual` chooses"

    @property
    def askers(self) -> list[Asked]:
        """Everyone who is asked, each once."""
        both = [asked for asked in (self.text, self.visual) if asked is not None]
        return both[:1] if len({asked.source for asked in both}) == 1 else both

    def asker(self, prompt: Prompt) -> Asked:
        """Who answers a prompt."""
        asked = self.visual if prompt.is_visual else self.text
        if asked is None:
            raise ValueError(f"nobody is asked for {prompt.key!r}")
        return asked

    def by_source(
        self, prompts: Iterable[Prompt], item: ImageItem
    ) -> dict[str, tuple[Asked, dict[str, Prompt]]]:
        """The prompts of an image by the source of their answers: who is asked, and the prompts by key."""
        found: dict[str, tuple[Asked, dict[str, Prompt]]] = {}
        for prompt in prompts:
            asked = self.asker(prompt)
            found.setdefault(asked.source_of(prompt, item), (asked, {}))[1][prompt.key] = prompt
        return found

    def prompts(self, file_name: str, wh: tuple[int, int]) -> tuple[Prompt, ...]:
        """What is asked about an image of `wh` upright px; boxes are cut at its edges.

        Raises ImageError where the file that should say so has nothing for it, or something else.
        """
        own = self.by_image.get(file_name)
        if own is None:
            if not self.texts:
                raise ImageError(f"{self.place} does not name it, so there is nothing to ask about it")
            return self.texts
        if own.wh is not None and wh[0] and own.wh != wh:
            raise ImageError(
                f"{self.place} has boxes for {own.wh[0]} x {own.wh[1]} px, the upright image "
                f"has {wh[0]} x {wh[1]}; make them for this image"
            )
        return tuple(_cut(prompt, wh) for prompt in own.prompts) if wh[0] else own.prompts


def question(config: Config) -> Question:
    """The question that `config` asks. UsageError where its backend can't take it, or a file is wrong."""
    limits = limits_of(config.backend)
    special = config.label.boxes or config.label.prompts or any(item.exemplars for item in config.classes)
    listed = with_frames(list_images(config.images), config, extract=False) if special else []
    names = [item.file_name for item in listed]
    texts = () if config.label.boxes else _texts(config.categories, limits)
    by_image: dict[str, ImagePrompts] = {}
    warning = None
    if config.label.boxes:
        by_image, warning = boxes_of(config, names)
    elif texts:
        for name, exemplars in exemplars_of(config, names).items():
            by_image[name] = ImagePrompts(tuple(_shown(prompt, exemplars) for prompt in texts))
    for name, prompts in (prompts_by_hand(config, names) if config.label.prompts else {}).items():
        before = by_image.get(name, ImagePrompts(texts))
        by_image[name] = replace(before, prompts=(*before.prompts, *prompts))
    shown = [p for entry in by_image.values() for p in entry.prompts if p.is_visual]
    boxes = {"boxes"} if any(p.box_xyxy for p in shown) else set()
    kinds = boxes | ({"points"} if any(p.points for p in shown) else set())
    visual = _visual_backend(config, kinds)
    asked = Question(
        texts=texts,
        by_image=by_image,
        text=_asked(config, config.backend) if texts else None,
        visual=_asked(config, visual) if config.label.boxes or config.label.prompts else None,
        place=config.label.boxes or config.label.prompts or "",
        warning=warning,
    )
    _check(config, asked, limits, kinds)
    return asked


def check_items(asked: Question, items: Iterable[ImageItem]) -> None:
    """Raise ConfigError for an image that is no frame where texts are asked about whole clips only."""
    if asked.text is None or asked.text.limits.images:
        return
    for item in items:
        if not isinstance(item, FrameItem | LostItem):
            name = _name(asked.text.settings)
            raise ConfigError(f"{name} takes videos only, and {item.file_name} is an image; choose another")


def visual_asker(config: Config, kinds: set[str]) -> Asked:
    """Who answers a prompt of these kinds that is given by hand. Raises ConfigError."""
    return _asked(config, _visual_backend(config, kinds))


def _visual_backend(config: Config, kinds: set[str]) -> BackendConfig:
    """Who answers these kinds: as configured, else the backend where it takes them, else GrabCut."""
    if config.visual is not None:
        return config.visual
    return config.backend if kinds and kinds <= limits_of(config.backend).takes else GRABCUT


def _texts(categories: Iterable[Category], limits: Limits) -> tuple[Prompt, ...]:
    """A prompt for each text, where texts are taken; at the class's own confidence where no scores come."""
    if "text" not in limits.takes:
        return ()
    return tuple(
        Prompt(text, category.id, asked_at=None if limits.scores else category.confidence)
        for category in categories
        for text in category.prompts
    )


def _shown(prompt: Prompt, exemplars: Mapping[int, tuple[Exemplar, ...]]) -> Prompt:
    own = exemplars.get(prompt.class_id)
    return replace(prompt, exemplars=own, key="") if own else prompt


def _asked(config: Config, settings: BackendConfig) -> Asked:
    try:
        return Asked(settings, limits_of(settings), identity(settings), config.label.confidence)
    except ConfigError as error:
        if settings is not config.visual:
            raise
        raise ConfigError(str(error).replace("backend.", "visual.")) from None


def _check(config: Config, asked: Question, limits: Limits, kinds: set[str]) -> None:
    """Raise ConfigError where somebody would be asked for what he can't take, or nobody for anything."""
    name = _name(config.backend)
    if any(item.exemplars for item in config.classes) and "exemplars" not in limits.takes:
        raise ConfigError(
            f"{name} takes no exemplars: remove `exemplars` from the classes, or choose another"
        )
    if not asked.texts and asked.visual is None:
        raise ConfigError(f"{name} takes no class names: set label.boxes or label.prompts, or choose another")
    if asked.visual is None:
        return
    for kind in sorted(kinds - asked.visual.limits.takes):
        raise ConfigError(
            f"{_name(asked.visual.settings)} takes no {kind}: set `visual` to one that does, such as "
            "{name: grabcut}, or {name: roboflow, model: visual}"
        )


def _name(settings: BackendConfig) -> str:
    model = model_of(settings)
    return f"backend {settings.name}" + (f" ({model})" if model else "")


def _cut(prompt: Prompt, wh: tuple[int, int]) -> Prompt:
    """A prompt with its boxes cut at the image's edges. Raises ImageError for what lies outside of it."""
    width, height = wh
    for point in prompt.points:
        if not (0 <= point.x <= width and 0 <= point.y <= height):
            raise ImageError(
                f"a point ({point.x:g}, {point.y:g}) lies outside the image of {width} x {height} px"
            )
    box = None if prompt.box_xyxy is None else _cut_box(prompt.box_xyxy, wh)
    exemplars = tuple(replace(e, box_xyxy=_cut_box(e.box_xyxy, wh)) for e in prompt.exemplars)
    return replace(prompt, box_xyxy=box, exemplars=exemplars)


def _cut_box(box_xyxy: Box, wh: tuple[int, int]) -> Box:
    x0, y0 = max(0.0, box_xyxy[0]), max(0.0, box_xyxy[1])
    x1, y1 = min(float(wh[0]), box_xyxy[2]), min(float(wh[1]), box_xyxy[3])
    if x0 >= x1 or y0 >= y1:
        shown = ", ".join(f"{value:g}" for value in box_xyxy)
        raise ImageError(f"the box [{shown}] lies outside the image of {wh[0]} x {wh[1]} px")
    return x0, y0, x1, y1
