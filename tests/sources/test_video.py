"""Which frames a video has, what they look like when written, and the reasons for what can't be read."""

import io
import os
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from autolabel.errors import ImageError
from autolabel.sources import video
from autolabel.sources.video import Clip, decode, encode, extract, probe
from tests.sources import clips
from tests.sources.clips import corners, counted, read_number, scenes, write

VP9 = {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}
VP8 = {"codec": "libvpx", "options": {"cpu-used": "8", "deadline": "realtime"}}
HEVC = {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=12:open-gop=1:bframes=3"}}
MPEG2 = {"codec": "mpeg2video", "options": {"bf": "2"}, "rate": 25}
BFRAMES = {"options": {"bf": "3", "g": "12"}}
COUNT = 40


def whole(path: Path) -> Clip:
    return probe(path, fps=None, start_s=None, end_s=None)


def numbers(clip: Clip) -> list[int]:
    return [frame.number for frame in clip.frames]


def refused(path: Path, **span: Any) -> str:
    with pytest.raises(ImageError) as caught:
        probe(path, **{"fps": None, "start_s": None, "end_s": None, **span})
    return str(caught.value)


def extracted(path: Path, clip: Clip, folder: Path) -> dict[int, NDArray[np.uint8]]:
    """The written pictures by number."""
    extract(path, clip, folder)
    return {int(file.stem): np.asarray(cv2.imread(str(file)), np.uint8) for file in sorted(folder.iterdir())}


def decoded(path: Path) -> list[tuple[float, int]]:
    """(time in s from the first, number read off the picture) of every frame, by decoding all of them."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [
            (
                float((frame.pts - frames[0].pts) * frame.time_base),
                read_number(frame.to_ndarray(format="bgr24")),
            )
            for frame in frames
        ]


def counting(count: int = COUNT) -> list[NDArray[np.uint8]]:
    return [counted(number) for number in range(count)]


def remuxed(
    source: Path, target: Path, *, shift_s: Fraction = Fraction(0), skipped: int = 0, **options: str
) -> Path:
    """The same packets, without the first `skipped`, with stamps moved by `shift_s`."""
    with av.open(str(source)) as given, av.open(str(target), "w", options=options) as output:
        stream = given.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for number, packet in enumerate(given.demux(stream)):
            if packet.size and number >= skipped:
                packet.pts += int(shift_s / packet.time_base)
                packet.dts += int(shift_s / packet.time_base)
                packet.stream = copy
                output.mux(packet)
    return target


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("bframes.mp4", BFRAMES),
        ("fragments.mp4", {**BFRAMES, "container": {"movflags": "frag_keyframe+empty_moov"}}),
        ("sound.mov", {**BFRAMES, "audio": True}),
        ("prores.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}),
        ("mpeg4.m4v", {"codec": "mpeg4", "options": {"bf": "2"}}),
        ("hevc.mp4", HEVC),
        ("h264.mkv", BFRAMES),
        ("vp9.webm", VP9),
        ("vp8.webm", VP8),
        ("mpeg4.avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
        ("motion.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("mpeg2.mpg", MPEG2),
        ("mpeg2.ts", MPEG2),
        ("h264.ts", BFRAMES),
        ("hevc.ts", HEVC),
        ("h264.flv", BFRAMES),
        ("refresh.ts", {"options": {"x264-params": "intra-refresh=1:keyint=12"}}),
        ("variable.mp4", {**BFRAMES, "stamps": [7 * n * n + 50 * n for n in range(COUNT)]}),
        ("variable.mkv", {**BFRAMES, "stamps": [7 * n * n + 50 * n for n in range(COUNT)]}),
        ("late.ts", {**BFRAMES, "stamps": [5000 + 40 * n for n in range(COUNT)]}),
        ("late.mp4", {**BFRAMES, "stamps": [5000 + 40 * n for n in range(COUNT)]}),
        ("late.mkv", {**BFRAMES, "stamps": [5000 + 40 * n for n in range(COUNT)]}),
    ],
)
def test_packets_give_the_frames_that_decoding_gives(name: str, how: dict[str, Any], tmp_path: Path) -> None:
    """In each container and codec, numbers and times are those of decoding, from the first frame; and a frame
    that is sought in the middle is the frame of that number.
    """
    path = write(tmp_path / name, counting(), **how)
    clip = whole(path)
    assert [(frame.time_s, frame.number) for frame in clip.frames] == decoded(path)
    assert all(frame.pts is not None for frame in clip.frames)
    middle = Clip(clip.width, clip.height, (clip.frames[17], *clip.frames[29:31]))
    pictures = extracted(path, middle, tmp_path / "frames")
    assert {number: read_number(pixels) for number, pixels in pictures.items()} == {17: 17, 29: 29, 30: 30}


def test_hidden_frames_are_no_frames(tmp_path: Path) -> None:
    """VP8 holds frames that are only referred to: they have a stamp and are never shown, even far from the start."""
    path, source = tmp_path / "hidden.webm", write(tmp_path / "source.webm", counting(), **VP8)
    with av.open(str(source)) as given, av.open(str(path), "w") as output:
        stream = given.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for number, packet in enumerate(given.demux(stream)):
            if packet.size:
                data = bytearray(bytes(packet))
                data[0] &= 0xFF if number != 30 else ~0x10
                hidden = av.Packet(bytes(data))
                hidden.pts, hidden.dts, hidden.time_base = packet.pts, packet.dts, packet.time_base
                hidden.is_keyframe, hidden.stream = packet.is_keyframe, copy
                output.mux(hidden)
    clip = whole(path)
    assert [frame.time_s for frame in clip.frames] == [time for time, _ in decoded(path)]
    assert len(clip.frames) == COUNT - 1


def test_stamps_in_coding_order_are_counted(tmp_path: Path) -> None:
    """H.264 with B-frames in AVI, whose stamps are in coding order, is decoded and counted."""
    path = write(tmp_path / "clip.avi", counting(), rate=25, **BFRAMES)
    clip = whole(path)
    assert [frame.time_s for frame in clip.frames] == [number / 25 for number in range(COUNT)]
    assert {frame.pts for frame in clip.frames} == {None}
    pictures = extracted(path, probe(path, fps=5, start_s=0.5, end_s=1), tmp_path / "frames")
    assert {number: read_number(pixels) for number, pixels in pictures.items()} == {13: 13, 18: 18, 23: 23}


def test_an_edit_list_hides_frames(tmp_path: Path) -> None:
    """Frames before the beginning that an edit list sets are not there; numbers and times count from it."""
    source = write(tmp_path / "source.mp4", counting(), **BFRAMES)
    options = {"avoid_negative_ts": "disabled", "use_editlist": "1"}
    path = remuxed(source, tmp_path / "edited.mp4", shift_s=Fraction(-17, 10), **options)
    clip = whole(path)
    assert [frame.time_s for frame in clip.frames] == [time for time, _ in decoded(path)]
    assert len(clip.frames) == COUNT - 17
    pictures = extracted(path, clip, tmp_path / "frames")
    assert [read_number(pixels) for pixels in pictures.values()] == list(range(17, COUNT))
    data = bytearray(path.read_bytes())
    length = data.index(b"elst") + 12  # after version, flags and count: the length in ms (ISO/IEC 14496-12)
    assert struct.unpack_from(">I", data, length) == (100 * (COUNT - 17),)
    struct.pack_into(">I", data, length, 1000)
    path.write_bytes(data)
    assert [
        read_number(pixels) for pixels in extracted(path, whole(path), tmp_path / "ten").values()
    ] == list(range(17, 27))


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.ts"])
def test_a_beginning_between_key_frames_is_skipped(name: str, tmp_path: Path) -> None:
    """What can't be decoded before the first key frame has no number."""
    source = write(tmp_path / "source.mp4", counting(), **BFRAMES)
    path = remuxed(source, tmp_path / name, skipped=5)
    pictures = extracted(path, whole(path), tmp_path / "frames")
    shown = [read_number(pixels) for pixels in pictures.values()]
    assert shown == list(range(shown[0], COUNT))
    assert 5 < shown[0] <= 12
    assert list(pictures) == list(range(len(shown)))


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ({}, range(30)),
        ({"start_s": 1.0, "end_s": 2.0}, range(10, 20)),
        ({"end_s": 1.01}, range(11)),
        ({"fps": 2}, range(0, 30, 5)),
        ({"fps": 4}, [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28]),
        ({"fps": 10}, range(30)),
        ({"fps": 1000}, range(30)),
        ({"fps": 0.5, "start_s": 0.75}, [8, 28]),
        ({"fps": 5, "start_s": 1.0, "end_s": 2.0}, range(10, 20, 2)),
    ],
)
def test_selection(span: dict[str, Any], expected: list[int], tmp_path: Path) -> None:
    """A rate takes the first frame at or after each tick, none twice; a range ends before its end."""
    path = write(tmp_path / "clip.mp4", counting(30))
    assert numbers(probe(path, **{"fps": None, "start_s": None, "end_s": None, **span})) == list(expected)


def test_selection_forgives_rounded_times(tmp_path: Path) -> None:
    """Matroska rounds 2/15 s to 133 ms: that frame is still the one for the second tick of 15 a second."""
    path = write(tmp_path / "clip.mkv", counting(30), rate=30)
    assert numbers(probe(path, fps=15, start_s=None, end_s=None)) == list(range(0, 30, 2))


def test_selection_of_irregular_frames(tmp_path: Path) -> None:
    """With gaps, a tick takes the next frame there is, and two ticks never the same one."""
    path = write(tmp_path / "clip.mp4", counting(8), stamps=[0, 10, 20, 400, 410, 1000, 1010, 1200])
    assert numbers(probe(path, fps=5, start_s=None, end_s=None)) == [0, 3, 5, 7]


def test_what_is_no_video_has_a_reason(tmp_path: Path) -> None:
    """Text, pictures, playlists, sound, nothing and no file: one sentence each, no exception of a library."""
    source = write(tmp_path / "clip.mp4", counting(3))
    files = {
        "text.mp4": b"hello, this is text\n" * 40,
        "list.mp4": b"ffconcat version 1.0\nfile clip.mp4\n",
        "hls.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nclip.mp4\n#EXT-X-ENDLIST\n",
        "picture.mp4": cv2.imencode(".jpg", corners())[1].tobytes(),
        "head.mp4": source.read_bytes()[:60],
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert refused(tmp_path / name).startswith("is not a video that can be read"), name
    (tmp_path / "empty.mp4").touch()
    assert refused(tmp_path / "empty.mp4") == "the file is empty"
    assert refused(tmp_path / "none.mp4") == "can't be read: No such file or directory"
    assert refused(tmp_path) == "can't be read: it is no regular file"
    sound = clips.write_audio(tmp_path / "sound.mp4")
    assert refused(sound) == "holds no moving picture, only sound or data"


def test_a_clip_without_frames_has_a_reason(tmp_path: Path) -> None:
    """A file that announces a picture and holds none, and a range beyond the end."""
    path = write(tmp_path / "clip.mp4", counting(30))
    assert refused(path, start_s=3.0, end_s=4.0) == (
        "has no frame from 3 s to before 4 s; its 30 frames lie between 0 and 2.900 s"
    )
    empty = tmp_path / "empty.mp4"
    with av.open(str(empty), "w", options={"movflags": "frag_keyframe+empty_moov"}) as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        output.start_encoding()
    assert "holds no" in refused(empty)


def test_frames_beyond_the_bound_on_pixels_are_refused(tmp_path: Path) -> None:
    """A frame that is too large is refused by its header, before anything is decoded."""
    path = write(tmp_path / "clip.avi", counting(3), codec="rawvideo")
    data = bytearray(path.read_bytes())
    size = data.index(b"strf") + 12  # after the chunk's head and BITMAPINFOHEADER's own size
    data[size : size + 8] = struct.pack("<2i", 20_000, 9_000)
    path.write_bytes(data)
    assert refused(path).startswith("has frames of 20000 x 9000 pixels, more than the 178,956,970")


def noisy(count: int = 60) -> list[NDArray[np.uint8]]:
    """Frames that compress badly, so that a cut or a hole in the file hits one of them."""
    grain = np.random.default_rng(0).integers(-12, 12, (count, clips.HEIGHT, clips.WIDTH, 3))
    return [np.clip(pixels + grain[n], 0, 255).astype(np.uint8) for n, pixels in enumerate(scenes(count))]


@pytest.mark.parametrize(
    ("name", "how", "at"),
    [
        ("clip.mp4", {"container": {"movflags": "faststart"}}, "is cut off or damaged: it holds"),
        ("clip.mkv", {}, "is cut off or damaged: it ends at"),
        ("clip.webm", VP9, "is cut off or damaged: it ends at"),
    ],
)
def test_a_truncated_clip_is_recognised(name: str, how: dict[str, Any], at: str, tmp_path: Path) -> None:
    """A file that ends too early is refused without decoding, where its header says how long it is."""
    path = write(tmp_path / name, noisy(), **how)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    assert at in refused(path)


def test_a_long_last_picture_is_no_cut(tmp_path: Path) -> None:
    """A slow slide show may state a length beyond its last picture, as long as it shows others."""
    path = write(tmp_path / "clip.mkv", counting(4), stamps=[0, 3000, 9000, 10000])
    data = path.read_bytes()
    head = data.index(b"\x44\x89\x88") + 3  # Duration, 8 bytes, in ms (RFC 9559)
    for stated_ms, is_whole in ((15_000, True), (20_000, False)):
        path.write_bytes(data[:head] + struct.pack(">d", stated_ms) + data[head + 8 :])
        if is_whole:
            assert len(whole(path).frames) == 4
        else:
            assert "of the 20.000 s that its header states" in refused(path)


def test_damage_before_the_range_costs_nothing(tmp_path: Path) -> None:
    """Decoding begins at the key frame before the first wanted frame."""
    path = write(tmp_path / "clip.mp4", noisy(), options={"bf": "2", "g": "12"})
    data = bytearray(path.read_bytes())
    hole = len(data) * 4 // 10
    data[hole : hole + 3000] = np.random.default_rng(0).integers(0, 256, 3000, np.uint8).tobytes()
    path.write_bytes(data)
    with pytest.raises(ImageError, match="is damaged"):
        extract(path, whole(path), tmp_path / "all")
    extract(path, probe(path, fps=None, start_s=5.0, end_s=None), tmp_path / "late")
    assert len(list((tmp_path / "late").iterdir())) == 10


def test_frames_that_an_index_names_are_missed(tmp_path: Path) -> None:
    """A hole over a frame's head in AVI, which readers skip, shows in the index."""
    path = write(tmp_path / "clip.avi", noisy(), codec="mpeg4")
    data = bytearray(path.read_bytes())
    head = data.index(b"00dc", len(data) // 2)
    data[head : head + 4] = b"\0" * 4
    path.write_bytes(data)
    assert "it holds 59 of the 60 frames that its index names" in refused(path)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("clip.mp4", {"container": {"movflags": "faststart"}}),
        ("clip.mkv", {}),
        ("clip.ts", BFRAMES),
        ("clip.mpg", MPEG2),
    ],
)
def test_a_damaged_clip_fails_as_a_whole(name: str, how: dict[str, Any], tmp_path: Path) -> None:
    """Damage in the middle is named with its place and leaves no folder; frames before it can be had."""
    path = write(tmp_path / name, noisy(), **how)
    data = bytearray(path.read_bytes())
    hole = len(data) * 6 // 10
    data[hole : hole + 1000] = np.random.default_rng(0).integers(0, 256, 1000, np.uint8).tobytes()
    path.write_bytes(data)
    clip = whole(path)
    with pytest.raises(ImageError, match=r"is damaged or cut off (at|after) frame \d+ \(\d+\.\d{3} s\)"):
        extract(path, clip, tmp_path / "frames")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [name]
    extract(path, Clip(clip.width, clip.height, clip.frames[:10]), tmp_path / "frames")
    assert len(list((tmp_path / "frames").iterdir())) == 10


def test_a_change_of_size_fails_the_clip(tmp_path: Path) -> None:
    """A clip has one size."""
    small = write(tmp_path / "a.ts", counting(5)).read_bytes()
    large = write(tmp_path / "b.ts", [counted(n, 128, 96) for n in range(5)], stamps=range(500, 1000, 100))
    path = tmp_path / "both.ts"
    path.write_bytes(small + large.read_bytes())
    with pytest.raises(ImageError, match="changes its size from 64 x 48 to 128 x 96 px before frame 5"):
        extract(path, whole(path), tmp_path / "frames")


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("turn", clips.MATRICES)
def test_turned_clips_come_out_upright(turn: str, suffix: str, tmp_path: Path) -> None:
    """Each right turn and mirror of a display matrix is applied, also to the size."""
    path = write(tmp_path / f"clip.{suffix}", [corners()] * 2, matrix=clips.MATRICES[turn])
    expected = clips.as_seen(corners(), turn)
    clip = whole(path)
    assert (clip.width, clip.height) == expected.shape[1::-1]
    pixels = extracted(path, clip, tmp_path / "frames")[1]
    assert quarters(pixels) == pytest.approx(quarters(expected), abs=4)


def quarters(pixels: NDArray[np.uint8]) -> list[int]:
    """The colours in the middle of the four quarters."""
    height, width = pixels.shape[:2]
    return [
        int(value)
        for y in (height // 4, -height // 4)
        for x in (width // 4, -width // 4)
        for value in pixels[y, x]
    ]


@pytest.mark.parametrize("turn", ["90", "180", "270"])
def test_opencv_turns_the_same_way(turn: str, tmp_path: Path) -> None:
    """The matrices of these tests mean what another reader takes them for."""
    path = write(tmp_path / "clip.mp4", [corners()] * 2, matrix=clips.MATRICES[turn])
    _, pixels = cv2.VideoCapture(str(path)).read()
    assert quarters(pixels) == pytest.approx(quarters(clips.as_seen(corners(), turn)), abs=6)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("601.mp4", {"colours": (5, 1)}),
        ("709.mp4", {"colours": (1, 1)}),
        ("2020.mp4", {"colours": (9, 1)}),
        ("full.mp4", {"colours": (1, 2)}),
        ("unstated.mp4", {"colours": (5, 1), "codec": "mpeg4"}),
        ("ten.mp4", {"colours": (1, 1), "pix_fmt": "yuv420p10le"}),
        ("444.mkv", {"colours": (1, 1), "pix_fmt": "yuv444p"}),
        ("422.mov", {"colours": (1, 1), "pix_fmt": "yuv422p10le", "codec": "prores_ks"}),
        ("rgb.mkv", {"colours": (0, 2), "pix_fmt": "bgr0", "codec": "ffv1"}),
        ("full.avi", {"colours": (5, 2), "pix_fmt": "yuvj420p", "codec": "mjpeg"}),
    ],
)
def test_colours_survive(name: str, how: dict[str, Any], tmp_path: Path) -> None:
    """Whatever matrix, range and depth a file states, a picture has the colours that were filmed."""
    path = write(tmp_path / name, [corners()] * 2, **how)
    pixels = extracted(path, whole(path), tmp_path / "frames")[0]
    assert quarters(pixels) == pytest.approx(quarters(corners()), abs=5)


def test_odd_sizes_are_kept(tmp_path: Path) -> None:
    """A side of an odd number of pixels is written whole."""
    path = write(tmp_path / "clip.mkv", [corners(97, 65)] * 2, codec="ffv1", pix_fmt="yuv420p")
    clip = whole(path)
    assert (clip.width, clip.height) == (97, 65)
    assert extracted(path, clip, tmp_path / "frames")[0].shape == (65, 97, 3)


def test_extraction_is_whole_or_not_there(tmp_path: Path) -> None:
    """A folder that exists is left alone, what a killed run left is cleared, and the same clip gives the same bytes."""
    path = write(tmp_path / "clip.mp4", counting(12))
    clip = probe(path, fps=5, start_s=None, end_s=None)
    (tmp_path / ".a.part").mkdir()
    (tmp_path / ".a.part" / "000001.jpg").write_bytes(b"half")
    extract(path, clip, tmp_path / "a")
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == [
        f"{n:06d}.jpg" for n in range(0, 12, 2)
    ]
    with pytest.raises(OSError, match="not empty"):
        extract(path, clip, tmp_path / "a")
    extract(path, clip, tmp_path / "b")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "b", "clip.mp4"]


def test_the_scene_is_where_its_truth_says(tmp_path: Path) -> None:
    """Objects stand in the written frames where `clips.truth` has them: tracking is tested against that."""
    path = write(tmp_path / "clip.mp4", scenes(100, 320, 240))
    pictures = extracted(path, whole(path), tmp_path / "frames")
    assert len(pictures) == 100
    for number, pixels in pictures.items():
        for name, mask in clips.truth(number, 320, 240).items():
            near = np.abs(pixels.astype(int) - clips.COLOURS[name]).max(axis=2) < 110
            inside = cv2.erode(mask.astype(np.uint8), np.ones((7, 7))).astype(bool)
            around = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7))).astype(bool)
            assert near[inside].all() and not near[~around].any(), (number, name)


@pytest.mark.parametrize("fps", [10, 29.97, 0.5])
@pytest.mark.parametrize("size", [(64, 48), (65, 49)])
def test_encoded_frames_survive_in_number_and_order(
    fps: float, size: tuple[int, int], tmp_path: Path
) -> None:
    """One coded frame a frame, at a constant rate, for PyAV and for OpenCV; an odd side is one longer."""
    width, height = size
    padding = [(0, height - 48), (0, width - 64), (0, 0)]
    data = encode((np.pad(pixels, padding, "edge") for pixels in counting()), fps)
    back = list(decode(data))
    assert [read_number(pixels[:48, :64]) for _, pixels in back] == list(range(COUNT))
    assert [time for time, _ in back] == pytest.approx([number / fps for number in range(COUNT)], abs=1e-4)
    assert {pixels.shape for _, pixels in back} == {
        (48 if height == 48 else 50, 64 if width == 64 else 66, 3)
    }
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    reader, seen = cv2.VideoCapture(str(path)), []
    while (frame := reader.read())[0]:
        seen.append(read_number(frame[1][:48, :64]))
    assert seen == list(range(COUNT))
    assert len(whole(path).frames) == COUNT


def test_encoded_colours_are_right_for_readers_of_both_kinds() -> None:
    """Colours come back in a reader that heeds the stated matrix and in one that takes BT.601 for granted."""
    data = encode([corners(96, 64)] * 3, 10)
    assert quarters(list(decode(data))[1][1]) == pytest.approx(quarters(corners()), abs=5)
    with av.open(io.BytesIO(data)) as container:
        planes = next(container.decode(video=0)).to_ndarray()
    granted = np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420), np.uint8)
    assert quarters(granted) == pytest.approx(quarters(corners()), abs=5)


def test_what_can_not_be_encoded_or_decoded_has_a_reason() -> None:
    """No frames, frames of two sizes, and bytes that are no video."""
    with pytest.raises(ImageError, match="no frames"):
        encode([], 10)
    with pytest.raises(ImageError, match="frame 1 is of another size"):
        encode([counted(0), counted(1, 128, 96)], 10)
    for data in (b"", b"nothing", b"\0" * 5000):
        with pytest.raises(ImageError, match="is not a video"):
            list(decode(data))


def test_nothing_is_said_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """FFmpeg's own lines about damage reach neither stdout nor stderr."""
    path = write(tmp_path / "clip.ts", noisy())
    data = bytearray(path.read_bytes())
    data[75_000:78_000] = bytes(3000)
    path.write_bytes(data)
    capfd.readouterr()
    with pytest.raises(ImageError):
        extract(path, whole(path), tmp_path / "frames")
    assert capfd.readouterr() == ("", "")


def test_images_alone_load_no_decoder_of_videos() -> None:
    """Listing and reading images works without loading PyAV."""
    code = (
        "import sys, autolabel; from autolabel.sources import images, listing; "
        "print('av' in sys.modules, '.mp4' in listing.VIDEO_SUFFIXES)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=dict(os.environ)
    )
    assert ran.stdout == "False True\n", ran.stderr
    assert video.SUFFIXES[0] == ".mp4"
