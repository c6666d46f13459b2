"""The dataset of a whole run, read by the readers of others."""

import csv
import json
import os
import zlib
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from autolabel.geometry import rle
from tests.nasty import nasty_masks
from tests.run.support import autolabel, contents, picture, write_config, write_pictures
from tests.servers.host import Host
from tests.servers.segmentlens import SegmentLensServer

DATASET = Path("datasets/street")


def replay_config(detections: dict[str, list[dict]], size: tuple[int, int], **keys) -> str:
    """A config whose images and answers are written here: image name to detections."""
    for name, found in detections.items():
        image, answer = Path("photos", name), Path("answers", f"{name}.json")
        image.parent.mkdir(parents=True, exist_ok=True)
        answer.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(zlib.crc32(name.encode())).integers(0, 255, (*size, 3), np.uint8)
        image.write_bytes(cv2.imencode(image.suffix, noise)[1].tobytes())
        answer.write_bytes(orjson.dumps({"detections": found}))
    data = {
        "images": "photos",
        "classes": ["thing"],
        "backend": {"name": "replay", "answers": "answers"},
    } | keys
    Path("street.yaml").write_text(yaml.safe_dump(data))
    return "street.yaml"


def detection(mask: np.ndarray, prompt: str = "thing", confidence: float | None = 0.9) -> dict:
    encoded = rle.from_bitmap(mask)
    counts = {"size": list(encoded.size), "counts": encoded.counts.decode()}
    return {"prompt": prompt, "confidence": confidence, "segmentation": counts}


def load_coco(path: Path, capsys) -> COCO:
    coco = COCO(str(path))
    capsys.readouterr()
    return coco


@pytest.mark.parametrize("segmentation", ["polygon", "rle"])
def test_nasty_masks_reach_pycocotools_whole(segmentation, capsys):
    """From the answer to pycocotools every pixel, hole and part survives, and nothing is a crowd."""
    masks = {f"{name}.png": mask for name, mask in nasty_masks(120, 160).items() if mask.any()}
    answers = {name: [detection(mask)] for name, mask in masks.items()}
    config = replay_config(answers, (120, 160), export={"coco": {"segmentation": segmentation}})
    assert autolabel("run", config).code == 0
    seen = 0
    for split in ("train", "val"):
        coco = load_coco(DATASET / f"coco/annotations/instances_{split}.json", capsys)
        for note in coco.loadAnns(coco.getAnnIds()):
            name = coco.imgs[note["image_id"]]["file_name"]
            assert np.array_equal(coco.annToMask(note), masks[name]), name
            assert (note["iscrowd"], note["area"]) == (0, masks[name].sum())
            seen += 1
    assert seen == len(masks) > 20


def test_nasty_masks_reach_voc_whole():
    """The object PNG of each single-instance image is the mask."""
    masks = {f"{name}.png": mask for name, mask in nasty_masks(120, 160).items() if mask.any()}
    autolabel("run", replay_config({name: [detection(mask)] for name, mask in masks.items()}, (120, 160)))
    for name, mask in masks.items():
        objects = DATASET / "voc/VOCdevkit/VOC2012/SegmentationObject" / f"{Path(name).stem}.png"
        assert np.array_equal(np.array(Image.open(objects)) == 1, mask), name


def test_answers_equal_exported_and_dropped(capsys):
    """Every answered instance is exported or stands in dropped.csv with its reason and winner."""
    whole = np.zeros((60, 80), bool)
    whole[10:40, 10:50] = True
    smaller, tiny, nothing = whole.copy(), np.zeros_like(whole), np.zeros_like(whole)
    smaller[10:12] = False
    tiny[0, 0] = True
    found = [
        detection(whole), detection(smaller, "item", 0.8), detection(whole, "cup", 0.7), detection(tiny),
        detection(nothing), detection(whole, "thing", 0.2), detection(tiny, "cup", None),
    ]  # fmt: skip
    config = replay_config(
        {"a b/ü.jpg": found, "b.jpg": []}, (60, 80),
        classes=[{"name": "thing", "prompts": ["thing", "item"], "min_area": 2}, "cup"],
    )  # fmt: skip
    done = autolabel("run", config, "--json")
    counts = done.summary["instances"]
    assert counts["dropped"] == {
        "below_confidence": 1, "empty_mask": 1, "nms_cross_class": 1, "nms_same_class": 1, "too_small": 1,
    }  # fmt: skip
    assert counts["answered"] == 7 == counts["exported"] + sum(counts["dropped"].values())
    with (DATASET / "dropped.csv").open(newline="") as file:
        rows = {(row["reason"], row["prompt"]): row for row in csv.DictReader(file)}
    assert rows["nms_same_class", "item"] == {
        "image": "a b/ü.jpg", "class": "thing", "prompt": "item", "confidence": "0.8",
        "reason": "nms_same_class", "kept_by": "thing/thing/0.9",
    }  # fmt: skip
    assert rows["below_confidence", "thing"]["kept_by"] == ""
    manifest = json.loads((DATASET / "dataset.json").read_text())
    assert manifest["dropped"] == counts["dropped"]
    assert manifest["classes"] == ["thing", "cup"]
    assert manifest["degradations"]["answers"] == {"scores": 1}


def test_answers_that_nobody_asks_for_are_counted(caplog):
    """Replay says which prompts of its answers no class has."""
    mask = np.ones((20, 20), bool)
    done = autolabel("run", replay_config({"a.png": [detection(mask), detection(mask, "purple")]}, (20, 20)))
    assert done.code == 0
    assert "no class asks for" in caplog.text
    assert "'purple' 1" in caplog.text


def test_results_of_other_images_are_no_empty_labels():
    """A COCO results file that names none of the images is wrong input, not a dataset without objects."""
    mask = detection(np.ones((20, 20), bool))["segmentation"]
    config = replay_config(
        {"a.png": [], "b.png": []}, (20, 20), backend={"name": "replay", "answers": "r.json"}
    )
    result = {"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": mask}
    Path("r.json").write_bytes(orjson.dumps([result]))
    done = autolabel("run", config)
    assert done.code == 2
    assert "names none of the images" in done.err
    assert not DATASET.exists()
    Path("r.json").write_bytes(orjson.dumps([result | {"image_id": "a"}]))
    assert autolabel("run", config, "--json").summary["instances"]["exported"] == 1


def test_the_manifest_holds_no_place_and_no_clock(host, photos, tmp_path):
    """The manifest is the same for another worker count, rate or run folder, and names no absolute path."""
    first = autolabel("run", write_config(host.url, images=str(tmp_path / "photos")))
    assert first.code == 0
    manifest = (DATASET / "dataset.json").read_bytes()
    assert str(tmp_path).encode() not in manifest
    config = write_config(
        host.url, images=str(tmp_path / "photos"), run="runs/other", label={"workers": 3},
        backend={"name": "roboflow", "base_url": host.url, "requests_per_second": 500, "timeout_s": 9},
    )  # fmt: skip
    autolabel("run", config)
    assert (DATASET / "dataset.json").read_bytes() == manifest


def test_empty_images_can_be_skipped(host, tmp_path):
    """An image without instances is a background image, or left out on demand."""
    write_pictures(tmp_path / "photos", 4)
    grey = np.full((64, 96, 3), 128, np.uint8)
    cv2.imwrite("photos/grey.png", grey)
    grey[10:14, 10:13] = (0, 0, 255)
    cv2.imwrite("photos/grey with a speck.png", grey)
    config = write_config(host.url, filter={"min_area": 50})
    kept = autolabel("run", config, "--json").summary
    assert sum(split["images"] for split in kept["splits"].values()) == 6
    skipped = autolabel("run", config, "--set", "export.empty_images=skip", "--json").summary
    assert sum(split["images"] for split in skipped["splits"].values()) == 4
    assert not list(DATASET.rglob("grey*"))
    # what is left out stays accounted for
    assert skipped["images"] == skipped["labelled"] == 6
    assert skipped["instances"] == kept["instances"]
    assert "grey with a speck.png,red,red,0.95,too_small," in (DATASET / "dropped.csv").read_text()


def test_no_instance_left_leaves_the_old_dataset(host, photos):
    """Where empty images are skipped and all are empty, nothing is written and the reason is said."""
    config = write_config(host.url, export={"empty_images": "skip"}, filter={"confidence": 1.0})
    done = autolabel("run", config, "--json")
    assert done.code == 0
    assert done.summary["output"] is None
    assert "no instance is left in any image" in done.err


def test_equal_images_share_the_first_answer():
    """Replay asks once for equal contents, in the order of names, whatever lies between them."""
    mask = np.ones((20, 20), bool)
    config = replay_config({f"{i:02}.png": [detection(mask)] for i in range(40)}, (20, 20))
    for name in ("01b copy.png", "zz copy.png"):
        Path("photos", name).write_bytes(Path("photos/01.png").read_bytes())
    done = autolabel("run", config, "--json")
    assert (done.code, done.summary["labelled"], done.summary["failed"]) == (0, 42, 0)


def test_an_image_that_no_jpeg_holds_is_left_out_of_voc_alone():
    """An image wider than JPEG can be is counted as VOC's loss; the other formats keep it."""
    mask = np.zeros((12, 66000), bool)
    mask[2:9, 100:60000] = True
    config = replay_config({"wide.png": [detection(mask)]}, (12, 66000), split={"train": 1.0, "val": 0.0})
    done = autolabel("run", config, "--json")
    assert (done.code, done.summary["labelled"]) == (0, 1)
    assert done.summary["instances"] == {"answered": 1, "exported": 1, "dropped": {"format_limit:voc": 1}}
    assert "voc leaves out wide.png" in done.err
    assert done.summary["splits"]["train"]["images"] == 1
    assert (DATASET / "coco/images/train/wide.png").exists()
    assert not list((DATASET / "voc").rglob("wide*"))


def test_rotated_photographs_become_upright(host, tmp_path, capsys):
    """Labels and exported image of a photograph with an EXIF orientation share the upright frame."""
    (tmp_path / "photos").mkdir()
    upright = picture(3)
    stored = Image.fromarray(
        np.rot90(upright[..., ::-1])
    )  # orientation 6: turn right by 90 degrees to see it
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save("photos/phone.jpg", quality=95, exif=exif)
    cv2.imwrite("photos/plain.png", picture(4))
    config = write_config(host.url, split={"train": 1.0, "val": 0.0})
    assert autolabel("run", config).code == 0
    exported = Image.open(DATASET / "coco/images/train/phone.jpg")
    assert (exported.size, exported.getexif().get(0x0112)) == ((96, 64), None)
    assert np.abs(np.asarray(exported)[..., ::-1].astype(int) - upright).mean() < 4
    coco = load_coco(DATASET / "coco/annotations/instances_train.json", capsys)
    (image,) = [i for i in coco.imgs.values() if i["file_name"] == "phone.jpg"]
    for note in coco.loadAnns(coco.getAnnIds(image["id"])):
        channel = {1: 2, 2: 1}[note["category_id"]]
        mask = coco.annToMask(note).astype(bool)
        assert np.asarray(exported)[..., ::-1][mask][:, channel].mean() > 200
    assert (DATASET / "coco/images/train/plain.png").read_bytes() == Path("photos/plain.png").read_bytes()


def test_a_host_that_takes_small_pictures_answers_in_the_large_frame(tmp_path, capsys):
    """Masks of a picture that was shrunk for its host come back at full size, within a pixel's width."""
    (tmp_path / "photos").mkdir()
    scene = cv2.resize(picture(5), (2400, 1600), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite("photos/large.jpg", scene)
    with Host(SegmentLensServer()) as host:
        config = write_config(host.url, backend={"name": "segmentlens", "base_url": host.url})
        assert autolabel("run", config).code == 0
    coco = load_coco(DATASET / "coco/annotations/instances_train.json", capsys)
    assert [(i["width"], i["height"]) for i in coco.imgs.values()] == [(2400, 1600)]
    for note in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(note).astype(bool)
        truth = (scene == {1: (0, 0, 255), 2: (0, 255, 0)}[note["category_id"]]).all(axis=2)
        assert (mask & truth).sum() / (mask | truth).sum() > 0.96
    manifest = json.loads((DATASET / "dataset.json").read_text())
    assert manifest["degradations"]["answers"] == {"holes": 2}


def test_a_foreign_file_is_never_deleted(host, photos):
    """A dataset that someone put a file into is replaced only with --overwrite; caches do not count."""
    config = write_config(host.url)
    autolabel("run", config)
    (DATASET / "yolo/labels/train.cache").touch()
    assert autolabel("run", config).code == 0
    (DATASET / "notes.txt").write_text("mine")
    refused = autolabel("export", config)
    assert refused.code == 2
    assert "notes.txt" in refused.err
    assert autolabel("export", config, "--overwrite").code == 0
    assert not (DATASET / "notes.txt").exists()


def test_images_are_one_copy_linked(host, photos):
    """With `link` the formats share one copy, which is not the source; with `copy` each has its own."""
    config = write_config(host.url, split={"train": 1.0, "val": 0.0})
    autolabel("run", config)
    paths = [DATASET / "coco/images/train/000.png", DATASET / "yolo/images/train/000.png"]
    assert paths[0].stat().st_ino == paths[1].stat().st_ino != photos[0].stat().st_ino
    autolabel("export", config, "--set", "export.images=copy")
    assert paths[0].stat().st_ino != paths[1].stat().st_ino
    before = contents("photos")
    paths[0].write_bytes(b"a trainer rewrites its image")
    assert contents("photos") == before


def test_an_image_that_changed_since_is_left_out(host, photos):
    """Labels of an image whose file became another size are not exported with it."""
    config = write_config(host.url)
    autolabel("label", config)
    stat = photos[0].stat()
    data = cv2.imencode(".png", picture(9, (128, 64)))[1].tobytes()
    photos[0].write_bytes(data.ljust(stat.st_size, b"\0")[: stat.st_size])
    os.utime(photos[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    done = autolabel("export", config, "--json")
    assert (done.code, done.summary["failed"], done.summary["labelled"]) == (3, 1, 5)
