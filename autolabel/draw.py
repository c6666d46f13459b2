"""Results to look at: the hand-over to supervision, and contact sheets drawn with its annotators.

The only module that imports supervision, and only when something is drawn or handed over.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from autolabel.config import Config
from autolabel.errors import ImageError, InputError
from autolabel.geometry import rle
from autolabel.pipeline import open_run
from autolabel.pipeline.inventory import sample
from autolabel.sources import images
from autolabel.types import Category, Detection, ImageItem, ImageResult

if TYPE_CHECKING:
    import supervision as sv

TILE = 480  # px, the longer side of an image on a contact sheet


def to_supervision(result: ImageResult, categories: Sequence[Category] = ()) -> "sv.Detections":
    """Hand a result over as `supervision.Detections`, masks as (n, height, width) booleans.

    Boxes are xyxy in pixels; a detection without a score gets a confidence of 1, since the type takes no
    None. `data` holds "prompt", and "class_name" where `categories` are given.
    """
    import supervision as sv  # noqa: PLC0415  (half a second, and it loads matplotlib)

    if not result.detections:
        return sv.Detections.empty()
    names = {category.id: category.name for category in categories}
    detections = result.detections
    data: dict[str, Any] = {"prompt": np.array([d.prompt for d in detections])}
    if names:
        data["class_name"] = np.array([names[d.class_id] for d in detections])
    tracks = [d.track_id for d in detections]
    return sv.Detections(
        xyxy=np.array([_xyxy(rle.box_xywh(d.mask)) for d in detections], dtype=np.float64),
        mask=np.stack([rle.to_bitmap(d.mask) for d in detections]),
        confidence=np.array([1.0 if d.confidence is None else d.confidence for d in detections]),
        class_id=np.array([d.class_id for d in detections]),
        tracker_id=None if None in tracks else np.array(tracks),
        data=data,
    )


def contact_sheet(
    results: Iterable[tuple[ImageItem, ImageResult]], categories: Sequence[Category]
) -> NDArray[np.uint8]:
    """Draw labelled images side by side, each with its masks, classes and scores, as BGR pixels.

    Raises ImageError where an image can't be read, or there is none.
    """
    tiles = [_tile(item, result, categories) for item, result in results]
    if not tiles:
        raise ImageError("there is no labelled image to draw")
    columns = min(len(tiles), 3 if len(tiles) < 10 else 4)
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    return np.vstack([_row(row, columns) for row in rows])


def to_png(result: ImageResult) -> bytes:
    """A labelled image with its masks, classes and scores, as a small PNG file. Raises ImageError."""
    categories = [Category(i, name, ()) for i, name in enumerate(result.classes)]
    tile = _tile(ImageItem(result.file_name, result.path), result, categories)
    return cv2.imencode(".png", tile)[1].tobytes()


def _row(tiles: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Tiles of one width beside each other on white, as high as the highest."""
    height, width = max(tile.shape[0] for tile in tiles), tiles[0].shape[1]
    row = np.full((height, width * columns, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        row[: tile.shape[0], i * width : (i + 1) * width] = tile
    return row


def preview(config: Config, count: int) -> tuple[Path, int]:
    """Draw `count` labelled images of a run, a seeded sample, into <run>/preview.jpg.

    Returns the path and the number drawn.

    Raises InputError where nothing is labelled.
    """
    with open_run(config) as run:
        found = {entry.item.file_name: entry for entry in run.survey().labelled}
        drawn = sample([entry.item for entry in found.values()], count, config.split.seed)
        results = [(item, run.result(found[item.file_name])) for item in drawn]
        # who rejected an image has looked at it
        results = [(item, result) for item, result in results if result.status == "labelled"]
        if not results:
            raise InputError("no image is labelled yet, or none is left; run `autolabel label` first")
        sheet = contact_sheet(results, run.categories)
    path = Path(config.run) / "preview.jpg"
    path.write_bytes(cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return path, len(results)


def _tile(item: ImageItem, result: ImageResult, categories: Sequence[Category]) -> NDArray[np.uint8]:
    """One image with its masks, TILE pixels on its longer side, on white with its name below."""
    import supervision as sv  # noqa: PLC0415  (half a second, and it loads matplotlib)

    data = images.read_bytes(item.path)
    scene = images.decode(data, images.probe(data))
    scale = TILE / max(scene.shape[:2])
    wh = (max(1, round(scene.shape[1] * scale)), max(1, round(scene.shape[0] * scale)))
    scene = np.asarray(cv2.resize(scene, wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    small = [replace(d, mask=rle.scale(d.mask, (wh[1], wh[0]))) for d in result.detections]
    detections = to_supervision(replace(result, detections=small), categories)
    if len(detections):
        labels = [_label(d, categories) for d in result.detections]
        palette = sv.ColorPalette.DEFAULT
        scene = sv.MaskAnnotator(color=palette, opacity=0.45).annotate(scene, detections)
        scene = sv.PolygonAnnotator(color=palette, thickness=1).annotate(scene, detections)
        scene = sv.RichLabelAnnotator(
            color=palette,
            text_color=sv.Color.BLACK,
            font_path=_font_path(),
            font_size=12,
            text_padding=3,
            text_position=sv.Position.CENTER_OF_MASS,
        ).annotate(scene, detections, labels)
    height = scene.shape[0]
    tile = Image.new("RGB", (TILE + 8, height + 32), "white")
    tile.paste(Image.fromarray(scene[..., ::-1]), (4, 4))
    caption = f"{result.file_name}  ({len(result.detections)})"
    font = ImageFont.truetype(_font_path(), 13)
    ImageDraw.Draw(tile).text((6, height + 8), caption, "#282828", font=font)
    return np.asarray(tile)[..., ::-1]


def _font_path() -> str:
    """A font that knows more than ASCII: that of matplotlib, which supervision brings."""
    import matplotlib  # noqa: PLC0415

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


def _label(detection: Detection, categories: Sequence[Category]) -> str:
    name = categories[detection.class_id].name
    name += "" if detection.track_id is None else f" #{detection.track_id}"
    return name if detection.confidence is None else f"{name} {detection.confidence:.2f}"


def _xyxy(xywh: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x, y, w, h = xywh
    return x, y, x + w, y + h
