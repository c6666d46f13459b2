"""sam3-video: a clip and a text to a video of masks, whose parts become tracks."""

import base64
import threading
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import orjson

from autolabel.backends.base import Limits, Tracks
from autolabel.backends.http import Host, Retry
from autolabel.backends.meter import Meter
from autolabel.backends.segmind import answers, video
from autolabel.backends.segmind.client import Segmind
from autolabel.config import BackendConfig
from autolabel.errors import AnswerError, RefusedError
from autolabel.geometry.tracks import link
from autolabel.types import Detection, Footage, Picture, Prompt

_UPLOADS = "https://workflows-api.segmind.com"  # by the vendor's SDK; another base_url has its own


class Sam3Video(Segmind):
    """Takes whole clips only: uploads one, asks through the queue, and reads the masks frame by frame.

    Masks carry neither scores nor ids: parts of a frame's white are instances, linked by their overlap.
    """

    LIMITS: ClassVar[Limits] = Limits(
        takes=frozenset({"text"}),
        clips=True,
        images=False,
        requests_per_second=50
        / 60,  # the paid plan's; a free account has 5 a minute, and its 429s are obeyed
        price_per_request=0.13,
        threshold=False,
        scores=False,
        loses=("scores", "instances"),
        bills_once=True,
        returns="a video of all masks, whose parts are the instances, tracked by overlap; no scores",
        source="its model page, the vendor's SDK",
    )
    MODEL: ClassVar[str] = "sam3-video"
    API: ClassVar[Literal["v1", "v2"]] = "v2"

    def __init__(
        self,
        settings: BackendConfig,
        *,
        floor: float,
        meter: Meter,
        stop: threading.Event,
        retry: Retry = Retry(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(settings, floor=floor, meter=meter, stop=stop, retry=retry)
        base_url = _UPLOADS if self._base_url == self.BASE_URL else self._base_url
        # an upload costs nothing, and is no request for a label
        self._uploads: Host = self._open_host(base_url, Meter(), stop, retry, bills_once=False)

    def track(self, footage: Footage, prompts: Sequence[Prompt]) -> Tracks:
        """Ask for the one prompt in a clip; see `Tracker.track` and `Segmind.predict`."""
        accepted = self.submit_clip(footage, prompts)
        with self._kept(accepted):
            return self.resume_clip(accepted, footage, prompts)

    def submit_clip(self, footage: Footage, prompts: Sequence[Prompt]) -> bytes:
        """Upload a clip and hand the one prompt in; see `QueuedTracker.submit_clip` and `Segmind.submit`."""
        [prompt] = prompts
        address = self._uploaded(video.encoded(footage))
        asked = {"video": address, "text_prompt": prompt.text, "return_overlay": False}
        return self._submit(orjson.dumps(asked))

    def resume_clip(self, accepted: bytes, footage: Footage, prompts: Sequence[Prompt]) -> Tracks:
        """Return the answer to what was accepted; see `QueuedTracker.resume_clip` and `Segmind.resume`."""
        whole = self._whole(accepted)
        body = self._understood(lambda: answers.video_in(whole), whole)
        return self.read_tracks(body, footage, prompts)

    def read_tracks(self, body: bytes, footage: Footage, prompts: Sequence[Prompt]) -> Tracks:
        """Read a kept video of masks again; see `Tracker.read_tracks`."""
        [prompt] = prompts
        return self._understood(lambda: _tracks(body, footage, prompt), body)

    def submit(self, picture: Picture, prompts: Sequence[Prompt]) -> bytes:
        """Refuse: the host takes clips only. Raises RefusedError."""
        del picture, prompts
        raise RefusedError(
            f"{self.MODEL} takes videos only: set backend.model to sam3-image for single images",
            kind="no images",
        )

    def _asked(self, picture: Picture, prompt: Prompt) -> dict[str, Any]:
        del picture, prompt
        return {}

    def _uploaded(self, data: bytes) -> str:
        """The address of a file at the host. Raises RefusedError."""
        text = base64.b64encode(data)
        content = b"".join((b'{"data_urls":["data:video/mp4;base64,', text, b'"]}'))
        try:
            reply = self._uploads.post("/upload-asset", content)
        except AnswerError as error:  # nothing was asked yet
            raise RefusedError(str(error), kind="upload") from None
        addresses = reply.value.get("file_urls") if isinstance(reply.value, dict) else None
        if not isinstance(addresses, list) or len(addresses) != 1 or not isinstance(addresses[0], str):
            trouble = self._uploads.reasons.unexpected("it has no one address of the upload", reply.body)
            raise RefusedError(str(trouble), kind="upload")
        return addresses[0]

    def close(self) -> None:
        """Close the connections; `read_tracks` still works."""
        super().close()
        self._uploads.close()


def _tracks(body: bytes, footage: Footage, prompt: Prompt) -> Tracks:
    """Raises ValueError."""
    rate = video.fps(footage.times_s)
    sent_s = [number / rate for number in range(len(footage.times_s))]
    masks = video.masks_of_video(answers.video_in(body), (footage.height, footage.width), sent_s)
    frames = [
        [
            Detection(prompt.class_id, None, prompt.key, mask, track_id=number)
            for mask, number in zip(found, ids, strict=True)
        ]
        for found, ids in zip(masks, link(masks), strict=True)
    ]
    return Tracks(frames, body, ("scores", "instances") if any(frames) else ())
