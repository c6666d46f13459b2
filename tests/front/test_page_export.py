"""From the browser to the dataset: what was decided on the page is what `autolabel export` writes."""

import csv
import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from tests.front.street import CONFIG, NASTY, NASTY_CLASS, STREET, bitmap, box
from tests.run.support import autolabel

DATASET = Path("datasets/street")


def exported(*options: str) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Class and bitmap of every exported instance by file name, after `autolabel export`, read by pycocotools."""
    outcome = autolabel("export", CONFIG, "--json", *options)
    assert outcome.code == 0, outcome.err
    found: dict[str, list[tuple[str, np.ndarray]]] = {}
    for path in sorted(DATASET.glob("coco/annotations/*.json")):
        coco = COCO(str(path))
        for image in coco.loadImgs(coco.getImgIds()):
            annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
            names = [coco.cats[a["category_id"]]["name"] for a in annotations]
            found[image["file_name"]] = list(zip(names, map(coco.annToMask, annotations), strict=True))
    return found


def dropped() -> list[tuple[str, str, str]]:
    with (DATASET / "dropped.csv").open(newline="", encoding="utf-8") as file:
        return sorted((row["image"], row["class"], row["reason"]) for row in csv.DictReader(file))


def only(found: list[tuple[str, np.ndarray]], name: str) -> np.ndarray:
    [mask] = [mask for each, mask in found if each == name]
    return mask


def test_every_decision_is_in_the_dataset(review):
    """Accepted, rejected, relabelled, edited, drawn, split and merged: each in COCO, dropped.csv and dataset.json."""
    review.open("cars.png").press("ArrowDown", "3")  # 0.9 is a dog
    review.press("ArrowDown", "r", "s", "ArrowDown", "a", "s")  # no person 0.7, but person 0.2
    review.click(90, 30).press("e").drag((110, 48), (118, 56)).press("Enter")  # car 0.6 is larger
    review.leave().tile("double.png").click()
    review.press("r").expect_state("double.png", "rejected")
    review.open("empty.png").press("g")
    for corner in ((50, 40), (110, 40), (110, 90), (50, 90)):
        review.click(*corner)
    review.press("Enter")
    review.open("parts.png").press("ArrowDown", "x")
    review.open("ring.png").press("A").expect_open(f"side/{NASTY}")
    review.saved()

    found = exported()
    assert sorted(found) == sorted(name for name in STREET if name != "double.png")
    cars = found["cars.png"]
    assert sorted(name for name, _ in cars) == sorted(["car", "person", NASTY_CLASS])
    assert (only(cars, NASTY_CLASS) == bitmap(STREET["cars.png"][0][2])).all()
    assert (only(cars, "person") == bitmap(STREET["cars.png"][3][2])).all()
    assert only(cars, "car")[53, 115] == 1
    [(name, drawn)] = found["empty.png"]
    assert name == NASTY_CLASS  # the class last given
    assert abs(int(drawn.sum()) - 60 * 50) < 120
    assert sorted(mask.sum() for _, mask in found["parts.png"]) == [2100, 2100]
    assert (found["ring.png"][0][1] == bitmap(STREET["ring.png"][0][2])).all()
    assert dropped() == [
        ("cars.png", "person", "review_rejected"),
        ("double.png", "car", "review_rejected"),
        ("double.png", "car", "review_rejected"),
    ]
    review_counts = json.loads((DATASET / "dataset.json").read_text(encoding="utf-8"))["review"]
    assert review_counts["accepted"] == 1
    assert review_counts["rejected"] == 1
    assert review_counts["added"] == 2  # drawn, and the second part


def test_merged_instances_are_one_in_the_dataset(review):
    """The merged mask is exported once, and the others are dropped as rejected."""
    review.open("cars.png").click(30, 30).click(90, 30, "Shift").press("m").saved()
    whole = bitmap(box(10, 10, 60, 50)) | bitmap(box(70, 12, 110, 48))
    assert (only(exported()["cars.png"], "car") == whole).all()
    assert dropped().count(("cars.png", "car", "review_rejected")) == 1


def test_undone_and_withdrawn_decisions_leave_no_trace(review):
    """After undo and withdrawal the dataset has the bytes that it had before."""
    exported()
    before = {path: path.read_bytes() for path in DATASET.rglob("*.json")}
    review.press("r", "z").open("cars.png").press("ArrowDown", "2", "z", "r")
    review.rows.first.click()
    review.press("w").saved()
    exported()
    assert {path: path.read_bytes() for path in DATASET.rglob("*.json")} == before


def test_only_reviewed_images_are_exported_when_asked(review):
    """--reviewed-only writes the images that were accepted on the page, and no other."""
    review.press("a", "a", "r").expect_state("empty.png", "rejected").saved()
    assert sorted(exported("--reviewed-only")) == ["cars.png", "double.png"]


def test_saved_thresholds_are_those_of_the_next_export(review):
    """What the sliders show after Save to config is what an export then writes."""
    review.slider("car", "confidence").fill("0.83")
    review.root.get_by_role("button", name="Save to config").click()
    review.page.wait_for_function(
        "() => document.querySelector('.al-message').textContent.startsWith('saved to')"
    )
    shown = int(review.kept("car").get_attribute("data-kept") or "")
    assert sum(name == "car" for found in exported().values() for name, _ in found) == shown
