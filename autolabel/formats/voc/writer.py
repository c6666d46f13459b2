"""Writes Pascal VOC as its devkit lays it out: palette PNGs of classes and objects, XML boxes, image sets.

How masks become pictures is in `masks`.
"""

import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from autolabel.errors import ConfigError
from autolabel.formats.base import ExportImage, FormatReport, Lost, Names, short_hash
from autolabel.formats.images import ImageStore
from autolabel.formats.voc.masks import MAX_OBJECTS, encode_png, paint, palette
from autolabel.types import Category, Detection

_FOLDERS = ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationObject")
_LONGEST_STEM = 200  # bytes: names end at 255, and a hash and a suffix follow

# What splits a line for some reader, ends a field of labelmap.txt, or can't stand in XML.
_NOT_IN_STEMS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ufffe\uffff]")
_NOT_IN_CLASSES = re.compile(r"[:#\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")

_Box = tuple[int, int, int, int]


class VocWriter:
    """`VOCdevkit/VOC2012` below `root`: images are JPEGs, names are flat, and a pixel has one object.

    Larger objects are painted first, so that smaller ones stay visible. `void_border` is the width in px
    of the line of 255 between differing labels; readers need none.
    """

    def __init__(
        self,
        root: Path,
        categories: Sequence[Category],
        splits: Sequence[str],
        store: ImageStore,
        *,
        void_border: int = 0,
    ) -> None:
        if void_border < 0:
            raise ConfigError(f"export.voc.void_border is a number of pixels from 0, not {void_border}")
        self._base = root / "VOCdevkit" / "VOC2012"
        self._store = store
        self._void_border = void_border
        self._classes = _class_names(categories)
        self._renamed_classes = {
            category.name: self._classes[category.id]
            for category in categories
            if category.name != self._classes[category.id]
        }
        self._names = Names()
        self._renamed: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        for folder in (*_FOLDERS, "ImageSets/Main", "ImageSets/Segmentation"):
            (self._base / folder).mkdir(parents=True, exist_ok=True)
        if "trainval" in splits:  # the set of that name is train and val together
            self._counts["renamed_splits"] = 1
        self._sets = {split: bytearray() for split in ("train", *splits)}  # a stem a line
        self._write_labelmap()

    def add(self, image: ExportImage) -> list[Lost]:
        """Write one image; what is returned is a crowd, without a pixel, or beyond 254 objects or classes."""
        stem = self._names.claim(_flat_stem(image.file_name), image.file_name)
        name = f"{stem}.jpg"
        self._store.place(image, self._base / "JPEGImages" / name, as_jpeg=True)
        instances = [item for item in image.detections if not item.crowd]
        wanted = [item for item in instances if item.class_id < MAX_OBJECTS][:MAX_OBJECTS]
        picture = paint([item.mask for item in wanted], (image.height, image.width), self._void_border)
        held = [wanted[index] for index in picture.kept]
        for folder, pixels in (
            ("SegmentationObject", picture.objects),
            ("SegmentationClass", picture.recolour([item.class_id + 1 for item in held])),
        ):
            (self._base / folder / f"{stem}.png").write_bytes(encode_png(pixels))
        (self._base / "Annotations" / f"{stem}.xml").write_bytes(
            self._xml(image, name, held, picture.boxes_xyxy).encode()
        )
        self._sets[image.split] += f"{stem}\n".encode()
        self._count(picture.hidden)
        if name != image.file_name:
            self._renamed[image.file_name] = name
        return _lost(image.detections, wanted, held)

    def close(self) -> FormatReport:
        """Write the image sets: the same for boxes and masks, and trainval of train and val together."""
        lists = {
            "trainval-only" if split == "trainval" else split: stems for split, stems in self._sets.items()
        }
        lists["trainval"] = self._sets["train"] + self._sets.get("val", b"")
        for name, stems in lists.items():
            if stems or name != "test":
                for task in ("Main", "Segmentation"):
                    (self._base / "ImageSets" / task / f"{name}.txt").write_bytes(stems)
        return FormatReport(dict(sorted(self._counts.items())), self._renamed, self._renamed_classes)

    def _count(self, hidden: Sequence[int]) -> None:
        if any(hidden):
            self._counts["hidden_pixels"] += sum(hidden)
            self._counts["partly_hidden_instances"] += sum(1 for pixels in hidden if pixels)

    def _write_labelmap(self) -> None:
        colours = palette()
        names = ["background", *list(self._classes.values())[:MAX_OBJECTS]]
        lines = ["# label:color_rgb:parts:actions"]
        for index, name in enumerate(names):
            red, green, blue = colours[3 * index : 3 * index + 3]
            lines.append(f"{name}:{red},{green},{blue}::")
        (self._base / "labelmap.txt").write_bytes("".join(f"{line}\n" for line in lines).encode())

    def _xml(self, image: ExportImage, name: str, held: Sequence[Detection], boxes: Sequence[_Box]) -> str:
        objects = "".join(
            _object_xml(self._classes[item.class_id], box) for item, box in zip(held, boxes, strict=True)
        )
        return (
            "<annotation>\n"
            "\t<folder>VOC2012</folder>\n"
            f"\t<filename>{html.escape(name, quote=False)}</filename>\n"
            f"\t<size><width>{image.width}</width><height>{image.height}</height><depth>3</depth></size>\n"
            "\t<segmented>1</segmented>\n"
            f"{objects}</annotation>\n"
        )


def _lost(every: Sequence[Detection], wanted: Sequence[Detection], held: Sequence[Detection]) -> list[Lost]:
    painted, kept = {id(item) for item in wanted}, {id(item) for item in held}
    return [
        Lost(item, "crowd" if item.crowd else "hidden" if id(item) in painted else "too_many")
        for item in every
        if id(item) not in kept
    ]


def _object_xml(name: str, box_xyxy: _Box) -> str:
    """One object; its box counts pixels from 1 and includes the last."""
    x0, y0, x1, y1 = box_xyxy
    return (
        "\t<object>\n"
        f"\t\t<name>{html.escape(name, quote=False)}</name>\n"
        "\t\t<pose>Unspecified</pose>\n"
        "\t\t<truncated>0</truncated>\n"
        "\t\t<difficult>0</difficult>\n"
        f"\t\t<bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>\n"
        "\t</object>\n"
    )


def _class_names(categories: Sequence[Category]) -> Mapping[int, str]:
    """A name for every class id that labelmap.txt and XML can hold, none of them twice or background's."""
    names: dict[int, str] = {}
    taken = {"background"}
    for category in categories:
        name = _NOT_IN_CLASSES.sub("_", category.name).strip() or "_"
        while name in taken:
            name += "_"
        taken.add(name)
        names[category.id] = name
    return names


def _flat_stem(file_name: str) -> str:
    """The path without suffix as one name without blanks, cut where file systems would refuse it."""
    stem = file_name.rpartition(".")[0] or file_name
    flat = _NOT_IN_STEMS.sub("_", stem.replace("/", "__").replace("\\", "__"))
    flat = "_" + flat[1:] if flat.startswith("#") else flat  # some readers take such a line for a comment
    if len(flat.encode()) <= _LONGEST_STEM:
        return flat
    return f"{flat.encode()[:_LONGEST_STEM].decode(errors='ignore')}-{short_hash(file_name)}"
