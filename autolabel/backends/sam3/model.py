"""SAM 3 as one thing to ask, from any number of threads: pictures and prompts in, masks out.

This is the package's door: it and what it imports need torch and transformers.
"""

import hashlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from autolabel.backends.sam3.collector import Collector
from autolabel.backends.sam3.detector import Detector, Found, View
from autolabel.backends.sam3.pixels import to_input, to_rles
from autolabel.backends.sam3.pointer import Pointed, Pointer
from autolabel.backends.sam3.tracks import Seen, Tracker, apart
from autolabel.backends.sam3.weights import open_weights
from autolabel.errors import RefusedError, UnknownModel
from autolabel.types import RLE, Box, Prompt

_DIGITS = 4  # of a score: those beyond depend on what is computed beside it
_BATCH = 8  # images at once on a GPU
_PICTURES_KEPT = 16  # features of the pictures asked about last: 21 MB each, half of it in bfloat16


@dataclass(frozen=True, slots=True)
class Instance:
    """An object in a picture: its mask, and its score in 0..1."""

    mask: RLE
    score: float


@dataclass(frozen=True, slots=True)
class Tracked:
    """An object on a frame: the index of the text that found it, and an id that it keeps through the clip.

    Its score is that of its first detection.
    """

    text: int
    track_id: int
    mask: RLE
    score: float


class Model:
    """The weights in the folder `name`, or of that name on the Hub.

    Up to `batch` pictures that wait at the moment are looked at together: 8 on a GPU, 1 elsewhere, unless it
    is given. Raises ConfigError as `open_weights` does.
    """

    def __init__(self, name: str, *, batch: int | None = None) -> None:
        self._name = name
        self._weights = open_weights(name)
        self._detector = Detector(self._weights)
        self._pointer = Pointer(self._weights)
        self._features: OrderedDict[bytes, torch.Tensor] = OrderedDict()
        most = batch or (_BATCH if self._weights.device.type == "cuda" else 1)
        self._answer = Collector(self._work, most)

    def predict(
        self, pixels_bgr: NDArray[np.uint8], prompts: Sequence[Prompt], floor: float = 0.0
    ) -> list[list[Instance]]:
        """The instances that each of `prompts` finds in a picture (h, w, 3), in its pixels.

        A text, with its exemplars, finds all that score `floor` or more, a box or points the one that they
        show, however sure that is. Raises StopRun for a text that is too long, UnknownModel for a box or
        points where the weights hold no tracker, RefusedError where the GPU's memory is too small.
        """
        if self._weights.whole is None and any(prompt.is_visual for prompt in prompts):
            raise self._without_tracker("boxes and points")
        height, width = hw = pixels_bgr.shape[0], pixels_bgr.shape[1]
        inputs = to_input(pixels_bgr, self._weights.side)
        with _memory():
            answers = self._answer(_Job(inputs, (width, height), tuple(prompts), floor))
            return [_instances(answer, hw) for answer in answers]

    def track(
        self, frames_bgr: Iterable[NDArray[np.uint8]], texts: Sequence[str], floor: float = 0.0
    ) -> Iterator[list[Tracked]]:
        """Yield the objects on each of `frames_bgr` (h, w, 3), by track id; frames are read as needed.

        What begins a track is the weights' own business (`new_det_thresh` in config.json, published as 0.7);
        tracks below `floor` are left out. A clip takes no more memory the longer it is, but for 1 KB now and
        then an object. Raises UnknownModel where the weights hold no tracker, else as `predict`.
        """
        if self._weights.whole is None:
            raise self._without_tracker("videos")
        unique = list(dict.fromkeys(texts))
        if not unique:
            yield from ([] for _ in frames_bgr)
            return
        with self._answer.alone(), self._weights.running():
            tracker = Tracker(self._weights, self._detector, unique)
        numbers = [texts.index(text) for text in unique]
        sizes: deque[tuple[int, int]] = deque()
        for frame in frames_bgr:
            sizes.append((frame.shape[0], frame.shape[1]))
            inputs = to_input(frame, self._weights.side)
            with _memory(), self._answer.alone(), self._weights.running():
                settled = tracker.add(inputs)
            for seen in settled:
                yield self._tracked(seen, sizes.popleft(), numbers, floor)
        for seen in tracker.rest():
            yield self._tracked(seen, sizes.popleft(), numbers, floor)

    def _work(self, jobs: list["_Job"]) -> list[list["_Raw"]]:
        """Answer jobs together: the backbone in one call, all texts, then each one's boxes and points."""
        with self._weights.running():
            features = self._see([job.inputs for job in jobs])
            views = [_view(job, prompt, image) for image, job in enumerate(jobs) for prompt in job.texts]
            floors = [job.floor for job in jobs for _ in job.texts]
            found = iter(self._detector.find(features, views, floors))
            pointed = iter(
                [
                    one
                    for image, job in enumerate(jobs)
                    for one in self._point(job, features[image : image + 1])
                ]
            )
        return [
            [next(pointed) if prompt.is_visual else _of_text(next(found)) for prompt in job.prompts]
            for job in jobs
        ]

    def _see(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """The backbone's features of each input, (n, patches, channels), kept for those seen of late."""
        keys = [hashlib.blake2b(picture.numpy(), digest_size=16).digest() for picture in inputs]
        new = {key: picture for key, picture in zip(keys, inputs, strict=True) if key not in self._features}
        if new:
            features = self._detector.see(torch.stack(list(new.values())))
            # a view would keep all of the batch
            self._features.update((key, row.clone()) for key, row in zip(new, features, strict=True))
        for key in keys:
            self._features.move_to_end(key)
        seen = torch.stack([self._features[key] for key in keys])
        while len(self._features) > _PICTURES_KEPT:
            self._features.popitem(last=False)
        return seen

    def _point(self, job: "_Job", features: torch.Tensor) -> list["_Raw"]:
        prompts = [prompt for prompt in job.prompts if prompt.is_visual]
        if not prompts:
            return []
        scale = (self._weights.side / job.wh[0], self._weights.side / job.wh[1])
        pointed = [_pointed(prompt, scale) for prompt in prompts]
        return [_Raw([score], mask[None], 0.0) for score, mask in self._pointer.find(features, pointed)]

    def _tracked(
        self, seen: list[Seen], hw: tuple[int, int], numbers: Sequence[int], floor: float
    ) -> list[Tracked]:
        with torch.inference_mode():
            masks = apart([one for one in seen if one.score >= floor], hw)
        return [Tracked(numbers[one.text], one.track_id, mask, one.score) for one, mask in masks]

    def _without_tracker(self, what: str) -> UnknownModel:
        return UnknownModel(
            f"backend.model {self._name!r} holds SAM 3's detector alone, which does not take {what}: "
            "name weights of the type sam3_video"
        )


@dataclass(frozen=True, slots=True)
class _Job:
    """A picture as the model takes it, the size it had, and what is asked."""

    inputs: torch.Tensor
    wh: tuple[int, int]
    prompts: tuple[Prompt, ...]
    floor: float

    @property
    def texts(self) -> list[Prompt]:
        return [prompt for prompt in self.prompts if not prompt.is_visual]


@dataclass(frozen=True, slots=True)
class _Raw:
    """Instances as the model gives them: masks (n, h', w') on the device, set where above `threshold`."""

    scores: list[float]
    masks: torch.Tensor
    threshold: float


@contextmanager
def _memory() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise RefusedError(
            "the GPU's memory is too small for it, also alone: close what else uses the GPU",
            kind="memory",
        ) from None


def _instances(raw: _Raw, hw: tuple[int, int]) -> list[Instance]:
    if not raw.scores:
        return []
    masks = to_rles(raw.masks, hw, raw.threshold)
    return [Instance(mask, round(score, _DIGITS)) for mask, score in zip(masks, raw.scores, strict=True)]


def _of_text(found: Found) -> _Raw:
    return _Raw(found.scores.tolist(), found.masks, 0.5)


def _view(job: _Job, prompt: Prompt, image: int) -> View:
    wh = np.array(job.wh, float)
    boxes = []
    for exemplar in prompt.exemplars:
        corners = np.clip(np.array(exemplar.box_xyxy, float).reshape(2, 2) / wh, 0, 1)
        boxes.append((*corners.mean(axis=0).tolist(), *(corners[1] - corners[0]).tolist()))
    labels = tuple(int(exemplar.positive) for exemplar in prompt.exemplars)
    return View(image, prompt.text, tuple(boxes), labels)


def _pointed(prompt: Prompt, scale: tuple[float, float]) -> Pointed:
    """Coordinates of the picture in those of the model's square, as its own processor scales them."""
    box: Box | None = None
    if prompt.box_xyxy is not None:
        x0, y0, x1, y1 = prompt.box_xyxy
        box = (x0 * scale[0], y0 * scale[1], x1 * scale[0], y1 * scale[1])
    points = tuple((point.x * scale[0], point.y * scale[1]) for point in prompt.points)
    return Pointed(box, points, tuple(int(point.positive) for point in prompt.points))
