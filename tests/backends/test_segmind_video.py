"""Segmind's video model: clips sent, videos of masks read, objects followed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import pytest

from autolabel.backends.base import QueuedTracker, Tracker, Tracks
from autolabel.backends.meter import Meter
from autolabel.backends.segmind import video
from autolabel.backends.segmind.sam3_video import Sam3Video
from autolabel.config import BackendConfig
from autolabel.errors import AnswerError, ImageError, RefusedError
from autolabel.geometry import rle
from autolabel.types import Footage
from tests.backends.support import NOTHING, RED, SCENE, SHORT
from tests.servers.host import Fault, Host, Response, json_response
from tests.servers.segmind import SegmindServer, frames_of, video_of

FRAMES = 8


def painted(width: int, height: int, number: int) -> np.ndarray:
    """Two red squares that move towards one another, the second one hidden in frames 3 and 4."""
    image = np.full((height, width, 3), 90, np.uint8)
    image[10:30, 10 + 4 * number : 30 + 4 * number] = (0, 0, 255)
    if number not in (3, 4):
        image[50:70, 100 - 4 * number : 120 - 4 * number] = (0, 0, 255)
    return image


@pytest.fixture(params=[(160, 96), (161, 97)], ids=["even", "odd"])
def clip(request: pytest.FixtureRequest, tmp_path: Path) -> Footage:
    """A clip of even and of odd sides."""
    return footage(tmp_path, *request.param)


def footage(folder: Path, width: int, height: int, count: int = FRAMES) -> Footage:
    paths = []
    for number in range(count):
        path = folder / f"{number:03}.jpg"
        cv2.imwrite(str(path), painted(width, height, number), [cv2.IMWRITE_JPEG_QUALITY, 95])
        paths.append(path)
    return Footage("a.mp4", width, height, tuple(paths), tuple(i / 10 for i in range(count)))


@contextmanager
def asking(
    url: str, *, meter: Meter | None = None, stop: threading.Event | None = None, **settings: Any
) -> Iterator[Sam3Video]:
    config = BackendConfig(
        name="segmind", model="sam3-video", base_url=url, requests_per_second=1e6, **settings
    )
    backend = Sam3Video(
        config, floor=0.1, meter=meter or Meter(), stop=stop or threading.Event(), retry=SHORT
    )
    try:
        yield backend
    finally:
        backend.close()


def check(tracks: Tracks, clip: Footage) -> None:
    """Every object has one id in all frames, and its mask is where it was painted."""
    assert len(tracks.frames) == len(clip.paths)
    for number, found in enumerate(tracks.frames):
        there = {0: (10 + 4 * number, 10)} | ({} if number in (3, 4) else {1: (100 - 4 * number, 50)})
        assert {d.track_id for d in found} == set(there)
        for detection in found:
            assert detection.mask.size == (clip.height, clip.width)
            x, y, w, h = rle.box_xywh(detection.mask)
            left, top = there[detection.track_id or 0]
            assert max(abs(x - left), abs(y - top), abs(w - 20), abs(h - 20)) <= 2
            assert (detection.confidence, detection.prompt, detection.class_id) == (None, "red", 0)


@pytest.mark.parametrize("api", ["v1", "v2", None])
def test_a_clip_is_uploaded_asked_and_tracked(clip: Footage, api: str | None) -> None:
    """One upload, one request, which alone is counted; two objects keep their ids though one was hidden."""
    meter, server = Meter(price=0.13), SegmindServer(cost=0.2)
    with Host(server) as host, asking(host.url, meter=meter, api=api) as backend:
        assert isinstance(backend, Tracker)
        tracks = backend.track(clip, [RED])
        assert backend.read_tracks(tracks.body, clip, [RED]) == tracks
    check(tracks, clip)
    assert tracks.degradations == ("scores", "instances")
    posted = [request.path for request in host.requests if request.method == "POST"]
    assert posted == ["/upload-asset", f"/{api or 'v2'}/sam3-video"]
    [asked] = [orjson.loads(request.body) for request in host.requests if request.path.endswith("sam3-video")]
    assert asked == {"video": "https://assets.example/0.mp4", "text_prompt": "red", "return_overlay": False}
    assert (meter.requests, meter.billed, meter.cost) == (1, 1, 0.2)


def test_a_clip_is_sent_whole(clip: Footage) -> None:
    """The video that is sent has every frame, with even sides, and looks like it."""
    frames = frames_of(video.encoded(clip))
    assert [frame.shape for frame in frames] == [
        (clip.height + clip.height % 2, clip.width + clip.width % 2, 3)
    ] * FRAMES
    for number, frame in enumerate(frames):
        painting = painted(clip.width, clip.height, number).astype(int)
        assert np.abs(frame[: clip.height, : clip.width].astype(int) - painting).mean() < 8


def test_an_accepted_clip_is_resumed(clip: Footage) -> None:
    """The accepting body is all that another session needs, and nothing is sent again."""
    with Host(SegmindServer()) as host:
        with asking(host.url) as backend:
            assert isinstance(backend, QueuedTracker)
            accepted = backend.submit_clip(clip, [RED])
        with asking(host.url) as backend:
            check(backend.resume_clip(accepted, clip, [RED]), clip)
    assert sum(request.method == "POST" for request in host.requests) == 2


def test_a_clip_with_nothing_in_it_is_an_answer(clip: Footage) -> None:
    """A black video has no instances in any frame, and loses none."""
    with Host(SegmindServer()) as host, asking(host.url) as backend:
        tracks = backend.track(clip, [NOTHING])
    assert (tracks.frames, tracks.degradations) == ([[]] * FRAMES, ())


RESAMPLED: dict[str, tuple[Callable[[int], Any], float]] = {
    "twice as many": (lambda n: [i // 2 for i in range(2 * n)], 20.0),
    "half as many, twice as fast": (lambda n: range(0, n, 2), 5.0),
    "one more": (lambda n: [*range(n), n - 1], 10.0),
}


@pytest.mark.parametrize(("resampled", "fps"), RESAMPLED.values(), ids=RESAMPLED)
def test_another_count_of_frames_is_aligned_by_time(
    resampled: Callable[[int], Any], fps: float, tmp_path: Path
) -> None:
    """A frame gets the masks of the nearest time in the answer."""
    clip = footage(tmp_path, 160, 96)
    with Host(SegmindServer(resampled=resampled, fps=fps)) as host, asking(host.url) as backend:
        tracks = backend.track(clip, [RED])
    assert len(tracks.frames) == FRAMES
    for number, found in enumerate(tracks.frames):
        left = min(rle.box_xywh(detection.mask)[0] for detection in found)
        assert abs(left - (10 + 4 * number)) <= (2 if len(list(resampled(FRAMES))) >= FRAMES else 6)


BLACK = np.zeros((96, 160, 3), np.uint8)
WRONG = {
    "html": (b"<html>", "neither a picture nor JSON"),
    "JSON": (b'{"status":"success"}', "'video'"),
    "no video": (b"\0\0\0\x20ftypisom" + b"\0" * 50, "no frame that can be decoded"),
    "cut": (video_of([BLACK] * FRAMES)[:300], "no frame that can be decoded"),
    "too few": (
        video_of([BLACK] * 3),
        "has 3 frames, the last at 0.20 s, and 8 were sent, the last at 0.70 s",
    ),
    "another frame": (video_of([BLACK[:64]] * FRAMES), "in another proportion"),
    "coloured": (video_of([np.full_like(BLACK, (0, 0, 255))] * FRAMES), "is coloured"),
    "grey": (video_of([np.full_like(BLACK, 120)] * FRAMES), "is grey, not white on black"),
}


@pytest.mark.parametrize(("body", "words"), WRONG.values(), ids=WRONG)
def test_an_answer_that_is_no_video_of_masks_is_an_error(body: bytes, words: str, tmp_path: Path) -> None:
    """Nothing of it becomes a label, and the body is kept."""
    clip = footage(tmp_path, 160, 96)
    upload = json_response({"file_urls": ["https://assets.example/0.mp4"]})
    with (
        Host(SegmindServer(), script=[upload, Response(200, body, {})]) as host,
        asking(host.url, api="v1") as backend,
        pytest.raises(AnswerError) as caught,
    ):
        backend.track(clip, [RED])
    assert words in str(caught.value)
    assert caught.value.body == body
    assert len(host.log) == 2


@pytest.mark.parametrize(
    "answer",
    [json_response({}, 500), json_response({"file_urls": []}), Response(200, b"<p>"), json_response({}, 413)],
)
def test_an_upload_that_fails_asks_nothing(answer: Response, tmp_path: Path) -> None:
    """It is a refusal: nothing was asked, so nothing is unclear or billed."""
    meter = Meter(price=0.13)
    with (
        Host(SegmindServer(), always=answer) as host,
        asking(host.url, meter=meter) as backend,
        pytest.raises(RefusedError),
    ):
        backend.track(footage(tmp_path, 160, 96), [RED])
    assert {request.path for request in host.requests} == {"/upload-asset"}
    assert (meter.requests, meter.billed) == (0, 0)


def test_an_unclear_clip_is_never_sent_again(tmp_path: Path) -> None:
    """A break after the request was sent may be billed: once is all."""
    meter = Meter(price=0.13)
    with (
        Host(SegmindServer(), script=[None, Fault(reset=True)]) as host,
        asking(host.url, meter=meter) as backend,
        pytest.raises(AnswerError, match="is unclear"),
    ):
        backend.track(footage(tmp_path, 160, 96), [RED])
    assert [request.path for request in host.requests] == ["/upload-asset", "/v2/sam3-video"]
    assert meter.billed == 1


def test_an_upload_that_breaks_off_is_sent_again(tmp_path: Path) -> None:
    """It costs nothing."""
    clip = footage(tmp_path, 160, 96)
    with (
        Host(SegmindServer(), script=[Fault(reset=True), json_response({}, 504)]) as host,
        asking(host.url) as backend,
    ):
        check(backend.track(clip, [RED]), clip)
    assert [request.path for request in host.requests].count("/v2/sam3-video") == 1


@pytest.mark.parametrize(
    ("times_s", "rate"),
    [
        ([i / 25 for i in range(100)], 25.0),
        ([0.0], 1.0),
        ([i * 2.0 for i in range(600)], 2.0),
        ([0.0, 0.0, 0.0], 60.0),
    ],
)
def test_the_rate_is_that_of_the_frames_within_the_limit(times_s: list[float], rate: float) -> None:
    """As they were taken, but never longer than the host's five minutes."""
    assert video.fps(times_s) == rate


def test_too_many_frames_are_an_error() -> None:
    """More than fit into five minutes is said with what to do."""
    with pytest.raises(ImageError, match=r"has 18001 frames, more than the 18000 .* set video\.start"):
        video.fps([i / 60 for i in range(18001)])


def test_single_images_are_refused() -> None:
    """The model takes clips only, and says which one takes images."""
    with (
        asking("http://127.0.0.1:9") as backend,
        pytest.raises(RefusedError, match="sam3-image for single images"),
    ):
        backend.predict(SCENE, [RED])
