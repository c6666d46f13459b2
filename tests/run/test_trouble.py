"""Trouble: an image's never stops a run, a run's never loses an answer, and each gets one clear sentence."""

import contextlib
import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
import zstandard

from autolabel.config import load_config
from autolabel.pipeline import open_run
from autolabel.store import Store
from tests.run.support import autolabel, contents, write_config, write_pictures
from tests.servers.host import Fault, Host, Response, json_response
from tests.servers.roboflow import RoboflowServer

KEY = "rf_Secret+Key/1="


def failures(output: str = "datasets/street") -> dict[str, str]:
    with Path(output, "failures.csv").open(newline="") as file:
        return {row["image"]: row["reason"] for row in csv.DictReader(file)}


def test_broken_images_fail_alone(host, photos):
    """Truncated, empty, foreign and unreadable files are listed with a reason; the rest is exported."""
    photos[0].write_bytes(photos[0].read_bytes()[:-40])
    Path("photos/empty.jpg").touch()
    Path("photos/text.jpg").write_text("not an image")
    Path("photos/film.gif").write_bytes(b"GIF89a" + bytes(20))
    Path("photos/gone.png").symlink_to("nowhere.png")
    done = autolabel("run", write_config(host.url), "--json")
    assert (done.code, done.summary["labelled"], done.summary["failed"]) == (3, 5, 5)
    reasons = failures()
    assert reasons.keys() == {"000.png", "empty.jpg", "film.gif", "gone.png", "text.jpg"}
    assert "truncated" in reasons["000.png"]
    assert "empty" in reasons["empty.jpg"]
    assert "GIF" in reasons["film.gif"]
    assert all(f"failed: {name}" in done.err for name in reasons)


def test_a_name_that_is_not_utf8_fails_alone(host, photos):
    """A file name that no dataset can hold is one failure, written as escapes."""
    with open(b"photos/bad\xff.png", "wb") as file:
        file.write(photos[0].read_bytes() + b"other")
    done = autolabel("run", write_config(host.url), "--json")
    assert (done.code, done.summary["failed"], done.summary["labelled"]) == (3, 1, 6)
    assert list(failures()) == ["bad\\xff.png"]


def test_a_full_disk_stops_the_run(host, photos, monkeypatch):
    """Where an answer can't be kept the run ends with a sentence, what was kept stays, and it can go on."""
    put = Store.put

    def full(self, *arguments, **keys):
        if len(host.log) > 2:
            raise sqlite3.OperationalError("database or disk is full")
        put(self, *arguments, **keys)

    config = write_config(host.url, label={"workers": 1})
    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", full)
        done = autolabel("run", config, "--json")
    assert done.code == 4
    assert "answers.sqlite can't be used (database or disk is full)" in done.err
    kept = done.summary["labelled"]
    assert done.summary["requests"] > kept  # what was answered is reported, kept or not
    assert autolabel("run", config, "--json").summary["requests"] == 6 - kept


def test_a_bug_in_a_reader_loses_no_paid_answer(photos, monkeypatch):
    """Whatever reading raises, the body is kept, the run ends soon, and nothing is paid for again."""
    from autolabel.backends.roboflow.concept import Concept

    def buggy(self, value, size, prompts):
        raise TypeError("a bug")

    write_pictures(Path("photos"), 20)
    with Host(RoboflowServer()) as host:
        config = write_config(host.url, label={"workers": 1})
        with monkeypatch.context() as patch:
            patch.setattr(Concept, "_answer", buggy)
            assert autolabel("run", config).code == 4
            asked = len(host.log)
        assert asked < 10
        assert autolabel("run", config, "--json").summary["requests"] == 20 - asked


def test_broken_files_do_not_hide_a_refusal(photos):
    """Broken files between the refused images do not keep the run going."""
    for i in range(30):
        Path(f"photos/{i:03}.jpg").write_text(f"no image {i}")
    write_pictures(Path("photos"), 30)
    with Host(RoboflowServer(), always=json_response({"message": "no"}, 422)) as host:
        assert autolabel("run", write_config(host.url, label={"workers": 1})).code == 4
        assert len(host.log) < 10


def test_a_refused_image_fails_alone(photos):
    """One 413 among good answers is one failure, in the host's words."""
    refusal = json_response({"message": "Payload too large for this endpoint."}, 413)
    with Host(RoboflowServer(), script=[None, refusal]) as host:
        done = autolabel("run", write_config(host.url), "--json")
    assert (done.code, done.summary["failed"]) == (3, 1)
    (reason,) = failures().values()
    assert "413" in reason
    assert "Payload too large" in reason


def test_a_failed_image_is_asked_again(photos):
    """What failed is tried again by the next run, and only that."""
    with Host(RoboflowServer(), script=[json_response({"message": "odd"}, 413)]) as host:
        config = write_config(host.url, label={"workers": 1})
        assert autolabel("run", config).code == 3
        done = autolabel("run", config, "--json")
    assert (done.code, done.summary["requests"], done.summary["failed"]) == (0, 1, 0)
    assert failures() == {}


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {"status": 401, "message": "Unauthorized api_key"}, "Unauthorized api_key"),
        (402, {"status": 402, "message": "cannot currently spend credits"}, "credits"),
        (403, {"message": "no scope"}, "no scope"),
        (404, {"message": "Requested Roboflow resource not found."}, "not found"),
        (423, {"message": "usage is paused"}, "paused"),
    ],
)
def test_a_cause_that_hits_every_image_stops_the_run(photos, monkeypatch, status, body, words):
    """Wrong key, no credits, unknown model: exit code 4, what was answered kept, the old dataset untouched."""
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    with Host(RoboflowServer()) as good:
        config = write_config(good.url)
        autolabel("run", config)
        before = contents("datasets/street")
    write_pictures(Path("photos"), 12)
    # one answer, then the end; the address of a host is part of the key, so the first six are asked again
    with Host(RoboflowServer(), script=[None], always=json_response(body, status)) as host:
        config = write_config(host.url, label={"workers": 1})
        done = autolabel("run", config, "--json")
        assert done.code == 4
        assert words in done.err
        assert f"autolabel export {config}" in done.err
        assert KEY not in done.err + done.out
        assert len(host.requests) == 2
        assert done.summary["labelled"] == 1
        assert contents("datasets/street") == before
        assert autolabel("label", config, "--json").summary["labelled"] == 1


def test_the_same_refusal_in_a_row_stops_the_run(photos):
    """A host that refuses the first images alike is not asked about the others."""
    write_pictures(Path("photos"), 40)
    with Host(RoboflowServer(), always=json_response({"message": "no such field"}, 422)) as host:
        done = autolabel("run", write_config(host.url, label={"workers": 1}), "--json")
    assert done.code == 4
    assert "in a row" in done.err
    assert "no such field" in done.err
    assert len(host.requests) < 8
    assert not Path("datasets").exists()


def test_a_host_that_is_not_there_stops_the_run(photos):
    """Where nothing listens the run ends soon, with the address."""
    with Host(RoboflowServer()) as host:
        url = host.url
    done = autolabel("run", write_config(url), "--json")
    assert done.code == 4
    assert url.removeprefix("http://") in done.err
    assert done.summary["requests"] == 0


def test_every_image_failing_leaves_the_old_dataset(host, photos):
    """Where every image failed nothing is exported, and the old dataset stays."""
    config = write_config(host.url)
    autolabel("run", config)
    before = contents("datasets/street")
    for path in photos:
        path.unlink()
    Path("photos/new.jpg").write_text("not an image")
    done = autolabel("run", config, "--json")
    assert (done.code, done.summary["failed"], done.summary["output"]) == (3, 1, None)
    assert "nothing is written and datasets/street stays as it is" in done.err
    again = autolabel("export", config)
    assert (again.code, "nothing is written" in again.err) == (3, True)
    assert contents("datasets/street") == before


def test_busy_hosts_are_waited_for(photos):
    """429 and 5xx are tried again; the summary counts the retries among the requests."""
    script = [
        json_response({"message": "slow down"}, 429, retry_after="0"),
        json_response({"message": "not ready"}, 503),
        Fault(reset=True),
        Response(200, b"<html>", {"Content-Type": "text/html"}),
    ]
    with Host(RoboflowServer(), script=script) as host:
        done = autolabel("run", write_config(host.url), "--json")
    assert done.code == 0
    assert (done.summary["requests"], done.summary["retries"], len(host.requests)) == (10, 4, 10)


def test_the_budget_is_never_passed(photos):
    """The run ends before the sum of prices passes label.budget."""
    with Host(RoboflowServer()) as host:
        config = write_config(
            host.url,
            backend={"name": "roboflow", "base_url": host.url, "price_per_request": 0.1},
            label={"budget": 0.35, "workers": 4},
        )
        done = autolabel("run", config, "--json")
        assert (done.code, len(host.requests)) == (4, 3)
        assert done.summary["cost"] == pytest.approx(0.3)
        assert "label.budget" in done.err
        assert autolabel("run", config, "--json").summary["requests"] == 3


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "autolabel", *arguments]


def wait_for(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_every_answer(photos, number):
    """Ctrl-C and SIGTERM let requests under way finish, keep them, print the summary and exit with 130."""
    write_pictures(Path("photos"), 60)
    with Host(RoboflowServer(), latency_s=0.05) as host:
        config = write_config(host.url, label={"workers": 2})
        process = subprocess.Popen(
            command("run", config, "--json", "--set", "filter.min_area=3"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: len(host.log) > 6)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        asked = len(host.log)
        assert process.returncode == 130
        assert f"autolabel export {config} --set filter.min_area=3" in err
        assert json.loads(out)["labelled"] == asked < 60
        assert not Path("datasets").exists()
        done = autolabel("run", config, "--json")
        assert (done.code, done.summary["requests"], len(host.log)) == (0, 60 - asked, 60)


def test_a_killed_run_keeps_every_answer(photos):
    """After kill -9 only the requests that were under way are asked again."""
    write_pictures(Path("photos"), 60)
    with Host(RoboflowServer(), latency_s=0.05) as host:
        config = write_config(host.url, label={"workers": 2})
        with subprocess.Popen(command("run", config), stderr=subprocess.DEVNULL) as process:
            wait_for(lambda: len(host.log) > 10)
            process.kill()
        asked = len(host.log)
        kept = 60 - autolabel("run", config, "--json").summary["requests"]
        assert asked - 2 * 2 <= kept <= asked


def test_keys_stand_nowhere(host, photos, monkeypatch):
    """After a run with a key no file of the run or the dataset, nor any output, holds it."""
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    config = write_config(host.url)
    done = autolabel("run", config, "--json")
    assert host.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in done.out + done.err
    for path in Path().rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


def test_a_key_that_a_host_echoes_is_not_kept(photos, monkeypatch):
    """The body of an answer is kept without the key, however the host spells it."""
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    answer = RoboflowServer()

    def echoing(request):
        response = answer(request)
        spelt = f', "sent": ["{KEY}", "{quote(KEY, safe="")}"]}}'.encode()
        return Response(response.status, response.body[:-1] + spelt, response.headers)

    with Host(echoing) as host:
        done = autolabel("run", write_config(host.url), "--json")
    assert (done.code, done.summary["labelled"]) == (0, 6)
    with contextlib.closing(sqlite3.connect("runs/street/answers.sqlite")) as db:
        bodies = [zstandard.decompress(body) for (body,) in db.execute("SELECT body FROM bodies")]
    assert len(bodies) == 6
    assert all(b'"sent": ["***", "***"]' in body for body in bodies)


def test_sources_are_never_replaced(host, photos):
    """A folder that a glob, a file or a list names is no place for a run or an output, --overwrite or not."""
    before = contents("photos")
    for images in (
        "photos/*.png",
        "photos/**/*.png",
        "phot*/**",
        ["photos/000.png", "photos/001.png"],
        "photos/000.png",
    ):
        for change in ({"output": "photos"}, {"output": "."}):
            config = write_config(host.url, images=images, **change)
            assert autolabel("run", config, "--overwrite").code == 2, (images, change)
    for images in ("photos", "photos/*.png", "photos/**"):
        for change in ({"output": "photos/set"}, {"run": "photos/run"}):
            assert autolabel("run", write_config(host.url, images=images, **change)).code == 2
    assert contents("photos") == before
    assert not host.log


def test_a_refused_folder_is_not_written_to(host, photos, monkeypatch):
    """`run .` among the images says where to put the run, and leaves no config there."""
    before = contents("photos")
    monkeypatch.chdir("photos")
    done = autolabel("run", ".", "--class", "red", "--backend", "roboflow")
    assert done.code == 2
    assert "never written to" in done.err
    monkeypatch.chdir("..")
    assert contents("photos") == before


def test_an_interrupted_export_reports_what_was_paid(host, photos, monkeypatch):
    """Ctrl-C while writing: exit 130, the costs of the labelling in the summary, no half counts."""
    from autolabel.formats.voc.writer import VocWriter

    def interrupted(self, image):
        raise KeyboardInterrupt

    monkeypatch.setattr(VocWriter, "add", interrupted)
    done = autolabel("run", write_config(host.url), "--json")
    assert done.code == 130
    assert (done.summary["requests"], done.summary["labelled"]) == (6, 6)
    assert (done.summary["instances"]["answered"], done.summary["splits"]) == (0, {})
    assert "autolabel export street.yaml" in done.err
    assert not Path("datasets/street").exists()


def test_a_missing_key_is_named_before_anything_is_asked(photos):
    """Without a key for the vendor's own address the variable is named, with exit code 2."""
    Path("street.yaml").write_text("images: photos\nclasses: [cat]\nbackend: {name: roboflow}\n")
    done = autolabel("run", "street.yaml", "--json")
    assert (done.code, done.out) == (2, "")
    assert "ROBOFLOW_API_KEY" in done.err
    assert not Path("datasets").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": "nowhere"}, "nowhere"),
        ({"images": "empty"}, "empty"),
        ({"images": ["photos", "twin"]}, "000.png"),
        ({"output": "photos/dataset"}, "photos"),
        ({"output": "foreign"}, "--overwrite"),
        ({"output": "a-file"}, "a-file"),
        ({"run": "photos/run"}, "photos"),
        ({"run": "a-file"}, "a-file"),
        ({"classes": ["cat", "cat"]}, "'cat' twice"),
        ({"split": {"train": 0.9}}, "sum to 1"),
        ({"filter": {"confidance": 1}}, "did you mean filter.confidence"),
        ({"backend": {"name": "robflow"}}, "did you mean 'roboflow'"),
        ({"label": {"budget": 1}}, "price_per_request"),
    ],
)
def test_wrong_input_is_one_sentence(host, photos, change, words):
    """Each mistake ends with exit code 2 and one sentence, before anything is asked."""
    Path("empty").mkdir()
    Path("foreign").mkdir()
    Path("foreign/thesis.tex").touch()
    Path("a-file").touch()
    Path("twin").mkdir()
    Path("twin/000.png").write_bytes(photos[0].read_bytes())
    done = autolabel("run", write_config(host.url, **change), "--json")
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert len(done.err.splitlines()) == 1
    assert not host.log
    assert Path("foreign/thesis.tex").exists()


def test_an_unreadable_folder_is_one_sentence(host, photos, monkeypatch):
    """A folder that may not be listed is named."""
    scandir = os.scandir

    def denied(path="."):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    Path("photos/locked").mkdir()
    monkeypatch.setattr(os, "scandir", denied)
    done = autolabel("run", write_config(host.url))
    assert done.code == 2
    assert "photos/locked" in done.err


def test_export_before_label_says_so(photos):
    """`export` without answers names the command that makes them."""
    done = autolabel("export", write_config("http://127.0.0.1:9"))
    assert done.code == 2
    assert "autolabel label" in done.err


def test_a_changed_image_is_asked_about_again(host, photos):
    """An edited image is a new content; an image that vanished is simply gone."""
    config = write_config(host.url)
    autolabel("run", config)
    write_pictures(Path("elsewhere"), 8)
    photos[0].write_bytes(Path("elsewhere/007.png").read_bytes())
    photos[1].unlink()
    done = autolabel("run", config, "--json")
    assert (done.summary["images"], done.summary["requests"], done.code) == (5, 1, 0)


def test_a_stop_in_a_thread_leaves_signals_alone(host, photos):
    """Labelling outside the main thread works, and changes no signal handler."""
    import threading

    import autolabel as package

    before = signal.getsignal(signal.SIGINT)
    config = load_config(write_config(host.url))
    results = []
    thread = threading.Thread(target=lambda: results.append(package.label(config)))
    thread.start()
    thread.join()
    assert results[0].labelled == 6
    assert signal.getsignal(signal.SIGINT) is before
    with open_run(config) as run:
        assert [result.status for result in run.results()] == ["labelled"] * 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("confidence=9.0", "a confidence is float 9.0, not a number in 0..1"),
        ("confidence=float('nan')", "a confidence is float nan"),
        ("prompt='other'", "answers 'other', which was not asked"),
        ("mask=rle.empty((3, 4))", "a mask is of (3, 4), what was sent of (64, 96) (height, width)"),
    ],
)
def test_a_plug_in_that_answers_nonsense_fails_the_image(photos, monkeypatch, change, words):
    """Scores, masks and prompts that no backend may answer become a reason, and are never exported."""
    Path("nonsense.py").write_text(
        "from dataclasses import replace\n"
        "from autolabel.backends.base import Answer, Model\n"
        "from autolabel.geometry import rle\n"
        "from autolabel.types import Detection\n"
        "class Odd(Model):\n"
        "    def predict(self, picture, prompts):\n"
        "        good = Detection(0, 0.9, prompts[0].key, rle.empty((picture.height, picture.width)))\n"
        f"        return Answer([replace(good, {change})])\n"
    )
    monkeypatch.delitem(sys.modules, "nonsense", raising=False)
    outcome = autolabel("label", write_config("", backend={"name": "nonsense:Odd"}), "--json")
    assert outcome.summary["labelled"] == 0
    assert words in outcome.err
