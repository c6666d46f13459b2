"""Places an image's file in each format: read once, encoded once, linked where formats share the bytes."""

import os
import shutil
from pathlib import Path
from typing import Literal

from autolabel.errors import ConfigError, ImageError
from autolabel.formats.base import ExportImage
from autolabel.sources import images
from autolabel.sources.images import Info, probe, read_bytes, write_upright


class ImageStore:
    """Shared by the writers of one export, which all place an image before the next one comes.

    `link` writes a file once and hard-links it for the other formats, `copy` gives each format its own,
    `none` writes no images. The source is never linked: trainers repair images in place. `links_failed`
    counts the files that were copied because the file system would not link them. With `verify` every image
    is decoded to know that it is whole: a labelling has done that, others have not.
    """

    def __init__(self, mode: Literal["link", "copy", "none"] = "link", *, verify: bool = False) -> None:
        if mode not in ("link", "copy", "none"):
            raise ConfigError(f"export.images is link, copy or none, not {mode!r}")
        self.links_failed = 0
        self._mode = mode
        self._verify = verify
        self._source: Path | None = None
        self._data = b""
        self._info: Info | None = None
        self._placed: dict[bool, Path] = {}  # by whether it had to become a JPEG

    def open(self, image: ExportImage, *, verify: bool = False) -> Info:
        """Read and check the image, unless it is the one that was opened last. Raises as `place` does."""
        if self._info is None or image.path != self._source:
            self._info, self._source, self._placed = None, image.path, {}
            self._data = read_bytes(image.path)
            info = probe(self._data)
            if (info.width, info.height) != (image.width, image.height):
                raise ImageError(
                    f"is {info.width} x {info.height} px, but its masks are {image.width} x {image.height}: "
                    "it has changed since it was labelled, or they are for it as stored, unturned by EXIF"
                )
            if self._verify or verify:
                images.verify(self._data, info)
            self._info = info
        return self._info

    def place(self, image: ExportImage, target: Path, *, as_jpeg: bool = False) -> None:
        """Write the upright image to `target`, making its folder.

        Raises ImageError where the source can't be read or has another size than it was labelled at.
        """
        if self._mode == "none":
            return
        info = self.open(image)
        converted = as_jpeg and info.format != "JPEG"
        placed = self._placed.get(converted)
        target.parent.mkdir(parents=True, exist_ok=True)
        if placed is None:
            write_upright(self._data, info, target, as_jpeg=as_jpeg)
            self._placed[converted] = target
        elif self._mode == "copy" or not self._link(placed, target):
            shutil.copyfile(placed, target)

    def _link(self, placed: Path, target: Path) -> bool:
        try:
            os.link(placed, target)
        except OSError:
            self.links_failed += 1
            return False
        return True
