"""The image files of a dataset: originals, or upright files without metadata and without loss."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from autolabel.errors import ImageError
from autolabel.sources.images import is_original, probe, write_upright
from tests.sources.pictures import HEIGHT, WIDTH, after_soi, encode, jpeg, noise, scene, segment
from tests.sources.test_decode import GRADIENT
from tests.sources.test_fit import PROFILE


def written(data: bytes, tmp_path: Path, *, as_jpeg: bool = False) -> bytes:
    write_upright(data, probe(data), tmp_path / "out", as_jpeg=as_jpeg)
    return (tmp_path / "out").read_bytes()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_an_upright_image_is_the_original(kind: str, tmp_path: Path) -> None:
    """Byte for byte, metadata included, unless it must be a JPEG and is none."""
    data = encode(scene(), kind, None if kind == "BMP" else 1)
    info = probe(data)
    assert is_original(info, False)
    assert is_original(info, True) == (kind == "JPEG")
    assert written(data, tmp_path) == data
    assert opened(written(data, tmp_path, as_jpeg=True)).format == "JPEG"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_image_is_written_upright(kind: str, orientation: int, tmp_path: Path) -> None:
    """The file stays of its type, losslessly but for JPEG, and its tag is gone, so nothing turns it again."""
    extra = {"lossless": True} if kind == "WEBP" else {}
    data = encode(scene(), kind, orientation, icc_profile=PROFILE, **extra)
    result = opened(written(data, tmp_path))
    expected = np.asarray(ImageOps.exif_transpose(opened(data))).astype(int)
    assert result.format == kind
    assert result.getexif().get(0x0112, 1) == 1
    assert result.info["icc_profile"] == PROFILE
    assert np.abs(np.asarray(result) - expected).max() <= (60 if kind == "JPEG" else 0)
    assert np.abs(np.asarray(result) - expected).mean() <= (4 if kind == "JPEG" else 0)
    jpeg_copy = opened(written(data, tmp_path, as_jpeg=True))
    assert (jpeg_copy.format, jpeg_copy.size) == ("JPEG", result.size)
    assert jpeg_copy.info["icc_profile"] == PROFILE
    assert "exif" not in jpeg_copy.info


def test_metadata_of_a_turned_image_is_dropped(tmp_path: Path) -> None:
    """Places, comments and XMP don't travel with a file that is written anew."""
    data = after_soi(jpeg(scene(), 6, comment=b"home"), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"))
    for as_jpeg in (False, True):
        assert not {"exif", "xmp", "comment"} & set(opened(written(data, tmp_path, as_jpeg=as_jpeg)).info)
    png = encode(scene(), "PNG", 6, dpi=(300, 300))
    assert set(opened(written(png, tmp_path)).info) == set()
    tiff = encode(scene(), "TIFF", tiffinfo={274: 6, 700: b"<x/>", 270: "home"})
    assert {700, 270}.isdisjoint(opened(written(tiff, tmp_path)).tag_v2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_depth_is_kept(kind: str, tmp_path: Path) -> None:
    """16-bit grey stays 16-bit grey when it is turned, and becomes the high byte in a JPEG."""
    data = encode(Image.fromarray(GRADIENT), kind, 6)
    turned = np.rot90(GRADIENT, -1)
    assert np.array_equal(np.asarray(opened(written(data, tmp_path))), turned)
    image = opened(written(data, tmp_path, as_jpeg=True))
    assert image.mode == "L"
    assert np.abs(np.asarray(image).astype(int) - (turned >> 8)).mean() < 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_modes_are_kept(mode: str, tmp_path: Path) -> None:
    """Palettes, alpha and bits survive a turn; a JPEG has them resolved, without alpha."""
    source = scene().convert("RGBA")
    source.putalpha(Image.fromarray((GRADIENT % 256).astype(np.uint8)))
    data = encode(source.convert(mode), "PNG", 8)
    result = opened(written(data, tmp_path))
    assert result.mode == mode
    expected = ImageOps.exif_transpose(opened(data))
    assert np.array_equal(np.asarray(result.convert("RGBA")), np.asarray(expected.convert("RGBA")))
    assert opened(written(data, tmp_path, as_jpeg=True)).mode in ("L", "RGB")


@pytest.mark.parametrize("transparency", [3, bytes(range(0, 128, 8))])
def test_transparent_palettes_survive(transparency: int | bytes, tmp_path: Path) -> None:
    """A palette's transparency is part of the picture, not metadata."""
    data = encode(scene().quantize(16), "PNG", 6, transparency=transparency)
    result, expected = opened(written(data, tmp_path)), ImageOps.exif_transpose(opened(data))
    assert np.array_equal(np.asarray(result.convert("RGBA")), np.asarray(expected.convert("RGBA")))


def test_colours_under_alpha_survive_a_turn(tmp_path: Path) -> None:
    """Trainers drop alpha, so a turned WebP keeps the colours that it hides."""
    source = scene().convert("RGBA")
    source.putalpha(0)
    data = encode(source, "WEBP", 3, lossless=True, exact=True)
    result = opened(written(data, tmp_path))
    assert np.array_equal(
        np.asarray(result)[..., :3], np.asarray(scene().transpose(Image.Transpose.ROTATE_180))
    )


def test_cmyk_becomes_rgb_without_its_profile(tmp_path: Path) -> None:
    """A profile of inks does not describe the colours that they were converted to."""
    data = encode(scene().convert("CMYK"), "JPEG", 6, icc_profile=PROFILE)
    result = opened(written(data, tmp_path))
    assert (result.mode, result.size) == ("RGB", (HEIGHT, WIDTH))
    assert "icc_profile" not in result.info


def test_what_can_not_be_written_has_a_reason(tmp_path: Path) -> None:
    """A truncated file, or one too wide for JPEG, is one image's failure and leaves no file behind."""
    whole = encode(noise(), "PNG")
    for data, reason in (
        (whole[:-20], "is truncated"),
        (encode(Image.new("L", (70_000, 2)), "PNG"), "can't be written as JPEG"),
    ):
        with pytest.raises(ImageError, match=reason):
            write_upright(data, probe(whole if data == whole[:-20] else data), tmp_path / "out", as_jpeg=True)
        assert not (tmp_path / "out").exists()


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    """Exports are deterministic."""
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        data = encode(noise(), kind, 6)
        assert written(data, tmp_path) == written(data, tmp_path)
