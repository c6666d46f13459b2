"""Decisions of a review reach the dataset, through the command line and other people's readers."""

import csv
import json
import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from autolabel import Config, decisions, open_run
from autolabel.decisions import Decision, Origin, Review
from autolabel.errors import InputError
from autolabel.geometry import rle
from autolabel.pipeline.results import Labelled, Run
from autolabel.review.applying import apply_decisions
from autolabel.review.session import Session
from tests.run.support import autolabel, contents, write_config
from tests.run.test_dataset import DATASET, detection, replay_config
from tests.run.test_visual import box as box_of
from tests.run.test_visual import coco_boxes, patch
from tests.servers.host import Host
from tests.servers.roboflow import RoboflowServer

SIZE = (40, 60)
AT = "2026-01-01T00:00:00Z"
CLASSES = [{"name": "car", "nms_iou": 0.7}, "cat"]
LARGE, NEAR, SMALL, LOW = (2, 2, 20, 20), (2, 2, 20, 18), (30, 5, 10, 10), (30, 20, 12, 12)


def box(x: int, y: int, w: int, h: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y : y + h, x : x + w] = True
    return mask


def answer(place: tuple[int, int, int, int], prompt: str = "car", score: float | None = 0.9) -> dict:
    return detection(box(*place), prompt, score)


ANSWERS = [answer(LARGE), answer(NEAR, score=0.8), answer(SMALL, "cat", 0.7), answer(LOW, score=0.3)]


@pytest.fixture
def config():
    """Four labelled images; a.png has a car, its duplicate, a cat, and a car below the threshold."""
    more = {f"{name}.png": [answer(LARGE)] for name in "bcd"}
    config = replay_config({"a.png": ANSWERS} | more, SIZE, classes=CLASSES)
    assert autolabel("label", config).code == 0
    return config


def entry_of(run: Run, name: str) -> Labelled:
    return next(entry for entry in run.survey().labelled if entry.item.file_name == name)


def answers(name: str = "a.png") -> list[Origin]:
    """The answers of an image as decisions name them."""
    with open_run(Config.load("street.yaml")) as run:
        found, _ = run.answers(entry_of(run, name))
    names = [run.categories[d.class_id].name for d in found]
    ids = decisions.instance_ids(found)
    return [
        Origin(id_, name, d.asked.key, d.confidence, d.mask)
        for id_, name, d in zip(ids, names, found, strict=True)
    ]


def digest(name: str = "a.png") -> str:
    return decisions.answers_digest(origin.id for origin in answers(name))


def put(review: Review | bytes, name: str = "a.png") -> int:
    """Decide about an image, as a page would."""
    document = review if isinstance(review, bytes) else orjson.dumps(decisions.to_json(review))
    with open_run(Config.load("street.yaml")) as run:
        image = entry_of(run, name).image
        base = (run.store.review(image) or (0,))[0]
        revision = run.store.put_review(image, document, AT, base=base)
    assert revision == base + 1
    return revision


def of_place(origins: list[Origin], place: tuple[int, int, int, int]) -> Origin:
    mask = rle.from_bitmap(box(*place))
    return next(origin for origin in origins if origin.mask == mask)


def accept(place: tuple, **keys) -> Decision:
    return Decision("accepted", of_place(answers(), place), **keys)


def reject(place: tuple) -> Decision:
    return Decision("rejected", of_place(answers(), place))


def export(config: str, *options: str, code: int = 0) -> dict:
    """Export; the summary of --json, with the identity that always holds."""
    done = autolabel("export", config, "--json", *options)
    assert done.code == code, done.err
    counts = done.summary["instances"]
    assert counts["answered"] == counts["exported"] + sum(
        n for reason, n in counts["dropped"].items() if not reason.startswith("format_limit:")
    )
    return done.summary | {"err": done.err}


def exported() -> dict[str, Counter]:
    """Image to (class, counts of the mask) of every instance, as pycocotools reads them."""
    found: dict[str, Counter] = {}
    for path in sorted((DATASET / "coco/annotations").glob("*.json")):
        coco = COCO(str(path))
        for image in coco.imgs.values():
            notes = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
            found[image["file_name"]] = Counter(
                (coco.cats[n["category_id"]]["name"], rle.from_bitmap(coco.annToMask(n)).counts)
                for n in notes
            )
    return found


def wanted(*instances: tuple[str, tuple[int, int, int, int]]) -> Counter:
    return Counter((name, rle.from_bitmap(box(*place)).counts) for name, place in instances)


def drops() -> list[dict[str, str]]:
    with (DATASET / "dropped.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def dropped() -> dict[tuple[str, str], Counter]:
    """Reasons by image and class."""
    found: dict[tuple[str, str], Counter] = {}
    for row in drops():
        found.setdefault((row["image"], row["class"]), Counter())[row["reason"]] += 1
    return found


def test_a_rejected_instance_suppresses_nothing(config):
    """The best-scored car is rejected: its duplicate takes its place, and the dataset says why."""
    put(Review(instances=(reject(LARGE),)))
    summary = export(config)
    assert exported()["a.png"] == wanted(("car", NEAR), ("cat", SMALL))
    assert summary["instances"]["dropped"] == {"review_rejected": 1, "below_confidence": 1}
    assert summary["review"]["edited"] == 1
    manifest = json.loads((DATASET / "dataset.json").read_text())
    assert manifest["review"] == summary["review"]
    assert "reviewed_only" not in manifest


def test_what_is_accepted_passes_the_filters_and_wins(config):
    """A low and a worse-scored duplicate stay once accepted; the better one gives way and names them."""
    put(Review(instances=(accept(NEAR), accept(LOW))))
    export(config)
    assert exported()["a.png"] == wanted(("car", NEAR), ("car", LOW), ("cat", SMALL))
    assert [(row["reason"], row["kept_by"]) for row in drops()] == [("nms_same_class", "car/car/0.8")]


def test_relabelled_redrawn_and_added_instances_are_exported(config):
    """Another class, another mask and a new instance reach the files; the added one counts as answered."""
    added = Decision("accepted", None, "cat", rle.from_bitmap(box(45, 30, 8, 8)), "box")
    redrawn = accept(LARGE, mask=rle.from_bitmap(box(2, 2, 9, 9)), how="vertices")
    put(Review(instances=(accept(SMALL, category="car"), redrawn, added)))
    summary = export(config)
    assert exported()["a.png"] == wanted(
        ("car", SMALL), ("car", (2, 2, 9, 9)), ("cat", (45, 30, 8, 8)), ("car", NEAR)
    )
    assert summary["instances"]["answered"] == 4 + 3 + 1
    counts = {name: n for name, n in summary["review"].items() if n}
    assert counts == {"edited": 1, "added": 1, "relabelled": 1, "redrawn": 1}
    labels = (DATASET / "voc/VOCdevkit/VOC2012/Annotations/a.xml").read_text()
    assert labels.count("<object>") == 4


def test_a_format_that_cannot_hold_what_was_accepted_says_so(config):
    """The same instance twice, both accepted, is in COCO twice, and counted where YOLO has no room for it."""
    again = Decision("accepted", None, "car", rle.from_bitmap(box(*LARGE)))
    put(Review(instances=(accept(LARGE), again)))
    summary = export(config)
    assert exported()["a.png"] == wanted(("car", LARGE), ("car", LARGE), ("cat", SMALL))
    assert summary["instances"]["dropped"]["format_limit:yolo"] == 1
    assert summary["review"]["added"] == 1


def test_boxes_are_flagged_as_the_review_leaves_them(photos):
    """A mask redrawn into its box is no more flagged, nor is a rejected one; who accepts an image knows it empty."""
    red = box_of(patch(0, "red"))
    half = [red[0], red[1], red[2], red[3] / 2 - 3]  # the host answers with the whole patch
    boxes = {
        "000.png": [(1, "red", half), (2, "red", [0, 0, 96, 64])],
        "001.png": [(3, "red", [1, 55, 3, 3])],  # with nothing in it
    }
    with Host(RoboflowServer()) as host:
        config = write_config(
            host.url,
            backend={"name": "roboflow", "model": "visual", "base_url": host.url},
            images="photos/00[01].png",
            label={"boxes": coco_boxes(boxes), "confidence": 0.05},
            filter={"confidence": 0.05, "nms_iou": None},
        )
        assert autolabel("run", config).code == 3
    flagged = DATASET / "flagged.csv"
    assert len(flagged.read_text().splitlines()) == 3
    first, second = answers("000.png")
    x, y, w, h = map(round, half)
    within = np.zeros((64, 96), bool)
    within[y : y + h, x : x + w] = True
    put(
        Review(
            instances=(
                Decision("accepted", first, mask=rle.from_bitmap(within), how="polygon"),
                Decision("rejected", second),
            )
        ),
        "000.png",
    )
    put(Review("accepted", digest("001.png")), "001.png")
    summary = export(config)
    assert set(exported()) == {"000.png", "001.png"}
    assert [row.split(",")[2] for row in flagged.read_text().splitlines()[1:]] == ["3"]
    assert summary["instances"] == {
        "answered": 3, "exported": 1, "dropped": {"review_rejected": 1, "empty_mask": 1},
    }  # fmt: skip


def test_files_of_one_content_have_places_of_their_own(photos):
    """What one of two equal files with boxes of their own has answers for is neither lost nor stale."""
    Path("photos/001.png").write_bytes(Path("photos/000.png").read_bytes())
    red, blue = (box_of(patch(0, colour), grow=3) for colour in ("red", "blue"))
    config = write_config(
        "",
        backend={"name": "grabcut"},
        images="photos/00[01].png",
        classes=["red", "blue"],
        label={"boxes": coco_boxes({"000.png": [(1, "red", red)], "001.png": [(2, "blue", blue)]})},
    )
    assert autolabel("label", config).code == 0
    (one,), (other,) = answers("000.png"), answers("001.png")
    assert one.id != other.id
    decided = (Decision("accepted", one), Decision("accepted", other))
    put(Review("accepted", digest("000.png"), AT, decided), "000.png")
    summary = export(config)
    counts = summary["review"]
    assert (counts["accepted"], counts["edited"], counts["stale"], counts["lost"]) == (1, 1, 0, 0)
    with Session(Config.load(config)) as session:
        index = orjson.loads(session.index())
        image = index["images"]["image"][0]
        shown = index["reviews"][image]
        assert (shown["lost"], shown["matched"]) == ([1], [0, None])
        assert shown["of"] == {"1": {"lost": [0], "matched": [None, 0]}}
        assert all("counts" in d["origin"] for d in shown["review"]["instances"])
        kept = session.decide(1, image, 1, shown["review"] | {"verdict": "rejected"})
        assert kept["of"] == {"0": {"lost": [1], "matched": [0, None]}}
    put(Review("accepted", "0" * 16, AT, (replace(decided[0], origin=replace(one, id="0" * 16)),)), "000.png")
    counts = export(config, "--overwrite")["review"]
    assert (counts["stale"], counts["lost"]) == (1, 0), "one content, met by its overlap in one file"


def test_an_export_sees_the_decisions_of_one_moment(config):
    """What is decided while the dataset is written waits for the next export."""
    put(Review("rejected"))
    with open_run(Config.load(config)) as run:
        revisions, entry = run.store.revisions(), entry_of(run, "a.png")
        put(Review(instances=(reject(LARGE),)))
        put(Review("rejected"), "b.png")
        assert run.reviewed(entry, revisions).applied.state == "rejected"
        assert run.reviewed(entry).applied.state == "edited"
        assert run.reviewed(entry_of(run, "b.png"), revisions).applied.state == "new"


def test_a_rejected_image_is_left_out(config):
    """No format has it, no split is drawn for it, and each of its instances has its reason."""
    put(Review("rejected", digest()))
    summary = export(config)
    assert set(exported()) == {"b.png", "c.png", "d.png"}
    assert sum(row["images"] for row in summary["splits"].values()) == 3
    assert dropped() == {
        ("a.png", "car"): Counter(review_rejected=3),
        ("a.png", "cat"): Counter(review_rejected=1),
    }
    assert (summary["review"]["rejected"], summary["review"]["left_out"], summary["failed"]) == (1, 1, 0)
    with open_run(Config.load("street.yaml")) as run:
        image = entry_of(run, "a.png").image
        assert image not in run.store.splits()
        by_name = {result.file_name: result for result in run.results()}
        raw = {result.file_name: result for result in run.results(raw=True)}
    assert (by_name["a.png"].status, len(by_name["a.png"].detections)) == ("rejected", 0)
    assert (raw["a.png"].status, len(raw["a.png"].detections)) == ("labelled", 4)
    assert by_name["b.png"].status == "labelled"


def test_an_accepted_image_is_frozen_until_its_answers_change(config):
    """Other thresholds bring nothing new into it; other answers end the acceptance, and are pointed out."""
    put(Review("accepted", digest(), AT, (accept(LARGE), accept(SMALL))))
    loose = ("--set", "filter.confidence=0.2", "--set", "filter.nms_iou=1.0")
    assert export(config, *loose)["review"]["accepted"] == 1
    assert exported()["a.png"] == wanted(("car", LARGE), ("cat", SMALL))
    assert dropped()["a.png", "car"]["review_rejected"] == 1
    summary = export(config, *loose, "--set", "classes=[{name: car, nms_iou: 0.7}]")
    assert exported()["a.png"] == wanted(("car", LARGE), ("car", LOW))
    assert (summary["review"]["accepted"], summary["review"]["stale"], summary["review"]["lost"]) == (0, 1, 1)
    assert "accepted on other answers" in summary["err"]
    assert "found no instance any more" in summary["err"]


def test_decisions_outlive_a_new_labelling(config):
    """After other answers came, decisions hold for what overlaps, and what found nothing is counted and told."""
    put(Review(instances=(reject(LARGE), accept(SMALL, category="car"), accept(LOW))))
    moved, gone = (4, 2, 20, 20), (2, 25, 6, 6)
    again = [answer(moved, score=0.6), answer(SMALL, "cat", 0.55), answer(gone)]
    Path("answers/a.png.json").write_bytes(orjson.dumps({"detections": again}))
    assert autolabel("label", config).code == 0
    summary = export(config)
    assert exported()["a.png"] == wanted(("car", SMALL), ("car", gone))
    assert dropped()["a.png", "car"] == Counter(review_rejected=1)
    assert summary["review"]["lost"] == 1
    assert "1 decision(s) of the review found no instance any more" in summary["err"]


def test_reviewed_only_writes_what_was_accepted(config):
    """Images that nobody accepted are left out and counted; their splits stay what they were."""
    export(config)
    with open_run(Config.load("street.yaml")) as run:
        before = run.store.splits()
    put(Review("accepted", digest(), AT, (accept(LARGE),)))
    put(Review("accepted", "0" * 16), "b.png")
    put(Review("rejected"), "c.png")
    summary = export(config, "--reviewed-only")
    assert exported() == {"a.png": wanted(("car", LARGE))}
    assert summary["review"]["left_out"] == 3
    assert dropped()["b.png", "car"] == dropped()["d.png", "car"] == Counter(not_reviewed=1)
    assert dropped()["c.png", "car"] == Counter(review_rejected=1)
    assert json.loads((DATASET / "dataset.json").read_text())["reviewed_only"] is True
    with open_run(Config.load("street.yaml")) as run:
        assert run.store.splits() == before


def test_without_an_accepted_image_the_old_dataset_stays(config):
    """--reviewed-only before anything is accepted writes nothing and says so, by exit code too."""
    export(config)
    before = contents(DATASET)
    summary = export(config, "--reviewed-only", code=3)
    assert "no image is accepted in the review" in summary["err"]
    assert (summary["output"], contents(DATASET)) == (None, before)
    for name in "abcd":
        put(Review("rejected"), f"{name}.png")
    assert "every image is rejected" in export(config, code=3)["err"]
    assert contents(DATASET) == before


def test_a_dataset_with_decisions_is_the_same_twice_and_without_them_as_before(config):
    """Exports of the same decisions are byte-identical; what is undone leaves no trace."""
    export(config)
    without = contents(DATASET)
    put(Review(instances=(reject(LARGE), accept(LOW))))
    export(config)
    decided = contents(DATASET)
    assert decided != without
    export(config)
    assert contents(DATASET) == decided
    put(Review())
    export(config)
    assert contents(DATASET) == without


@pytest.mark.parametrize("document", [b"\0damaged", b'{"verdict": 1}', b"[]", None])
@pytest.mark.parametrize("empty", ["keep", "skip"])
def test_a_review_that_cannot_be_read_fails_its_image(config, document, empty):
    """A damaged review, or one of an image of another size, is one failure by name; the others are exported."""
    if document is None:
        other = rle.from_bitmap(np.ones((7, 9), bool))
        document = orjson.dumps(
            decisions.to_json(Review(instances=(Decision("accepted", None, "car", other),)))
        )
    put(document)
    summary = export(config, "--set", f"export.empty_images={empty}", code=3)
    assert "a.png: its review (revision 1) can't be read" in summary["err"]
    assert set(exported()) == {"b.png", "c.png", "d.png"}
    assert "a.png" in (DATASET / "failures.csv").read_text()
    with open_run(Config.load("street.yaml")) as run:
        assert [r.status for r in run.results()] == ["failed", "labelled", "labelled", "labelled"]


def test_nobody_is_asked_for_reviews_that_are_not_there(config, monkeypatch):
    """Without decisions an export looks for them once, not once an image."""
    seen: list[str] = []
    connect = sqlite3.connect

    def watched(*arguments, **keys):
        connection = connect(*arguments, **keys)
        connection.set_trace_callback(seen.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", watched)
    export(config)
    assert sum("FROM reviews" in statement for statement in seen) == 1


PLACES = [LARGE, NEAR, SMALL, LOW]
ADDED = (45, 30, 8, 8)
choice = st.sampled_from(["open", "accepted", "rejected", "relabelled", "redrawn"])
documents = st.tuples(
    st.sampled_from([None, "accepted", "stale", "rejected"]),
    st.tuples(choice, choice, choice, choice),
    st.booleans(),
)


def made(document: tuple, origins: list[Origin]) -> Review:
    verdict, choices, adds = document
    instances = []
    for place, said in zip(PLACES, choices, strict=True):
        origin = of_place(origins, place)
        redrawn = rle.from_bitmap(box(place[0], place[1], 5, 4)) if said == "redrawn" else None
        category = "cat" if said == "relabelled" else None
        if said != "open":
            instances.append(
                Decision("rejected" if said == "rejected" else "accepted", origin, category, redrawn)
            )
    if adds:
        instances.append(Decision("accepted", None, "cat", rle.from_bitmap(box(*ADDED))))
    made_on = "f" * 16 if verdict == "stale" else decisions.answers_digest(o.id for o in origins)
    return Review("accepted" if verdict == "stale" else verdict, made_on, AT, tuple(instances))


def expected(document: tuple) -> Counter | None:
    """What pycocotools should find of a.png where no instance suppresses another; None where it is left out."""
    verdict, choices, adds = document
    if verdict == "rejected":
        return None
    classes, found = ["car", "car", "cat", "car"], []
    for place, name, score, said in zip(PLACES, classes, (0.9, 0.8, 0.7, 0.3), choices, strict=True):
        if said == "redrawn":
            found.append((name, (place[0], place[1], 5, 4)))
        elif said == "relabelled":
            found.append(("cat", place))
        elif said == "accepted" or (said == "open" and score >= 0.5 and verdict != "accepted"):
            found.append((name, place))
    return wanted(*found, *([("cat", ADDED)] if adds else []))


def test_any_sequence_of_decisions_and_undos_can_be_exported(config):
    """Whatever was decided and undone, the dataset holds exactly what the last document says."""
    options = [word for key in (
        "filter.nms_iou=null", "filter.cross_class_iou=null", "classes=[car, cat]", "export.formats=[coco]",
        "export.images=none", "export.coco.segmentation=rle",
    ) for word in ("--set", key)]  # fmt: skip
    origins = answers()

    @settings(deadline=None, max_examples=25)
    @given(st.lists(documents | st.just("undo"), min_size=1, max_size=4))
    def check(steps):
        put(Review())
        history: list = [(None, ("open",) * 4, False)]
        for step in steps:
            if step == "undo":
                history[-2:] = history[-2:-1] or history
            else:
                history.append(step)
            put(made(history[-1], origins))
        export(config, *options)
        assert exported().get("a.png") == expected(history[-1])

    check()


def saved(*images: dict, **keys) -> Path:
    path = Path("decisions.json")
    path.write_bytes(orjson.dumps({"autolabel_decisions": 1, "images": list(images)} | keys))
    return path


def decided(review: Review, name: str = "a.png", base: int = 0) -> dict:
    with open_run(Config.load("street.yaml")) as run:
        image = entry_of(run, name).image.hex()
    return {"image": image, "name": name, "base": base, "review": decisions.to_json(review)}


def test_decisions_from_a_file_are_applied_once(config):
    """A file's decisions reach the dataset; applying it again changes nothing, nor does a later time."""
    review = Review("rejected", digest(), AT)
    path = saved(decided(review))
    done = apply_decisions(Config.load(config), path)
    assert (done.exit_code, done.applied, done.already) == (0, 1, 0)
    assert export(config)["review"]["rejected"] == 1
    saved(decided(Review("rejected", digest(), "2027-01-01T00:00:00Z")))
    done = apply_decisions(Config.load(config), path)
    assert (done.exit_code, done.applied, done.already) == (0, 0, 1)
    assert list(done.lines()) == ["decisions.json: decisions on 1 images: 0 applied, 1 already there"]
    assert put(Review()) == 2


def test_what_was_decided_meanwhile_is_never_overwritten(config):
    """Conflicts, unknown images and what is no review are named; the others are applied."""
    put(Review("accepted", digest(), AT))
    path = saved(
        decided(Review("rejected")),
        decided(Review("rejected"), "b.png"),
        decided(Review("rejected"), "c.png") | {"review": {"verdict": "maybe", "instances": []}},
        decided(Review("rejected"), "d.png") | {"image": "00", "name": "z\n.png"},
    )
    done = apply_decisions(Config.load(config), path)
    assert (done.exit_code, done.applied) == (3, 1)
    kinds = {
        key: [one["image"] for one in done.to_json()[key]] for key in ("conflicts", "unknown", "refused")
    }
    assert kinds == {"conflicts": ["a.png"], "unknown": ["z?.png"], "refused": ["c.png"]}
    assert len(list(done.troubles())) == 3
    summary = export(config)
    assert (summary["review"]["accepted"], summary["review"]["rejected"]) == (1, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"\xff", b"[" * 100_000, b'{"autolabel_decisions": 2, "images": []}',
        b'{"autolabel_decisions": 1, "images": [{"image": 1}]}',
        b'{"autolabel_decisions": 1, "images": [], "more": 1}',
        b'{"autolabel_decisions": 1, "images": ['
        + b", ".join([b'{"image": "00", "name": "a", "base": 0, "review": {}}'] * 2) + b"]}",
    ],
)  # fmt: skip
def test_what_is_no_file_of_decisions_is_refused(config, data):
    """Another file is one sentence that names it, and nothing is applied."""
    Path("decisions.json").write_bytes(data)
    with pytest.raises(InputError, match=r"decisions\.json"):
        apply_decisions(Config.load(config), "decisions.json")
    with pytest.raises(InputError, match="can't be read"):
        apply_decisions(Config.load(config), "missing.json")
