"""The mask of a COCO annotation: polygons or run lengths, as pycocotools reads them."""

from typing import Any

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from autolabel.formats.problems import Rule
from autolabel.geometry import raster, rle
from autolabel.types import RLE

_SLACK = 1.0  # px that a vertex may lie outside: rounding
# In C, so that a file of a million polygons is checked number by number.
_segmentation = msgspec.json.Decoder(list[list[float]] | dict[str, Any] | None)

Broken = tuple[Rule, str]


def read_mask(raw: Raw, size: tuple[int, int]) -> tuple[RLE | None, list[Broken]]:
    """The mask of a `segmentation` in a frame of `size` (height, width), and the rules that it breaks.

    None where there is none, or none with a pixel. Raises ValueError or msgspec's errors for what is damaged.
    """
    value = _segmentation.decode(raw)
    broken: list[Broken] = []
    if value is None:
        return None, broken
    if isinstance(value, dict):
        mask = rle.from_coco(value, size)
    else:
        mask, broken = _fill(value, size)
    if mask == rle.empty(size):
        return None, [*broken, (Rule.EMPTY_MASK, "has a mask without a pixel" if value else "has no polygon")]
    return mask, broken


def _fill(polygons: list[list[float]], size: tuple[int, int]) -> tuple[RLE, list[Broken]]:
    whole = [ring for ring in polygons if len(ring) >= 6 and len(ring) % 2 == 0]
    broken = [
        (Rule.DEGENERATE_RING, f"has a polygon of {len(ring)} numbers")
        for ring in polygons
        if len(ring) < 6 or len(ring) % 2
    ]
    beyond = max((_beyond(np.array(ring), size) for ring in whole), default=0)
    if beyond > _SLACK:
        broken.append((Rule.OUTSIDE_FRAME, f"reaches {beyond:.6g} px outside of the image"))
    return raster.from_polygons(whole, size), broken


def _beyond(ring: NDArray[np.float64], size: tuple[int, int]) -> float:
    """How far a flat ring reaches out of the frame, in px; negative inside."""
    x, y = ring[0::2], ring[1::2]
    return float(max(-x.min(), -y.min(), x.max() - size[1], y.max() - size[0]))
