"""`check`: every planted defect is found by its rule, and our own exports are clean."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autolabel.formats import FORMATS
from autolabel.formats.problems import Rule
from tests.datasets import coco8_seg, own, photo, roboflow_coco, voc2012
from tests.formats.support import categories, contents, detection, image, picture, random_masks, write
from tests.nasty import nasty_masks
from tests.run.support import autolabel

TRAIN = "annotations/instances_train.json"
VOC = Path("VOCdevkit/VOC2012")


def check(root: Path) -> tuple[int, dict[str, dict]]:
    """The exit code, and the findings of the one dataset by rule."""
    done = autolabel("check", str(root), "--json")
    [dataset] = json.loads(done.out)["datasets"]
    return done.code, {each["rule"]: each for each in dataset["findings"]}


def above_info(findings: dict[str, dict]) -> set[str]:
    return {rule for rule, each in findings.items() if each["severity"] != "info"}


# --- clean datasets


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("coco", {"segmentation": "polygon"}),
        ("coco", {"segmentation": "rle"}),
        ("yolo", {"parts": "bridge"}),
        ("yolo", {"parts": "largest"}),
        ("voc", {}),
        ("voc", {"void_border": 1}),
    ],
)
def test_our_exports_are_clean(tmp_path, name, options):
    """Nothing above information level is found in what we write, with nasty and with random masks."""
    size = (48, 64)
    masks = [*nasty_masks(*size).values(), *random_masks(40, size)]
    images = [
        image([detection(mask, i % 2)], f"{i}.jpg", size=size, split="val" if i % 5 == 0 else "train",
              path=picture(tmp_path / f"source/{i:0{i + 1}}.jpg", size))
        for i, mask in enumerate(masks)
    ]  # fmt: skip
    from autolabel.formats.images import ImageStore

    write(
        name,
        tmp_path / "set",
        images,
        classes=categories("a", "b", "never"),
        store=ImageStore("copy"),
        **options,
    )
    code, findings = check(tmp_path / "set")
    assert above_info(findings) == set(), findings
    assert code == 0
    assert "unused_class" in findings


@pytest.mark.parametrize("name", FORMATS)
def test_a_dataset_with_many_instances_is_clean(tmp_path, name):
    """Images with instances that touch, splits with a test that is empty or not: information at most."""
    own(name, tmp_path / "a", splits="ttvvx")
    assert above_info(check(tmp_path / "a")[1]) == set()


def test_an_output_with_three_formats_is_checked_as_three_datasets(tmp_path):
    """In the output of `export` each format is verified, and the table names them."""
    for name in FORMATS:
        own(name, tmp_path / "out" / name)
    done = autolabel("check", str(tmp_path / "out"))
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines() if not line.startswith(" ")] == list(FORMATS)


def test_third_party_layouts_are_read(tmp_path):
    """Datasets of other tools are verified too: what their consumers would lose is an error."""
    roboflow_coco(tmp_path / "rf")
    code, findings = check(tmp_path / "rf")
    assert code == 3
    assert above_info(findings) == {"crowd", "empty_mask", "no_mask"}
    assert findings["unused_class"]["examples"][0]["what"] == "fruits"
    coco8_seg(tmp_path / "coco8-seg")
    code, findings = check(tmp_path / "coco8-seg")
    assert code == 3
    assert (
        {"bad_row", "duplicate_row"} <= above_info(findings) <= {"bad_row", "duplicate_row", "near_duplicate"}
    )
    voc2012(tmp_path / "voc")
    code, findings = check(tmp_path / "voc")
    assert (code, above_info(findings)) == (0, {"no_mask"})


# --- planted defects

Plant = Callable[[Path], object]


def edit(change: Callable[[dict], object], file: str = TRAIN) -> Plant:
    """A defect in a COCO file."""

    def plant(root: Path) -> None:
        data = json.loads((root / file).read_text())
        change(data)
        (root / file).write_text(json.dumps(data))

    return plant


def first(**changes: object) -> Plant:
    """Other values for keys of the first annotation; None deletes the key."""

    def change(data: dict) -> None:
        annotation = data["annotations"][0]
        annotation.update(changes)
        for key in [key for key, value in changes.items() if value is None]:
            del annotation[key]

    return edit(change)


def again(records: str, **changes: object) -> Plant:
    """The first record once more, with other values."""
    return edit(lambda data: data[records].append({**data[records][0], **changes}))


def text(file: str, old: str, new: str) -> Plant:
    """Another text in a file, where a pattern fits first."""

    def plant(root: Path) -> None:
        path = root / file
        body, count = re.subn(old, new, path.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
        assert count
        path.write_text(body, encoding="utf-8")

    return plant


def exif(orientation: int, size: tuple[int, int]) -> Plant:
    """An image stored at `size` (h, w) that EXIF turns."""

    def plant(root: Path) -> None:
        tag = Image.Exif()
        tag[0x0112] = orientation
        photo(root / "images/train/a.jpg", size, exif=tag)

    return plant


def cut(file: str) -> Plant:
    return lambda root: (root / file).write_bytes((root / file).read_bytes()[:-60])


def copy(old: str, new: str) -> Plant:
    return lambda root: shutil.copy(root / old, root / new)


def remove(file: str) -> Plant:
    return lambda root: (root / file).unlink()


def png(name: str, change: Callable[[Image.Image], Image.Image], folder: str = "SegmentationObject") -> Plant:
    """Another mask picture."""

    def plant(root: Path) -> None:
        path = root / VOC / folder / name
        with Image.open(path) as picture_:
            changed = change(picture_.copy())
        changed.save(path)

    return plant


def indexed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Image.Image], Image.Image]:
    def apply(picture_: Image.Image) -> Image.Image:
        other = Image.fromarray(change(np.array(picture_)), "L")
        palette_ = picture_.getpalette()
        other = other.convert("P")
        other.putdata(change(np.array(picture_)).ravel())
        other.putpalette(palette_)
        return other

    return apply


def empty_split(root: Path) -> None:
    edit(lambda data: data.update(images=[], annotations=[]), "annotations/instances_val.json")(root)


def masks_folder(root: Path) -> None:
    (root / "masks").mkdir()


def second_label(root: Path) -> None:
    photo(root / "images/train/a.png")


def not_listed(root: Path) -> None:
    (root / "images/train/a.jpg").rename(root / "images/train/a.jfif")


def images_folder(root: Path) -> None:
    for kind, suffix in (("images", "jpg"), ("labels", "txt")):
        (root / kind / "train/images").mkdir()
        (root / kind / f"train/a.{suffix}").rename(root / kind / f"train/images/a.{suffix}")


def box_only(root: Path) -> None:
    (root / "labels/train/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")


LABEL = "labels/train/a.txt"
XML = str(VOC / "Annotations/a.xml")
SQUARE = [[5, 5, 25, 5, 25, 25, 5, 25]]

# (format, what is planted, the rule that must find it, what else it may break)
DEFECTS: list[tuple[str, str, Plant, Rule, set[str]]] = [
    ("coco", "no file", remove("images/train/a.jpg"), Rule.IMAGE_MISSING, set()),
    ("coco", "cut image", cut("images/train/a.jpg"), Rule.IMAGE_UNREADABLE, set()),
    ("coco", "other size", lambda r: photo(r / "images/train/a.jpg", (50, 64)), Rule.IMAGE_SIZE, set()),
    ("coco", "labels as stored", exif(6, (48, 64)), Rule.EXIF_OTHER_FRAME, set()),
    ("coco", "turned image", exif(6, (64, 48)), Rule.EXIF_ROTATED, set()),
    ("coco", "upside down", exif(3, (48, 64)), Rule.EXIF_ROTATED, set()),
    ("coco", "leak", copy("images/train/a.jpg", "images/val/e.jpg"), Rule.IMAGE_IN_TWO_SPLITS, set()),
    ("coco", "empty val", empty_split, Rule.EMPTY_SPLIT, set()),
    ("coco", "category gone", first(category_id=99), Rule.UNKNOWN_CLASS, set()),
    ("coco", "name twice", edit(lambda d: d["categories"][1].update(name="car")), Rule.CLASS_TWICE, {"near_duplicate", "category_differs"}),
    ("coco", "no ring", first(segmentation=[]), Rule.EMPTY_MASK, {"no_mask"}),
    ("coco", "ring without area", first(segmentation=[[5, 5, 5, 5, 5, 5]]), Rule.EMPTY_MASK, {"no_mask"}),
    ("coco", "word as number", first(segmentation=[[1, 2, "x", 4, 5, 6]]), Rule.BAD_GEOMETRY, set()),
    ("coco", "counts too long", first(segmentation={"size": [48, 64], "counts": [9, 9**9]}), Rule.BAD_GEOMETRY, set()),
    ("coco", "mask of other size", first(segmentation={"size": [9, 9], "counts": [40, 41]}), Rule.BAD_GEOMETRY, set()),
    ("coco", "four numbers", first(segmentation=[[5, 5, 20, 20]]), Rule.DEGENERATE_RING, {"no_mask", "empty_mask"}),
    ("coco", "outside", first(segmentation=[[-40, 5, 20, 5, 20, 20]]), Rule.OUTSIDE_FRAME,
     {"box_disagrees", "area_disagrees", "near_duplicate"}),
    ("coco", "box off", first(bbox=[0, 0, 3, 3]), Rule.BOX_DISAGREES, set()),
    ("coco", "area off", first(area=1), Rule.AREA_DISAGREES, set()),
    ("coco", "instance twice", again("annotations", id=999), Rule.NEAR_DUPLICATE, set()),
    ("coco", "two classes", again("annotations", id=999, category_id=3), Rule.SAME_MASK, {"near_duplicate"}),
    ("coco", "NaN", edit(lambda d: d["annotations"][0].update(area=float("nan"))), Rule.NOT_STRICT_JSON, {"missing_key", "bad_record"}),
    ("coco", "no object", edit(lambda d: d["annotations"].append("x")), Rule.BAD_RECORD, set()),
    ("coco", "no id", first(id=None), Rule.MISSING_ID, set()),
    ("coco", "no iscrowd", first(iscrowd=None), Rule.MISSING_KEY, set()),
    ("coco", "image id twice", again("images", file_name="sub/ünï.jpg"), Rule.DUPLICATE_IMAGE_ID, {"file_name_twice"}),
    ("coco", "annotation id twice", first(id=2), Rule.DUPLICATE_ANNOTATION_ID, set()),
    ("coco", "category id twice", edit(lambda d: d["categories"][1].update(id=1)), Rule.DUPLICATE_CATEGORY_ID,
     {"unknown_class", "near_duplicate"}),
    ("coco", "other ids", edit(lambda d: d["categories"][0].update(id=2) or d["categories"][1].update(id=1)),
     Rule.CATEGORY_DIFFERS, set()),
    ("coco", "no width", edit(lambda d: d["images"][0].pop("width")), Rule.MISSING_SIZE, set()),
    ("coco", "image gone from list", first(image_id=99), Rule.UNKNOWN_IMAGE, set()),
    ("coco", "crowd", first(iscrowd=1), Rule.CROWD, set()),
    ("coco", "file twice", again("images", id=77), Rule.FILE_NAME_TWICE, set()),
    ("coco", "way out", edit(lambda d: d["images"][0].update(file_name="../../../x.jpg")), Rule.PATH_OUTSIDE, set()),
    ("coco", "absolute", edit(lambda d: d["images"][0].update(file_name="/etc/passwd")), Rule.PATH_OUTSIDE, set()),
    ("coco", "box alone", first(segmentation=None), Rule.NO_MASK, set()),
    ("coco", "cut file", cut(TRAIN), Rule.UNREADABLE_FILE, {"empty_split"}),
    ("yolo", "no names", text("data.yaml", "names:.*", "names: car\n"), Rule.BAD_YAML, {"no_labels", "empty_split", "unknown_class"}),
    ("yolo", "no val", text("data.yaml", "val: images/val\n", ""), Rule.NO_TRAIN_OR_VAL, set()),
    ("yolo", "nc", text("data.yaml", "names:", "nc: 7\nnames:"), Rule.CLASS_COUNT, set()),
    ("yolo", "path", text("data.yaml", "names:", "path: ../elsewhere\nnames:"), Rule.PATH_KEY, set()),
    ("yolo", "semantic", masks_folder, Rule.MASKS_FOLDER, set()),
    ("yolo", "six numbers", text(LABEL, "^", "0 0.1 0.1 0.2 0.2 0.3\n"), Rule.BAD_ROW, set()),
    ("yolo", "pixels", text(LABEL, "^", "0 5 5 25 5 25 25\n"), Rule.BAD_ROW, set()),
    ("yolo", "below zero", text(LABEL, "^", "0 -0.9 0.1 0.1 0.1 0.1 0.3\n"), Rule.BAD_ROW, set()),
    ("yolo", "no numbers", text(LABEL, "^", "car 0.1 0.1 0.3 0.1 0.3 0.3\n"), Rule.BAD_ROW, set()),
    ("yolo", "nan", text(LABEL, "^", "0 nan 0.1 0.3 0.1 0.3 0.3\n"), Rule.BAD_ROW, set()),
    ("yolo", "class beyond", text(LABEL, "^", "3 0.1 0.1 0.3 0.1 0.3 0.3\n"), Rule.UNKNOWN_CLASS, set()),
    ("yolo", "box among polygons", text(LABEL, "^", "0 0.5 0.5 0.2 0.2\n"), Rule.BOX_ROW, {"no_mask"}),
    ("yolo", "boxes beside polygons", box_only, Rule.BOX_ROW, {"no_mask"}),
    ("yolo", "row twice", text(LABEL, r"^([^\n]*\n)", r"\1\1"), Rule.DUPLICATE_ROW, {"near_duplicate"}),
    ("yolo", "no image", remove("images/train/a.jpg"), Rule.LABEL_WITHOUT_IMAGE, set()),
    ("yolo", "label of two", second_label, Rule.LABEL_SHARED, set()),
    ("yolo", "suffix", not_listed, Rule.IMAGE_NOT_LISTED, {"label_without_image"}),
    ("yolo", "images in images", images_folder, Rule.IMAGES_FOLDER, {"label_without_image"}),
    ("yolo", "tiny", lambda r: photo(r / "images/train/a.jpg", (9, 64)), Rule.TINY_IMAGE, {"bad_row", "empty_mask", "same_mask"}),
    ("yolo", "cut image", cut("images/train/a.jpg"), Rule.IMAGE_UNREADABLE, set()),
    ("yolo", "turned image", exif(6, (64, 48)), Rule.EXIF_ROTATED, set()),
    ("yolo", "leak", copy("images/train/a.jpg", "images/val/e.jpg"), Rule.IMAGE_IN_TWO_SPLITS, set()),
    ("voc", "broken", text(XML, "</annotation>", ""), Rule.BAD_XML, {"object_count"}),
    ("voc", "entity", text(XML, "<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>'), Rule.BAD_XML, {"object_count"}),
    ("voc", "no name", text(XML, "<name>car</name>", ""), Rule.BAD_OBJECT, {"object_count"}),
    ("voc", "stranger", text(XML, "<name>car</name>", "<name>zebra</name>"), Rule.UNKNOWN_CLASS, {"class_disagrees", "object_count"}),
    ("voc", "no xml and no masks", lambda r: [remove(XML)(r), *[remove(str(VOC / f / "a.png"))(r) for f in
     ("SegmentationObject", "SegmentationClass")]], Rule.NO_ANNOTATION, {"mask_missing"}),
    ("voc", "png image", lambda r: (r / VOC / "JPEGImages/a.jpg").rename(r / VOC / "JPEGImages/a.png"), Rule.NOT_JPEG, set()),
    ("voc", "no picture", remove(str(VOC / "SegmentationObject/a.png")), Rule.MASK_MISSING,
     {"no_mask", "object_count", "no_object_picture"}),
    ("voc", "picture of other size", png("a.png", lambda p: p.resize((32, 24), 0)), Rule.MASK_SIZE, {"no_mask", "object_count"}),
    ("voc", "colours", png("a.png", lambda p: p.convert("RGB")), Rule.MASK_NOT_INDEXED, set()),
    ("voc", "object more", text(XML, "(<object>.*?</object>)", r"\1\n\1"), Rule.OBJECT_COUNT,
     {"no_mask", "class_disagrees", "box_disagrees"}),
    ("voc", "other classes", png("a.png", indexed(lambda a: np.where(a > 0, 2, 0).astype(np.uint8)), "SegmentationClass"),
     Rule.CLASS_DISAGREES, set()),
    ("voc", "box off", text(XML, "<xmax>[0-9]+</xmax>", "<xmax>3</xmax>"), Rule.BOX_DISAGREES, {"bad_object"}),
    ("voc", "cut picture", cut(str(VOC / "SegmentationObject/a.png")), Rule.UNREADABLE_FILE, {"no_mask", "object_count"}),
    ("voc", "unlisted", lambda r: shutil.copy(r / XML, (r / XML).with_name("z.xml")), Rule.NOT_IN_A_SPLIT, set()),
    ("voc", "no file", remove(str(VOC / "JPEGImages/a.jpg")), Rule.IMAGE_MISSING, set()),
    ("voc", "other size", lambda r: photo(r / VOC / "JPEGImages/a.jpg", (50, 64)), Rule.IMAGE_SIZE, set()),
    ("voc", "link out", lambda r: [remove(str(VOC / "JPEGImages/a.jpg"))(r), (r / VOC / "JPEGImages/a.jpg").symlink_to(
     photo(r.parent / "elsewhere.jpg"))], Rule.PATH_OUTSIDE, {"image_missing"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "plant", "rule", "also"),
    [pytest.param(name, plant, rule, also, id=f"{name}-{what}") for name, what, plant, rule, also in DEFECTS],
)
def test_a_planted_defect_is_found(tmp_path, name, plant, rule, also):
    """The rule is reported with an example and advice, and nothing else than what the defect breaks too."""
    own(name, tmp_path / "set")
    plant(tmp_path / "set")
    before = contents(tmp_path)
    code, findings = check(tmp_path / "set")
    found = findings.get(rule.name.lower())
    assert found, findings
    assert found["count"] >= 1
    assert found["severity"] == rule.severity
    assert found["advice"] == rule.advice
    assert found["examples"][0]["where"]
    assert above_info(findings) - also <= {rule.name.lower()}, findings
    assert code == (3 if any(each["severity"] == "error" for each in findings.values()) else 0)
    assert contents(tmp_path) == before


def test_every_rule_is_planted_or_clean():
    """No rule is without a test here: each is planted above, or is information."""
    planted = {rule for *_, rule, _ in DEFECTS}
    elsewhere = {
        Rule.NO_LABELS,
        Rule.NO_OBJECT_PICTURE,
        Rule.KEYPOINTS,
    }  # in the readers' own tests and below
    assert {rule for rule in Rule if rule.severity != "info"} - planted - elsewhere == set()


def test_a_dataset_without_a_label_is_pointed_out(tmp_path):
    """No instance at all is a warning, once, and not an unused class each."""
    own("coco", tmp_path / "a")
    for split in ("train", "val"):
        edit(lambda data: data.update(annotations=[]), f"annotations/instances_{split}.json")(tmp_path / "a")
    code, findings = check(tmp_path / "a")
    assert (code, set(findings)) == (0, {"no_labels"})


def test_the_table_is_worst_first_with_examples(tmp_path):
    """For a person: one line a rule, errors first, with counts and the first places."""
    own("coco", tmp_path / "a")
    first(iscrowd=1, bbox=[0, 0, 3, 3])(tmp_path / "a")
    done = autolabel("check", str(tmp_path / "a"))
    lines = done.out.splitlines()
    assert done.code == 3
    assert lines[0].endswith("1 error, 1 warning, 0 info")
    assert [line.split()[:3] for line in lines[1:] if line.split()[0] in ("error", "warning", "info")] == [
        ["error", "1", "crowd"],
        ["warning", "1", "box_disagrees"],
    ]
    assert "annotation 1" in lines[2]


@pytest.mark.parametrize("arguments", [["gone"], ["empty"]])
def test_no_dataset_is_exit_code_2(tmp_path, monkeypatch, arguments):
    """Where no dataset is recognised: exit code 2, one sentence, nothing on stdout."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    done = autolabel("check", *arguments, "--json")
    assert (done.code, done.out) == (2, "")
    assert len(done.err.strip().splitlines()) == 1


def test_many_equal_instances_are_compared_in_bounds(tmp_path):
    """Thousands of equal rows are found as such without comparing all pairs of them."""
    own("yolo", tmp_path / "a")
    row = "0 .1 .1 .5 .1 .5 .5\n"
    (tmp_path / "a/labels/train/a.txt").write_text(row * 20_000)
    code, findings = check(tmp_path / "a")
    assert code == 3
    assert findings["near_duplicate"]["count"] == 19_999
