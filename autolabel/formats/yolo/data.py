"""data.yaml: where a dataset's splits are and what its classes are called, in the shapes that tools write."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from autolabel.errors import InputError
from autolabel.formats.problems import Problem, Report, Rule
from autolabel.formats.reading import inside, read_file, split_name

_LARGEST = 2**19  # bytes of a data.yaml; 20,000 classes fit
_MOST_CLASSES = 100_000
_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_SPLITS = ("train", "val", "validation", "valid", "test")
_HAS_NAMES = re.compile(rb"^(?:\xef\xbb\xbf)?[\"']?names[\"']?[ \t]*:", re.MULTILINE)
_HAS_SPLIT = re.compile(
    rb"^(?:\xef\xbb\xbf)?[\"']?(?:train|val|valid|validation|test)[\"']?[ \t]*:", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Data:
    """A data.yaml, understood. `root` is its folder, resolved: nothing outside of it is read.

    `base`, in `root`, is what lists of images are relative to; `splits` has the folders and lists of images
    of each split, resolved; `keypoints` is how many numbers of keypoints follow the box in a row.
    """

    name: str
    root: Path
    base: Path
    classes: list[str]
    splits: dict[str, list[Path]]
    keypoints: int


def find_data(path: Path) -> Path | None:
    """The data.yaml that a file or folder stands for: by its name, or the only YAML with names and splits."""
    try:
        if not path.is_dir():
            known = path.name in _NAMES and path.is_file()
            return path if known or _is_data(path) else None
        named = [path / name for name in _NAMES if (path / name).is_file()]
        found = named[:1] or [each for each in sorted(path.iterdir()) if _is_data(each)]
    except OSError:
        return None
    return found[0] if len(found) == 1 else None


def read_data(found: Path, report: Report) -> Data:
    """Read a data.yaml. Raises InputError where it is no YAML or names no split."""
    values = _load(found)
    root, where = Path(os.path.realpath(found.parent)), found.name
    base = _base(values, root, where, report)
    if (base / "masks").is_dir():
        report(Problem(Rule.MASKS_FOLDER, "masks", "a folder named masks is beside the images"))
    return Data(
        where,
        root,
        base,
        _classes(values, where, report),
        _splits(values, root, base, where, report),
        _keypoints(values, where, report),
    )


def _is_data(path: Path) -> bool:
    """Whether a YAML has names and a split; looked for in its text, which is quick at any content."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        return False
    try:
        data = read_file(path, _LARGEST)
    except ValueError:
        return False
    return _HAS_NAMES.search(data) is not None and _HAS_SPLIT.search(data) is not None


class _Loader(yaml.SafeLoader):
    """Without what lets a small file take hours: merge keys, and whole numbers to the base of 60."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave merge keys as they are, which are then refused."""


def _whole_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | str:
    return node.value if ":" in node.value else loader.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def _load(found: Path) -> Mapping[Any, Any]:
    file = inside(Path(os.path.realpath(found.parent)), Path(found.name))
    if file is None:
        raise InputError(f"{found} is a link that leads out of its folder; name the file itself")
    try:
        values = yaml.load(read_file(file, _LARGEST), _Loader)  # noqa: S506 - derived from SafeLoader
    except Exception as ex:  # PyYAML raises anything: KeyError, IndexError, RecursionError, ...
        reason = " ".join(str(ex).split())[:200] or type(ex).__name__
        raise InputError(f"{found} can't be read as YAML: {reason}") from ex
    if not isinstance(values, Mapping) or not any(values.get(key) for key in _SPLITS):
        raise InputError(
            f"{found} names none of train, val and test; add lines such as `train: images/train`"
        )
    return values


def _base(values: Mapping[Any, Any], root: Path, where: str, report: Report) -> Path:
    """The folder that `path` means, as far as that is in `root`, and else `root`."""
    stated = values.get("path")
    if stated is None or stated == "":
        return root
    if not isinstance(stated, str):
        report(Problem(Rule.BAD_YAML, where, "`path` is no text"))
        return root
    plain = os.path.normpath(stated.replace("\\", "/"))
    places = (inside(root, root / plain), inside(root, root.parent / plain))
    # os.path, because Path raises for names that are too long
    found = next(filter(os.path.isdir, filter(None, places)), None)
    if found is None and not plain.startswith("/") and PurePosixPath(plain).name == root.name:
        found = root
    if found is None:
        what = f"`path: {stated[:200]}` is not in this folder, which is taken instead"
        report(Problem(Rule.PATH_KEY, where, what))
    elif plain.startswith("."):
        what = f"`path: {stated[:200]}` counts from where Ultralytics is started; leave `path` out"
        report(Problem(Rule.PATH_KEY, where, what))
    return found or root


def _classes(values: Mapping[Any, Any], where: str, report: Report) -> list[str]:
    """The names by class id; one that is missing is its number."""
    names, count = values.get("names"), _whole(values.get("nc"))
    if "nc" in values and count is None:
        report(Problem(Rule.BAD_YAML, where, "`nc` is no whole number"))
    if names is None and count is not None and 0 < count <= _MOST_CLASSES:
        return [f"class_{class_id}" for class_id in range(count)]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        report(Problem(Rule.BAD_YAML, where, "`names` is no list or mapping of class names"))
        return []
    if count is not None and count != len(names):
        report(Problem(Rule.CLASS_COUNT, where, f"`nc` is {count}, and `names` has {len(names)}"))
    by_id = _names_by_id(names, where, report)
    classes = [by_id.get(class_id, str(class_id)) for class_id in range(max(by_id, default=-1) + 1)]
    missing = [class_id for class_id in range(len(classes)) if class_id not in by_id]
    if missing:
        report(Problem(Rule.BAD_YAML, where, f"`names` has no {', '.join(map(str, missing[:10]))}"))
    for name, times in Counter(classes).items():
        if times > 1:
            report(Problem(Rule.CLASS_TWICE, where, f"{times} classes are named {name[:200]!r}"))
    return classes


def _names_by_id(names: Mapping[Any, Any], where: str, report: Report) -> dict[int, str]:
    by_id: dict[int, str] = {}
    for key, name in names.items():
        class_id = _whole(key)
        if class_id is None or not 0 <= class_id < _MOST_CLASSES or class_id in by_id:
            report(Problem(Rule.BAD_YAML, where, f"`names` has the key {_text(key)}, which is no class id"))
            continue
        if isinstance(name, list | dict | set | tuple):
            report(Problem(Rule.BAD_YAML, where, f"the name of class {class_id} is no text"))
        else:
            by_id[class_id] = _text(name)
    return by_id


def _text(value: object) -> str:
    """A scalar as text that can be written: what YAML took for a number, date or truth is as Python shows."""
    try:
        return str(value).encode(errors="replace").decode()
    except ValueError:  # a number of more digits than Python converts
        return "a huge number"


def _whole(value: object) -> int | None:
    if not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
        return int(number) if number == int(number) else None
    except (ValueError, OverflowError):
        return None


def _splits(
    values: Mapping[Any, Any], root: Path, base: Path, where: str, report: Report
) -> dict[str, list[Path]]:
    """The folders and lists of each split; of splits that are the same the first only."""
    for key, others in (("train", ()), ("val", ("validation",))):
        if not any(values.get(each) for each in (key, *others)):
            report(Problem(Rule.NO_TRAIN_OR_VAL, where, f"`{key}` is missing"))
    splits: dict[str, list[Path]] = {}
    for key in _SPLITS:
        entries = values.get(key)
        if not entries:
            continue
        entries = [entries] if isinstance(entries, str) else entries
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            report(Problem(Rule.BAD_YAML, where, f"`{key}` is neither a path nor a list of paths"))
            entries = []
        sources = [_source(entry, root, base, f"`{key}` of {where}", report) for entry in entries]
        found = list(dict.fromkeys(source for source in sources if source is not None))
        same = next((split for split, other in splits.items() if found and set(found) == set(other)), None)
        if same is not None:
            report(Problem(Rule.SHARED_SPLIT, where, f"`{key}` is the same images as `{same}`"))
            continue
        name = split_name(key)
        splits[key if name in splits else name] = found
    return splits


def _source(entry: str, root: Path, base: Path, where: str, report: Report) -> Path | None:
    """The folder or list that an entry means.

    Roboflow writes ../train/images for what is beside data.yaml, and Ultralytics takes that too.
    """
    names = [entry, entry[3:]] if entry.startswith("../") else [entry]
    places = [inside(root, folder / name) for name in names for folder in (base, root)]
    found = next(filter(os.path.exists, filter(None, places)), None)
    if found is None and not any(places):
        report(Problem(Rule.PATH_OUTSIDE, where, f"{entry[:200]} is not in the dataset's folder"))
    elif found is None:
        report(Problem(Rule.UNREADABLE_FILE, where, f"{entry[:200]} is not there: Ultralytics stops"))
    return found


def _keypoints(values: Mapping[Any, Any], where: str, report: Report) -> int:
    """How many numbers of keypoints a row has, by `kpt_shape` (points, numbers of each)."""
    shape = values.get("kpt_shape")
    if not isinstance(shape, list) or len(shape) != 2 or not all(isinstance(each, int) for each in shape):
        return 0
    points, numbers = shape
    if not 0 < points <= 1000 or numbers not in (2, 3):
        return 0
    report(Problem(Rule.KEYPOINTS, where, f"`kpt_shape` says that boxes have {points} keypoints"))
    return int(points * numbers)
