"""COCO's segmentations as masks: polygons as pycocotools fills them, and run lengths of both kinds."""

from functools import lru_cache
from typing import Any

import msgspec

from autolabel.formats.coco.records import BROKEN
from autolabel.formats.problems import Rule
from autolabel.geometry import raster, rle
from autolabel.types import RLE

_SLACK = 1.0  # px that an outline may leave the image by: half of one is in how tools round


class _Runs(msgspec.Struct):
    """A mask as run lengths, as text or as numbers."""

    size: Any = None
    counts: Any = None


_decode = msgspec.json.Decoder(list[list[float]] | _Runs | None).decode

Flaw = tuple[Rule, str]


def read_mask(segmentation: msgspec.Raw, size: tuple[int, int]) -> tuple[RLE | None, list[Flaw]]:
    """The mask in a frame of `size` (height, width), None where there is none, and what is wrong with it.

    Raises ValueError, saying what is wrong, for what is no mask of that frame.
    """
    try:
        shape = _decode(segmentation)
    except BROKEN as ex:
        raise ValueError(f"the segmentation is neither a list of polygons nor run lengths: {ex}") from ex
    if shape is None:
        return None, []
    if isinstance(shape, _Runs):
        mask, flaws = rle.from_coco({"size": shape.size, "counts": shape.counts}, size), []
    else:
        rings = [ring for ring in shape if len(ring) >= 6 and len(ring) % 2 == 0]
        flaws = _ring_flaws(shape, rings, size)
        if shape and not rings:
            return None, flaws
        mask = raster.from_polygons(rings, size)
    if mask == _nothing(size):
        return None, [*flaws, (Rule.EMPTY_MASK, "its mask has no pixel")]
    return mask, flaws


def _ring_flaws(all_rings: list[list[float]], rings: list[list[float]], size: tuple[int, int]) -> list[Flaw]:
    flaws = []
    if len(rings) < len(all_rings):
        other = next(ring for ring in all_rings if len(ring) < 6 or len(ring) % 2)
        what = f"{len(all_rings) - len(rings)} of its rings are skipped, such as one of {len(other)} numbers"
        flaws.append((Rule.DEGENERATE_RING, what))
    height, width = size
    beyond = max(
        (max(-min(ring), max(ring[0::2]) - width, max(ring[1::2]) - height) for ring in rings), default=0.0
    )
    if beyond > _SLACK:
        flaws.append((Rule.OUTSIDE_FRAME, f"its outline is up to {beyond:g} px outside of the image"))
    return flaws


@lru_cache(maxsize=4)
def _nothing(size: tuple[int, int]) -> RLE:
    return rle.empty(size)
