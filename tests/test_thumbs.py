"""Thumbs: small, upright, and never a trouble."""

import cv2
import numpy as np
import pytest
from PIL import Image

from autolabel import thumbs
from autolabel.sources import images
from autolabel.thumbs import Thumbs


def jpeg(pixels):
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def size(data):
    info = images.probe(data)
    return info.width, info.height


@pytest.mark.parametrize(
    ("wh", "small"), [((1024, 768), (256, 192)), ((100, 40), (100, 40)), ((300, 3000), (26, 256))]
)
def test_the_longer_side_is_256_at_most(wh, small):
    """Large images become small, small ones stay."""
    data = jpeg(np.zeros((wh[1], wh[0], 3), np.uint8))
    assert size(thumbs.make(data, images.probe(data))) == small


def test_a_thumb_is_upright(tmp_path):
    """EXIF's orientation is applied."""
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (512, 256)).save(tmp_path / "a.jpg", exif=exif)
    data = (tmp_path / "a.jpg").read_bytes()
    assert size(thumbs.make(data, images.probe(data))) == (128, 256)


def test_what_is_put_is_there_at_once_and_after_closing(tmp_path):
    """A thumb is served before its commit, and kept by it."""
    kept = Thumbs(tmp_path / "run" / "thumbs.sqlite")
    kept.put(b"a", b"jpeg")
    assert (kept.get(b"a"), kept.has(b"a"), kept.has(b"b"), kept.get(b"b")) == (b"jpeg", True, False, None)
    kept.close()
    again = Thumbs(tmp_path / "run" / "thumbs.sqlite")
    assert again.get(b"a") == b"jpeg"
    again.close()


@pytest.mark.parametrize("keep", [0, 4096])
def test_a_damaged_file_is_made_anew(tmp_path, keep):
    """Rubbish in place of the file, or of all but its first page, loses the cache and nothing else."""
    path = tmp_path / "thumbs.sqlite"
    kept = Thumbs(path)
    for i in range(300):
        kept.put(bytes([i // 256, i % 256]), bytes(2000))
    kept.close()
    path.write_bytes(path.read_bytes()[:keep] + b"rubbish" * 20_000)
    again = Thumbs(path)
    for image in (b"\0\1", b"\1\1"):
        again.get(image)
        again.has(image)
    again.put(b"new", b"jpeg")
    again.flush()
    assert again.get(b"new") == b"jpeg"
    again.close()


def test_where_no_file_can_be_it_does_without(tmp_path):
    """A folder in its place is no error."""
    (tmp_path / "thumbs.sqlite").mkdir()
    kept = Thumbs(tmp_path / "thumbs.sqlite")
    kept.put(b"a", b"jpeg")
    kept.flush()
    assert kept.get(b"a") is None
    kept.close()
