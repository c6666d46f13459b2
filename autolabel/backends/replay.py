"""Answers from files in place of a model: kept or foreign predictions become a dataset at no cost.

What lies in a COCO file, and how its images are found, is in `coco_answers`.
"""

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import orjson

from autolabel.backends.base import Answer, Limits, Model
from autolabel.backends.coco_answers import CocoAnswers, load_coco_answers
from autolabel.backends.meter import Meter
from autolabel.backends.reading import confidence, member
from autolabel.config import BackendConfig
from autolabel.errors import AnswerError, ConfigError, ImageError
from autolabel.geometry import raster, rle
from autolabel.types import RLE, Detection, Picture, Prompt

_log = logging.getLogger(__name__)


class Replay(Model):
    """Reads `answers`: a folder of `<file_name>.json`, or one COCO dataset or results file.

    An answer file holds {"detections": [{"prompt", "confidence", "segmentation"}]}, where the segmentation is
    a COCO RLE or a list of flat polygons in pycocotools' convention, and the confidence may be null.
    Answers to prompts that are not asked for are left out, and counted in a warning at the end.
    """

    LIMITS: ClassVar[Limits] = Limits(
        max_prompts=1_000_000,
        price_per_request=0.0,
        threshold=False,
        sends_image=False,
        free=True,
        returns="what the files hold",
        source="no host is asked",
    )
    SETTINGS: ClassVar[frozenset[str]] = frozenset({"answers"})

    def __init__(self, settings: BackendConfig, *, floor: float, meter: Meter, stop: threading.Event) -> None:
        """Check `answers` and read a COCO file. Raises ConfigError."""
        super().__init__(settings, floor=floor, meter=meter, stop=stop)
        if settings.answers is None:
            raise ConfigError(
                "backend.answers is missing: name a folder of answer files, or a COCO dataset or results file"
            )
        self._lock = threading.Lock()
        self._unasked: Counter[str] = Counter()
        path = Path(settings.answers)
        if not path.exists():
            raise ConfigError(f"backend.answers names {settings.answers!r}, which does not exist")
        self._folder = path if path.is_dir() else None
        self._coco: CocoAnswers | None = None if path.is_dir() else load_coco_answers(path)

    def predict(self, picture: Picture, prompts: Sequence[Prompt]) -> Answer:
        """Return the answers kept for `picture`. Raises ImageError where there are none to be read."""
        size = (picture.height, picture.width)
        if self._coco is None:
            source = self._answer_file(picture.file_name)
            body = _content(source)
        else:
            source = self._coco.path
            body = orjson.dumps({"detections": self._coco.of_image(picture, prompts)})
        try:
            detections, unasked = _detections(orjson.loads(body), size, prompts)
        except (ValueError, RecursionError) as error:
            raise ImageError(
                f"the answer for {picture.file_name} in {source} can't be read: {error}"
            ) from None
        with self._lock:
            self._unasked.update(unasked)
        return Answer(detections, body)

    def read(self, body: bytes, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        """Read the text of an answer file; see `Backend.read`."""
        try:
            return Answer(_detections(orjson.loads(body), size, prompts)[0], body)
        except (ValueError, RecursionError) as error:
            raise AnswerError(f"the answer can't be read: {error}", body=body) from None

    def close(self) -> None:
        """Say which answers were to prompts that nobody asks for.

        Raises ConfigError where a results file named none of the images: they are not without objects.
        """
        if self._unasked:
            counts = ", ".join(f"{text!r} {n}" for text, n in sorted(self._unasked.items()))
            _log.warning("answers to prompts that no class asks for are left out: %s", counts)
        if self._coco is not None:
            self._coco.check_matched()

    def _answer_file(self, file_name: str) -> Path:
        parts = PurePosixPath(file_name).parts
        if ".." in parts or PurePosixPath(file_name).is_absolute():
            raise ImageError(f"the name {file_name!r} leads out of the folder of answers")
        return Path(self._folder or "", *parts[:-1], f"{parts[-1]}.json")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"there is no answer file {path}") from None
    except OSError as error:
        raise ImageError(f"the answer file {path} can't be read: {error.strerror}") from None


def _detections(
    value: object, size: tuple[int, int], prompts: Sequence[Prompt]
) -> tuple[list[Detection], list[str]]:
    """Read the value of an answer file, in its order; also the prompts of those that nobody asks for.

    Raises ValueError.
    """
    class_ids = {prompt.text: prompt.class_id for prompt in prompts}
    found: list[Detection] = []
    unasked: list[str] = []
    for number, item in enumerate(member(value, "detections", list, "the file")):
        where = f"detection {number}"
        text = member(item, "prompt", str, where)
        if text not in class_ids:
            unasked.append(text)
            continue
        try:
            score = None if item.get("confidence") is None else confidence(item["confidence"])
            mask = _mask(item.get("segmentation"), size)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        found.append(Detection(class_ids[text], score, text, mask))
    return found, unasked


def _mask(segmentation: object, size: tuple[int, int]) -> RLE:
    if isinstance(segmentation, Mapping):
        return rle.from_coco(segmentation, size)
    if not isinstance(segmentation, list):
        raise ValueError("the segmentation is neither a COCO RLE nor a list of polygons")
    if not segmentation:
        raise ValueError("the segmentation is empty: a box alone is no mask")
    if all(isinstance(number, int | float) for number in segmentation):
        raise ValueError("the segmentation is one flat list: write a list of polygons, [[x, y, x, y, ...]]")
    return raster.from_polygons([_flat(polygon) for polygon in segmentation], size)


def _flat(polygon: Any) -> list[float]:
    if not isinstance(polygon, list) or not all(type(number) in (int, float) for number in polygon):
        raise ValueError("a polygon is not a flat list of numbers x, y, x, y")
    return polygon
