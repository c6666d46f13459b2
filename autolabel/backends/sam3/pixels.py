"""From a picture's pixels to the model's input, and from the model's masks to masks of the picture."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from autolabel.geometry import rle
from autolabel.types import RLE

_PIXELS_AT_ONCE = 2**26  # of resized masks: 256 MB in float32


def to_input(pixels_bgr: NDArray[np.uint8], side: int) -> torch.Tensor:
    """The picture (h, w, 3) squeezed into a square: (3, side, side) of uint8, RGB; the aspect is not kept.

    Bilinear with antialiasing, in whole numbers, as the model's own processor resizes.
    """
    picture = torch.from_numpy(cv2.cvtColor(pixels_bgr, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(picture, (side, side), mode="bilinear", antialias=True)
    return resized[0].contiguous()


def normalised(inputs: torch.Tensor) -> torch.Tensor:
    """Inputs of uint8 as the model takes them: float32 in -1..1, from a mean and a deviation of 0.5."""
    return (inputs.float() / 255 - 0.5) / 0.5


def to_rles(masks: torch.Tensor, hw: tuple[int, int], threshold: float) -> list[RLE]:
    """What is above `threshold` in masks (n, h', w') that are resized to the picture's `hw`."""
    found: list[RLE] = []
    for part in masks.split(max(1, _PIXELS_AT_ONCE // (hw[0] * hw[1]))):
        found += [rle.from_bitmap(bitmap) for bitmap in (resized(part, hw) > threshold).cpu().numpy()]
    return found


def resized(masks: torch.Tensor, hw: tuple[int, int]) -> torch.Tensor:
    """The (n, h', w') values of masks in the size of the picture, (n, h, w), bilinear."""
    return torch.nn.functional.interpolate(masks[None].float(), hw, mode="bilinear", align_corners=False)[0]
