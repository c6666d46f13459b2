"""YAML to Config and back: overrides, and errors that name the file, line, key and nearest known key."""

import itertools
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autolabel.config.model import Config
from autolabel.errors import ConfigError

Key = tuple[str | int, ...]

_SECRET = re.compile(r"(api_?key|token|secret|password|authorization|^key)$", re.IGNORECASE)
_TYPE_NAMES = re.compile(r"a valid (tuple|dictionary or instance of \w+|dictionary)")
_VARIABLES = "ROBOFLOW_API_KEY, SEGMENTLENS_API_KEY, SAM3_API_KEY or SEGMIND_API_KEY"


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML configuration and apply "dotted.key=value" overrides to it.

    `output` and `run` default to datasets/<name> and runs/<name>, name being the file's stem.
    Raises ConfigError with a line for each thing that is wrong.
    """
    path = Path(path)
    data, lines = _read(path)
    origin = {key: f"{path}, line {line}" for key, line in lines.items()} | {(): str(path)}
    config = build_config(data, origin, overrides, name=path.stem)
    config.__dict__["origin"] = path, tuple(overrides)
    return config


def build_config(
    data: dict[str, Any], origin: dict[Key, str], overrides: Sequence[str], *, name: str
) -> Config:
    """Apply `overrides` to `data`, in place, and validate it; `origin` says where each key came from.

    Raises ConfigError.
    """
    for override in overrides:
        origin[_apply(data, override)] = "--set"
    for default in ("output", "run"):
        if data.get(default) is None:
            data[default] = f"{default.replace('output', 'dataset')}s/{name}"
    _refuse_keys(data, origin)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(error, origin))) from None


def folder_config(folder: str, keys: dict[str, Any], overrides: Sequence[str]) -> tuple[Config, str]:
    """Build the config of a folder from command-line `keys`; return it and its YAML text.

    `output` and `run` default to datasets/<name> and runs/<name>, name being the folder's.
    """
    data: dict[str, Any] = {"images": folder} | keys
    config = build_config(data, {(): "command line"}, overrides, name=Path(folder).resolve().name or "images")
    return config, yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _read(path: Path) -> tuple[dict[str, Any], dict[Key, int]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist: name a config file, or write one with `autolabel init`"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path} is not UTF-8 text: name a config file (YAML, saved as UTF-8) or a folder of images"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = dict(_lines(root, (), path)) if root else {}
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_sentence(path, error)) from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply for a config file") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds no keys: start from `autolabel init`")
    return data, lines


def _yaml_sentence(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or "unreadable"
    return f"{path}{where}: not valid YAML ({problem}); check the indentation and quotes there"


def _lines(node: yaml.Node, key: Key, path: Path) -> Iterator[tuple[Key, int]]:
    """Yield the line of every key below `node`. A key given twice is an error: YAML would keep the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for name, value in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                raise ConfigError(f"{path}, line {line}: a key should be a plain name")
            if name.value in seen:
                raise ConfigError(
                    f"{path}, line {line}: {_dotted((*key, name.value))} stands twice; remove one"
                )
            seen.add(name.value)
            yield (*key, name.value), line
            yield from _lines(value, (*key, name.value), path)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            yield (*key, i), value.start_mark.line + 1
            yield from _lines(value, (*key, i), path)


def _apply(data: dict[str, Any], override: str) -> Key:
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        shown = re.split(r"[=:\s]", override)[0]  # what follows may be a secret
        raise ConfigError(f"--set {shown}: write it as KEY=VALUE, such as --set filter.confidence=0.6")
    key: Key = tuple(int(part) if part.isdigit() else part for part in name.strip().split("."))
    if any(isinstance(part, str) and _SECRET.search(part) for part in key):
        raise ConfigError(
            f"--set {name}: a key belongs in the environment or .env ({_VARIABLES}), nowhere else"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not valid YAML; quote it") from None
    target: Any = data
    for part, following in itertools.pairwise(key):
        target = _step(target, part, override)
        if target is None:
            raise ConfigError(f"--set {override}: there is no {_dotted(key)}; {following!r} has no place")
    fits = isinstance(target, list) and isinstance(key[-1], int) and key[-1] < len(target)
    if fits or isinstance(target, dict):
        target[key[-1]] = value
    else:
        raise ConfigError(f"--set {override}: there is no {_dotted(key)} to set")
    return key


def _step(target: Any, part: str | int, override: str) -> Any:
    """Go one key down, into a new section where there is none; a class given by name becomes a mapping."""
    if isinstance(target, dict):
        if target.get(part) is None:
            target[part] = {}
        return target[part]
    if isinstance(target, list) and isinstance(part, int) and part < len(target):
        if isinstance(target[part], str):
            target[part] = {"name": target[part]}
        return target[part]
    raise ConfigError(f"--set {override}: there is no {part!r} to go into")


def _refuse_keys(data: Any, origin: dict[Key, str], key: Key = ()) -> None:
    """Raise where a key of a host stands in the config; its value is never shown."""
    if isinstance(data, dict):
        for name, value in data.items():
            here = (*key, name)
            in_url = name == "base_url" and isinstance(value, str) and _holds_key(value)
            if in_url or (
                isinstance(name, str) and _SECRET.search(name) and not isinstance(value, dict | list)
            ):
                what = "a user name, a password or a query" if in_url else "a key"
                raise ConfigError(
                    f"{_place(here, origin)}: {_dotted(here)} holds {what}; "
                    f"keys belong in the environment or .env ({_VARIABLES}), never in a config"
                )
            _refuse_keys(value, origin, here)
    elif isinstance(data, list):
        for i, value in enumerate(data):
            _refuse_keys(value, origin, (*key, i))


def _holds_key(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return "@" in parts.netloc or bool(parts.query)


def _sentences(error: ValidationError, origin: dict[Key, str]) -> Iterator[str]:
    details = error.errors(include_url=False)
    # a misspelt key is one mistake, though the right one is missing then
    meant = {_nearest(detail["loc"]) for detail in details if detail["type"] == "extra_forbidden"}
    for detail in details:
        key: Key = detail["loc"]
        if detail["type"] != "missing" or _dotted(key) not in meant:
            yield f"{_place(key, origin)}: {_sentence(key, detail)}"


def _sentence(key: Key, detail: ErrorDetails) -> str:
    name, message = _dotted(key), detail["msg"]
    if detail["type"] == "extra_forbidden":
        near = _nearest(key)
        return f"unknown key {name}" + (f"; did you mean {near}?" if near else "; remove it")
    if detail["type"] == "missing":
        return f"{name} is missing; add it"
    message = _TYPE_NAMES.sub(_type_name, message.removeprefix("Value error, ")).replace(
        "Input should", "should"
    )
    value = detail["input"]
    if key and not isinstance(value, dict | list | tuple | BaseModel):
        quoted = f"{name} is {value!r}" if isinstance(value, str | float | int | None) else name
        hint = "; put it in quotes" if detail["type"] == "string_type" and value is not None else ""
        if detail["type"] == "float_type" and isinstance(value, str):
            hint = "; YAML reads it as a text, write it like 0.1"
        return f"{quoted}; it {message}{hint}"
    return f"{name} {message}" if key else message


def _type_name(match: re.Match[str]) -> str:
    """YAML's words for pydantic's."""
    return "a list" if match[1] == "tuple" else "a mapping of keys to values"


def _place(key: Key, origin: dict[Key, str]) -> str:
    """The nearest enclosing key whose place is known: a missing key has the place of its section."""
    while key and key not in origin:
        key = key[:-1]
    return origin.get(key, "config")


def _nearest(key: Key) -> str | None:
    known = list(_known_keys(Config))
    generic = tuple("0" if isinstance(part, int) else part for part in key)
    siblings = [".".join(path) for path in known if path[:-1] == generic[:-1]]
    close = get_close_matches(".".join(generic), siblings, n=1, cutoff=0.7)
    if not close:
        same = [path for path in known if path[-1] in get_close_matches(generic[-1], [path[-1]], cutoff=0.85)]
        # most such keys are thresholds: those of the filter are free to change
        same.sort(key=lambda path: ("0" in path, path[0] != "filter"))
        close = [".".join(path) for path in same[:1]]
    if not close:
        return None
    parts = close[0].split(".")
    return _dotted((*key[:-1], parts[-1])) if tuple(parts[:-1]) == generic[:-1] else close[0]


def _known_keys(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*prefix, name)
        for section in _sections(field.annotation):
            below = (*prefix, name, "0") if section is not field.annotation else (*prefix, name)
            yield from _known_keys(section, below)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _sections(inner)


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)
