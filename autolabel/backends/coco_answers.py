"""A COCO dataset or results file as a source of answers: which annotations belong to which image and prompt.

Masks are not looked at here; the entries are those of an answer file (`replay`).
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import orjson

from autolabel.backends.reading import member
from autolabel.errors import ConfigError, ImageError
from autolabel.types import Picture, Prompt

_log = logging.getLogger(__name__)
Entries = list[dict[str, Any]]


class CocoAnswers(Protocol):
    """Annotations by image."""

    path: Path

    def of_image(self, picture: Picture, prompts: Sequence[Prompt]) -> Entries:
        """Return what is kept for the image: prompt, confidence and segmentation. Raises ImageError."""
        ...

    def check_matched(self) -> None:
        """Raise ConfigError where images were asked for and none was found."""
        ...


def load_coco_answers(path: Path) -> CocoAnswers:
    """Read a COCO dataset (an object) or results file (a list). Raises ConfigError."""
    try:
        value = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"backend.answers {path} can't be read: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"backend.answers {path} is not JSON: {error}") from None
    try:
        return _Results(path, value) if isinstance(value, list) else _Dataset(path, value)
    except ValueError as error:
        raise ConfigError(
            f"backend.answers {path} is neither a COCO dataset nor a COCO results file: {error}"
        ) from None


class _Dataset:
    """Images by file_name; a category answers the prompt whose text is its name (not the class's name)."""

    def __init__(self, path: Path, value: object) -> None:
        self.path = path
        self._categories = {
            member(item, "id", int, "a category"): member(item, "name", str, "a category")
            for item in member(value, "categories", list, "the file")
        }
        self._images: dict[str, dict[str, Any]] = {}
        for image in member(value, "images", list, "the file"):
            name = member(image, "file_name", str, "an image")
            _identifier(image, "id")
            member(image, "width", int, f"image {name}")
            member(image, "height", int, f"image {name}")
            if name in self._images:
                raise ValueError(f"the image {name} stands in it twice")
            self._images[name] = image
        self._annotations = _by_image_id(path, member(value, "annotations", list, "the file"))
        for items in self._annotations.values():
            for item in items:
                if item["category_id"] not in self._categories:
                    raise ValueError(
                        f"an annotation names the category {item['category_id']}, which is not there"
                    )
        self._warned: set[str] = set()

    def of_image(self, picture: Picture, prompts: Sequence[Prompt]) -> Entries:
        image = self._images.get(picture.file_name)
        if image is None:
            raise ImageError(f"{self.path} does not list the image {picture.file_name}")
        if (image["width"], image["height"]) != (picture.width, picture.height):
            raise ImageError(
                f"{self.path} gives {picture.file_name} as {image['width']} x {image['height']} px, "
                f"but it is {picture.width} x {picture.height} px upright"
            )
        self._warn_of_unknown(prompts)
        return [
            _entry(self._categories[item["category_id"]], item)
            for item in self._annotations.get(image["id"], [])
        ]

    def check_matched(self) -> None:
        """An image that is not listed has failed by itself."""

    def _warn_of_unknown(self, prompts: Sequence[Prompt]) -> None:
        known = set(self._categories.values())
        for prompt in prompts:
            if prompt.text not in known and prompt.text not in self._warned:
                self._warned.add(prompt.text)
                _log.warning("%s has no category %r: that prompt has no answers", self.path, prompt.text)


class _Results:
    """Images by image_id, a file's name or stem; category_id is the class id + 1, as our exports count.

    A class with several prompts is answered under the first that is asked for. An image that no result names
    has no detections, as COCO's own evaluation has it.
    """

    def __init__(self, path: Path, value: list[Any]) -> None:
        self.path = path
        self._by_image: dict[str, Entries] = defaultdict(list)
        for image_id, items in _by_image_id(path, value).items():
            self._by_image[_plain(str(image_id))] += items
        self._lock = threading.Lock()
        self._claimed: dict[str, str] = {}
        self._warned = False

    def of_image(self, picture: Picture, prompts: Sequence[Prompt]) -> Entries:
        key = self._key(picture.file_name)
        if key is None:
            self._warn_of_absent(picture.file_name)
            return []
        with self._lock:
            other = self._claimed.setdefault(key, picture.file_name)
        if other != picture.file_name:
            raise ImageError(f"image_id {key} in {self.path} fits both {other} and {picture.file_name}")
        first: dict[int, str] = {}
        for prompt in prompts:
            first.setdefault(prompt.class_id + 1, prompt.text)
        return [
            _entry(first.get(item["category_id"], f"category_id {item['category_id']}"), item)
            for item in self._by_image[key]
        ]

    def check_matched(self) -> None:
        if self._warned and not self._claimed:
            known = ", ".join(sorted(self._by_image)[:3]) or "none"
            raise ConfigError(
                f"backend.answers {self.path} names none of the images: its image_ids ({known}, ...) should "
                "be file names or their stems; where they are a dataset's numbers, give that dataset"
            )

    def _key(self, file_name: str) -> str | None:
        for name in (file_name, PurePosixPath(file_name).stem):
            if _plain(name) in self._by_image:
                return _plain(name)
        return None

    def _warn_of_absent(self, file_name: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "%s has no result for %s, and maybe for others: read as no detections", self.path, file_name
            )


def _by_image_id(path: Path, items: list[Any]) -> dict[int | str, Entries]:
    """Group annotations by image, in their order, without the crowds: those are regions, not instances."""
    grouped: dict[int | str, Entries] = defaultdict(list)
    crowds = 0
    for item in items:
        member(item, "category_id", int, "an annotation")
        image_id = _identifier(item, "image_id")
        if item.get("iscrowd"):
            crowds += 1
        else:
            grouped[image_id].append(item)
    if crowds:
        _log.warning("%s: %d crowd annotations (iscrowd: 1) are left out", path, crowds)
    return grouped


def _identifier(item: object, key: str) -> int | str:
    value = item.get(key) if isinstance(item, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"an entry has no {key!r} that is a number or a text")
    return value


def _entry(prompt: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": prompt, "confidence": item.get("score"), "segmentation": item.get("segmentation")}


def _plain(name: str) -> str:
    """Without leading zeros where it is a number: COCO's image 139 is the file 000000000139.jpg."""
    return str(int(name)) if name.isascii() and name.isdigit() else name
