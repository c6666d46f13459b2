"""No decision is lost: a server that is killed and started again, two tabs, a re-label, a page for reading only."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import expect

import autolabel
from autolabel import Config
from tests.front.browser import Reviewer, tab
from tests.front.street import CONFIG, NASTY_CLASS, STREET, box, kept_reviews, label_street, write_answers
from tests.review.support import served
from tests.run.support import autolabel as command


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`autolabel review` as a process of its own, and the address that it prints."""
    line = [sys.executable, "-m", "autolabel", "review", CONFIG, "--no-browser", *options]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r"http://\S+", said)
        assert found, said + process.stderr.read()
        yield process, found[0]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_killed_server_loses_nothing(street, browser, tmp_path):
    """Without a server the page says that it is not saved and offers the download; the new one has both."""
    port = str(free_port())
    with tab(browser, accept_downloads=True) as page:
        with running("--port", port) as (process, url):
            review = Reviewer(page).begin(url).press("a")
            review.expect_state("cars.png", "accepted").saved()
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            review.press("r").expect_state("double.png", "rejected")
            expect(review.status).to_contain_text("not saved")
            with page.expect_download() as download:
                review.root.get_by_role("button", name="Download decisions").click()
            download.value.save_as(tmp_path / "decisions.json")
        taken = json.loads((tmp_path / "decisions.json").read_text())
        assert [(i["name"], i["base"], i["review"]["verdict"]) for i in taken["images"]] == [
            ("double.png", 0, "rejected")
        ]
        assert kept_reviews(street).keys() == {"cars.png"}
        with running("--port", port) as (_, url):
            expect(review.status).to_contain_text(
                "open the address"
            )  # a stranger there, it is not let in ...
            review.expect_state("double.png", "rejected")
            other = Reviewer(page.context.new_page()).begin(url)  # ... until its browser is
            other.expect_state("cars.png", "accepted")
            review.saved()
        assert kept_reviews(street)["double.png"]["verdict"] == "rejected"


def test_decisions_of_a_page_without_a_server_are_applied(street, browser, tmp_path):
    """What was downloaded from the page goes into the run by `review --apply`."""
    with tab(browser, accept_downloads=True) as page:
        with running() as (_, url):
            review = Reviewer(page).begin(url)
        review.press("r").expect_state("cars.png", "rejected")
        with page.expect_download() as download:
            review.root.get_by_role("button", name="Download decisions").click()
        download.value.save_as(tmp_path / "decisions.json")
    assert command("review", CONFIG, "--apply", "decisions.json").code == 0
    assert kept_reviews(street)["cars.png"]["verdict"] == "rejected"


def test_another_tabs_decision_is_shown_and_not_written_over(review, street):
    """Of two tabs the second to decide sees what the first did, and replaces it only when told to."""
    second = Reviewer(review.page.context.new_page()).begin(review.page.url)
    review.press("r").expect_state("cars.png", "rejected").saved()
    second.press("a")
    expect(second.conflicts).to_contain_text("cars.png was changed elsewhere meanwhile (rejected, shown now)")
    second.expect_state("cars.png", "rejected")
    assert kept_reviews(street)["cars.png"]["verdict"] == "rejected"
    second.root.get_by_role("button", name="Save mine over it").click()
    second.expect_state("cars.png", "accepted").saved()
    expect(second.conflicts).to_have_count(0)
    assert kept_reviews(street)["cars.png"]["verdict"] == "accepted"
    review.press("Home", "w")
    expect(review.conflicts).to_contain_text("accepted")
    review.root.get_by_role("button", name="Keep theirs").click()
    review.expect_state("cars.png", "accepted")
    assert kept_reviews(street)["cars.png"]["verdict"] == "accepted"


def test_a_page_for_reading_only_decides_nothing(street, browser):
    """It shows everything, says what it is, and takes no verdict, edit or thresholds."""
    with served(street, read_only=True) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        expect(review.status).to_have_text("read-only")
        expect(review.root.get_by_role("button", name="Save to config")).to_be_disabled()
        review.press("r")
        expect(review.message).to_have_text("this review is read-only")
        review.expect_state("cars.png", "new")
        review.open("cars.png").press("ArrowDown", "e")
        expect(review.message).to_have_text("this review is read-only")
        review.press("2").expect_rows("car 0.90", "person 0.70", "car 0.60")
    assert kept_reviews(street) == {}


def test_decisions_survive_a_relabel(street, browser):
    """An answer that moved a little keeps its decision; one that is gone is shown as lost, and can be kept."""
    with served(street) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        review.open("cars.png").press("ArrowDown", "2").press("ArrowDown", "ArrowDown", "1").saved()
        review.leave().tile("ring.png").click()
        review.press("a").expect_state("ring.png", "accepted").saved()
    moved = dict(STREET)
    moved["cars.png"] = [("car", 0.8, box(11, 10, 61, 50)), ("person", 0.7, box(20, 60, 50, 110))]
    moved["ring.png"] = [*STREET["ring.png"], ("person", 0.9, box(0, 0, 20, 20))]
    write_answers(moved)
    autolabel.label(street)
    with served(street) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        review.expect_state("ring.png", "edited")  # it was accepted on other answers
        expect(review.states).to_contain_text("2 outdated: look again")
        review.field("State").select_option("outdated")
        review.expect_names("cars.png", "ring.png")
        review.open("cars.png")
        review.expect_rows(
            "person 0.80 ✓ car · changed",
            "person 0.70",
            "car 0.60 ? its answer is gone: Enter keeps it, w drops it",
        )
        review.rows.last.click()
        review.press("Enter").expect_rows(
            "person 0.80 ✓ car · changed", "person 0.70", "car ✓ by hand"
        ).saved()
        review.leave().expect_names("ring.png").tile("ring.png").click()
        review.press("a")
        expect(review.states).not_to_contain_text("outdated")
        review.saved()
    kept = kept_reviews(street)["cars.png"]["instances"]
    assert [d["origin"] is None for d in kept] == [False, True]


def test_a_lost_rejection_becomes_no_instance(street, browser):
    """What was deleted and is gone can't be kept by Enter; it is told, and w drops it."""
    with served(street) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        review.open("ring.png").press("ArrowDown", "d").saved()
    write_answers({**STREET, "ring.png": []})
    autolabel.label(street)
    with served(street) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        review.open("ring.png").expect_rows("car 0.85 ? what it rejected is gone: w drops it")
        review.press("ArrowDown", "Enter")
        expect(review.message).to_have_text("what it rejected is gone: w drops it")
        review.press("w").expect_rows().saved()
    assert kept_reviews(street)["ring.png"]["instances"] == []


def test_a_decision_whose_class_is_gone_gets_another(street, browser):
    """The list says which class is missing; a digit gives the answer, which is still there, another one."""
    with served(street) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        review.open("ring.png").press("ArrowDown", "2").saved()
    text = Path(CONFIG).read_text(encoding="utf-8").replace("- person\n", "")
    Path(CONFIG).write_text(text, encoding="utf-8")
    config = Config.load(CONFIG)
    assert [one.name for one in config.classes] == ["car", NASTY_CLASS]
    with served(config) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        review.open("ring.png")
        review.expect_rows(
            "car 0.85", "person 0.85 ? the class person is gone: give it another, or w drops it"
        )
        review.rows.last.click()
        review.press("Enter")
        expect(review.message).to_contain_text("the class person is gone")
        review.press("2").saved()
        review.expect_rows(f"{NASTY_CLASS} 0.85 ✓ car · changed")
    [decision] = kept_reviews(config)["ring.png"]["instances"]
    assert (decision["category"], decision["origin"]["category"]) == (NASTY_CLASS, "car")


def test_accepting_an_image_lets_lost_decisions_go(street, browser):
    """What is accepted is what is shown; the decision whose answer is gone comes back by undo only."""
    with served(street) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        review.open("cars.png").press("ArrowDown", "ArrowDown", "ArrowDown", "2").saved()
    write_answers({**STREET, "cars.png": [one for one in STREET["cars.png"] if one[1] != 0.6]})
    autolabel.label(street)
    with served(street) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        review.tile("cars.png").click()
        review.press("a")
        expect(review.message).to_have_text("accepted cars.png without 1 lost decision(s)")
        review.expect_state("cars.png", "accepted").press("z").expect_state("cars.png", "edited")
        review.press("Shift+z").expect_state("cars.png", "accepted").saved()
    assert len(kept_reviews(street)["cars.png"]["instances"]) == 2


def test_a_run_that_is_labelled_anew_meanwhile_says_so(street, browser):
    """A decision on answers that are no longer the run's is refused with a sentence, not kept."""
    with served(street) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        write_answers({**STREET, "cars.png": STREET["double.png"]})
        autolabel.label(street)
        review.press("r")
        expect(review.message).to_contain_text("reload")
        review.expect_state("cars.png", "new")
    assert kept_reviews(street) == {}


def test_a_missing_picture_breaks_nothing(own_folder, browser):
    """An image whose file is gone is told about, and the others are reviewed as ever."""
    street = label_street({name: STREET[name] for name in ("cars.png", "ring.png")})
    with served(street) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        Path("photos/cars.png").unlink()
        review.tile("cars.png").dblclick()
        expect(review.message).to_contain_text("cars.png can't be shown")
        review.press("n").expect_open("ring.png")
