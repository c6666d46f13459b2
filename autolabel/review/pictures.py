"""Images as a browser shows them: the pixels that were labelled, upright; nothing moves or is clear."""

from autolabel.errors import ImageError
from autolabel.pipeline.results import Labelled
from autolabel.review.problems import Changed, Refused
from autolabel.sources import images
from autolabel.sources.decode import stripped

_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_WEBP_MOVES = 0x02  # a flag of the extended header


def read(entry: Labelled) -> tuple[bytes, images.Info]:
    """The file of an image and its header. Raises Changed where its content is not what was labelled."""
    name = entry.item.file_name
    try:
        data = images.read_bytes(entry.item.path)
        if images.digest(data) != entry.image:
            raise Changed(
                f"{name} has changed since it was labelled; run `autolabel label` again, and reload"
            )
        return data, images.probe(data)
    except ImageError as error:
        raise Refused(f"{name} {error}") from None


def shown(entry: Labelled) -> tuple[bytes, str]:
    """A JPEG, PNG or WebP of the image at full size, and its media type. Raises Changed and Refused."""
    data, info = read(entry)
    try:
        if _is_shown_alike(data, info):
            return stripped(data, info), _TYPES[info.format]
        return images.encode_jpeg(images.decode(data, info)), "image/jpeg"
    except ImageError as error:
        raise Refused(f"{entry.item.file_name} {error}") from None


def _is_shown_alike(data: bytes, info: images.Info) -> bool:
    """Whether a browser shows the same pixels as are decoded here (which drops alpha, and further frames)."""
    if info.orientation != 1:
        return False
    match info.format:
        case "JPEG":
            return info.mode in ("L", "RGB")
        case "PNG":
            return info.mode in ("1", "L", "RGB", "P") and b"tRNS" not in data[: data.find(b"IDAT")]
        case "WEBP":
            moves = data[12:16] == b"VP8X" and bool(data[20] & _WEBP_MOVES)
            return info.mode == "RGB" and not moves
        case _:
            return False
