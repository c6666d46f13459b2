"""Asking is paid for once: what is kept is never asked again, whatever changes around it."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.run.support import autolabel, contents, prompts_of, write_config, write_pictures
from tests.servers.host import Host, Response
from tests.servers.roboflow import RoboflowServer

SUMMARY_KEYS = [
    "images", "labelled", "failed", "requests", "retries", "cost", "seconds", "instances", "splits", "output", "run",
]  # fmt: skip


def test_one_command_makes_three_formats(host, photos):
    """`run` asks once an image for all classes, writes every format, and says what it did."""
    done = autolabel("run", write_config(host.url), "--json")
    assert done.code == 0
    assert list(done.summary) == SUMMARY_KEYS
    assert len(host.requests) == len(photos) == done.summary["requests"]
    assert done.summary["instances"] == {"answered": 12, "exported": 12, "dropped": {}}
    assert done.summary["splits"] == {
        "train": {"images": 5, "instances": {"red": 5, "green": 5}},
        "val": {"images": 1, "instances": {"red": 1, "green": 1}},
    }
    names = {path.name for path in Path("datasets/street").iterdir() if not path.name.startswith(".")}
    assert names == {"coco", "yolo", "voc", "dataset.json", "dropped.csv", "failures.csv"}


def test_a_second_run_asks_nothing_and_writes_the_same_bytes(host, photos):
    """Repeating a run costs no request and changes no byte."""
    config = write_config(host.url)
    autolabel("run", config)
    before, asked = contents("datasets/street"), len(host.requests)
    done = autolabel("run", config, "--json")
    assert (done.code, done.summary["requests"], len(host.requests)) == (0, 0, asked)
    assert contents("datasets/street") == before


@pytest.mark.parametrize(
    "override",
    [
        "filter.confidence=0.93", "filter.nms_iou=null", "filter.min_area=200", "filter.nms_metric=ios",
        "classes.0.max_instances=1", "split.seed=4", "split={train: 0.5, val: 0.5}", "export.formats=[coco]",
        "export.coco.segmentation=rle", "export.yolo.parts=largest", "export.images=none", "label.workers=1",
        "label.confidence=0.3",
    ],
)  # fmt: skip
def test_filters_splits_and_exports_are_free(host, photos, override):
    """Another filter, split or export key asks nothing."""
    config = write_config(host.url)
    autolabel("run", config)
    asked = len(host.requests)
    assert autolabel("run", config, "--set", override).code == 0
    assert len(host.requests) == asked


def test_a_new_class_asks_only_for_its_prompt(host, photos):
    """Adding a class asks each image for the new prompt alone."""
    autolabel("run", write_config(host.url))
    asked = len(host.requests)
    done = autolabel("run", write_config(host.url, classes=["red", "green", "blue"]), "--json")
    assert [prompts_of(request) for request in host.requests[asked:]] == [["blue"]] * len(photos)
    assert done.summary["splits"]["train"]["instances"] == {"red": 5, "green": 5, "blue": 5}


def test_moving_a_prompt_to_another_class_asks_nothing(host, photos):
    """Which class a prompt belongs to is the export's business."""
    autolabel("run", write_config(host.url))
    asked = len(host.requests)
    merged = [{"name": "thing", "prompts": ["green", "red"]}]
    done = autolabel("run", write_config(host.url, classes=merged), "--json")
    assert len(host.requests) == asked
    assert done.summary["splits"]["train"]["instances"] == {"thing": 10}


def test_a_moved_or_renamed_image_asks_nothing(host, photos):
    """Answers belong to contents: a new name or folder is no new image."""
    config = write_config(host.url)
    autolabel("run", config)
    Path("photos/sub dir").mkdir()
    photos[0].rename("photos/sub dir/renamed.png")
    photos[1].rename("photos/été, 1.png")
    done = autolabel("run", config, "--json")
    assert (done.summary["requests"], done.summary["labelled"]) == (0, 6)
    images = json.loads(Path("datasets/street/coco/annotations/instances_train.json").read_text())["images"]
    images += json.loads(Path("datasets/street/coco/annotations/instances_val.json").read_text())["images"]
    assert {"sub dir/renamed.png", "été, 1.png"} <= {image["file_name"] for image in images}


def test_equal_contents_are_asked_for_once(host, photos):
    """Copies of an image cost one request, and share its split."""
    for i in range(3):
        Path(f"photos/copy{i}.png").write_bytes(photos[0].read_bytes())
    done = autolabel("run", write_config(host.url), "--json")
    assert (len(host.requests), done.summary["labelled"]) == (6, 9)
    for split in ("train", "val"):
        names = {path.name for path in Path(f"datasets/street/coco/images/{split}").iterdir()}
        assert len(names & {"000.png", "copy0.png", "copy1.png", "copy2.png"}) in (0, 4)


def test_a_lower_floor_asks_again(host, photos):
    """An answer asked from 0.3 up does not serve from 0.1 up; the other way round it does."""
    config = write_config(host.url)
    autolabel("label", config, "--set", "label.confidence=0.3")
    assert autolabel("label", config, "--json").summary["requests"] == 6
    assert autolabel("label", config, "--set", "label.confidence=0.3", "--json").summary["requests"] == 0


def test_other_hosts_and_models_do_not_share_answers(host, photos):
    """An answer belongs to the address it came from."""
    config = write_config(host.url)
    autolabel("label", config)
    with Host(RoboflowServer()) as other:
        override = f"backend.base_url={other.url}"
        assert autolabel("label", config, "--set", override, "--json").summary["requests"] == 6


def test_more_prompts_than_a_request_takes_go_in_several(host, photos):
    """Seventeen prompts are two requests an image, and `plan` says so before."""
    names = ["red", *(f"thing {i}" for i in range(16))]
    config = write_config(host.url, classes=names)
    assert json.loads(autolabel("plan", config, "--json").out)["requests"] == 12
    assert autolabel("label", config, "--json").summary["requests"] == 12
    assert [len(prompts_of(request)) for request in host.requests].count(1) == 6


def test_plan_counts_what_is_not_kept(host, photos):
    """`plan` asks nothing, needs no key, and knows what is answered already."""
    config = write_config(host.url, backend={"name": "roboflow", "price_per_request": 0.25})
    before = sorted(os.listdir())
    plan = json.loads(autolabel("plan", config, "--json").out)
    assert plan == {"images": 6, "cached": 0, "requests": 6, "cost": 1.5, "seconds": 0.3}
    assert sorted(os.listdir()) == before
    config = write_config(host.url)
    autolabel("label", config, "--limit", "4")
    plan = json.loads(autolabel("plan", config, "--json").out)
    assert (plan["images"], plan["cached"], plan["requests"], plan["cost"]) == (6, 4, 2, None)


def test_a_limit_takes_a_seeded_sample(host, photos):
    """`run --limit 3` asks for and exports the same three images each time; the rest comes on top."""
    config = write_config(host.url)
    done = autolabel("run", config, "--limit", "3", "--json")
    assert (done.code, done.summary["images"], done.summary["requests"]) == (0, 3, 3)
    assert autolabel("run", config, "--limit", "3", "--json").summary["requests"] == 0
    assert autolabel("run", config, "--json").summary["requests"] == 3


def test_a_sample_moves_nothing_out_of_its_split(host, photos):
    """A limited run may borrow a val image from train; afterwards every image is where it was."""
    config = write_config(host.url)
    autolabel("run", config)
    val = sorted(path.name for path in Path("datasets/street/coco/images/val").iterdir())
    for limit in ("2", "3", "4"):
        sample = autolabel("run", config, "--limit", limit, "--json").summary["splits"]
        assert sample["val"]["images"] >= 1
    autolabel("export", config)
    assert sorted(path.name for path in Path("datasets/street/coco/images/val").iterdir()) == val


def test_a_body_that_is_not_understood_is_not_paid_for_again(photos):
    """A 200 of another shape is a failure that stays; --retry-unclear pays for another try."""
    odd = Response(200, b'{"prompt_results": "maintenance"}')
    with Host(RoboflowServer(), script=[odd]) as host:
        config = write_config(host.url, label={"workers": 1})
        done = autolabel("run", config, "--json")
        assert (done.code, done.summary["failed"], len(host.requests)) == (3, 1, 6)
        assert "maintenance" in Path("datasets/street/failures.csv").read_text()
        again = autolabel("run", config, "--json")
        assert (again.code, again.summary["requests"]) == (3, 0)
        paid = autolabel("run", config, "--retry-unclear", "--json")
        assert (paid.code, paid.summary["requests"], paid.summary["failed"]) == (0, 1, 0)


@pytest.mark.parametrize(
    "script",
    [
        [Response(200, b"")] * 4,
        [Response(200, b"<html>maintenance"), *[Response(500, b"{}")] * 3],
    ],
    ids=["empty", "html, then refused"],
)
def test_every_200_is_kept(photos, script):
    """An empty 200, or one before a refusal, is not paid for again."""
    with Host(RoboflowServer(), script=script) as host:
        config = write_config(host.url, label={"workers": 1})
        done = autolabel("run", config, "--json")
        assert (done.code, done.summary["failed"], len(host.log)) == (3, 1, 9)
        assert json.loads(autolabel("plan", config, "--json").out)["requests"] == 0
        assert autolabel("run", config, "--json").summary["requests"] == 0


def test_a_later_version_reads_a_kept_body_for_nothing(photos, monkeypatch):
    """A kept body that the reader has learnt to understand becomes an answer without a request."""
    from autolabel.backends.roboflow.concept import Concept

    understood = Concept._answer

    def older(self, value, size, prompts):
        raise ValueError("this version can't read it")

    with Host(RoboflowServer()) as host:
        config = write_config(host.url, label={"workers": 1})
        monkeypatch.setattr(Concept, "_answer", older)
        assert autolabel("label", config, "--limit", "2", "--json").summary["failed"] == 2
        asked = len(host.requests)
        monkeypatch.setattr(Concept, "_answer", understood)
        done = autolabel("run", config, "--limit", "2", "--json")
        assert (done.code, done.summary["labelled"], len(host.requests)) == (0, 2, asked)
        assert done.summary["instances"]["exported"] == 4


def test_records_are_handed_over_while_finished_images_pass_by():
    """An answer is kept before the images after it, which need nothing, are all looked at."""
    from threading import Event

    from autolabel.engines.local import run_local

    kept, seen = [], []

    def tasks():
        yield "task"
        for _ in range(200):
            time.sleep(0.005)
            seen.append(len(kept))
            yield None

    run_local(tasks(), lambda task: f"record of {task}", kept.append, workers=2, stop=Event())
    assert kept == ["record of task"]
    assert seen[-1] == 1


def test_a_file_that_changes_under_the_store_is_asked_about_next_time(host, photos):
    """Where size and time hide a change, the run says so, and the next one asks about the new content."""

    def rewrite(tail):  # bytes after a PNG's end are another content of the same picture
        for path in photos:
            stat = path.stat()
            path.write_bytes(path.read_bytes().removesuffix(b"before") + tail)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    rewrite(b"before")
    config = write_config(host.url)
    autolabel("label", config, "--limit", "1")
    autolabel("export", config)  # every file is known now
    rewrite(b"behind")
    changed = autolabel("label", config, "--json")
    assert changed.summary["failed"] == 5
    assert "changed since it was listed" in changed.err
    again = autolabel("label", config, "--json")
    assert (again.code, again.summary["labelled"], again.summary["requests"]) == (0, 6, 5)


def test_growth_keeps_every_split(host, photos, tmp_path):
    """When the folder grows no image changes sides; --resplit starts over; a changed seed is pointed out."""
    config = write_config(host.url)
    autolabel("run", config)
    val = {path.name for path in Path("datasets/street/coco/images/val").iterdir()}
    write_pictures(tmp_path / "photos", 20)
    grown = autolabel("run", config, "--set", "split.seed=9")
    assert "--resplit starts over" in grown.err
    grown_val = {path.name for path in Path("datasets/street/coco/images/val").iterdir()}
    assert val < grown_val
    assert len(grown_val) == 4
    afresh = autolabel("export", config, "--set", "split.seed=9", "--resplit")
    assert "--resplit" not in afresh.err
    assert {path.name for path in Path("datasets/street/coco/images/val").iterdir()} != grown_val


def test_a_finished_run_opens_no_backend(photos, monkeypatch):
    """With every answer kept no key is needed, and no model is loaded."""
    import autolabel.pipeline.asking as asking

    with Host(RoboflowServer()) as host:
        config = write_config(host.url)
        assert autolabel("run", config).code == 0

    def refuse(*args, **kwargs):
        raise AssertionError("opened")

    monkeypatch.setattr(asking, "open_backend", refuse)
    outcome = autolabel("run", config, "--json")
    assert (outcome.code, outcome.summary["labelled"], outcome.summary["requests"]) == (0, 6, 0)
