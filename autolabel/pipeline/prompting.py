"""Prompts for single images: boxes of a dataset, points and boxes by hand, exemplars. Asks nobody."""

import codecs
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

import orjson
from pydantic import Field, ValidationError

from autolabel.config import Config
from autolabel.config.model import BoxText, Section, Text
from autolabel.errors import ConfigError, InputError
from autolabel.formats import find_datasets
from autolabel.formats.problems import Findings
from autolabel.formats.reading import DatasetImage, Instance
from autolabel.geometry import rle
from autolabel.types import Box, Exemplar, Point, Prompt

_FRAME = "label.boxes"


@dataclass(frozen=True, slots=True)
class ImagePrompts:
    """What is asked about one image alone; `wh` is the size in px that its coordinates are for, if known."""

    prompts: tuple[Prompt, ...]
    wh: tuple[int, int] | None = None


def boxes_of(config: Config, names: Sequence[str]) -> tuple[dict[str, ImagePrompts], str | None]:
    """A prompt for every box of the dataset `label.boxes`, by the image's name among `names`; and a warning.

    Classes are matched by name, images by file_name, or where only one fits by its end and without suffix.
    What is left out is counted in the warning. Raises ConfigError where nothing matches, InputError where it
    is no dataset.
    """
    place = str(config.label.boxes)
    class_ids = {category.name: category.id for category in config.categories}
    found: dict[str, ImagePrompts] = {}
    findings, left_out, foreign = Findings(), Counter[str](), Counter[str]()
    match = _Names(names)
    try:
        reader = find_datasets(Path(place))[0].open(findings)
    except InputError as error:
        raise InputError(f"{_FRAME}: {error}") from None
    for image in reader.images():
        name = match.find(image.file_name)
        if name is None:
            left_out["images that are not among yours"] += 1
        elif name in found:
            raise ConfigError(f"{_FRAME}: {place} has two images for {name}; keep one of them")
        else:
            prompts = tuple(_box_prompts(image, reader.classes, class_ids, left_out, foreign))
            size = (image.width, image.height) if image.width and image.height else None
            found[name] = ImagePrompts(prompts, size)
    if not found:
        first = f"; of its images {findings.images[0][0]} {findings.images[0][1]}" if findings.images else ""
        raise ConfigError(
            f"{_FRAME}: no image of {place} has the name of one of yours, such as {names[0]}{first}"
        )
    if not any(entry.prompts for entry in found.values()):
        known = ", ".join(reader.classes[:10])
        raise ConfigError(f"{_FRAME}: no box of {place} is of your classes; it has {known}")
    if foreign:
        some = ", ".join(repr(name) for name, _ in foreign.most_common(5))
        more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
        left_out[f"boxes of classes that are none of yours ({some}{more})"] = foreign.total()
    left_out.update({"records that can't be read": findings.lost.total()} if findings.lost else {})
    counts = ", ".join(f"{count} {what}" for what, count in sorted(left_out.items()))
    return found, f"{_FRAME}: of {place} are left out: {counts}" if left_out else None


def prompts_by_hand(config: Config, names: Sequence[str]) -> dict[str, tuple[Prompt, ...]]:
    """The prompts of the file `label.prompts`, by image. Raises ConfigError, naming the line."""
    place = str(config.label.prompts)
    class_ids = {category.name: category.id for category in config.categories}
    match = _Names(names)
    found: dict[str, list[Prompt]] = defaultdict(list)
    for number, line in _lines(place):
        name = match.find(line.image, f"{place}, line {number}")
        if name is None:
            raise ConfigError(f"{place}, line {number}: there is no image {line.image!r} among yours")
        if line.class_ not in class_ids:
            raise ConfigError(f"{place}, line {number}: {line.class_!r} is none of your classes")
        if line.box is None and not any(positive for _, _, positive in line.points):
            raise ConfigError(f"{place}, line {number}: give a box, or a point on the object, [x, y, 1]")
        found[name].append(
            Prompt(
                f"{'points' if line.box is None else 'box'} of {line.class_}",
                class_ids[line.class_],
                box_xyxy=line.box,
                points=tuple(Point(x, y, bool(positive)) for x, y, positive in line.points),
                source_id=line.id,
            )
        )
    return {name: tuple(prompts) for name, prompts in found.items()}


def exemplars_of(config: Config, names: Sequence[str]) -> dict[str, dict[int, tuple[Exemplar, ...]]]:
    """The exemplars of each class id, by image. Raises ConfigError for an image that is not there."""
    match = _Names(names)
    found: dict[str, dict[int, tuple[Exemplar, ...]]] = defaultdict(dict)
    for class_id, item in enumerate(config.classes):
        for number, given in enumerate(item.exemplars):
            where = f"classes.{class_id}.exemplars.{number}"
            name = match.find(given.image, where)
            if name is None:
                raise ConfigError(f"{where}: there is no image {given.image!r} among yours")
            before = found[name].get(class_id, ())
            found[name][class_id] = (*before, Exemplar(given.box, given.positive))
    return found


class _Line(Section):
    """One line of `label.prompts`."""

    image: Text
    class_: Annotated[Text, Field(alias="class")]
    box: BoxText | None = None
    points: Annotated[
        tuple[Annotated[tuple[float, float, Annotated[int, Field(ge=0, le=1)]], Field(strict=False)], ...],
        Field(strict=False),
    ] = ()
    id: int | str | None = None


def _lines(place: str) -> Iterator[tuple[int, _Line]]:
    try:
        lines = Path(place).read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
    except OSError as error:
        raise ConfigError(f"label.prompts: {place} can't be read: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, _Line.model_validate(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"{place}, line {number}: it is no JSON object: {error}") from None
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in problem["loc"][:1]) or "the line"
            what = (
                "is unknown" if problem["type"] == "extra_forbidden" else "is missing or not as it should be"
            )
            raise ConfigError(
                f"{place}, line {number}: {key} {what}; write it like "
                '{"image": "a.jpg", "class": "cat", "box": [x0, y0, x1, y1], "points": [[x, y, 1]]}'
            ) from None


def _box_prompts(
    image: DatasetImage,
    classes: Sequence[str],
    class_ids: Mapping[str, int],
    left_out: Counter[str],
    foreign: Counter[str],
) -> Iterator[Prompt]:
    for instance in image.instances:
        name = classes[instance.class_id]
        box = _box_of(instance)
        if name not in class_ids:
            foreign[name] += 1
        elif instance.crowd:
            left_out["crowds"] += 1
        elif box is None:
            left_out["records without a box"] += 1
        else:
            yield Prompt(f"box of {name}", class_ids[name], box_xyxy=box, source_id=instance.source_id)


def _box_of(instance: Instance) -> Box | None:
    """The box that is stated, else that of the mask; None where it has no inside."""
    box: Sequence[float] | None = instance.box_xyxy
    if box is None and instance.mask is not None:
        x, y, width, height = rle.box_xywh(instance.mask)
        box = (x, y, x + width, y + height)
    if box is None or not (box[0] < box[2] and box[1] < box[3]):
        return None
    x0, y0, x1, y1 = box
    return float(x0), float(y0), float(x1), float(y1)


class _Names:
    """File names, to be found by the whole, or by an end that begins at a folder, whatever the suffix."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = set(names)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in names:
            self._by_stem[PurePosixPath(name).stem].append(name)

    def find(self, name: str, where: str = _FRAME) -> str | None:
        """The name that is meant `where`; None where there is none. Raises InputError where there are two."""
        if name in self._names:
            return name
        plain = _plain(name)
        alike = [
            other
            for other in self._by_stem.get(PurePosixPath(name).stem, ())
            if _plain(other).endswith(plain) or plain.endswith(_plain(other))
        ]
        if len(alike) > 1:
            raise InputError(
                f"{where}: {name} may be {alike[0]} or {alike[1]}; name images as yours are named"
            )
        return alike[0] if alike else None


def _plain(name: str) -> str:
    """A name without its suffix, beginning with a slash."""
    return f"/{PurePosixPath(name).with_suffix('')}"
