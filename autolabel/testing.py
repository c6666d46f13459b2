"""What holds for every backend, as tests that pytest runs: also for those of other packages.

from autolabel.testing import BackendContract

class TestMine(BackendContract):
    settings = BackendConfig(name="my_package.my_module:MyBackend")
    prompts = (Prompt("cat", 0), Prompt("dog", 1))
    picture = picture_of("scene.jpg")  # where each prompt finds something
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from autolabel.backends import identity, limits_of, open_backend
from autolabel.backends.base import Answer, Backend, Tracker
from autolabel.backends.meter import Meter
from autolabel.config import BackendConfig
from autolabel.errors import AnswerError, ConfigError, ImageError
from autolabel.geometry import rle
from autolabel.labeler import chunks
from autolabel.labeler.talk import check
from autolabel.sources import images
from autolabel.types import Detection, Footage, Picture, Prompt

_THREADS = 4
_KINDS = {"text", "exemplars", "boxes", "points"}
_LOSSES = {"holes", "scores", "instances"}


def picture_of(path: str | Path) -> Picture:
    """An image file as a backend without limits would get it. Raises ImageError."""
    data = images.read_bytes(Path(path))
    return images.fit(Path(path).name, data, images.probe(data), max_side=None, max_base64_bytes=None)


class BackendContract:
    """Derive a class whose name begins with Test, and set `settings`, `prompts` and `picture`.

    Every prompt should find something on the picture. `nothing` is a prompt that finds nothing, None where
    there is no such prompt; `floor` is the confidence that is asked for. A backend that takes whole clips
    needs `footage`, in which the first prompt finds something.
    """

    settings: ClassVar[BackendConfig]
    prompts: ClassVar[Sequence[Prompt]]
    picture: ClassVar[Picture]
    nothing: ClassVar[Prompt | None] = None
    footage: ClassVar[Footage | None] = None
    floor: ClassVar[float] = 0.1

    def test_limits_are_stated_without_a_key(self) -> None:
        """Limits and identity need no key, no network and no weights."""
        limits = limits_of(self.settings)
        assert limits.takes
        assert limits.takes <= _KINDS
        assert set(limits.loses) <= _LOSSES
        assert limits.max_prompts >= 1
        assert identity(self.settings) == identity(self.settings)
        assert limits.scores == ("scores" not in limits.loses)

    def test_options_that_mean_nothing_are_refused(self) -> None:
        """A misspelt option is an error, not silence."""
        odd = self.settings.model_copy(update={"options": {"no_such_option": 1}})
        try:
            limits_of(odd)
        except ConfigError as error:
            assert "no_such_option" in str(error)
        else:
            raise AssertionError("backend.options.no_such_option is passed over in silence")

    def test_every_prompt_is_answered_in_the_picture(self) -> None:
        """Detections have key and class of their prompt, a score in 0..1 or none, a mask of the picture."""
        with self._open() as backend:
            for prompts in _requests(self.prompts, backend):
                answer = backend.predict(self.picture, prompts)
                _check(answer, self.picture, prompts)
                assert backend.limits.scores or all(d.confidence is None for d in answer.detections)
                found = {detection.prompt for detection in answer.detections}
                assert found == {prompt.key for prompt in prompts}
                assert any(rle.area(detection.mask) for detection in answer.detections)

    def test_visual_prompts_get_one_mask_each(self) -> None:
        """A box or points show one instance."""
        visual = [prompt for prompt in self.prompts if prompt.is_visual]
        with self._open() as backend:
            for prompt in visual:
                assert len(backend.predict(self.picture, [prompt]).detections) == 1

    def test_prompts_do_not_disturb_one_another(self) -> None:
        """A prompt gets the same answer alone as beside others."""
        with self._open() as backend:
            together = [
                d
                for p in _requests(self.prompts, backend)
                for d in backend.predict(self.picture, p).detections
            ]
            for prompt in self.prompts:
                alone = backend.predict(self.picture, [prompt]).detections
                assert alone == [d for d in together if d.prompt == prompt.key]

    def test_nothing_found_is_an_answer(self) -> None:
        """A prompt that finds nothing gets no detections, or an empty mask, and no error."""
        if self.nothing is None:
            return
        with self._open() as backend:
            answer = backend.predict(self.picture, [self.nothing])
        assert all(rle.area(detection.mask) == 0 for detection in answer.detections)

    def test_scores_reach_the_floor(self) -> None:
        """A backend that takes a floor answers texts with nothing below it; a box gets its mask anyway."""
        texts = {prompt.key for prompt in self.prompts if not prompt.is_visual}
        with self._open(floor=0.9) as backend:
            for detection in self._all(backend) if backend.limits.threshold else ():
                score = detection.confidence
                assert detection.prompt not in texts or score is None or score >= 0.9

    def test_threads_share_a_backend(self) -> None:
        """Threads that ask at once get what one alone gets."""
        with self._open() as backend, ThreadPoolExecutor(_THREADS) as pool:
            alone = self._all(backend)
            for found in pool.map(lambda _: self._all(backend), range(_THREADS)):
                assert found == alone

    def test_a_clip_is_answered_frame_by_frame(self) -> None:
        """Detections of every frame, in its size, each with a number that no other of its prompt has."""
        limits = limits_of(self.settings)
        assert limits.clips == (self.footage is not None), "limits.clips and footage belong together"
        if self.footage is None:
            return
        prompts = [prompt for prompt in self.prompts if not prompt.is_visual and not prompt.exemplars]
        with self._open() as backend:
            assert isinstance(backend, Tracker)
            tracks = backend.track(self.footage, prompts[: limits.max_prompts])
        assert len(tracks.frames) == len(self.footage.paths)
        assert any(tracks.frames)
        for frame in tracks.frames:
            _check_masks(frame, (self.footage.height, self.footage.width), prompts)
            assert all(isinstance(detection.track_id, int) for detection in frame)
            assert len({(d.prompt, d.track_id) for d in frame}) == len(frame)

    def test_a_kept_body_is_read_again(self) -> None:
        """What a host sent gives the same detections again, without the host."""
        size = (self.picture.height, self.picture.width)
        with self._open() as backend:
            answers = [(p, backend.predict(self.picture, p)) for p in _requests(self.prompts, backend)]
        for prompts, answer in answers:
            if answer.body:
                assert backend.read(answer.body, size, prompts) == answer

    def test_a_body_that_is_none_is_an_error(self) -> None:
        """What is not understood is an AnswerError, never an empty answer."""
        with self._open() as backend:
            for body in (b"", b"<html>", b"{}", b"[]", b"null", b"\xff\xd8\xff"):
                try:
                    backend.read(body, (self.picture.height, self.picture.width), self.prompts[:1])
                except AnswerError:
                    continue
                raise AssertionError(f"{body!r} is read as an answer")

    def test_a_picture_that_is_none_concerns_one_image(self) -> None:
        """A damaged picture is an ImageError, so that the run goes on."""
        broken = replace(self.picture, data=b"no picture at all")
        with self._open() as backend:
            if not backend.limits.sends_image:
                return
            try:
                backend.predict(broken, list(self.prompts[:1]))
            except ImageError as error:
                assert str(error)
            else:
                raise AssertionError("a picture that can't be decoded gets an answer")

    @contextmanager
    def _open(self, floor: float | None = None) -> Iterator[Backend]:
        stop = threading.Event()
        meter = Meter(limits_of(self.settings).price_per_request)
        wanted = self.floor if floor is None else floor
        backend = open_backend(self.settings, floor=wanted, meter=meter, stop=stop)
        assert isinstance(backend, Backend)
        try:
            yield backend
        finally:
            backend.close()

    def _all(self, backend: Backend) -> list[Detection]:
        return [
            d for p in _requests(self.prompts, backend) for d in backend.predict(self.picture, p).detections
        ]


def _requests(prompts: Sequence[Prompt], backend: Backend) -> list[list[Prompt]]:
    """The prompts as they are sent: so many a request."""
    return [list(some) for some in chunks(prompts, backend.limits)]


def _check(answer: Answer, picture: Picture, prompts: Sequence[Prompt]) -> None:
    _check_masks(answer.detections, (picture.height, picture.width), prompts)


def _check_masks(detections: Sequence[Detection], size: tuple[int, int], prompts: Sequence[Prompt]) -> None:
    check(detections, prompts, size)  # as a run does
    class_ids = {prompt.key: prompt.class_id for prompt in prompts}
    assert all(detection.class_id == class_ids[detection.prompt] for detection in detections)
