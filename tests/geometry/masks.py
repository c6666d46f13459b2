"""Random masks for property tests, and how foreign tools read and paint them."""

import warnings
from collections.abc import Iterable

import cv2
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from pycocotools import mask as coco

from autolabel.geometry import rle
from tests.nasty import nasty_masks

Bitmap = NDArray[np.bool_]

NASTY = nasty_masks()
NASTY_SMALL = {f"{name}_24": mask for name, mask in nasty_masks(24, 24).items()}

every_nasty_mask = pytest.mark.parametrize(
    "bitmap", [pytest.param(mask, id=name) for name, mask in (NASTY | NASTY_SMALL).items()]
)
thoroughly = settings(deadline=None, max_examples=200, derandomize=True)


def bitmaps(largest: int = 64) -> st.SearchStrategy[Bitmap]:
    """Masks of 1 x 1 to `largest` square: pixel by pixel, boxes over boxes, noise and blobs."""
    side = st.integers(1, largest)
    few = hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))
    box = st.tuples(*[st.integers(0, largest)] * 4)
    boxes = st.builds(_boxes, side, side, st.lists(box, max_size=8))
    seed = st.integers(0, 2**32 - 1)
    noise = st.builds(_noise, side, side, seed, st.sampled_from([0.02, 0.2, 0.5, 0.8, 0.98]))
    blobs = st.builds(_blobs, side, side, seed, st.sampled_from([0.2, 0.5, 0.8]))
    return st.one_of(few, boxes, noise, blobs)


def _boxes(height: int, width: int, boxes: Iterable[tuple[int, int, int, int]]) -> Bitmap:
    mask = np.zeros((height, width), np.bool_)
    for x, y, w, h in boxes:
        mask[y : y + h, x : x + w] ^= True
    return mask


def _noise(height: int, width: int, seed: int, share: float) -> Bitmap:
    return np.random.default_rng(seed).random((height, width)) < share


def _blobs(height: int, width: int, seed: int, share: float) -> Bitmap:
    smooth = cv2.GaussianBlur(np.random.default_rng(seed).random((height, width)), (0, 0), 1.5)
    return smooth.reshape(height, width) < np.quantile(smooth, share)


def parts(bitmap: Bitmap, connectivity: int) -> int:
    return cv2.connectedComponents(bitmap.view(np.uint8), connectivity=connectivity)[0] - 1


def filled(rings: Iterable[NDArray], size: tuple[int, int]) -> Bitmap:
    """What cv2.fillPoly paints for each ring, truncated to whole pixels, on one canvas of the frame."""
    canvas = np.zeros(size, np.uint8)
    for ring in rings:
        cv2.fillPoly(canvas, [np.asarray(ring).astype(np.int32)], [1])
    return canvas.astype(np.bool_)


def coco_encoded(bitmap: Bitmap) -> bytes:
    return coco.encode(np.asfortranarray(bitmap.view(np.uint8)))["counts"]


def coco_read(polygons: list[list[float]], size: tuple[int, int]) -> Bitmap:
    """The mask pycocotools makes of COCO polygons; it takes no empty list."""
    if not polygons:
        return np.zeros(size, np.bool_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools 2.0.11 under numpy 2
        return coco.decode(coco.merge(coco.frPyObjects(polygons, *size))).astype(np.bool_)


def same(mask: object, bitmap: Bitmap) -> bool:
    return mask == rle.from_bitmap(bitmap)
