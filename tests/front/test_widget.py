"""The review in a real JupyterLab: the same front end in a cell's output, answered by the kernel."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.front.browser import Reviewer, tab
from tests.front.lab import running_lab, write_notebook
from tests.front.street import CONFIG, NASTY, NASTY_CLASS, bitmap, box, decoded, kept_reviews, label_street
from tests.run.support import autolabel

OPEN = f"import autolabel\nconfig = autolabel.Config.load({CONFIG!r})\nrun = autolabel.open_run(config)\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab: the folder that it serves, and the address of a notebook in it."""
    pytest.importorskip("jupyterlab", reason="needs JupyterLab: ./scripts/front installs it")
    root = tmp_path_factory.mktemp("lab")
    with running_lab(root, tmp_path_factory.mktemp("home")) as address:
        yield root, address


@pytest.fixture
def notebook(lab, request, browser, monkeypatch):
    """A labelled street in a folder of the test's own, and a function that runs cells there."""
    root, address = lab
    folder = root / request.node.name
    folder.mkdir()
    monkeypatch.chdir(folder)
    config = label_street()
    with tab(browser) as page:

        def run(*cells: str) -> Page:
            write_notebook(folder / "review.ipynb", cells)
            page.goto(address.format(folder.name))
            expect(page.get_by_text("| Idle")).to_be_visible(timeout=30_000)
            page.locator(".jp-CodeCell .cm-content").first.click()
            for _ in cells:
                page.keyboard.press("Shift+Enter")
            return page

        yield config, run


def reviewer(page: Page) -> Reviewer:
    """Someone at the widget, once its pictures are there."""
    found = Reviewer(page)
    expect(found.tile("cars.png")).to_be_visible(timeout=30_000)
    found.settle()
    return found


def test_decisions_in_a_notebook_are_in_the_run(notebook):
    """Verdicts, classes, outlines, boxes and undo work in a cell's output, and an export has them."""
    config, run = notebook
    review = reviewer(run(OPEN + "run.review()"))
    expect(review.root.locator(".al-name", has_text=NASTY)).to_be_visible()
    review.tile("cars.png").click()
    review.press("a", "r", "r", "z").expect_state("double.png", "rejected")
    review.open("ring.png").press("ArrowDown", "3", "e").drag((130, 100), (140, 110)).press("Enter")
    review.expect_rows(f"{NASTY_CLASS} 0.85 ✓ car · changed")
    review.open("empty.png").press("b").drag((44, 34), (116, 96))
    expect(review.rows).to_have_count(1)
    review.saved().shot("notebook")
    kept = kept_reviews(config)
    assert [kept[name]["verdict"] for name in ("cars.png", "double.png", "empty.png")] == [
        "accepted",
        "rejected",
        None,
    ]
    [drawn] = kept["empty.png"]["instances"]
    assert drawn["how"] == "box"
    body = bitmap(box(50, 40, 110, 90))
    assert (decoded(drawn["counts"]) & body).sum() > 0.9 * body.sum()
    outcome = autolabel("export", CONFIG, "--json")
    assert outcome.summary["review"]["accepted"] == outcome.summary["review"]["rejected"] == 1


def test_keys_of_the_review_are_not_jupyterlabs(notebook):
    """Letters that delete, cut or add cells in JupyterLab do what the review's help says, and only that."""
    _, run = notebook
    page = run(OPEN + "run.review()", "1 + 1", "2 + 2")
    review = reviewer(page)
    expect(page.locator(".jp-Cell")).to_have_count(4)  # Shift+Enter in the last one adds one
    before = cells(page)
    review.tile("cars.png").click()
    review.press("Enter").expect_open("cars.png").press("ArrowDown")
    review.press("d", "d", "x", "a", "b", "Escape", "m", "c", "Escape", "h", "h", "0", "0", "y", "z", "z")
    expect(review.rows.first).to_be_visible()
    assert cells(page) == before
    expect(page.locator(".jp-Dialog")).to_have_count(0)


def cells(page: Page) -> list[list[str]]:
    """Kind and text of every cell."""
    return page.locator(".jp-Cell").evaluate_all(
        """all => all.map(cell => [
            [...cell.classList].filter(c => /Code|Markdown|Raw/.test(c)).join(),
            cell.querySelector(".cm-content")?.textContent ?? "",
        ])"""
    )


def test_a_notebook_looks_only_when_asked_to(notebook):
    """review(read_only=True) decides nothing."""
    config, run = notebook
    review = reviewer(run(OPEN + "run.review(read_only=True)"))
    expect(review.status).to_have_text("read-only")
    review.tile("cars.png").click()
    review.press("r")
    expect(review.message).to_have_text("this review is read-only")
    assert kept_reviews(config) == {}


def test_two_cells_show_the_same_decisions(notebook):
    """A decision in one widget meets the other as a conflict, not as a loss."""
    config, run = notebook
    page = run(OPEN + "run.review()", "run.review()")
    first, second = (Reviewer(page, page.locator(".autolabel").nth(i)) for i in (0, 1))
    for each in (first, second):
        expect(each.tile("cars.png")).to_be_visible(timeout=30_000)
    first.tile("cars.png").click()
    first.press("r").expect_state("cars.png", "rejected").saved()
    second.tile("cars.png").click()
    second.press("a")
    expect(second.conflicts).to_contain_text("changed elsewhere")
    assert kept_reviews(config)["cars.png"]["verdict"] == "rejected"


def test_results_show_themselves(notebook):
    """An image of the results is a picture with its masks in a cell's output."""
    _, run = notebook
    page = run(OPEN + "next(iter(run.results()))")
    expect(page.locator(".jp-OutputArea-output img")).to_be_visible(timeout=30_000)
    assert not Path("datasets").exists()
