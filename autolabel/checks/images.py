"""Rules on image files: there, whole, of the size and the frame of their labels, and in one split only."""

from pathlib import Path

from autolabel.errors import ImageError
from autolabel.formats.problems import Problem, Report, Rule
from autolabel.formats.reading import DatasetImage
from autolabel.sources.images import Info, digest, probe, read_bytes, verify


class ImageRules:
    """Checks image after image; remembers 32 bytes of each, to find the same content again."""

    def __init__(self, root: Path, report: Report) -> None:
        self._root = root
        self._report = report
        self._seen: dict[bytes, tuple[str, str]] = {}  # digest of the file: split and place

    def check(self, image: DatasetImage) -> None:
        """Report what is wrong with the image's file; a missing one was reported by the reader."""
        if image.path is None:
            return
        where = image.path.relative_to(self._root).as_posix()
        try:
            data = read_bytes(image.path)
            info = probe(data)
            verify(data, info)
        except ImageError as error:
            self._report(Problem(Rule.IMAGE_UNREADABLE, where, str(error)))
            return
        self._check_frame(image, info, where)
        split, other = self._seen.setdefault(digest(data), (image.split, where))
        if split != image.split:
            what = f"is in {image.split}, and the same content as {other} in {split}"
            self._report(Problem(Rule.IMAGE_IN_TWO_SPLITS, where, what))
        elif other != where:
            self._report(Problem(Rule.IMAGE_TWICE, where, f"the same content as {other}"))

    def _check_frame(self, image: DatasetImage, info: Info, where: str) -> None:
        upright, labelled = (info.width, info.height), (image.width, image.height)
        stored = upright[::-1] if info.orientation >= 5 else upright  # 5 to 8 swap the axes
        if labelled == stored != upright:
            what = f"its labels are for {_wh(labelled)}, as stored; EXIF makes it {_wh(upright)}"
            self._report(Problem(Rule.EXIF_OTHER_FRAME, where, what))
        elif labelled != upright:
            what = f"is {_wh(upright)}, its labels are for {_wh(labelled)}"
            self._report(Problem(Rule.IMAGE_SIZE, where, what))
        elif info.orientation != 1:
            what = f"has the EXIF orientation {info.orientation}"
            self._report(Problem(Rule.EXIF_ROTATED, where, what))


def _wh(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} px"
