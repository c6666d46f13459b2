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
_segmentation = msgspec.json.Decoder(Any)

Broken = tuple[Rule, str]


def read_mask(raw: Raw, size: tuple[int, int]) -> tuple[RLE | None, list[Broken]]:
    """The mask of a `segmentation` in a frame of `size` (height, width), and the rules that it breaks.

    None where there is none, or none with a pixel. Raises ValueError for what is damaged.
    """
    value = _segmentation.decode(raw)
    broken: list[Broken] = []
    if value is None:
        return None, broken
    if isinstance(value, dict):
        mask = rle.from_coco(value, size)
    elif isinstance(value, list):
        mask, broken = _fill(value, size)
    else:
        raise ValueError("the segmentation is neither a list of polygons nor an RLE object")
    if not rle.area(mask):
        return None, [*broken, (Rule.EMPTY_MASK, "has a mask without a pixel" if value else "has no polygon")]
    return mask, broken


def _fill(value: list[Any], size: tuple[int, int]) -> tuple[RLE, list[Broken]]:
    rings: list[NDArray[np.float64]] = []
    broken: list[Broken] = []
    low, high = 0.0, 0.0
    for ring in value:
        if not isinstance(ring, list):
            raise ValueError("a polygon is no list of numbers")
        points = np.asarray(ring) if all(type(each) in (int, float) for each in ring) else np.empty(0, object)
        if points.dtype.kind not in "iuf" and ring:
            raise ValueError("a polygon holds what is no number")
        if len(ring) < 6 or len(ring) % 2:
            broken.append((Rule.DEGENERATE_RING, f"has a polygon of {len(ring)} numbers"))
            continue
        xy = points.astype(np.float64).reshape(-1, 2)
        low = max(low, -float(xy.min()))
        high = max(high, float((xy - (size[1], size[0])).max()))
        rings.append(xy.ravel())
    if max(low, high) > _SLACK:
        broken.append((Rule.OUTSIDE_FRAME, f"reaches {max(low, high):.6g} px outside of the image"))
    return raster.from_polygons(rings, size), broken
