"""What a host gets: upright, without metadata, within its limits, and as good as they allow."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from autolabel.errors import ImageError
from autolabel.sources.images import decode, fit, probe
from autolabel.types import Picture
from tests.sources.pictures import HEIGHT, WIDTH, after_soi, bgr, chunk, encode, jpeg, noise, scene, segment

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def sent(data: bytes, max_side: int | None = None, max_base64_bytes: int | None = None) -> Picture:
    picture = fit("a.jpg", data, probe(data), max_side=max_side, max_base64_bytes=max_base64_bytes)
    image = Image.open(io.BytesIO(picture.data))
    assert image.format in ("JPEG", "PNG")
    assert image.size == (picture.width, picture.height)
    assert not image.getexif()
    assert not {"exif", "xmp", "comment", "photoshop", "mp"} & set(image.info)
    assert b"Exif" not in picture.data
    return picture


def base64_size(data: bytes) -> int:
    return (len(data) + 2) // 3 * 4


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_an_upright_jpeg_is_sent_as_it_is(mode: str, options: dict[str, bool]) -> None:
    """Without metadata to drop, the bytes are the file's."""
    data = jpeg(scene().convert(mode), **options)
    assert sent(data).data == data


def test_metadata_of_a_jpeg_is_dropped_without_loss() -> None:
    """EXIF, XMP, IPTC, comments and what follows the end are gone; profile and pixels are the same."""
    clean = jpeg(icc_profile=PROFILE)
    extras = [
        segment(0xE1, b"Exif\0\0II*\0"),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
        segment(0xE2, b"MPF\0abc"),
        segment(0xED, b"Photoshop 3.0\0"),
        segment(0xFE, b"taken at home"),
    ]
    place = clean.index(b"\xff\xda")
    data = after_soi(clean[:place] + segment(0xFE, b"late") + clean[place:], *extras) + jpeg(scene(), 6)
    assert sent(data).data == clean


def test_metadata_in_a_picture_behind_the_first_is_not_sent() -> None:
    """An MPO's other pictures carry their own EXIF, so only the first picture is sent."""
    mpo = encode(scene(), "MPO", 1, save_all=True, append_images=[noise(64, 64)])
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(sent(mpo).data))), np.asarray(Image.open(io.BytesIO(mpo)))
    )


def test_adobe_s_colour_transform_is_kept() -> None:
    """A JPEG that stores RGB says so in a segment without which its colours would be wrong."""
    data = jpeg(keep_rgb=True, subsampling=0)
    picture = sent(after_soi(data, segment(0xFE, b"x")))
    assert np.array_equal(bgr(Image.open(io.BytesIO(picture.data))), decode(data, probe(data)))


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_plain_png_is_sent_without_its_texts(mode: str) -> None:
    """Lossless files stay lossless: chunks of text, time and EXIF are cut out."""
    clean = encode(scene().convert(mode), "PNG")
    data = clean[:33] + chunk(b"tEXt", b"Author\0me") + chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0") + clean[33:]
    assert sent(data).data == clean


@pytest.mark.parametrize(
    "data",
    [
        encode(scene().convert("RGBA"), "PNG"),
        encode(scene().convert("LA"), "PNG"),
        encode(scene().quantize(8), "PNG", transparency=0),
        encode(Image.new("I;16", (WIDTH, HEIGHT)), "PNG"),
        encode(scene().convert("1"), "PNG"),
        encode(scene(), "PNG", 6),
        encode(scene(), "JPEG", 6),
        encode(scene().convert("CMYK"), "JPEG"),
        encode(scene(), "WEBP"),
        encode(scene(), "BMP"),
        encode(scene(), "TIFF", 3),
    ],
)
def test_everything_else_becomes_an_upright_jpeg(data: bytes) -> None:
    """Hosts get 8-bit colours without alpha, turned as they are meant to be seen."""
    picture = sent(data)
    info = probe(data)
    assert picture.data.startswith(b"\xff\xd8")
    assert (picture.width, picture.height) == (info.width, info.height)
    shown = bgr(Image.open(io.BytesIO(picture.data)))
    assert np.abs(shown.astype(int) - decode(data, info)).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_sent_stands_upright(orientation: int) -> None:
    """The sent picture looks as Pillow turns the file, also when it is scaled down."""
    data = jpeg(scene(480, 320), orientation)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    for side in (480, 100):
        picture = sent(data, max_side=side)
        size = (side, round(side * 2 / 3)) if orientation < 5 else (round(side * 2 / 3), side)
        assert (picture.width, picture.height) == size
        shown = np.asarray(Image.open(io.BytesIO(picture.data))).astype(int)
        assert np.abs(shown - np.asarray(upright.resize(size, Image.Resampling.BOX))).mean() < 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_limits_are_met_exactly(kind: str) -> None:
    """A file just at a limit is sent as it is; one pixel or one byte less makes it another file within it."""
    data = encode(noise(90, 60), kind)
    size = base64_size(data)
    assert sent(data, 90, size).data == data
    smaller = sent(data, 89, size)
    assert (smaller.width, smaller.height) == (89, 59)
    squeezed = sent(data, 90, size - 1)
    assert base64_size(squeezed.data) < size


def test_quality_gives_way_before_size() -> None:
    """A limit that a lower quality meets leaves every pixel in place; a tighter one scales down."""
    data = encode(noise(320, 240), "PNG")
    whole = sent(data, max_base64_bytes=60_000)
    assert (whole.width, whole.height) == (320, 240)
    tiny = sent(data, max_base64_bytes=8_000)
    assert tiny.width < 320
    assert tiny.height == round(tiny.width * 3 / 4)


@settings(max_examples=30, deadline=None)
@given(st.integers(4_000, 400_000), st.integers(40, 400))
def test_what_is_sent_is_within_the_limits(max_base64_bytes: int, max_side: int) -> None:
    """Noise, the worst there is to compress, fits any limit that leaves room for a picture at all."""
    picture = sent(encode(noise(320, 240), "PNG"), max_side, max_base64_bytes)
    assert max(picture.width, picture.height) <= max_side
    assert base64_size(picture.data) <= max_base64_bytes


def test_a_limit_that_nothing_meets_is_a_failure() -> None:
    """There is a reason in place of a picture of a few pixels."""
    with pytest.raises(ImageError, match="limit of 500 base64 bytes"):
        sent(jpeg(), max_base64_bytes=500)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_truncated_file_is_not_sent(kind: str) -> None:
    """What goes out as it is was decoded all the same."""
    data = encode(noise(), kind)
    info = probe(data)
    cuts = [data[:-1], data[: len(data) // 2]]
    if kind == "PNG":
        cuts.append(data[: len(data) // 2] + data[-12:])
    for cut in cuts:
        with pytest.raises(ImageError):
            fit("a", cut, info, max_side=None, max_base64_bytes=None)


def test_the_same_file_gives_the_same_bytes() -> None:
    """Fitting is deterministic."""
    data = encode(noise(), "PNG", 6)
    assert sent(data, 100, 9_000) == sent(data, 100, 9_000)
