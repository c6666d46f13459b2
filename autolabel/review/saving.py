"""Writes thresholds into the user's config file, whose comments, order and quotes stay as they are."""

import io
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autolabel.config import Config, load_config
from autolabel.errors import ConfigError
from autolabel.review.problems import Refused
from autolabel.types import Category

_OF_CLASS = ("nms_iou", "confidence")  # each new one comes before the last
_OF_FILTER = ("cross_class_iou",)
_BY_HAND = "change it by hand"


class FileChanged(Refused):
    """The file says other things than the review does; `config` is the file's, where the review can go on."""

    def __init__(self, path: Path, config: Config | None) -> None:
        what = "reload the page" if config else "its classes are others: start the review again"
        super().__init__(f"{path} has changed since the review was opened; {what}")
        self.config = config


def save_thresholds(config: Config, given: object) -> Config:
    """Write those thresholds of `given` that differ from what holds in `config`; returns the new config.

    `given` is {"classes": {name: {"confidence", "nms_iou"}}, "cross_class_iou"}, each part optional. They go
    to the file that `config` was read from. Raises Refused (FileChanged), and then nothing is written.
    """
    if config.origin is None:
        raise Refused("there is no config file to save to")
    path, overrides = config.origin
    _check_unchanged(path, overrides, config)
    wanted, cross = _wanted(config, given)
    changes = _changes(config, wanted, cross)
    if not changes:
        return config
    try:
        text = path.read_bytes()
        return _write(path, _edited(path, text, changes), overrides, config, wanted, cross)
    except OSError as error:
        raise Refused(f"{path} can't be written: {error.strerror}") from None
    except ConfigError as error:
        raise Refused(str(error)) from None


def _check_unchanged(path: Path, overrides: Sequence[str], config: Config) -> None:
    """Raise FileChanged where the classes or filters of the file are not those of `config`."""
    try:
        now = _reread(path, overrides, config)
    except ConfigError as error:
        raise Refused(str(error)) from None
    if (now.classes, now.filter) == (config.classes, config.filter):
        return
    meant, there = ([(c.name, c.prompts) for c in each.categories] for each in (config, now))
    own = config.model_copy(update={"classes": now.classes, "filter": now.filter})
    raise FileChanged(path, own if meant == there else None)


def _reread(path: Path, overrides: Sequence[str], config: Config) -> Config:
    """What a file says now; where output and run lie by default comes from the file's name, and stays."""
    return load_config(path, [*overrides, f"output={config.output}", f"run={config.run}"])


def _wanted(config: Config, given: object) -> tuple[list[Category], float | None]:
    """The classes and the threshold between classes as they are to be. Raises Refused."""
    if not isinstance(given, dict) or not given.keys() <= {"classes", *_OF_FILTER}:
        raise Refused("thresholds are an object of classes and cross_class_iou, and nothing else")
    classes = given.get("classes", {})
    if not isinstance(classes, dict):
        raise Refused("classes are an object of thresholds by class name")
    categories = {category.name: category for category in config.categories}
    for name, values in classes.items():
        if name not in categories:
            raise Refused(f"{name!r} is no class of the config")
        if not isinstance(values, dict) or not values.keys() <= set(_OF_CLASS):
            raise Refused(f"of class {name!r} only confidence and nms_iou can be saved")
        checked = {
            key: _share(value, f"{key} of {name!r}", key != "confidence") for key, value in values.items()
        }
        categories[name] = replace(categories[name], **checked)  # type: ignore[arg-type]
    cross = config.filter.cross_class_iou
    if "cross_class_iou" in given:
        cross = _share(given["cross_class_iou"], "cross_class_iou", True)
    return list(categories.values()), cross


def _share(value: object, what: str, may_be_off: bool) -> float | None:
    if value is None and may_be_off:
        return None
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= 1:  # type: ignore[arg-type, operator]
        raise Refused(f"{what} should be a number from 0 to 1")
    return float(value)  # type: ignore[arg-type]


def _changes(
    config: Config, wanted: Sequence[Category], cross: float | None
) -> dict[tuple[str | int, ...], float | None]:
    """Key of the file to new value, of what differs."""
    found: dict[tuple[str | int, ...], float | None] = {}
    for old, new in zip(config.categories, wanted, strict=True):
        for key in _OF_CLASS:
            if getattr(old, key) != getattr(new, key):
                found["classes", old.id, key] = getattr(new, key)
    if cross != config.filter.cross_class_iou:
        found["filter", "cross_class_iou"] = cross
    return found


def _edited(path: Path, text: bytes, changes: Mapping[tuple[str | int, ...], float | None]) -> bytes:
    """The file with other values at some keys. Raises Refused where it has no place for one."""
    from ruamel.yaml import YAML  # noqa: PLC0415  (only where something is saved)
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415
    from ruamel.yaml.util import load_yaml_guess_indent  # noqa: PLC0415

    source = text.decode("utf-8-sig")
    windows = "\r\n" in source
    source = source.replace("\r\n", "\n")
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000  # no line is folded
    yaml.allow_unicode = True
    try:
        _, indent, offset = load_yaml_guess_indent(source)
        if indent:
            yaml.indent(sequence=indent, offset=offset or 0)
        data = yaml.load(source)
        for key, value in changes.items():
            _put(data, key, value)
    except (YAMLError, TypeError, KeyError, IndexError, AttributeError):
        raise Refused(f"{path} is written in a way that can't be edited here; {_BY_HAND}") from None
    yaml.representer.add_representer(type(None), _null)
    out = io.StringIO()
    yaml.dump(data, out)
    edited = out.getvalue()
    edited = edited.replace("\n", "\r\n") if windows else edited
    mark = b"\xef\xbb\xbf" if text.startswith(b"\xef\xbb\xbf") else b""
    return mark + edited.encode()


def _put(data: Any, key: tuple[str | int, ...], value: float | None) -> None:
    """Set one value, in place. A class that is a name alone becomes a mapping."""
    from ruamel.yaml.comments import CommentedMap  # noqa: PLC0415

    target = data
    for part in key[:-1]:
        if isinstance(part, str) and target.get(part) is None:
            target[part] = CommentedMap()
        elif isinstance(part, int) and isinstance(target[part], str):
            comment = target.ca.items.pop(part, None)
            target[part] = CommentedMap(name=target[part])
            if comment:
                target[part].ca.items["name"] = [None, None, comment[0], None]
        target = target[part]
    name = key[-1]
    if name in target:
        target[name] = value
    elif len(target) > 1:  # what follows the last key, such as a comment on the next class, stays there
        target.insert(1, name, value)
    else:
        _append(target, name, value)


def _append(target: Any, name: str | int, value: float | None) -> None:
    """Add a second key, in place; lines that follow the first one then follow it."""
    from ruamel.yaml.tokens import CommentToken  # noqa: PLC0415

    found = [kept[2] for kept in target.ca.items.values() if kept[2] is not None]
    target[name] = value
    for token in found:
        line, _, rest = token.value.partition("\n")
        token.value = f"{line}\n" if line else "\n"
        if rest:
            target.ca.items[name] = [None, None, CommentToken(f"\n{rest}", token.start_mark, None), None]


def _null(representer: Any, _value: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _write(
    path: Path,
    text: bytes,
    overrides: Sequence[str],
    config: Config,
    wanted: Sequence[Category],
    cross: float | None,
) -> Config:
    """Put the text in place of the file once it is known to say what is wanted. Raises as its caller says."""
    target = path.resolve()  # a link stays one
    if not os.access(target, os.W_OK):  # a rename would replace what is protected
        raise Refused(f"{path} can't be written: it is protected; make it writable, or {_BY_HAND}")
    handle, name = tempfile.mkstemp(prefix=".", suffix=".yaml", dir=target.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
        beside.chmod(target.stat().st_mode & 0o7777)
        saved = _checked(beside, path, overrides, config, wanted, cross)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return saved


def _checked(
    beside: Path,
    path: Path,
    overrides: Sequence[str],
    config: Config,
    wanted: Sequence[Category],
    cross: float | None,
) -> Config:
    """The new config, which must differ from the old in what is wanted alone."""
    try:
        saved = _reread(beside, overrides, config)
    except ConfigError as error:
        raise Refused(str(error).replace(str(beside), str(path))) from None
    if saved.categories == list(wanted) and saved.filter.cross_class_iou == cross:
        return config.model_copy(update={"classes": saved.classes, "filter": saved.filter})
    if overrides:
        raise Refused(f"--set overrides what would be saved to {path}; open the review without it")
    raise Refused(f"{path} is written in a way that can't be edited here; {_BY_HAND}")
