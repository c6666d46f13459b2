"""The report: one file that holds what it shows, and nothing that a name could smuggle in."""

import importlib.util
import json
import os
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

import autolabel
from autolabel.errors import InputError, UsageError
from autolabel.review.report import page, write_report
from tests.run.support import autolabel as command

HAS_ANYWIDGET = importlib.util.find_spec("anywidget") is not None


def run_of(html: str) -> dict:
    found = re.search(r'id="autolabel-run">(.*?)</script>', html, re.DOTALL)
    return json.loads(found[1])


def test_a_report_holds_pictures_and_masks(config):
    """Every image is in it with its picture and the masks of all its answers."""
    report = write_report(config)
    run = run_of(report.path.read_text(encoding="utf-8"))
    assert report.images == report.of == len(run["pictures"]) == len(run["images"]) > 0
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in run["pictures"])
    answers = [result.detections for result in autolabel.open_run(config).results(raw=True)]
    counts = [[counts for _, counts in image["instances"]] for image in run["images"]]
    assert counts == [[d.mask.counts.decode() for d in detections] for detections in answers]


def test_a_report_is_as_large_as_it_may_be(config):
    """--max-images bounds it, and the command says how many of how many are there."""
    done = command("report", "street.yaml", "--max-images", "1", "--output", "one.html", "--json")
    assert json.loads(done.out) == {"images": 1, "of": 3, "output": "one.html"}
    with open("one.html", encoding="utf-8") as file:
        assert len(run_of(file.read())["images"]) == 1


def test_nothing_but_the_pages_own_code_may_run():
    """The policy names the code by its digest, and no name ends the data."""
    html = page({"index": {"title": "</script><script>alert(1)</script>"}, "images": [], "pictures": []})
    assert html.count("</script>") == 2
    assert run_of(html)["index"]["title"] == "</script><script>alert(1)</script>"
    script = re.search(r'<script type="module">(.*)</script>', html, re.DOTALL)[1]
    policy = re.search(r'content="(default-src[^"]*)"', html)[1]
    assert "default-src 'none'" in policy
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_a_report_is_the_same_again(config):
    """The same run gives the same file, to the byte."""
    first = write_report(config).path.read_bytes()
    assert write_report(config).path.read_bytes() == first


def test_one_image_that_cannot_be_shown_ends_no_report(config):
    """It is left out with its instances, and named; without any, the older file stays."""
    for name in ("a.png", "b/ü <b>.png", "c.png"):
        path = Path("photos", name)
        stat = path.stat()
        path.write_bytes(b"x" * stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # so that nobody sees it before it is read
        if name == "c.png":
            break
        report = write_report(config)
        assert [left for left, _ in report.left_out][-1] == name
        run = run_of(report.path.read_text(encoding="utf-8"))
        assert name not in run["index"]["images"]["name"]
        assert len(run["pictures"]) == len(run["images"]) == report.images
    done = command("report", "street.yaml")
    assert done.code == 2
    assert "no image can be shown" in done.err
    assert run_of(report.path.read_text(encoding="utf-8"))["index"]["images"]["name"] == ["c.png"]
    assert list(Path("runs/street").glob(".report*")) == []


def test_what_is_left_out_of_a_report_is_told(config):
    """By the command, on stderr or in its JSON."""
    path = Path("photos/a.png")
    stat = path.stat()
    path.write_bytes(b"x" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    done = command("report", "street.yaml")
    assert (done.code, done.err.startswith("left out: a.png: ")) == (0, True)
    assert json.loads(command("report", "street.yaml", "--json").out)["left_out"][0]["image"] == "a.png"


def test_a_report_of_nothing_is_refused(tmp_path):
    """Where nothing is labelled there is nothing to show."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "a.yaml").write_text(
        "images: photos\nclasses: [car]\nbackend: {name: grabcut}\n", encoding="utf-8"
    )
    with pytest.raises(InputError, match="nothing is labelled"):
        write_report(autolabel.Config.load("a.yaml"))


@pytest.mark.skipif(HAS_ANYWIDGET, reason="anywidget is installed: the widget is tested in a notebook")
def test_without_anywidget_it_is_named(config):
    """`run.review()` says what to install."""
    with pytest.raises(UsageError, match=r"autolabel-sam3\[notebook\]"):
        autolabel.open_run(config).review()


def test_results_show_themselves(config):
    """A result is a picture in a notebook; one that failed is text."""
    result = next(iter(autolabel.open_run(config).results()))
    assert result._repr_png_().startswith(b"\x89PNG")
    failed = autolabel.ImageResult("a.jpg", 0, 0, "failed", error="gone")
    assert failed._repr_png_() is None
