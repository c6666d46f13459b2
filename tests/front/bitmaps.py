"""Random masks for the tests of the page, and how they are sent there."""

import cv2
import numpy as np

from tests.geometry.masks import NASTY_SMALL, coco_encoded

# A mask that was sent, in the page's own form
DECODED = "decodeCounts(c.counts, c.height, c.width)"


def bitmaps(count: int, seed: int = 0) -> list[np.ndarray]:
    """Noise, boxes over boxes and blobs of 1 x 1 to 40 x 40, and every nasty mask."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        height, width = rng.integers(1, 41, 2)
        noise = rng.random((height, width))
        if number % 3 == 0:
            made.append(noise < rng.choice([0.02, 0.2, 0.5, 0.8, 0.98]))
        elif number % 3 == 1:
            mask = np.zeros((height, width), bool)
            for x, y, w, h in rng.integers(0, 40, (rng.integers(0, 6), 4)):
                mask[y : y + h, x : x + w] ^= True
            made.append(mask)
        else:
            smooth = cv2.GaussianBlur(noise, (0, 0), 1.5).reshape(height, width)
            made.append(smooth < np.quantile(smooth, 0.5))
    return made + list(NASTY_SMALL.values())


def sent(bitmap: np.ndarray) -> dict:
    return {
        "counts": coco_encoded(bitmap).decode(),
        "height": bitmap.shape[0],
        "width": bitmap.shape[1],
    }


def counts_of(bitmap: np.ndarray) -> str:
    return coco_encoded(bitmap).decode()
