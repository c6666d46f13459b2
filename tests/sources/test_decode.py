"""Upright pixels of every kind of file, and a reason for every damaged one."""

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from autolabel.errors import ImageError
from autolabel.sources.images import decode, probe, verify
from tests.sources.pictures import (
    HEIGHT,
    WIDTH,
    after_soi,
    bgr,
    encode,
    jpeg,
    noise,
    png_header,
    scene,
    segment,
)

GRADIENT = np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 42


def pixels_of(data: bytes, max_side: int | None = None) -> NDArray[np.uint8]:
    return decode(data, probe(data), max_side=max_side)


def reason_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        pixels_of(data)
    return str(caught.value)


def pillow_upright(data: bytes) -> NDArray[np.uint8]:
    return bgr(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))


def assert_close(pixels: NDArray[np.uint8], expected: NDArray[np.uint8], within: float) -> None:
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).mean() <= within


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_types_are_exact(kind: str) -> None:
    """Pixels come back as they were written, as contiguous BGR of 8 bits."""
    pixels = pixels_of(encode(noise(33, 17), kind))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels, bgr(noise(33, 17)))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "jpeg"])
def test_compressed_tiff(compression: str) -> None:
    """What libtiff reads is read."""
    assert_close(pixels_of(encode(scene(), "TIFF", compression=compression)), bgr(scene()), 3)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}]
)
def test_jpeg_is_decoded_as_pillow_does(options: dict[str, int]) -> None:
    """OpenCV and Pillow agree on every pixel of a JPEG, so that labels fit what trainers see."""
    data = jpeg(noise(77, 51), **options)
    assert np.array_equal(pixels_of(data), pillow_upright(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_match_exif_transpose(kind: str, orientation: int) -> None:
    """An asymmetric picture stands as Pillow turns it, for each type and orientation."""
    data = encode(scene(), kind, orientation, **({"lossless": True} if kind == "WEBP" else {}))
    expected = pillow_upright(data)
    assert np.array_equal(pixels_of(data), expected)
    smaller = pixels_of(data, max_side=WIDTH // 2)
    assert_close(smaller, cv2.resize(expected, smaller.shape[1::-1], interpolation=cv2.INTER_AREA), 4)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF"])
def test_an_orientation_in_xmp_turns_the_picture(kind: str) -> None:
    """XMP alone is enough, as it is for Pillow."""
    xmp = b'<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    options = {"tiffinfo": {700: xmp}} if kind == "TIFF" else {"xmp": xmp}
    data = encode(scene(), kind, **options)
    assert pixels_of(data).shape == (WIDTH, HEIGHT, 3)
    assert np.array_equal(pixels_of(data), pillow_upright(data))


def translucent(mode: str) -> Image.Image:
    image = scene().convert("RGBA")
    image.putalpha(Image.fromarray((GRADIENT % 256).astype(np.uint8)))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA"), ("TIFF", "RGBA")]
)
def test_alpha_is_dropped(kind: str, mode: str) -> None:
    """Colours under alpha stay as they are stored: nothing is composited, as in trainers that use OpenCV."""
    image = translucent(mode)
    data = encode(image, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    assert np.array_equal(pixels_of(data), bgr(image.convert("L" if mode == "LA" else "RGB")))


@pytest.mark.parametrize("transparency", [0, bytes(range(256))])
def test_palettes_are_resolved(transparency: int | bytes) -> None:
    """A palette with a transparent colour, or an alpha for each, gives its colours without a warning."""
    image = scene().quantize(16)
    assert np.array_equal(pixels_of(encode(image, "PNG", transparency=transparency)), bgr(image))
    assert np.array_equal(pixels_of(encode(image, "PNG", bits=4)), bgr(image))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_one_bit(kind: str) -> None:
    """Black and white are 0 and 255."""
    image = scene().convert("1")
    assert np.array_equal(pixels_of(encode(image, kind)), bgr(image.convert("L")))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_grey(kind: str) -> None:
    """Grey images have three equal channels."""
    pixels = pixels_of(encode(scene().convert("L"), kind))
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert_close(pixels, bgr(scene().convert("L")), 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_divided_by_256(kind: str) -> None:
    """Bright pixels are not clipped to white."""
    pixels = pixels_of(encode(Image.fromarray(GRADIENT), kind))
    assert np.array_equal(pixels, np.repeat((GRADIENT >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_16_bit_tiff_of_the_other_byte_order() -> None:
    """Big-endian samples count the same."""
    data = cv2_tiff(GRADIENT)
    assert np.array_equal(pixels_of(data)[..., 0], (GRADIENT >> 8).astype(np.uint8))
    motorola = encode(Image.frombytes("I;16B", (WIDTH, HEIGHT), GRADIENT.astype(">u2").tobytes()), "TIFF")
    assert np.array_equal(pixels_of(motorola)[..., 0], (GRADIENT >> 8).astype(np.uint8))


def cv2_tiff(array: NDArray[np.uint16]) -> bytes:
    done, data = cv2.imencode(".tiff", array)
    assert done
    return data.tobytes()


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_colour_is_divided_by_256(suffix: str) -> None:
    """The high bytes of each channel are taken."""
    array = np.dstack([GRADIENT, GRADIENT[::-1], GRADIENT[:, ::-1]])
    done, data = cv2.imencode(suffix, array)
    assert done
    assert np.array_equal(pixels_of(data.tobytes()), (array >> 8).astype(np.uint8))


def test_integers_beyond_16_bits_and_floats_are_refused() -> None:
    """Where the range of values is unknown, guessing it would make labels of nonsense."""
    wide = GRADIENT.astype(np.int32)
    assert np.array_equal(pixels_of(encode(Image.fromarray(wide), "TIFF"))[..., 0], wide >> 8)
    assert "integers beyond 16 bits" in reason_of(encode(Image.fromarray(wide * 1000), "TIFF"))
    assert "floating-point" in reason_of(encode(Image.fromarray(GRADIENT.astype(np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    """Inks become red, green and blue."""
    data = encode(scene().convert("CMYK"), kind)
    assert_close(pixels_of(data), bgr(scene()), 3)


def test_the_first_frame_counts() -> None:
    """Animations and several pages give their first picture, whatever follows."""
    for kind in ("WEBP", "TIFF", "PNG"):
        data = encode(scene(), kind, save_all=True, append_images=[noise(WIDTH, HEIGHT)], lossless=True)
        assert np.array_equal(pixels_of(data), bgr(scene()))
    mpo = encode(scene(), "MPO", save_all=True, append_images=[noise(64, 64)])
    assert_close(pixels_of(mpo), bgr(scene()), 5)


@pytest.mark.parametrize("size", [(4001, 3000), (3000, 4001), (1025, 3), (2049, 1), (1024, 768), (8191, 10)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_max_side_is_met(size: tuple[int, int], kind: str) -> None:
    """The longer side is exactly max_side, the other rounded and at least 1; small images stay."""
    width, height = size
    pixels = pixels_of(encode(Image.new("RGB", size, (10, 200, 30)), kind), max_side=1024)
    longer = max(size)
    assert pixels.shape == (max(1, round(height * 1024 / longer)), max(1, round(width * 1024 / longer)), 3)
    assert pixels_of(encode(scene(), kind), max_side=1024).shape == (HEIGHT, WIDTH, 3)


def test_a_reduced_decode_looks_like_a_whole_one() -> None:
    """Scaling in the decoder shifts nothing and loses no more than rounding does."""
    data = jpeg(scene(1600, 1200))
    whole = cv2.resize(pixels_of(data), (400, 300), interpolation=cv2.INTER_AREA)
    assert_close(pixels_of(data, max_side=400), whole, 1)


THUMBNAIL = segment(0xE1, b"Exif\0\0" + jpeg(scene(16, 12)))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("thumbnail", [b"", THUMBNAIL])
@pytest.mark.parametrize("kept", [0.4, 0.7, 0.99, -1, -2])
def test_a_truncated_jpeg_fails(options: dict[str, int], thumbnail: bytes, kept: float) -> None:
    """There is no grey rest, wherever the cut is: at the end marker alone, or behind that of a thumbnail."""
    whole = after_soi(jpeg(noise(), **options), thumbnail)
    cut = whole[: int(kept) if kept < 0 else int(len(whole) * kept)]
    assert reason_of(cut).startswith("is truncated: ")
    with pytest.raises(ImageError, match="truncated"):
        verify(cut, probe(whole))
    assert verify(whole, probe(whole)) is None


def test_a_jpeg_whose_rest_is_zeros_fails() -> None:
    """A copy that was interrupted on a preallocated file is truncated too, though Pillow may accept it."""
    data = jpeg(noise())
    assert reason_of(data[: len(data) // 2] + bytes(4 * len(data))).startswith("is truncated: ")


def test_bytes_behind_the_end_of_a_jpeg_do_not_matter() -> None:
    """Padding, videos of phones and further pictures follow many a JPEG."""
    data = jpeg()
    for rest in (bytes(100), b"\xff\xd8\xff", jpeg(noise()), b"text"):
        assert np.array_equal(pixels_of(data + rest), pixels_of(data))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
    ],
)
@pytest.mark.parametrize("kept", [0.5, 0.9, -1])
def test_other_truncated_files_fail(
    kind: str, options: dict[str, bool], kept: float, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file that lacks its last byte is as truncated as one that lacks half; decoders stay quiet."""
    data = encode(noise(), kind, **options)
    files = [data, directory_first(data)] if kind == "TIFF" else [data]
    for whole in files:
        reason = reason_of(whole[: int(kept) if kept < 0 else int(len(whole) * kept)])
        # Where a directory at the end lacks its last value, Pillow only says what it misses.
        assert reason.startswith("is truncated: ") or (
            whole is data and reason.endswith("unknown pixel mode")
        )
    assert capfd.readouterr().err == ""


def directory_first(data: bytes) -> bytes:
    """A little-endian TIFF with its directory before its pixels, where a cut takes nothing but pixels."""
    page = Image.open(io.BytesIO(data))
    offsets, counts = page.tag_v2[273], page.tag_v2[279]
    strips = [data[offset : offset + count] for offset, count in zip(offsets, counts, strict=True)]
    tags = {
        256: page.width,
        257: page.height,
        259: page.tag_v2[259],
        262: 2,
        277: 3,
        317: page.tag_v2.get(317, 1),
    }
    tags |= {258: 8, 278: page.tag_v2[278]}
    entries = sorted([*tags, 273, 279])
    table = 8 + 2 + 12 * len(entries) + 4
    first = table + 8 * len(strips)
    starts = [first + sum(map(len, strips[:number])) for number in range(len(strips))]
    body = struct.pack("<4sIH", b"II*\0", 8, len(entries))
    for tag in entries:
        if tag in (273, 279):
            values = starts if tag == 273 else [len(strip) for strip in strips]
            where = table + (4 * len(strips) if tag == 279 else 0)
            body += struct.pack("<HHII", tag, 4, len(strips), values[0] if len(strips) == 1 else where)
        else:
            body += struct.pack("<HHIHH", tag, 3, 1, tags[tag], 0)
    body += bytes(4) + struct.pack(f"<{len(strips)}I", *starts)
    body += struct.pack(f"<{len(strips)}I", *map(len, strips))
    whole = body + b"".join(strips)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(whole))), np.asarray(page))
    return whole


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_garbage_behind_a_valid_header_fails(kind: str) -> None:
    """A file whose header alone is whole has a reason, or is a picture of the stated size."""
    data = encode(noise(64, 48), kind)
    for kept in (40, 80, 200, 700):
        damaged = data[:kept] + bytes(range(256)) * 20
        try:
            assert pixels_of(damaged).shape == (48, 64, 3)
        except ImageError as ex:
            assert str(ex)


STARTS = [
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    png_header(4, 4),
    b"RIFF\x10\0\0\0WEBP",
    b"BM",
    b"II*\0",
    b"MM\0*\0\0\0\x08",
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(STARTS), st.binary(max_size=400))
def test_random_bytes_raise_nothing_but_image_errors(start: bytes, rest: bytes) -> None:
    """Whatever a file holds, it costs one image, never the run."""
    try:
        pixels_of(start + rest)
    except ImageError as ex:
        assert str(ex)


SEEDS = [encode(noise(20, 14), kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF")]
SEEDS += [jpeg(noise(20, 14), progressive=True), encode(noise(20, 14), "TIFF", compression="tiff_lzw")]


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SEEDS), st.data())
def test_flipped_bytes_raise_nothing_but_image_errors(seed: bytes, draw: st.DataObject) -> None:
    """Damage anywhere in a file gives pixels of the stated size or a reason, without a warning."""
    damaged = bytearray(seed)
    for place in draw.draw(st.lists(st.integers(0, len(seed) - 1), min_size=1, max_size=4)):
        damaged[place] = draw.draw(st.integers(0, 255))
    data = bytes(damaged)
    try:
        info = probe(data)
        if info.width * info.height < 1 << 20:
            assert decode(data, info).shape == (info.height, info.width, 3)
    except ImageError as ex:
        assert str(ex)


def test_a_header_that_changed_since_it_was_probed_is_told() -> None:
    """Pixels of another size than the header's are refused, not scaled."""
    for kind in ("JPEG", "PNG"):
        with pytest.raises(ImageError, match="its header states"):
            decode(encode(scene(40, 40), kind), probe(encode(scene(), kind)))


def test_threads_share_nothing() -> None:
    """Many threads decode TIFF and JPEG at once without a warning or a mix-up."""
    files = [encode(scene(), kind, turn) for kind in ("TIFF", "JPEG", "PNG") for turn in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        for data, pixels in zip(files * 5, pool.map(pixels_of, files * 5), strict=True):
            assert np.array_equal(pixels, pillow_upright(data))
