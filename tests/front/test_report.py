"""The report in a real browser: one file from disk, offline, whose decisions come back into the run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.front.browser import Reviewer, tab
from tests.front.street import CONFIG, NASTY, NASTY_CLASS, STREET, bitmap, decoded, kept_reviews
from tests.run.support import autolabel

ALL = sorted(STREET)


@contextmanager
def offline(browser: Browser, path: Path) -> Iterator[tuple[Reviewer, list[str]]]:
    """Someone at the file in a tab without a network, and every address that the tab asks for."""
    asked: list[str] = []
    with tab(browser, accept_downloads=True) as page:
        page.context.set_offline(True)
        page.on("request", lambda request: asked.append(request.url))
        yield Reviewer(page).begin(path.absolute().as_uri()), asked


@pytest.fixture
def report(street, browser):
    """Someone at the report of the street."""
    assert autolabel("report", CONFIG, "--output", "report.html").code == 0
    with offline(browser, Path("report.html")) as (reviewer, asked):
        yield reviewer
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def downloaded(page: Page, path: Path) -> dict[str, dict]:
    """The downloaded decisions by file name."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Download decisions").click()
    assert download.value.suggested_filename == "decisions.json"
    download.value.save_as(path)
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["autolabel_decisions"] == 1
    return {image["name"]: image for image in data["images"]}


def test_the_file_shows_the_run(report):
    """Every image and instance is there without a network; names with HTML are text."""
    report.expect_names(*ALL)
    expect(report.status).to_contain_text("kept in this browser")
    expect(report.root.locator(".al-name", has_text=NASTY)).to_be_visible()
    report.field("Class").select_option(label="person")
    report.expect_names("cars.png", "parts.png")
    report.slider("person", "confidence").fill("0.72")
    expect(report.kept("person")).to_have_attribute("data-kept", "1")
    report.root.get_by_role("button", name="Show all").click()
    report.open(f"side/{NASTY}").expect_rows(f"{NASTY_CLASS} 0.65 dog")
    assert report.page.locator("#pwned").count() == 0


def test_decisions_are_made_kept_downloaded_and_applied(report, street, tmp_path):
    """What is decided in the file stands after a reload, and is in the run after `review --apply`."""
    report.press("a", "r").expect_state("double.png", "rejected")
    report.open("ring.png").press("ArrowDown", "2", "e").drag((130, 100), (140, 110)).press("Enter")
    report.press("d", "z").expect_rows("person 0.85 ✓ car · changed")
    report.saved().page.reload()
    expect(report.states).to_have_text("6 images: 3 new, 1 edited, 1 accepted, 1 rejected")
    taken = downloaded(report.page, tmp_path / "decisions.json")
    assert {name: image["base"] for name, image in taken.items()} == {
        "cars.png": 0,
        "double.png": 0,
        "ring.png": 0,
    }
    assert kept_reviews(street) == {}
    applied = autolabel("review", CONFIG, "--apply", "decisions.json")
    assert applied.code == 0, applied.err
    kept = kept_reviews(street)
    assert [kept[name]["verdict"] for name in ("cars.png", "double.png", "ring.png")] == [
        "accepted",
        "rejected",
        None,
    ]
    [ring] = kept["ring.png"]["instances"]
    assert (ring["category"], ring["how"]) == ("person", "vertices")
    assert (decoded(ring["counts"]) > bitmap(STREET["ring.png"][0][2])).any()
    counts = autolabel("export", CONFIG, "--json").summary["review"]
    names = ("accepted", "rejected", "edited", "relabelled", "redrawn")
    assert [counts[name] for name in names] == [1, 1, 1, 1, 1]


def test_the_same_decisions_twice_are_once_and_others_meanwhile_are_a_conflict(report, street, tmp_path):
    """Applying again changes nothing; what was decided otherwise since is left, listed, and exit code 3."""
    report.press("a").expect_state("cars.png", "accepted")
    downloaded(report.page, tmp_path / "first.json")
    assert autolabel("review", CONFIG, "--apply", "first.json").code == 0
    assert autolabel("review", CONFIG, "--apply", "first.json").code == 0
    report.press("Home", "r").expect_state("cars.png", "rejected")
    downloaded(report.page, tmp_path / "second.json")
    other = json.loads(Path("second.json").read_text()) | {"made": "another file"}
    Path("other.json").write_text(json.dumps(other))
    conflict = autolabel("review", CONFIG, "--apply", "other.json")
    assert conflict.code == 3
    assert "cars.png" in conflict.err
    assert kept_reviews(street)["cars.png"]["verdict"] == "accepted"
    assert autolabel("review", CONFIG, "--apply", "second.json").code == 0, "the same file goes on"
    assert kept_reviews(street)["cars.png"]["verdict"] == "rejected"


def test_what_needs_a_host_says_so(report):
    """A file has no model and no config: the box says what to do instead, the save button is off."""
    expect(report.root.get_by_role("button", name="Save to config")).to_be_disabled()
    report.open("empty.png").press("b")
    expect(report.message).to_have_text("no model answers here: draw a polygon (g)")
    report.press("g").click(50, 40).click(110, 40).click(80, 90).press("Enter")
    report.expect_rows("car ✓ by hand: polygon")


def test_max_images_bounds_the_file(street, browser):
    """The file holds a seeded sample of so many images, says so, and is smaller for it."""
    assert autolabel("report", CONFIG, "--output", "all.html").code == 0
    some = autolabel("report", CONFIG, "--output", "some.html", "--max-images", "2", "--json")
    assert (some.summary["images"], some.summary["of"]) == (2, 6)
    assert Path("some.html").stat().st_size < Path("all.html").stat().st_size
    with offline(browser, Path("some.html")) as (reviewer, _):
        expect(reviewer.states).to_have_text("2 images (a sample of 6): 2 new")
