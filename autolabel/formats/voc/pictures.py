"""Pascal VOC's mask pictures as they are read: PNG to labels, labels to masks. Writing is in `masks`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from autolabel.formats.voc.masks import MAX_OBJECTS
from autolabel.geometry import rle
from autolabel.sources import headers, probe
from autolabel.types import RLE, Box

_VOID = 255
_MAX_RUNS = 1 << 22  # a picture with more is noise, and would take gigabytes
_MAX_PARTS = 1 << 16
_MAX_PARTED = 1 << 26  # px of a class picture: finding parts takes 14 bytes for each
_MAX_WORK = 1 << 30  # px: what is gone through for all classes of a picture, some seconds
_BLOCK = 1 << 20  # px: colours are looked up in blocks, so that memory stays that of the picture

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Regions:
    """The masks by number of the object (from 1), and the class picture's value under each that has one."""

    masks: Mapping[int, RLE]
    values: Mapping[int, int]


def decode(data: bytes) -> Pixels:
    """The pixels of a PNG: (h, w) labels, or (h, w, 3) colours where it holds no labels.

    Raises ValueError, saying why, for what is damaged, no PNG or too large; before that is decoded.
    """
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError("is no PNG")
    kept = headers.strip_png(data)
    if kept is None:
        raise ValueError(probe.TRUNCATED)
    try:
        image = probe.open_still(kept, "PNG")
        if image.width * image.height <= probe.MAX_PIXELS:
            image.load()
    except Exception as ex:  # Pillow raises anything on damaged data
        raise ValueError(f"can't be decoded: {probe.reason(ex)}") from ex
    if image.width * image.height > probe.MAX_PIXELS:
        raise ValueError(f"has {image.width} x {image.height} pixels, too many to decode safely")
    if image.mode not in ("1", "L", "P", "LA", "RGB", "RGBA"):
        raise ValueError(f"holds pixels of Pillow's mode {image.mode}, which are no labels of 8 bits")
    pixels = np.asarray(image).astype(np.uint8, copy=False)
    if pixels.ndim == 2:
        return pixels
    return pixels[..., 0] if image.mode == "LA" else pixels[..., :3]


def class_labels(pixels: Pixels, colours: Mapping[int, int]) -> Pixels:
    """Colours (h, w, 3) as values by 0xRRGGBB; unknown ones get the values from 1 that no class has.

    Raises ValueError where there are not as many values as colours.
    """
    found = _colours(pixels)
    free = iter(sorted(set(range(1, _VOID)) - set(colours.values())))
    table = np.zeros(1 << 24, np.uint8)
    for colour in found:
        value = colours.get(colour, -1)
        value = next(free, -1) if value < 0 else value
        if value < 0:
            raise ValueError(f"holds more colours than the {MAX_OBJECTS} of a mask picture")
        table[colour] = value
    labels = np.empty(pixels.shape[:2], np.uint8)
    for rows, codes in _codes(pixels):
        labels[rows] = table[codes]
    return labels


def object_labels(pixels: Pixels, colours: Mapping[int, int]) -> Pixels:
    """Colours (h, w, 3) as object numbers: by `colours` if they have all, else numbered as they are sorted.

    Background and void are as in `colours`. Raises ValueError for more than 254 other colours.
    """
    if not set(_colours(pixels)) <= set(colours):
        colours = {colour: value for colour, value in colours.items() if value in (0, _VOID)}
    return class_labels(pixels, colours)


def by_objects(objects: Pixels, classes: Pixels | None) -> Regions:
    """The masks of an (h, w) object picture, with the most frequent class value under each; void is left out.

    `classes` is a class picture of the same size. Raises ValueError for noise.
    """
    _refuse_noise(objects)
    masks = rle.from_labels(objects)
    masks.pop(_VOID, None)
    values: dict[int, int] = {}
    if classes is not None:
        ends = [256, 256], [0, 256, 0, 256]
        counts = cv2.calcHist([objects, classes], [0, 1], None, *ends)[:, 1:_VOID]
        values = {label: int(counts[label].argmax()) + 1 for label in masks if counts[label].any()}
    return Regions(masks, values)


def by_parts(classes: Pixels, wanted: Sequence[tuple[int | None, Box | None]]) -> Regions:
    """The 8-connected parts of each class in an (h, w) class picture as objects; void is left out.

    `wanted` has the class value (None: any) and the box of each object of the annotation: a part that lies in
    such a box by at least a half belongs to it, the best of them by IoU. The other parts are objects of their
    own, numbered behind. Raises ValueError for noise.
    """
    _refuse_noise(classes)
    numbers = np.zeros(classes.shape, np.int32)
    values: dict[int, int] = {}
    counts = cv2.calcHist([classes], [0], None, [256], [0, 256])[:_VOID]
    found = [value for value in np.flatnonzero(counts).tolist() if value]
    if classes.size > _MAX_PARTED or len(found) * classes.size > _MAX_WORK:
        raise ValueError(f"has {len(found)} classes in {classes.size:,} pixels, too many to part safely")
    for value in found:
        count, parts, stats, _ = cv2.connectedComponentsWithStats(
            (classes == value).view(np.uint8), connectivity=8, ltype=cv2.CV_32S
        )
        if len(values) + count > _MAX_PARTS:
            raise ValueError(f"has more than {_MAX_PARTS:,} parts: that is noise, no masks")
        boxes = {
            number: box for number, (other, box) in enumerate(wanted, 1) if box and other in (None, value)
        }
        belongs = _assign(np.asarray(stats[1:, :4], np.float64), boxes)
        free = np.flatnonzero(belongs == 0)
        belongs[free] = np.arange(len(free)) + 1 + max(len(wanted), *values, 0)
        values |= dict.fromkeys(belongs.tolist(), value)
        table = np.append(0, belongs).astype(np.int32)
        numbers += np.take(table, parts, out=parts, mode="clip").reshape(classes.shape)
    return Regions(rle.from_labels(numbers), values)


def _assign(parts_xywh: NDArray[np.float64], boxes_xyxy: Mapping[int, Box]) -> NDArray[np.int64]:
    """For each part the number of the box it belongs to, 0 for none."""
    x, y, width, height = parts_xywh.T
    best, belongs = np.zeros(len(x)), np.zeros(len(x), np.int64)
    for number, (x0, y0, x1, y1) in boxes_xyxy.items():
        across = (np.minimum(x + width, x1) - np.maximum(x, x0)).clip(0)
        shared = across * (np.minimum(y + height, y1) - np.maximum(y, y0)).clip(0)
        iou = shared / (width * height + max(x1 - x0, 0) * max(y1 - y0, 0) - shared).clip(1)
        better = (shared >= width * height / 2) & (iou > best)
        best[better], belongs[better] = iou[better], number
    return belongs


def _refuse_noise(labels: Pixels) -> None:
    runs = np.count_nonzero(labels[1:] != labels[:-1]) + np.count_nonzero(labels[0, 1:] != labels[-1, :-1])
    if runs > _MAX_RUNS:
        raise ValueError(f"has {runs:,} runs of pixels: that is noise, no masks")


def _colours(pixels: Pixels) -> list[int]:
    """The colours (0xRRGGBB) of an (h, w, 3) picture, sorted."""
    found = np.zeros(1 << 24, np.bool_)
    for _, codes in _codes(pixels):
        found[codes] = True
    return np.flatnonzero(found).tolist()


def _codes(pixels: Pixels) -> Iterator[tuple[slice, NDArray[np.uint32]]]:
    """Blocks of rows with their colours as 0xRRGGBB."""
    step = max(1, _BLOCK // pixels.shape[1])
    for top in range(0, pixels.shape[0], step):
        rows = slice(top, top + step)
        red, green, blue = (pixels[rows, :, channel].astype(np.uint32) for channel in range(3))
        yield rows, (red << 16 | green << 8 | blue).astype(np.uint32, copy=False)
