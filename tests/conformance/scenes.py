"""The scenes that every reader is shown: nasty and random masks, with the truth kept beside them."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from autolabel.types import Category
from tests.nasty import nasty_masks

Mask = NDArray[np.bool_]
Size = tuple[int, int]  # height, width

CATEGORIES = [
    Category(at, name, (name,)) for at, name in enumerate(("car", "traffic light", "狗", "a&b <c>"))
]
LARGE: tuple[Size, ...] = ((333, 500), (480, 640))  # the train split
SMALL: tuple[Size, ...] = (
    (24, 24),
    (48, 64),
    (400, 31),
)  # the val split: readers that hold masks dense take it
MOST_PARTS = 7_000  # pycocotools unites a polygon's rings one by one: 150,000 specks would take it an hour
NAMES = (
    "{}.jpg",
    "with space {}.jpg",
    "ünïcode/狗 {}.jpg",
    "sub/folder/{}.jpg",
    "images/{}.jpg",
    "a.b,c'{}.jpg",
    "50% #{}.jpeg",
    "{}.png",
)


@dataclass(frozen=True, slots=True)
class Truth:
    """One instance: its class, and its mask as bits, so that no code of ours stands between it and a reader."""

    class_id: int
    size: Size
    bits: bytes

    @property
    def mask(self) -> Mask:
        count = self.size[0] * self.size[1]
        return np.unpackbits(np.frombuffer(self.bits, np.uint8), count=count).reshape(self.size).view(bool)


@dataclass(frozen=True, slots=True)
class Scene:
    """One image with its instances; `kind` is the nasty mask's name, or blobs, noise, far, overlap, apart or empty."""

    name: str
    kind: str
    split: str
    size: Size
    truths: list[Truth]


def scenes() -> list[Scene]:
    """All scenes: every nasty mask at every size (but for the specks of large ones), 2,200 random masks, and some that overlap or lie apart."""
    rng = np.random.default_rng(21)  # a seed by which no instance is hidden whole, as VOC could not hold it
    found: list[Scene] = []
    for kind, size, masks in _masks(rng):
        name = NAMES[len(found) % len(NAMES)].format(f"{len(found):04d}")
        truths = [
            Truth((len(found) + at) % len(CATEGORIES), size, np.packbits(mask).tobytes())
            for at, mask in enumerate(masks)
        ]
        found.append(Scene(name, kind, "train" if size in LARGE else "val", size, truths))
    return found


def _masks(rng: np.random.Generator) -> Iterator[tuple[str, Size, list[Mask]]]:
    for size in (*SMALL, *LARGE):
        for kind, mask in nasty_masks(*size).items():
            if cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] <= MOST_PARTS:
                yield kind, size, [mask]
        for turn in range(100 if size in LARGE else 80):
            kind, draw = ("noise", _noise) if turn % 5 == 4 else ("blobs", _blobs)
            yield kind, size, [draw(rng, size) for _ in range(5)]
        for _ in range(4):
            yield "far", size, [_blob(rng, size, 0.2) | _blob(rng, size, 0.2) for _ in range(5)]
            yield "overlap", size, [_blob(rng, size, 0.5) for _ in range(8)]
            yield "apart", size, _cells(rng, size)
        yield "empty", size, []


def _blobs(rng: np.random.Generator, size: Size) -> Mask:
    """A blob, a blob with a piece cut out or an upright bar before it, or one with other blobs about it."""
    centre = rng.uniform((0, 0), (size[1] - 1, size[0] - 1))
    mask = _blob(rng, size, 0.4, centre)
    kind = rng.integers(4)
    if kind in (0, 3):
        before = _blob(rng, size, 0.2)
        if kind == 3:
            x = int(rng.integers(size[1]))
            before[:] = False
            before[:, x : x + max(1, size[1] // 40)] = True
        cut = mask & ~before
        mask = cut if cut.any() else mask
    elif kind == 1:
        reach = np.sqrt(np.count_nonzero(mask) / np.pi)  # as far as the blob itself
        for _ in range(2):
            aside = np.clip(centre + rng.uniform(-reach, reach, 2), 0, (size[1] - 1, size[0] - 1))
            mask |= _blob(rng, size, 0.2, aside)
    return mask


def _blob(rng: np.random.Generator, size: Size, most: float, centre: Mask | None = None) -> Mask:
    """A wavy outline, filled, with at least one pixel in the frame; its radius is up to `most` of a side."""
    height, width = size
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    waves = sum(rng.normal(0, 0.15 / n) * np.cos(n * angles + rng.uniform(0, 6)) for n in range(1, 12))
    radius = rng.uniform(0.02, most) * min(size) * (1 + waves)
    centre = rng.uniform((0, 0), (width - 1, height - 1)) if centre is None else centre
    points = np.stack((np.cos(angles), rng.uniform(0.5, 1.6) * np.sin(angles)), axis=1) * radius[:, None]
    canvas = np.zeros(size, np.uint8)
    cv2.fillPoly(canvas, [(centre + points).astype(np.int32)], [1])
    canvas[int(centre[1]), int(centre[0])] = 1
    return canvas.view(bool)


def _noise(rng: np.random.Generator, size: Size) -> Mask:
    """Pixel noise, some of it smoothed, in a window of at most 48 x 48 px."""
    height, width = min(size[0], 48), min(size[1], 48)
    noise = rng.random((height, width))
    if rng.random() < 0.6:
        noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.6, 3))
    top, left = rng.integers(size[0] - height + 1), rng.integers(size[1] - width + 1)
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = noise >= np.quantile(noise, rng.uniform(0.1, 0.99))
    return mask


def _cells(rng: np.random.Generator, size: Size) -> list[Mask]:
    """Instances of one part each that touch and share no pixel: the cells around points, a frame left free."""
    points = rng.uniform((1, 1), (size[1] - 1, size[0] - 1), (9, 2))
    x, y = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    nearest = np.hypot(x[..., None] - points[:, 0], y[..., None] - points[:, 1]).argmin(axis=2)
    nearest[0], nearest[:, 0] = -1, -1
    cells = [_largest_part(nearest == at) for at in range(0, 9) if (nearest == at).any()]
    return cells[:-1]  # one of them is background


def _largest_part(mask: Mask) -> Mask:
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return np.asarray(labels == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax()))
