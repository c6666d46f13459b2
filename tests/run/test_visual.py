"""Boxes, points and exemplars through whole runs: GrabCut offline, and Roboflow's server."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
from pycocotools.coco import COCO

from tests.run.support import autolabel, contents, picture, write_config, write_pictures
from tests.servers.host import Host
from tests.servers.model import segment
from tests.servers.roboflow import RoboflowServer

GRABCUT = {"name": "grabcut"}


def coco_boxes(images: dict[str, list[tuple[int, str, list[float]]]], path: str = "boxes.json") -> str:
    """A COCO detection file of (id, class, xywh) by image; all images are 96 x 64."""
    names = sorted({name for boxes in images.values() for _, name, _ in boxes})
    data = {
        "images": [
            {"id": i, "file_name": name, "width": 96, "height": 64} for i, name in enumerate(images, 1)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, 5)],
        "annotations": [
            {
                "id": id_,
                "image_id": i,
                "category_id": names.index(name) + 5,
                "bbox": box,
                "area": 1,
                "iscrowd": 0,
            }
            for i, boxes in enumerate(images.values(), 1)
            for id_, name, box in boxes
        ],
    }
    Path(path).write_text(json.dumps(data))
    return path


def patch(seed: int, colour: str) -> np.ndarray:
    """The mask of a colour in a picture."""
    [(mask, _)] = segment(picture(seed), colour, 0.0)
    return mask


def box(mask: np.ndarray, grow: float = 0) -> list[float]:
    """xywh of a mask."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    return [x - grow, y - grow, w + 2 * grow, h + 2 * grow]


def exported(folder: str = "datasets/street") -> dict[tuple[str, int], dict]:
    """Annotations by (image, source id), over all splits."""
    found = {}
    for path in sorted(Path(folder, "coco/annotations").glob("*.json")):
        coco = COCO(str(path))
        for annotation in coco.anns.values():
            name = coco.imgs[annotation["image_id"]]["file_name"]
            found[name, annotation.get("source_id")] = annotation | {"mask": coco.annToMask(annotation)}
    return found


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("visual", ["grabcut", "roboflow"])
def test_a_detection_dataset_becomes_a_segmentation_dataset(photos, visual):
    """Every box becomes a mask of its class, with its id; boxes of other classes and images are left out."""
    boxes = {f"{i:03}.png": [(100 + i, "red", box(patch(i, "red"), 1))] for i in range(5)}
    boxes["000.png"].append((7, "green", box(patch(0, "green"), 2)))
    boxes["000.png"].append((8, "blue", [60, 20, 10, 10]))
    boxes["005.png"] = []  # an image without an object is part of the dataset
    boxes["elsewhere.png"] = [(9, "red", [1, 1, 5, 5])]
    with Host(RoboflowServer()) as host:
        backend = {"name": "roboflow", "model": "visual", "base_url": host.url, "requests_per_second": 1000}
        config = write_config(
            host.url,
            backend=GRABCUT if visual == "grabcut" else backend,
            label={"boxes": coco_boxes(boxes)},
        )
        outcome = autolabel("run", config, "--json")
        assert (outcome.code, len(host.log)) == (0, 0 if visual == "grabcut" else 5)
    assert outcome.summary["instances"] == {"answered": 6, "exported": 6, "dropped": {}}
    assert outcome.summary["requests"] == 5
    assert "1 boxes of classes that are none of yours ('blue')" in outcome.err
    found = exported()
    assert sorted(found) == sorted([*((f"{i:03}.png", 100 + i) for i in range(5)), ("000.png", 7)])
    for (name, id_), annotation in found.items():
        truth = patch(int(name[:3]), "green" if id_ == 7 else "red")
        assert iou(annotation["mask"].astype(bool), truth) > (0.95 if visual == "grabcut" else 0.999)
        assert annotation["category_id"] == (2 if id_ == 7 else 1)
    assert autolabel("run", config, "--json").summary["requests"] == 0


def test_masks_that_do_not_fit_their_box_are_flagged(photos):
    """A mask that leaves its box, or hardly fills it, is exported and stands in flagged.csv and the manifest."""
    red = box(patch(0, "red"))
    half = [red[0], red[1], red[2], red[3] / 2 - 3]  # the host answers with the whole patch
    boxes = {"000.png": [(1, "red", half), (2, "red", red)], "001.png": [(3, "red", [0, 0, 96, 64])]}
    with Host(RoboflowServer()) as host:
        backend = {"name": "roboflow", "model": "visual", "base_url": host.url}
        config = write_config(
            host.url,
            backend=backend,
            images="photos/00[01].png",
            label={"boxes": coco_boxes(boxes)},
            filter={"nms_iou": None},
        )
        outcome = autolabel("run", config, "--json")
    assert outcome.summary["instances"]["exported"] == 3
    rows = list(csv.DictReader(Path("datasets/street/flagged.csv").read_text().splitlines()))
    assert [(row["image"], row["id"], row["reason"]) for row in rows] == [
        ("000.png", "1", "leaves_box"),
        ("001.png", "3", "hardly_fills_box"),
    ]
    manifest = orjson.loads(Path("datasets/street/dataset.json").read_bytes())
    assert manifest["flagged"] == {"hardly_fills_box": 1, "leaves_box": 1}
    assert "masks that don't fit their box: 1 hardly_fills_box, 1 leaves_box" in outcome.err


def test_points_by_hand_come_beside_the_class_names(photos):
    """Where the backend takes texts, label.prompts adds to them, answered by `visual`."""
    green = box(patch(2, "green"))
    centre = [green[0] + green[2] / 2, green[1] + green[3] / 2]
    lines = [
        {"image": "002.png", "class": "green", "points": [[*centre, 1], [2, 2, 0]], "id": "by hand"},
        {
            "image": "002.png",
            "class": "green",
            "box": [green[0], green[1], green[0] + green[2], green[1] + green[3]],
        },
    ]
    Path("prompts.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    with Host(RoboflowServer()) as host:
        url = host.url
        config = write_config(
            url,
            classes=["red", {"name": "green", "prompts": ["no such colour"]}],
            visual={"name": "roboflow", "model": "visual", "base_url": url},
            label={"prompts": "prompts.jsonl"},
            filter={"nms_iou": None},
        )
        plan = autolabel("plan", config, "--json").summary
        outcome = autolabel("run", config, "--json")
        assert plan["requests"] == outcome.summary["requests"] == len(host.log) == 6 + 2
        assert sorted(request.path for request in host.requests)[-2:] == ["/sam3/visual_segment"] * 2
    assert outcome.summary["instances"]["exported"] == 6 + 2
    found = [a for (name, _), a in exported().items() if name == "002.png" and a["category_id"] == 2]
    assert {a["prompt"] for a in found} == {"points of green", "box of green"}
    for annotation in found:
        assert np.array_equal(annotation["mask"].astype(bool), patch(2, "green"))


def test_exemplars_go_with_the_text_of_their_image_alone(photos):
    """A positive box widens what a class's text finds there, a negative one narrows it; other images are as before."""
    red, green = box(patch(1, "red")), box(patch(1, "green"))

    def xyxy(b):
        return [b[0], b[1], b[0] + b[2], b[1] + b[3]]

    classes = [{"name": "red", "exemplars": []}]
    with Host(RoboflowServer()) as host:
        config = write_config(host.url, classes=classes)
        assert autolabel("run", config, "--json").summary["requests"] == 6
        classes[0]["exemplars"] = [
            {"image": "001.png", "box": xyxy(green)},
            {"image": "001.png", "box": xyxy(red), "positive": False},
        ]
        outcome = autolabel("run", write_config(host.url, classes=classes), "--json")
        assert outcome.summary["requests"] == 1
        sent = orjson.loads(host.requests[-1].body)["prompts"]
    assert sent[0]["boxes"][0] == {"x": green[0], "y": green[1], "width": green[2], "height": green[3]}
    assert sent[0]["box_labels"] == [1, 0]
    found = exported()
    assert np.array_equal(found["001.png", None]["mask"].astype(bool), patch(1, "green"))
    assert np.array_equal(found["002.png", None]["mask"].astype(bool), patch(2, "red"))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"backend": GRABCUT}, "backend grabcut takes no class names: set label.boxes or label.prompts"),
        (
            {"backend": {"name": "segmentlens"}, "classes": [{"name": "red", "exemplars": [
                {"image": "000.png", "box": [1, 1, 5, 5]}]}]},
            "backend segmentlens takes no exemplars",
        ),
        (
            {"classes": [{"name": "red", "exemplars": [{"image": "x.png", "box": [1, 1, 5, 5]}]}]},
            "classes.0.exemplars.0: there is no image 'x.png' among yours",
        ),
        ({"classes": [{"name": "red", "exemplars": [{"image": "x.png", "box": [5, 1, 1, 5]}]}]}, "x0 < x1"),
        ({"visual": {"name": "segmentlens"}, "label": {"boxes": "boxes.json"}}, "segmentlens takes no boxes"),
        ({"label": {"boxes": "nowhere"}}, "label.boxes: nowhere does not exist"),
        ({"label": {"boxes": "empty.json"}}, "no image of empty.json has the name of one of yours"),
        ({"label": {"prompts": "nowhere"}}, "nowhere can't be read"),
        ({"label": {"prompts": "1.jsonl"}}, "1.jsonl, line 2: it is no JSON object"),
        ({"label": {"prompts": "2.jsonl"}}, "2.jsonl, line 1: there is no image 'b.png' among yours"),
        ({"label": {"prompts": "3.jsonl"}}, "3.jsonl, line 1: 'car' is none of your classes"),
        ({"label": {"prompts": "4.jsonl"}}, "4.jsonl, line 1: give a box, or a point on the object"),
        ({"label": {"prompts": "5.jsonl"}}, "5.jsonl, line 1: box is missing or not as it should be; write it like"),
    ],
)  # fmt: skip
def test_what_can_not_be_asked_is_said_before_anything_is(photos, host, keys, words):
    """Backends that can't take a prompt, and files with mistakes, end with exit code 2 and one sentence."""
    coco_boxes({"000.png": [(1, "red", [1, 1, 5, 5])]})
    coco_boxes({"other.png": [(1, "red", [1, 1, 5, 5])]}, "empty.json")
    good = {"image": "000.png", "class": "red", "box": [1, 1, 5, 5]}
    files = {
        1: f"{json.dumps(good)}\n{{", 2: json.dumps(good | {"image": "b.png"}),
        3: json.dumps(good | {"class": "car"}), 4: json.dumps({**good, "box": None, "points": [[1, 1, 0]]}),
        5: json.dumps(good | {"box": [5, 1, 1, 5]}),
    }  # fmt: skip
    for number, text in files.items():
        Path(f"{number}.jsonl").write_text(text)
    outcome = autolabel("run", write_config(host.url, **keys))
    assert (outcome.code, host.log) == (2, [])
    assert words in outcome.err


def test_an_image_without_its_prompt_is_a_failure_not_an_empty_label(photos):
    """Where only boxes are asked for, an image that the dataset does not name fails, and says why."""
    boxes = {"000.png": [(1, "red", box(patch(0, "red")))], "001.png": [(2, "red", [500, 500, 10, 10])]}
    outcome = autolabel(
        "run", write_config("", backend=GRABCUT, label={"boxes": coco_boxes(boxes)}), "--json"
    )
    assert (outcome.code, outcome.summary["labelled"], outcome.summary["failed"]) == (3, 1, 5)
    failures = dict(csv.reader(Path("datasets/street/failures.csv").read_text().splitlines()))
    assert failures["002.png"] == "boxes.json does not name it, so there is nothing to ask about it"
    assert failures["001.png"] == "the box [500, 500, 510, 510] lies outside the image of 96 x 64 px"


def test_boxes_of_another_frame_are_a_failure(photos):
    """Boxes for another size than the upright image's are not guessed at."""
    path = coco_boxes({"000.png": [(1, "red", [1, 1, 5, 5])]})
    Path(path).write_text(Path(path).read_text().replace('"width": 96', '"width": 960'))
    outcome = autolabel("run", write_config("", backend=GRABCUT, label={"boxes": path}))
    assert outcome.code == 3
    assert "boxes.json has boxes for 960 x 64 px, the upright image has 96 x 64" in outcome.err


def test_grabcut_gives_the_same_bytes_again(photos):
    """GrabCut draws its clusters from a seed of its own, whatever thread it runs in."""
    path = coco_boxes({f"{i:03}.png": [(i, "red", box(patch(i, "red"), 3))] for i in range(6)})
    first = write_config("", backend=GRABCUT, label={"boxes": path, "workers": 4})
    autolabel("run", first)
    second = write_config("", "again.yaml", backend=GRABCUT, label={"boxes": path, "workers": 1})
    autolabel("run", second)
    assert contents("datasets/street") == contents("datasets/again")


def test_equal_images_with_other_boxes_get_their_own_masks(photos):
    """Boxes belong to a file's name, answers to its content: two equal files with two boxes get one mask each."""
    Path("photos/copy.png").write_bytes(Path("photos/000.png").read_bytes())
    boxes = {
        "000.png": [(1, "red", box(patch(0, "red")))],
        "copy.png": [(2, "green", box(patch(0, "green")))],
    }
    config = write_config(
        "", backend=GRABCUT, images=["photos/000.png", "photos/copy.png"], label={"boxes": coco_boxes(boxes)}
    )
    assert autolabel("run", config, "--json").summary["labelled"] == 2
    found = exported()
    assert iou(found["000.png", 1]["mask"].astype(bool), patch(0, "red")) > 0.95
    assert iou(found["copy.png", 2]["mask"].astype(bool), patch(0, "green")) > 0.95


def test_yolo_and_voc_boxes_prompt_too(photos):
    """Detection datasets of all three formats are taken, and give the same masks."""
    write_pictures(Path("yolo/images/train"), 2)
    Path("yolo/labels/train").mkdir(parents=True)
    Path("yolo/data.yaml").write_text("train: images/train\nval: images/train\nnames: [green, red]\n")
    Path("voc/Annotations").mkdir(parents=True)
    Path("voc/JPEGImages").mkdir()
    Path("voc/ImageSets/Main").mkdir(parents=True)
    Path("voc/ImageSets/Main/train.txt").write_text("000\n001\n")
    for i in range(2):
        x, y, w, h = box(patch(i, "red"))
        Path(f"yolo/labels/train/{i:03}.txt").write_text(
            f"1 {(x + w / 2) / 96:.8f} {(y + h / 2) / 64:.8f} {w / 96:.8f} {h / 64:.8f}\n"
        )
        Path(f"voc/Annotations/{i:03}.xml").write_text(
            f"<annotation><filename>{i:03}.png</filename><size><width>96</width><height>64</height><depth>3"
            f"</depth></size><object><name>red</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object></annotation>"
        )
    for name in ("yolo", "voc"):
        config = write_config(
            "", f"{name}.yaml", backend=GRABCUT, images="photos/00[01].png", label={"boxes": name}
        )
        outcome = autolabel("run", config, "--json")
        assert outcome.code == 0, outcome.err
        assert outcome.summary["instances"]["exported"] == 2
    for folder in ("datasets/yolo", "datasets/voc"):
        for path in Path(folder, "coco/annotations").glob("*.json"):
            coco = COCO(str(path))
            for annotation in coco.anns.values():
                seed = int(coco.imgs[annotation["image_id"]]["file_name"][:3])
                assert iou(coco.annToMask(annotation).astype(bool), patch(seed, "red")) > 0.95


def test_two_backends_spend_one_budget(photos):
    """What texts and what boxes and points cost counts against label.budget together."""
    red = box(patch(0, "red"))
    line = {"class": "red", "box": [red[0], red[1], red[0] + red[2], red[1] + red[3]]}
    lines = [json.dumps({"image": f"{i:03}.png", **line}) for i in range(6)]
    Path("prompts.jsonl").write_text("\n".join(lines))
    with Host(RoboflowServer()) as host:
        backend = {"name": "roboflow", "base_url": host.url, "price_per_request": 1.0}
        config = write_config(
            host.url,
            backend=backend,
            visual=backend | {"model": "visual"},
            label={"prompts": "prompts.jsonl", "budget": 7.0, "workers": 3},
        )
        outcome = autolabel("run", config, "--json")
        assert (outcome.code, outcome.summary["cost"], len(host.log)) == (4, 7.0, 7)
    assert "could pass label.budget 7" in outcome.err


def test_a_mistake_in_visual_is_named_as_such(photos):
    """An unknown model of `visual` is told under its own key."""
    Path("prompts.jsonl").write_text(json.dumps({"image": "000.png", "class": "red", "box": [1, 1, 5, 5]}))
    visual = {"name": "roboflow", "model": "visul"}
    config = write_config("http://127.0.0.1:9", label={"prompts": "prompts.jsonl"}, visual=visual)
    outcome = autolabel("plan", config)
    assert outcome.code == 2
    assert "visual.model 'visul' is unknown to roboflow; known are concept, visual" in outcome.err


def test_an_image_of_which_no_box_got_a_mask_is_a_failure(photos):
    """An image with boxes is not without objects: no empty label is written for it, and flagged.csv names boxes."""
    image = picture(0)
    image[:] = 128
    cv2.imwrite("photos/000.png", image)
    boxes = {
        "000.png": [(1, "red", [60, 40, 20, 15])],
        "001.png": [(2, "red", box(patch(1, "red"), 1)), (3, "red", [1, 55, 3, 3])],
    }
    with Host(RoboflowServer()) as host:
        backend = {"name": "roboflow", "model": "visual", "base_url": host.url}
        config = write_config(
            host.url,
            backend=backend,
            images="photos/00[01].png",
            label={"boxes": coco_boxes(boxes), "confidence": 0.05},
            filter={"confidence": 0.05},
        )
        outcome = autolabel("run", config, "--json")
    assert (outcome.code, outcome.summary["failed"], outcome.summary["labelled"]) == (3, 1, 1)
    failures = Path("datasets/street/failures.csv").read_text()
    assert "000.png,none of its 1 boxes got a mask" in failures.replace('"', "")
    flagged = list(csv.DictReader(Path("datasets/street/flagged.csv").read_text().splitlines()))
    assert [(row["image"], row["id"], row["reason"]) for row in flagged] == [("001.png", "3", "empty_mask")]


def test_plan_says_which_images_will_fail_and_who_answers(photos):
    """What the run will fail is no request and no silence; who answers boxes is named where it is another."""
    line = {"image": "002.png", "class": "red", "box": [1, 1, 30, 30]}
    Path("prompts.jsonl").write_text(json.dumps(line))
    outcome = autolabel("plan", write_config("", backend=GRABCUT, label={"prompts": "prompts.jsonl"}))
    assert "1 requests" in outcome.out
    assert "will fail: 000.png: prompts.jsonl does not name it" in outcome.err
    with_texts = write_config("http://127.0.0.1:9", label={"prompts": "prompts.jsonl"})
    assert "boxes and points are answered by backend grabcut" in autolabel("plan", with_texts).out


def test_answers_of_one_backend_never_stand_for_another_s(photos):
    """A class name's answer from who now answers boxes is none from who is asked for class names."""
    with Host(RoboflowServer()) as host, Host(RoboflowServer()) as other:
        autolabel("run", write_config(host.url))
        Path("prompts.jsonl").write_text(
            json.dumps({"image": "000.png", "class": "red", "box": [1, 1, 30, 30]})
        )
        mine = {"name": "roboflow", "base_url": host.url, "model": "concept"}
        config = write_config(
            other.url, label={"prompts": "prompts.jsonl"}, visual={**mine, "model": "visual"}
        )
        outcome = autolabel("run", config, "--json")
        assert (outcome.code, outcome.summary["labelled"]) == (0, 6)
        assert len(other.log) == 6


def test_replayed_texts_and_boxes_of_equal_images(photos):
    """Two names of one content, each with its own box, beside answers that are free: both are labelled."""
    Path("photos/copy.png").write_bytes(Path("photos/000.png").read_bytes())
    Path("answers").mkdir()
    for name in ("000.png", "copy.png"):
        Path(f"answers/{name}.json").write_text('{"detections": []}')
    lines = [
        {"image": "000.png", "class": "red", "box": [2, 2, 30, 40]},
        {"image": "copy.png", "class": "red", "box": [5, 5, 40, 50]},
    ]
    Path("prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = write_config(
        "",
        images=["photos/000.png", "photos/copy.png"],
        backend={"name": "replay", "answers": "answers"},
        label={"prompts": "prompts.jsonl"},
    )
    outcome = autolabel("label", config, "--json")
    assert (outcome.code, outcome.summary["labelled"]) == (0, 2)


def test_a_bug_beside_loses_no_answer(photos):
    """What texts were answered and paid for is kept where the backend for boxes breaks."""
    Path("buggy.py").write_text(
        "from autolabel.backends.base import Limits, Model\n"
        "class Buggy(Model):\n"
        "    LIMITS = Limits(takes=frozenset({'boxes'}))\n"
        "    def predict(self, picture, prompts):\n        raise ValueError('a bug')\n"
        "class Silent(Buggy):\n"
        "    def predict(self, picture, prompts):\n        return None\n"
    )
    line = {"image": "000.png", "class": "red", "box": [1, 1, 30, 30]}
    Path("prompts.jsonl").write_text(json.dumps(line))
    with Host(RoboflowServer()) as host:
        for name, words in (
            ("Buggy", "unexpected ValueError: a bug"),
            ("Silent", "returned NoneType, no answer"),
        ):
            visual = {"name": f"buggy:{name}"}
            config = write_config(host.url, visual=visual, label={"prompts": "prompts.jsonl"})
            outcome = autolabel("run", config, "--json")
            assert (outcome.code, outcome.summary["failed"]) == (3, 1)
            assert words in outcome.err
        assert len(host.log) == 6


def test_an_image_without_boxes_is_looked_at_all_the_same(photos):
    """Nothing is asked about it, and still it is no background where the file is cut."""
    data = Path("photos/001.png").read_bytes()
    Path("photos/001.png").write_bytes(data[: len(data) // 2])
    boxes = {"000.png": [(1, "red", box(patch(0, "red")))], "001.png": [], "002.png": []}
    config = write_config(
        "", backend=GRABCUT, images="photos/00[012].png", label={"boxes": coco_boxes(boxes)}
    )
    outcome = autolabel("run", config, "--json")
    assert (outcome.code, outcome.summary["failed"]) == (3, 1)
    assert "001.png" in outcome.err
