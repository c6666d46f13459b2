"""What can be wrong with a dataset: the rules, what breaking one costs, and where that was found.

Readers report what they meet while reading; what needs the images or all instances is found in `checks`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from autolabel.errors import InputError

Severity = Literal["error", "warning", "info"]


class Rule(Enum):
    """A rule of the formats' consumers: how bad it is to break it, and what happens then.

    `error`: a common consumer loses labels or images, or refuses the dataset. `warning`: consumers disagree,
    or it is probably a mistake. `info`: worth knowing.
    """

    # any format: files and images
    UNREADABLE_FILE = "error", "the file can't be read, and what it holds is lost"
    PATH_OUTSIDE = (
        "error",
        "a path or link leads out of the dataset's folder and is not followed; put the files in",
    )
    IMAGE_MISSING = "error", "the image file is not there: loaders stop, or skip its labels"
    IMAGE_UNREADABLE = "error", "the image can't be decoded: loaders stop, or skip its labels"
    IMAGE_SIZE = "error", "the labels are for another image size: masks are stretched or refused"
    EXIF_OTHER_FRAME = "error", "the image is turned by EXIF and its labels are not: they miss their objects"
    EXIF_ROTATED = "warning", "the image is turned by EXIF, which readers disagree about; save it upright"
    IMAGE_IN_TWO_SPLITS = "warning", "the same image is in two splits, which makes validation too good"
    IMAGE_TWICE = "info", "the same image is in a split twice"
    EMPTY_SPLIT = "warning", "the split has no image: training or validation stops"
    EMPTY_TEST = "info", "the split has no image"
    SHARED_SPLIT = "info", "two splits are the same images"
    NO_LABELS = "warning", "there is not one label in the dataset"

    # any format: classes and instances
    UNKNOWN_CLASS = "error", "the class is not among the dataset's classes: loaders stop or drop the image"
    UNUSED_CLASS = "info", "no instance has this class"
    CLASS_TWICE = "warning", "two classes have one name"
    EMPTY_MASK = "error", "the mask has no pixel: loaders drop the instance, or stop"
    NO_MASK = "warning", "the instance is a box without a mask: segmentation trainers drop it"
    BAD_GEOMETRY = "error", "the mask is damaged or has coordinates that are no numbers"
    DEGENERATE_RING = "error", "a ring has fewer than three points: readers take it for a box, or stop"
    OUTSIDE_FRAME = "warning", "the outline leaves the image and is cut off"
    BOX_DISAGREES = "warning", "the box is not that of the mask"
    AREA_DISAGREES = "warning", "the area is not that of the mask"
    NEAR_DUPLICATE = "warning", "two instances of a class cover nearly the same pixels (IoU above 0.9)"
    SAME_MASK = "warning", "two classes have the same mask: where a pixel has one label, one of them is lost"

    # COCO
    NOT_STRICT_JSON = "error", "no strict JSON (NaN, a byte order mark, no UTF-8): strict readers refuse it"
    BAD_RECORD = "error", "the record is not as COCO's are, and is skipped"
    MISSING_ID = "error", "the record has no id: pycocotools stops with KeyError"
    MISSING_SIZE = "error", "an image has no width or height: pycocotools stops with KeyError"
    MISSING_KEY = "warning", "a key is missing that COCO's evaluation needs"
    DUPLICATE_IMAGE_ID = "error", "two images share an id: readers give the labels of both to one of them"
    DUPLICATE_ANNOTATION_ID = "error", "two annotations share an id: readers keep the last only"
    CATEGORY_DIFFERS = "error", "one category id is two classes in two files: trainers go by the id"
    DUPLICATE_CATEGORY_ID = "error", "two categories share an id: readers keep the last only"
    UNKNOWN_IMAGE = "error", "the annotation's image is not there: its labels are lost"
    CROWD = "error", "iscrowd is 1: trainers skip the instance, and evaluation ignores it"
    FILE_NAME_TWICE = "warning", "two images have one file_name"

    # YOLO
    BAD_YAML = "error", "Ultralytics refuses this data.yaml"
    NO_TRAIN_OR_VAL = "error", "data.yaml must name both train and val: Ultralytics stops"
    CLASS_COUNT = "error", "nc is not the number of names: Ultralytics stops"
    PATH_KEY = "warning", "`path` is not this folder: Ultralytics looks for the images elsewhere"
    MASKS_FOLDER = "error", "a folder named masks at the root turns Ultralytics to semantic segmentation"
    BAD_ROW = "error", "Ultralytics drops the image with all its labels for such a row"
    BOX_ROW = "error", "a box among polygons: Ultralytics drops the image, or trains no masks if files differ"
    DUPLICATE_ROW = "error", "the row has the class and box of another: the loader may remove it"
    LABEL_WITHOUT_IMAGE = "warning", "the label file has no image, so its labels are lost"
    LABEL_SHARED = "error", "two images share one label file"
    IMAGE_NOT_LISTED = "error", "Ultralytics does not read images of this suffix: its labels are lost"
    IMAGES_FOLDER = "error", "a folder named images below the split's: labels are looked for elsewhere"
    TINY_IMAGE = "error", "Ultralytics drops images below 10 px"
    KEYPOINTS = "warning", "keypoints are not read: the rows are taken as boxes"
    NO_LABEL_FILE = "info", "the image has no label file, so it counts as background"

    # Pascal VOC
    BAD_XML = "error", "the annotation is no readable XML and is skipped"
    BAD_OBJECT = "error", "the object has no name or no box, and is skipped"
    NO_ANNOTATION = "error", "the image has neither an annotation nor masks that can be read"
    NOT_JPEG = "error", "VOC's readers look for the suffix .jpg only"
    MASK_MISSING = "error", "the image is listed for segmentation and a mask picture is not there"
    MASK_SIZE = "error", "the mask picture is not of the image's size"
    MASK_NOT_INDEXED = "error", "the mask picture is no palette PNG: readers take colours for classes"
    OBJECT_COUNT = "warning", "the annotation and the mask picture do not have the same objects"
    CLASS_DISAGREES = "warning", "the class picture and the annotation name different classes"
    NO_OBJECT_PICTURE = "warning", "without SegmentationObject, connected parts of a class are the instances"
    NOT_IN_A_SPLIT = "warning", "the image is in no image set, so nobody reads it"

    def __init__(self, severity: Severity, advice: str) -> None:
        self.severity = severity
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: `where` is a file relative to the dataset, with line, id or record; `what` was met there.

    `instances` counts the labels that the reader skipped for it, and `image` is the file_name of an image
    that it skipped: neither is yielded, so whoever counts must count them here.
    """

    rule: Rule
    where: str
    what: str
    instances: int = 0
    image: str | None = None

    def __post_init__(self) -> None:
        """Make the texts printable: names come from strangers."""
        for name in ("where", "what", "image"):
            text = getattr(self, name)
            if text is not None and not text.isprintable():
                object.__setattr__(self, name, printable(text))

    @property
    def loses(self) -> bool:
        """Whether the reader skipped something for it."""
        whole = (
            Rule.UNREADABLE_FILE,
            Rule.PATH_OUTSIDE,
            Rule.BAD_XML,
        )  # of which nobody knows how much it held
        return bool(self.instances) or self.image is not None or self.rule in whole

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


Report = Callable[[Problem], None]


def printable(text: str) -> str:
    r"""A text of unknown origin for one line of a terminal or a table: what is not printable becomes \xNN."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def refuse(problem: Problem) -> None:
    """A report for callers that want a dataset whole: raises InputError for what is an error or skipped."""
    if problem.rule.severity == "error" or problem.loses:
        raise InputError(f"{problem}; {problem.rule.advice}")


_EXAMPLES = 5


@dataclass(slots=True)
class Findings:
    """A report that counts: problems by rule with the first of each, and what readers skipped.

    `lost` counts the problems for which something was not yielded, `instances` the labels among that, and
    `images` has the images with the reason.
    """

    counts: Counter[Rule] = field(default_factory=Counter)
    examples: dict[Rule, list[Problem]] = field(default_factory=dict)
    lost: Counter[Rule] = field(default_factory=Counter)
    instances: int = 0
    images: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, problem: Problem) -> None:
        """Take a problem in: this is a Report."""
        self.counts[problem.rule] += 1
        first = self.examples.setdefault(problem.rule, [])
        if len(first) < _EXAMPLES:
            first.append(problem)
        self.instances += problem.instances
        if problem.image is not None:
            self.images.append((problem.image, problem.what))
        if problem.loses:
            self.lost[problem.rule] += 1

    def by_severity(self) -> dict[Severity, int]:
        """The number of problems of each severity, worst first."""
        found: dict[Severity, int] = {"error": 0, "warning": 0, "info": 0}
        for rule, count in self.counts.items():
            found[rule.severity] += count
        return found
