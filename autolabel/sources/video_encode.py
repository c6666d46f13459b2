"""Frames become one video file, for hosts that take videos. Reading lives in `video_decode`."""

import io
from collections.abc import Iterable
from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

from autolabel.errors import ImageError

# Without B-frames the coded order is the shown order, and no reader needs an edit list to begin at 0.
_OPTIONS = {"preset": "veryfast", "crf": "18", "bf": "0"}


def encode(frames: Iterable[NDArray[np.uint8]], fps: float) -> bytes:
    """An MP4 file of H.264, yuv420p, with one coded frame for each (h, w, 3) BGR frame, at `fps` a second.

    H.264 of this kind holds even sizes only: an odd height or width gets its last row or column once more,
    so a reader cuts its frames and masks to [:h, :w]. Colours are BT.601, limited range, which readers take
    that look at the stated matrix and readers that don't. Raises ImageError without frames, or for frames
    of two sizes.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: VideoStream | None = None
        hw: tuple[int, ...] = ()
        for number, pixels in enumerate(frames):
            if stream is None:
                hw = pixels.shape[:2]
                stream = container.add_stream("libx264", Fraction(fps).limit_denominator(100_000), _OPTIONS)
                stream.height, stream.width = (side + side % 2 for side in hw)
                stream.pix_fmt = "yuv420p"
                stream.color_range, stream.colorspace = ColorRange.MPEG, Colorspace.ITU601
            if pixels.shape[:2] != hw:
                raise ImageError(f"frame {number} is of another size than the first; a video holds one size")
            container.mux(stream.encode(_coded(pixels, number)))
        if stream is None:
            raise ImageError("there are no frames to make a video of")
        container.mux(stream.encode())
    return buffer.getvalue()


def _coded(pixels: NDArray[np.uint8], number: int) -> av.VideoFrame:
    height, width = pixels.shape[:2]
    even = cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    frame = av.VideoFrame.from_ndarray(np.asarray(even, np.uint8), format="bgr24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU601,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT,
    )
    frame.pts = number
    return frame
