"""What holds for every format of the registry, and for the images that they share."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import ConfigError, ImageError
from autolabel.formats import FORMATS, open_writer
from autolabel.formats.base import Names
from autolabel.formats.images import ImageStore
from tests.formats.support import (
    NASTY_NAMES,
    SPLITS,
    categories,
    contents,
    detection,
    image,
    picture,
    random_masks,
    write,
)

JPEGS = "VOCdevkit/VOC2012/JPEGImages"


def scenes(folder: Path) -> list:
    masks = random_masks(3 * len(NASTY_NAMES), seed=7)
    return [
        image(
            [detection(mask, i % 2, 0.9 - i / 10) for i, mask in enumerate(masks[3 * at : 3 * at + 3])],
            name,
            split=SPLITS[at % 2],
            path=picture(folder / f"{at}.jpg"),
        )
        for at, name in enumerate(NASTY_NAMES)
    ]


def place_all(root: Path, images: list, mode: str = "link") -> ImageStore:
    """Write the images into all formats, as an export does."""
    store = ImageStore(mode)
    writers = [open_writer(name, root / name, categories(), SPLITS, store) for name in FORMATS]
    for each in images:
        for writer in writers:
            writer.add(each)
    for writer in writers:
        writer.close()
    return store


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_input_gives_the_same_bytes(tmp_path, name):
    """Two exports of one input are the same files, byte for byte, pictures included."""
    images = scenes(tmp_path / "source")
    for folder in ("one", "two"):
        write(name, tmp_path / folder, images, store=ImageStore("copy"))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_dataset_is_written(tmp_path, name):
    """No image and no instance is no error."""
    assert write(name, tmp_path, [])[1] == []
    assert contents(tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_that_is_gone_leaves_no_record(tmp_path, name):
    """Where the source can't be read, ImageError is raised and nothing names the image."""
    writer = open_writer(name, tmp_path / "set", categories(), SPLITS, ImageStore())
    with pytest.raises(ImageError, match="can't be read"):
        writer.add(image(name="gone.jpg", path=tmp_path / "gone.jpg"))
    writer.close()
    assert not any(b"gone" in text for text in contents(tmp_path).values())


def test_a_format_that_is_not_there_is_refused(tmp_path):
    """An unknown name is an error that lists the formats."""
    with pytest.raises(ConfigError, match="coco, yolo, voc"):
        open_writer("kitti", tmp_path, categories(), SPLITS, ImageStore())


def test_formats_share_one_file_that_is_not_the_source(tmp_path):
    """A JPEG is one file under three names, equal to the source and not linked to it."""
    source = picture(tmp_path / "source/a.jpg")
    place_all(tmp_path / "set", [image(name="a.jpg", path=source)])
    placed = [
        tmp_path / "set" / name
        for name in ("coco/images/train/a.jpg", "yolo/images/train/a.jpg", f"voc/{JPEGS}/a.jpg")
    ]
    assert len({path.stat().st_ino for path in placed}) == 1
    assert placed[0].stat().st_nlink == 3
    assert source.stat().st_nlink == 1
    assert placed[0].read_bytes() == source.read_bytes()


def test_voc_gets_a_jpeg_of_its_own(tmp_path):
    """A PNG is shared by COCO and YOLO as it is; VOC has a JPEG of the same size."""
    source = picture(tmp_path / "source/a.png")
    place_all(tmp_path / "set", [image(name="a.png", path=source)])
    coco, yolo = (tmp_path / f"set/{name}/images/train/a.png" for name in ("coco", "yolo"))
    assert coco.samefile(yolo)
    assert coco.read_bytes() == source.read_bytes()
    with Image.open(tmp_path / f"set/voc/{JPEGS}/a.jpg") as file:
        assert (file.format, file.size) == ("JPEG", (50, 40))


def test_turned_images_are_written_upright(tmp_path):
    """An EXIF orientation is applied and removed, once for all formats, and the source stays as it was."""
    exif = Image.Exif()
    exif[0x0112] = 6
    source = picture(tmp_path / "source/a.jpg", (50, 40), exif=exif)
    before = source.read_bytes()
    place_all(tmp_path / "set", [image(name="a.jpg", path=source)])
    placed = list((tmp_path / "set").rglob("a.jpg"))
    assert len(placed) == 3
    assert len({path.stat().st_ino for path in placed}) == 1
    with Image.open(placed[0]) as file, Image.open(source) as original:
        assert (file.size, file.getexif().get(0x0112, 1)) == ((50, 40), 1)
        turned = np.rot90(np.asarray(original, int), -1)
        assert np.abs(turned - np.asarray(file, int)).mean() < 12
    assert source.read_bytes() == before


def test_copy_and_none(tmp_path):
    """`copy` gives each format its own file, `none` writes no image and needs no source."""
    source = picture(tmp_path / "source/a.jpg")
    place_all(tmp_path / "copy", [image(name="a.jpg", path=source)], "copy")
    assert [path.stat().st_nlink for path in (tmp_path / "copy").rglob("a.jpg")] == [1, 1, 1]
    place_all(tmp_path / "none", [image(name="a.jpg", path=tmp_path / "gone.jpg")], "none")
    assert not list((tmp_path / "none").rglob("*.jpg"))
    with pytest.raises(ConfigError, match="link, copy or none"):
        ImageStore("symlink")


def test_where_links_do_not_work_images_are_copied_and_counted(tmp_path, monkeypatch):
    """A file system without hard links gets copies, and their number is known."""

    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    source = picture(tmp_path / "source/a.jpg")
    store = place_all(tmp_path / "set", [image(name="a.jpg", path=source)])
    assert store.links_failed == 2
    assert [path.read_bytes() for path in (tmp_path / "set").rglob("a.jpg")] == [source.read_bytes()] * 3


def test_a_source_is_read_once(tmp_path, monkeypatch):
    """Three formats cost one read of the source."""
    sources = [picture(tmp_path / f"source/{i}.jpg") for i in range(3)]
    read = []
    monkeypatch.setattr(
        "autolabel.formats.images.read_bytes", lambda path: read.append(path) or path.read_bytes()
    )
    place_all(tmp_path / "set", [image(name=path.name, path=path) for path in sources])
    assert read == sources


def test_an_image_that_changed_its_size_is_an_error(tmp_path):
    """Masks of another size than the image has by now are not written beside it."""
    source = picture(tmp_path / "a.jpg", (41, 50))
    with pytest.raises(ImageError, match="50 x 41 px, but its masks are 50 x 40"):
        ImageStore().open(image(path=source))


def test_names_that_collide_get_a_hash():
    """A name that differs from another in case or composition alone is renamed, the same way each time."""
    names = [Names(), Names()]
    given = [[each.claim(name, name) for name in ("a", "A", "é", "e\u0301", "b")] for each in names]
    assert given[0] == given[1]
    assert [given[0][index] for index in (0, 2, 4)] == ["a", "é", "b"]
    assert given[0][1].startswith("A-")
    assert len({name.lower() for name in given[0]}) == 5
