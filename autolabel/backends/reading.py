"""What readers of host bodies share: JSON, scores and rings, checked. Knows no host's layout.

Everything here raises ValueError with a few words on what was found instead of what was expected.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from autolabel.geometry import raster, rle
from autolabel.types import RLE

NOT_JSON: Final = object()
# How far a vertex may lie outside the image, as a share of the side: smoothing and rounding, clipped there.
# More means that the host answered in another frame, and clipping would make a wrong label of it.
_OVERSHOOT = 0.02


def parse(body: bytes) -> Any:
    """Return the value of a JSON text, or NOT_JSON. NaN and Infinity, as Python's servers may write, pass."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return NOT_JSON


def member(value: object, key: str, kind: type, where: str) -> Any:
    """Return `value[key]`, which should be of `kind` (a bool is no int)."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {_named(value)}, not an object")
    if key not in value:
        raise ValueError(f"{where} has no {key!r}")
    found = value[key]
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        raise ValueError(f"{key!r} of {where} is {_named(found)}, not {_KINDS[kind]}")
    return found


def confidence(value: object) -> float:
    """Return a score, which should be a number in 0..1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"a confidence is {_named(value)}, not a number in 0..1")
    return float(value)


def host_rings(value: object, size: tuple[int, int]) -> RLE:
    """Fill the rings of one instance, a list of lists of [x, y] at pixel centres; `[[]]` is an empty mask."""
    if not isinstance(value, list):
        raise ValueError(f"a mask is {_named(value)}, not a list of rings")
    rings = [_ring(ring, size) for ring in value if ring != []]
    mask = raster.fill_centre_rings(rings, size)
    if rings and mask == rle.empty(size):
        raise ValueError(f"a mask lies outside the image of {size[1]} x {size[0]} px")
    return mask


def _ring(value: object, size: tuple[int, int]) -> NDArray[Any]:
    if not isinstance(value, list):
        raise ValueError(f"a ring is {_named(value)}, not a list of points")
    try:
        ring = np.asarray(value)
    except ValueError:  # points of two lengths
        ring = np.empty(0)
    if ring.dtype.kind not in "iuf" or ring.shape[1:] != (2,) or not np.isfinite(ring).all():
        raise ValueError(f"a ring is {str(value)[:60]}, not a list of points [x, y]")
    height, width = size
    slack = 1 + _OVERSHOOT * np.array([width, height])
    outside = ((ring < -slack) | (ring > np.array([width, height]) + slack)).any(axis=1)
    if outside.any():
        x, y = ring[outside][0]
        raise ValueError(f"a mask reaches ({x:g}, {y:g}), outside the image of {width} x {height} px")
    return ring


_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


def _named(value: object) -> str:
    if value is None:
        return "null"
    text = str(value)
    return f"{type(value).__name__} {text[:60]}" if text else f"an empty {type(value).__name__}"
