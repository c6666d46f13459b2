"""What the header of an image says, and the reasons for what is none."""

import gzip
import hashlib
import io
import os
import struct
import warnings
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from autolabel.errors import ImageError
from autolabel.sources import headers
from autolabel.sources.images import Info, digest, probe, read_bytes
from tests.sources.pictures import (
    HEIGHT,
    WIDTH,
    after_soi,
    chunk,
    encode,
    jpeg,
    noise,
    png_header,
    scene,
    segment,
)

XMP = '<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'


def refused(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        probe(data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}), ("BMP", {}), ("TIFF", {})],
)
def test_each_type_is_read(kind: str, options: dict[str, bool]) -> None:
    """The five types are told by their content, with the size in px."""
    assert probe(encode(scene(), kind, **options)) == Info(WIDTH, HEIGHT, kind, 1, "RGB", tagged=False)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_turns_the_size(kind: str, orientation: int) -> None:
    """EXIF orientations from 5 on swap width and height."""
    info = probe(encode(scene(), kind, orientation))
    expected = (HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT)
    assert ((info.width, info.height), info.orientation) == (expected, orientation)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_out_of_range_counts_as_upright(kind: str, orientation: int) -> None:
    """Cameras write such values; Pillow ignores them too."""
    assert probe(encode(scene(), kind, orientation)).orientation == 1


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_an_orientation_in_xmp_alone_counts(kind: str) -> None:
    """As for Pillow's exif_transpose, XMP speaks where EXIF does not."""
    data = encode(scene(), kind, xmp=XMP.encode())
    assert probe(data).orientation == 6
    assert ImageOps.exif_transpose(Image.open(io.BytesIO(data))).size == (HEIGHT, WIDTH)
    assert probe(encode(scene(), kind, 3, xmp=XMP.encode())).orientation == 3


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("body", ["exif", "xmp", "magick"])
def test_metadata_of_a_png_counts_before_and_after_its_pixels(last: bool, body: str) -> None:
    """A PNG may state its orientation in three kinds of chunks, on either side of the pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes()
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    extra = {
        "exif": chunk(b"eXIf", block[6:]),
        "xmp": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.encode()),
        "magick": chunk(b"tEXt", b"Raw profile type exif\0" + text),
    }[body]
    data = encode(scene(), "PNG")
    place = len(data) - 12 if last else 33
    info = probe(data[:place] + extra + data[place:])
    assert (info.orientation, info.tagged) == (6, True)


def test_a_damaged_exif_block_counts_as_upright() -> None:
    """Cut and nonsensical EXIF is common and no reason to lose an image; nothing warns."""
    exif = Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes()
    for cut in range(6, len(block)):
        assert probe(after_soi(jpeg(), segment(0xE1, block[:cut]))).orientation in (1, 6)
    assert probe(after_soi(jpeg(), segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"))).orientation == 1


def pillow_orientation(block: bytes) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exif = Image.Exif()
        exif.load(block)
        value = exif.get(0x0112, 1)
    return value if value in range(1, 9) else 1


STARTS = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}
VALUES = st.sampled_from([b"\6\0\0\0", b"\0\6\0\0", b"\0\0\0\6", b"\x09\0\0\0"]) | st.binary(
    min_size=4, max_size=4
)
TYPES = st.sampled_from([0, 1, 2, 3, 4, 6, 7, 8, 9, 13, 14, 99])


@given(st.sampled_from("<>"), st.binary(max_size=80))
def test_random_exif_is_read_as_pillow_reads_it(order: str, body: bytes) -> None:
    """Whatever the directory holds, the orientation is the one that Pillow would apply."""
    block = STARTS[order] + body
    assert headers.orientation(block) == pillow_orientation(block)


@given(st.sampled_from("<>"), st.integers(0, 2), TYPES, st.integers(0, 4), VALUES, st.integers(0, 30))
def test_an_odd_orientation_is_read_as_pillow_reads_it(
    order: str, before: int, kind: int, length: int, value: bytes, cut: int
) -> None:
    """A tag of another type or length, or one that is cut, counts as it does for Pillow."""
    assume(length * {3: 2, 4: 4, 8: 2, 9: 4, 13: 4, 99: 1}.get(kind, 1) <= 4)  # the value stands in the tag
    others = [struct.pack(order + "HHII", tag, 3, 1, 6) for tag in (0x010F, 0x0110)[:before]]
    entries = [*others, struct.pack(order + "HHI", 0x0112, kind, length) + value]
    block = STARTS[order] + struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    block = block[: max(8, len(block) - cut)]
    assert headers.orientation(block) == pillow_orientation(block)


def test_damaged_tags_of_a_tiff_do_not_warn() -> None:
    """Pillow warns about a TIFF's tags; a run must not."""
    data = bytearray(encode(scene(), "TIFF", tiffinfo={270: "x" * 40}))
    place = data.index(struct.pack("<HH", 270, 2))
    data[place + 4 : place + 8] = struct.pack("<I", 1 << 30)
    assert probe(bytes(data)).width == WIDTH


@pytest.mark.parametrize(
    ("extra", "tagged"),
    [
        (segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"), False),
        (segment(0xE2, b"ICC_PROFILE\0\1\1abc"), False),
        (segment(0xE1, b"Exif\0\0"), True),
        (segment(0xE2, b"MPF\0abc"), True),
        (segment(0xED, b"Photoshop 3.0\0"), True),
        (segment(0xFE, b"a comment"), True),
    ],
)
def test_metadata_of_a_jpeg_is_told(extra: bytes, tagged: bool) -> None:
    """Only what decides the look of the pixels is no metadata."""
    assert probe(after_soi(jpeg(), extra)).tagged is tagged


def test_modes() -> None:
    """Modes are Pillow's names."""
    assert probe(jpeg(scene().convert("L"))).mode == "L"
    assert probe(jpeg(scene().convert("CMYK"))).mode == "CMYK"
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        image = Image.new("I;16", (3, 2)) if mode == "I;16" else scene().convert(mode)
        assert probe(encode(image, "PNG")).mode == mode


def test_an_mpo_is_a_jpeg() -> None:
    """A phone's picture with more pictures behind it is its first one."""
    buffer = io.BytesIO()
    scene().save(buffer, "MPO", save_all=True, append_images=[noise(64, 64)])
    info = probe(buffer.getvalue())
    assert (info.format, info.width, info.height) == ("JPEG", WIDTH, HEIGHT)


def test_the_content_decides_the_type(tmp_path: Path) -> None:
    """A PNG named .jpg is a PNG."""
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(scene(), "PNG"))
    assert probe(read_bytes(path)).format == "PNG"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode(scene(), "GIF"), "is a GIF; autolabel reads JPEG, PNG, WebP, BMP and TIFF"),
        (encode(scene(), "ICO"), "is a Windows icon; autolabel reads JPEG, PNG, WebP, BMP and TIFF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC; autolabel reads JPEG, PNG, WebP, BMP and TIFF"),
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", "is an AVIF; autolabel reads JPEG, PNG, WebP, BMP and TIFF"),
        (b"a text, not an image", "is not an image that can be read: its content is of no known image type"),
        (gzip.compress(b"x"), "is not an image that can be read: its content is of no known image type"),
        (b"", "is not an image that can be read: its content is of no known image type"),
    ],
)
def test_what_is_not_read_has_a_reason(data: bytes, reason: str) -> None:
    """The reason says what the file is and what would do."""
    assert refused(data) == reason


def test_a_text_that_starts_like_a_bitmap_has_a_reason() -> None:
    """Two letters make no bitmap."""
    assert refused(b"BMW is a car, and this is a text").startswith("is not an image that can be read: ")


def test_a_bomb_is_refused_by_its_header() -> None:
    """A few bytes that claim 3.6 billion pixels are refused before anything is decoded."""
    bomb = png_header(60_000, 60_000) + chunk(b"IDAT", b"")
    assert refused(bomb) == (
        "has 60000 x 60000 pixels, more than the 178,956,970 that are safe to decode; "
        "scale it down or cut it into parts"
    )
    frame = jpeg()
    place = frame.index(b"\xff\xc0") + 5
    assert "has 65500 x 65500 pixels" in refused(
        frame[:place] + struct.pack(">HH", 65500, 65500) + frame[place + 4 :]
    )
    webp = b"VP8X" + struct.pack("<I", 10) + bytes(4) + 2 * (16382).to_bytes(3, "little")
    assert "too many pixels" in refused(b"RIFF" + struct.pack("<I", 4 + len(webp)) + b"WEBP" + webp)


def test_half_a_bomb_is_fine_and_quiet() -> None:
    """Pillow warns from half its bound on; such an image is read without a warning."""
    assert probe(png_header(12_000, 12_000) + chunk(b"IDAT", b"")).width == 12_000
    tiff = encode(Image.new("1", (12_000, 12_000)), "TIFF", compression="group4")
    assert probe(tiff).width == 12_000


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_a_header_that_is_cut_has_a_reason(kind: str) -> None:
    """Wherever the file ends, there is a reason or an answer, never another error."""
    data = encode(scene(8, 6), kind, **({"quality": 50} if kind == "JPEG" else {}))
    for cut in range(len(data)):
        try:
            probe(data[:cut])
        except ImageError as ex:
            assert "truncated" in str(ex) or "is not an image" in str(ex)


@pytest.mark.parametrize("bits", [12, 16])
def test_a_jpeg_of_more_than_8_bits_is_refused(bits: int) -> None:
    """Decoders of 8 bits would fail on it later, with less to say."""
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + 4] = bits
    assert refused(bytes(data)) == f"is a {bits}-bit JPEG; convert it to 8 bits"


def test_reading_has_reasons(tmp_path: Path) -> None:
    """Missing, empty and strange files fail with a reason each."""
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, reason in (
        ("empty.jpg", "the file is empty"),
        ("missing.jpg", "can't be read: No such file or directory"),
        ("pipe.jpg", "can't be read: it is no regular file"),
    ):
        with pytest.raises(ImageError) as caught:
            read_bytes(tmp_path / name)
        assert str(caught.value) == reason


def test_the_digest_is_32_bytes_of_the_content() -> None:
    """The cache key is stable: SHA-256 of the file."""
    assert digest(b"abc") == hashlib.sha256(b"abc").digest()
    assert len(digest(b"")) == 32
