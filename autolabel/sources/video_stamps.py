"""When the frames of a video are shown, from its packets where they tell, else from decoding all of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from autolabel.errors import ImageError
from autolabel.sources.video_decode import NO_FRAME, decoded, opened, rate, upright_wh

_COMPARED = 16  # frames decoded, to see whether packets tell the truth
_VP8_SHOWN = 0x10  # in the first byte of a frame (RFC 6386, 9.1)
_CUT_S = 1  # how much earlier than stated a whole Matroska file may end


@dataclass(frozen=True, slots=True)
class Timeline:
    """The frames of a video in the order in which they are shown: `stamps` x `unit_s` is their time in s.

    `unique` says that decoding gives each frame the same stamp, so that it can be found by it; where not,
    it can be found by counting. `width` and `height` are px of an upright frame.
    """

    width: int
    height: int
    unit_s: Fraction
    stamps: Sequence[int]
    unique: bool


def read_timeline(path: Path) -> Timeline:
    """All frames of a video: packets are read through, and only the first frames decoded, where that will do.

    It does not for stamps that are missing or in coding order (some MPEG program streams, H.264 with B-frames
    in AVI): then every frame is decoded. Raises ImageError for what is no video, is damaged or is cut off, as
    far as that shows without decoding.
    """
    with opened(path) as (container, stream):
        begin = list(islice(decoded(container, stream), _COMPARED))
        per_frame_s = 1 / rate(stream)
    if not begin:
        raise ImageError(NO_FRAME)
    width, height = upright_wh(begin[0])
    unit_s = begin[0].time_base or per_frame_s
    packets = _packet_stamps(path)
    stamps = _from_first(packets, begin[0].pts)
    if stamps is not None and stamps[: len(begin)] == [frame.pts for frame in begin]:
        return Timeline(width, height, unit_s, stamps, unique=True)
    shown = _decoded_stamps(path)
    if (ascending := _ascending(shown)) is not None:
        return Timeline(width, height, unit_s, ascending, unique=True)
    if stamps is not None and len(stamps) == len(shown):
        return Timeline(width, height, unit_s, stamps, unique=False)
    return Timeline(width, height, per_frame_s, range(len(shown)), unique=False)


def _packet_stamps(path: Path) -> list[int | None]:
    """The stamp of each packet that becomes a frame, in coding order. Raises ImageError for a cut file."""
    stamps: list[int | None] = []
    count, end_s = 0, Fraction(0)
    with opened(path) as (container, stream):
        for packet in container.demux(*_all_needed(container, stream)):
            if packet.pts is not None and packet.time_base:
                end_s = max(end_s, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.stream_index == stream.index and packet.size:
                count += 1
                if _is_shown(packet, stream):
                    stamps.append(packet.pts)
        _check_whole(container, stream, count, end_s)
    return stamps


def _all_needed(container: InputContainer, stream: VideoStream) -> list[Stream]:
    """The streams to read: all of a Matroska file, whose stated length is that of the longest."""
    return list(container.streams) if _is_matroska(container) else [stream]


def _is_shown(packet: "Packet[Stream]", stream: VideoStream) -> bool:
    if packet.is_discard:  # before the beginning or behind the end that an edit list sets
        return False
    return stream.codec_context.name != "vp8" or bool(bytes(packet)[0] & _VP8_SHOWN)


def _check_whole(container: InputContainer, stream: VideoStream, count: int, end_s: Fraction) -> None:
    """Compare with the header: MP4 and MOV state frames, Matroska a length, others neither."""
    indexed = len(stream.index_entries)
    if "mp4" in container.format.name and count < indexed:
        raise ImageError(
            f"is cut off: it holds {count} of the {indexed} frames that its index names; "
            "copy it again from where it came"
        )
    stated_s = Fraction(container.duration or 0, 1_000_000)
    if _is_matroska(container) and end_s + _CUT_S + 1 / rate(stream) < stated_s:
        raise ImageError(
            f"is cut off or damaged: it ends at {float(end_s):.3f} s of the {float(stated_s):.3f} s that its "
            "header states; copy it again from where it came"
        )


def _is_matroska(container: InputContainer) -> bool:
    return "matroska" in container.format.name


def _from_first(packets: Sequence[int | None], first: int | None) -> list[int] | None:
    """The stamps in order, from the first frame that can be decoded; None where one is missing or doubled."""
    if first is None or None in packets:
        return None
    return _ascending(sorted(pts for pts in packets if pts is not None and pts >= first))


def _ascending(stamps: Sequence[int | None]) -> list[int] | None:
    """The same stamps where each is above the last, else None."""
    known = [pts for pts in stamps if pts is not None]
    if len(known) < len(stamps) or any(after <= before for before, after in pairwise(known)):
        return None
    return known


def _decoded_stamps(path: Path) -> list[int | None]:
    with opened(path) as (container, stream):
        return [frame.pts for frame in decoded(container, stream)]
