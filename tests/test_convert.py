"""`convert`: one format into another, with every loss counted and none uncounted."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

import autolabel as autolabel_package
from autolabel.formats import FORMATS, find_datasets
from autolabel.formats.problems import Findings, refuse
from autolabel.geometry import rle
from tests.datasets import CLASSES, NAMES, coco8_seg, own, photo, roboflow_coco, voc2012
from tests.formats.support import contents
from tests.run.support import autolabel


def run(source: Path, output: Path, to: str, *flags: str, code: int = 0) -> dict:
    """Convert on the command line, and return what --json prints."""
    done = autolabel("convert", str(source), str(output), "--to", to, "--json", *flags)
    assert done.code == code, done.err
    return json.loads(done.out)


def read(path: Path) -> dict[str, list[tuple[str, np.ndarray]]]:
    """(class, mask) by file_name, as our reader has them, which must skip nothing."""
    [found] = find_datasets(path)
    problems = Findings()
    reader = found.open(problems)
    assert not problems.lost
    return {
        each.file_name: [(reader.classes[i.class_id], rle.to_bitmap(i.mask)) for i in each.instances]
        for each in reader.images()
    }


def coco_masks(root: Path, capsys) -> dict[tuple[str, str], list[tuple[str, np.ndarray, int]]]:
    """(class, mask, iscrowd) by split and file_name, as pycocotools has them."""
    found = {}
    for path in sorted((root / "annotations").glob("*.json")):
        coco = COCO(str(path))
        capsys.readouterr()
        for image in coco.imgs.values():
            annotations = coco.imgToAnns[image["id"]]
            key = (path.stem.removeprefix("instances_"), image["file_name"])
            found[key] = [
                (coco.cats[a["category_id"]]["name"], coco.annToMask(a).astype(bool), a["iscrowd"])
                for a in annotations
            ]
    return found


@pytest.mark.parametrize("segmentation", ["polygon", "rle"])
def test_coco_to_yolo_and_back_loses_bridges_only(tmp_path, capsys, segmentation):
    """Every instance, class, name and split comes back; only the bridges that YOLO needs, as counted, are new."""
    truth = own("coco", tmp_path / "a", segmentation=segmentation, size=(120, 160))
    there = run(tmp_path / "a", tmp_path / "b", "yolo")
    back = run(tmp_path / "b", tmp_path / "c", "coco")
    total = sum(map(len, truth.values()))
    for summary in (there, back):
        assert summary["instances"] == {"read": total, "written": total, "lost": {}}
        assert (summary["images"], summary["failed"], summary["renamed"]) == (5, 0, 0)
    found = coco_masks(tmp_path / "c", capsys)
    assert sorted(found) == sorted(_splits(NAMES))
    bridged = 0
    for (_, name), instances in found.items():
        assert [c for c, _, _ in instances] == [c for c, _ in truth[name]]
        for (_, mask, crowd), (_, wanted) in zip(instances, truth[name], strict=True):
            assert not (wanted & ~mask).any()
            assert crowd == 0
            bridged += int((mask & ~wanted).sum())
    assert bridged == there["changed"]["bridged_pixels"] > 0
    assert set(there["changed"]) == {"bridged_instances", "bridged_pixels"}
    assert back["changed"] == {}


def _splits(names):
    return [("train", name) for name in names[:3]] + [("val", name) for name in names[3:]]


def test_coco_to_voc_and_back_loses_nothing(tmp_path, capsys):
    """Where no instances overlap every mask comes back exactly; names become flat, and the list says how."""
    truth = own("coco", tmp_path / "a")
    there = run(tmp_path / "a", tmp_path / "b", "voc")
    back = run(tmp_path / "b", tmp_path / "c", "coco")
    total = sum(map(len, truth.values()))
    for summary in (there, back):
        assert summary["instances"] == {"read": total, "written": total, "lost": {}}
        assert summary["changed"] == {}
    renamed = json.loads((tmp_path / "b/dataset.json").read_text())["renamed"]
    assert renamed == {
        "with space.jpg": "with_space.jpg",
        "sub/ünï.jpg": "sub__ünï.jpg",
        "sub/d.jpg": "sub__d.jpg",
    }
    found = coco_masks(tmp_path / "c", capsys)
    assert list(found) == [(split, renamed.get(name, name)) for split, name in _splits(NAMES)]
    for (_, wanted), instances in zip(truth.items(), found.values(), strict=True):
        assert [c for c, _, _ in instances] == [c for c, _ in wanted]
        assert all(np.array_equal(a, b) for (_, a, _), (_, b) in zip(instances, wanted, strict=True))


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_into_itself_keeps_everything(tmp_path, name):
    """Converting a dataset to its own format keeps images, instances, classes and splits."""
    own(name, tmp_path / "a", splits="ttvxx")
    summary = run(tmp_path / "a", tmp_path / "b", name)
    assert summary["instances"]["lost"] == {}
    assert list(summary["splits"]) == ["train", "val", "test"]
    before, after = read(tmp_path / "a"), read(tmp_path / "b")
    assert list(before) == list(after)
    for one, other in zip(before.values(), after.values(), strict=True):
        assert all(a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in zip(one, other, strict=True))


# What a layout of another tool loses in each format, by reason.
LOSSES = [
    (roboflow_coco, "coco", 0, {"no_mask": 1}),
    (roboflow_coco, "yolo", 0, {"no_mask": 1, "crowd": 1}),
    (roboflow_coco, "voc", 0, {"no_mask": 1, "crowd": 1}),
    (coco8_seg, "coco", 3, {"unreadable": 1}),
    (coco8_seg, "yolo", 3, {"unreadable": 1, "duplicate": 1}),
    (coco8_seg, "voc", 3, {"unreadable": 1, "hidden": 1}),
    (voc2012, "coco", 0, {"no_mask": 2}),
    (voc2012, "yolo", 0, {"no_mask": 2}),
    (voc2012, "voc", 0, {"no_mask": 2}),
]


@pytest.mark.parametrize(
    ("build", "to", "code", "lost"), LOSSES, ids=lambda value: getattr(value, "__name__", None)
)
def test_third_party_layouts_convert_with_every_loss_counted(tmp_path, build, to, code, lost):
    """Read = written + lost by reason, the files hold what is written, and dropped.csv has a line for each."""
    counts = build(tmp_path / "coco8-seg")
    summary = run(tmp_path / "coco8-seg", tmp_path / "out", to, code=code)
    assert summary["instances"]["lost"] == lost
    assert summary["instances"]["read"] == sum(counts.values())
    assert summary["instances"]["written"] == sum(counts.values()) - sum(lost.values())
    assert list(summary["splits"]) == list(counts)
    held = read(tmp_path / "out")
    assert sum(map(len, held.values())) == summary["instances"]["written"]
    with (tmp_path / "out/dropped.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["instances"]) for row in rows) == sum(lost.values())


def test_roboflow_masks_are_those_pycocotools_reads(tmp_path, capsys):
    """Every instance of a Roboflow export that has a mask is, pixel for pixel, what pycocotools makes of it."""
    roboflow_coco(tmp_path / "rf")
    run(tmp_path / "rf", tmp_path / "out", "coco")
    found = coco_masks(tmp_path / "out", capsys)
    for folder, split in (("train", "train"), ("valid", "val")):
        coco = COCO(str(tmp_path / "rf" / folder / "_annotations.coco.json"))
        capsys.readouterr()
        for image in coco.imgs.values():
            wanted = [a for a in coco.imgToAnns[image["id"]] if a["segmentation"]]
            got = found[split, image["file_name"]]
            assert [(c, crowd) for c, _, crowd in got] == [
                (coco.cats[a["category_id"]]["name"], a["iscrowd"]) for a in wanted
            ]
            assert all(np.array_equal(m, coco.annToMask(a)) for (_, m, _), a in zip(got, wanted, strict=True))


def test_an_image_that_is_gone_fails_and_the_rest_is_written(tmp_path):
    """A missing and a broken image are failures with their instances counted; exit code 3."""
    truth = own("coco", tmp_path / "a")
    (tmp_path / "a/images/train/a.jpg").unlink()
    (tmp_path / "a/images/val/e.jpg").write_bytes(b"\xff\xd8\xff broken")
    summary = run(tmp_path / "a", tmp_path / "b", "yolo", code=3)
    gone = len(truth["a.jpg"]) + len(truth["e.jpg"])
    assert (summary["images"], summary["failed"]) == (5, 2)
    assert summary["instances"]["lost"] == {"image_failed": gone}
    rows = (tmp_path / "b/failures.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["image", "a.jpg", "e.jpg"]
    assert sorted(path.name for path in (tmp_path / "b/images").rglob("*.jpg")) == [
        "d.jpg",
        "with space.jpg",
        "ünï.jpg",
    ]


def test_overlaps_that_voc_cannot_hold_are_counted(tmp_path):
    """In VOC a pixel has one object: instances that others hide in part or whole are counted."""
    square = [[5, 5, 25, 5, 25, 25, 5, 25]]
    inner = [[10, 10, 20, 10, 20, 20, 10, 20]]
    _one_image(tmp_path / "a", [square, inner, inner])
    summary = run(tmp_path / "a", tmp_path / "b", "voc")
    assert summary["instances"] == {"read": 3, "written": 2, "lost": {"hidden": 1}}
    assert summary["changed"] == {"hidden_pixels": 100, "partly_hidden_instances": 1}


def _one_image(root: Path, segmentations: list, name: str = "a.jpg", **changes) -> None:
    photo(root / "images" / Path(name).name)
    annotations = [
        {
            "id": i,
            "image_id": 1,
            "category_id": 1,
            "segmentation": s,
            "bbox": [0, 0, 1, 1],
            "area": 1,
            "iscrowd": 0,
        }
        for i, s in enumerate(segmentations, 1)
    ]
    data = {
        "images": [{"id": 1, "file_name": name, "width": 64, "height": 48}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "car"}],
    }
    (root / "annotations.json").write_text(json.dumps(data | changes))


def test_a_single_annotation_file_can_be_named(tmp_path):
    """SRC may be the COCO file or the data.yaml itself."""
    own("coco", tmp_path / "a")
    own("yolo", tmp_path / "y")
    one = run(tmp_path / "a/annotations/instances_val.json", tmp_path / "b", "yolo")
    assert (one["images"], list(one["splits"])) == (2, ["val"])
    assert run(tmp_path / "y/data.yaml", tmp_path / "c", "coco")["images"] == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gone", "out", "--to", "coco"], "gone does not exist"),
        (["empty", "out", "--to", "coco"], "no dataset that is known"),
        (["a", "out", "--to", "kitti"], "choose from coco, yolo, voc"),
        (["a", "a/out", "--to", "yolo"], "which is only read"),
        (["a", "a", "--to", "yolo"], "which is only read"),
        (["a", "foreign", "--to", "yolo"], "did not write"),
        (["both", "out", "--to", "voc"], "holds several datasets"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(tmp_path, monkeypatch, arguments, says):
    """Wrong usage and wrong input end with exit code 2, one sentence, and nothing written."""
    own("coco", tmp_path / "a")
    own("coco", tmp_path / "both/coco")
    own("yolo", tmp_path / "both/yolo")
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/notes.txt").write_text("mine")
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = autolabel("convert", *arguments)
    assert done.code == 2
    assert says in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert contents(tmp_path) == before


def test_nothing_to_convert_leaves_the_old_dataset(tmp_path):
    """Where no image can be read the command fails, and what stood at DST stays."""
    own("coco", tmp_path / "a")
    run(tmp_path / "a", tmp_path / "out", "yolo")
    before = contents(tmp_path / "out")
    for path in (tmp_path / "a/images").rglob("*.jpg"):
        path.unlink()
    done = autolabel("convert", str(tmp_path / "a"), str(tmp_path / "out"), "--to", "yolo")
    assert done.code == 2
    assert "can be converted" in done.err
    assert contents(tmp_path / "out") == before


def test_the_same_source_gives_the_same_bytes(tmp_path):
    """Two conversions of one dataset are the same files, and the source is as it was."""
    own("coco", tmp_path / "a")
    before = contents(tmp_path / "a")
    for name in FORMATS:
        run(tmp_path / "a", tmp_path / f"{name}1", name)
        run(tmp_path / "a", tmp_path / f"{name}2", name)
        assert contents(tmp_path / f"{name}1") == contents(tmp_path / f"{name}2")
    assert contents(tmp_path / "a") == before


@pytest.mark.parametrize(
    "name",
    [
        "//x/secret.jpg",
        "/{outside}/secret.jpg",
        "C:\\secret.jpg",
        "../secret.jpg",
        "{outside}/secret.jpg",
        "link.jpg",
        "a\0b.jpg",
        "linked/secret.jpg",
    ],
)
def test_an_image_outside_of_the_dataset_is_never_read(tmp_path, name):
    """A file_name that leaves the folder, or a link that does, is refused, and no byte of it is copied."""
    secret = photo(tmp_path / "outside/secret.jpg")
    photo(tmp_path / "a/secret.jpg")
    root = tmp_path / "a/b"
    _one_image(root, [[[5, 5, 25, 5, 25, 25]]])
    (root / "images/link.jpg").symlink_to(secret)
    (root / "images/linked").symlink_to(tmp_path / "outside")
    data = json.loads((root / "annotations.json").read_text())
    bad = name.replace("{outside}", str(tmp_path / "outside"))
    data["images"].append({"id": 2, "file_name": bad, "width": 64, "height": 48})
    data["annotations"].append({**data["annotations"][0], "id": 2, "image_id": 2})
    (root / "annotations.json").write_text(json.dumps(data))
    before = contents(tmp_path)
    for to in FORMATS:
        summary = run(root, tmp_path / "out" / to, to, code=3)
        assert summary["failed"] == 1
        assert summary["instances"]["read"] == 2
        assert summary["instances"]["written"] == 1
        assert secret.read_bytes() not in contents(tmp_path / "out" / to).values()
        assert len(list((tmp_path / "out" / to).rglob("*.jpg"))) == 1
    after = contents(tmp_path)
    assert {key for key in after if not key.startswith("out/")} == set(before)


def test_png_and_other_types_keep_their_names(tmp_path):
    """A PNG stays a PNG in COCO and YOLO, byte for byte."""
    root = tmp_path / "a"
    _one_image(root, [[[5, 5, 25, 5, 25, 25]]], name="a.png")
    before = (root / "images/a.png").read_bytes()
    for to, place in (("coco", "images/train/a.png"), ("yolo", "images/train/a.png")):
        run(root, tmp_path / to, to)
        assert (tmp_path / to / place).read_bytes() == before
    run(root, tmp_path / "voc", "voc")
    with Image.open(tmp_path / "voc/VOCdevkit/VOC2012/JPEGImages/a.jpg") as picture:
        assert picture.format == "JPEG"


def test_classes_keep_their_order_and_those_without_instances(tmp_path):
    """The class list is that of the source, unused classes included."""
    own("coco", tmp_path / "a", masks=2)
    for to in FORMATS:
        run(tmp_path / "a", tmp_path / to, to)
        [found] = find_datasets(tmp_path / to)
        assert tuple(found.open(refuse).classes) == CLASSES


def test_nothing_left_needs_attention(tmp_path):
    """Where every instance is lost, as with crowds alone, the exit code is 3 and the crowds are explained."""
    _one_image(tmp_path / "a", [[[5, 5, 25, 5, 25, 25]]])
    data = json.loads((tmp_path / "a/annotations.json").read_text())
    data["annotations"][0]["iscrowd"] = 1
    (tmp_path / "a/annotations.json").write_text(json.dumps(data))
    done = autolabel("convert", str(tmp_path / "a"), str(tmp_path / "b"), "--to", "yolo")
    assert done.code == 3
    assert "0 of 1 instances" in done.out
    assert "iscrowd 0" in done.out


def test_an_image_that_the_target_refuses_is_a_failure(tmp_path):
    """Ultralytics takes no image below 10 px: it is no written image, and failures.csv says why."""
    root = tmp_path / "b"
    _one_image(root, [[[1, 1, 8, 1, 8, 8]]])
    photo(root / "images/tiny.jpg", (9, 9))
    data = json.loads((root / "annotations.json").read_text())
    data["images"].append({"id": 2, "file_name": "tiny.jpg", "width": 9, "height": 9})
    (root / "annotations.json").write_text(json.dumps(data))
    summary = run(root, tmp_path / "out", "yolo", code=3)
    assert (summary["images"], summary["failed"], summary["splits"]["train"]["images"]) == (2, 1, 1)
    assert "tiny.jpg,is 9 x 9 px" in (tmp_path / "out/failures.csv").read_text()


def test_a_voc_list_that_names_another_place_writes_nothing_there(tmp_path):
    """A stem that is an absolute path, with a picture where it would lead, is refused in every target."""
    voc2012(tmp_path / "a")
    base = tmp_path / "a/VOCdevkit/VOC2012"
    place = tmp_path / "elsewhere"
    photo(base / f"JPEGImages/{str(place)[1:]}/x.jpg")
    with (base / "ImageSets/Main/train.txt").open("a") as file:
        file.write(f"/{place}/x\n{place}/x\n../../x\n")
    for to in FORMATS:
        summary = run(tmp_path / "a", tmp_path / to, to, code=3)
        assert summary["failed"] == 3
        assert not place.exists()
        assert len(list((tmp_path / to).rglob("*.jpg"))) == 3


def test_a_colon_in_a_name_is_no_drive(tmp_path):
    """Times in file names are common, and are no reason to refuse an image."""
    _one_image(tmp_path / "a", [[[5, 5, 25, 5, 25, 25]]], name="12:30:01.jpg")
    for to in FORMATS:
        assert run(tmp_path / "a", tmp_path / to, to)["instances"]["written"] == 1


def test_an_image_whose_labels_cannot_be_read_is_no_background(tmp_path):
    """A broken annotation fails its image: written without labels it would teach that nothing is there."""
    voc2012(tmp_path / "a")
    path = tmp_path / "a/VOCdevkit/VOC2012/Annotations/2008_000008.xml"
    path.write_text(path.read_text()[:-40])
    summary = run(tmp_path / "a", tmp_path / "b", "coco", code=3)
    assert (summary["images"], summary["failed"]) == (3, 1)
    assert "2008_000008.jpg" in (tmp_path / "b/failures.csv").read_text()


def test_a_split_named_trainval_stays_one(tmp_path):
    """In VOC trainval is train and val together, so a split of that name gets another, and is counted."""
    for split in ("train", "trainval"):
        photo(tmp_path / f"a/{split}/{split}.jpg")
        image_ = {"id": 1, "file_name": f"{split}.jpg", "width": 64, "height": 48}
        (tmp_path / f"a/{split}.json").write_text(
            json.dumps({"images": [image_], "annotations": [], "categories": [{"id": 1, "name": "car"}]})
        )
    there = run(tmp_path / "a", tmp_path / "b", "voc")
    assert there["changed"] == {"renamed_splits": 1}
    back = run(tmp_path / "b", tmp_path / "c", "coco")
    assert [row["images"] for row in back["splits"].values()] == [1, 1]


def test_names_cannot_forge_lines(tmp_path):
    """What is not printable in a name is escaped on the terminal, in JSON and in the tables."""
    _one_image(tmp_path / "a", [[[5, 5, 25, 5, 25, 25]]])
    data = json.loads((tmp_path / "a/annotations.json").read_text())
    data["images"].append({"id": 2, "file_name": "\x1b[2J\ngone\u202e.jpg", "width": 64, "height": 48})
    (tmp_path / "a/annotations.json").write_text(json.dumps(data))
    for command in (
        ("check", str(tmp_path / "a")),
        ("convert", str(tmp_path / "a"), str(tmp_path / "b"), "--to", "coco"),
    ):
        done = autolabel(*command)
        assert "\\x1b[2J\\ngone\\u202e.jpg" in done.out + done.err
        assert all(line.isprintable() for line in (done.out + done.err).splitlines())
    assert "\x1b" not in (tmp_path / "b/failures.csv").read_text()


@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
def test_a_truncated_image_is_a_failure(tmp_path, to):
    """An image that is cut is not copied: it stands in failures.csv, and the exit code says so."""
    own("coco", tmp_path / "in")
    cut = sorted((tmp_path / "in").rglob("*.jpg"))[0]
    cut.write_bytes(cut.read_bytes()[:-200])
    done = autolabel_package.convert(tmp_path / "in", tmp_path / "out", to)
    assert done.exit_code == 3
    [(name, reason)] = done.failures
    assert name.endswith(cut.name)
    assert "truncated" in reason
    assert not list((tmp_path / "out").rglob(cut.name))
