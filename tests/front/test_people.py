"""The review by people of all kinds: without a mouse, without good eyes, in the light and in the dark."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.front.browser import Reviewer, tab
from tests.front.street import kept_reviews
from tests.review.support import served

AXE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: ./scripts/front installs it")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barrier_is_found(street, browser, scheme):
    """axe-core finds no violation in the grid, the image view, its tools and the help."""
    # the page itself lets no foreign script in
    with served(street) as server, tab(browser, color_scheme=scheme, bypass_csp=True) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = violations(review, "grid")
        review.press("a", "r").expect_state("double.png", "rejected")
        found += violations(review, "verdicts")
        review.open("cars.png").press("ArrowDown", "r", "s")
        found += violations(review, "image")
        review.press("ArrowDown", "e")
        expect(review.hint).to_contain_text("Drag points")
        found += violations(review, "tool")
        review.press("Escape", "Escape", "?")
        found += violations(review, "help")
        assert found == []


def violations(review: Reviewer, where: str) -> list[str]:
    """What axe-core finds wrong with the page as it stands."""
    result = review.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{where}: {rule['id']} ({rule['help']}): {node['target']} {node['failureSummary']}"
        for rule in result["violations"]
        for node in rule["nodes"]
    ]


def test_a_review_is_made_by_keys_alone(review, street):
    """Filter, verdicts, class, outline, box, polygon, undo and back, and the mouse is never touched."""
    review.press("/")
    review.page.keyboard.type("png")
    review.press("Escape")
    expect(review.grid).to_be_focused()
    review.press("a").expect_state("cars.png", "accepted")
    review.press("Home", "Enter").expect_open("cars.png")
    review.press("ArrowDown", "ArrowDown", "r")  # the person
    review.press("1")  # the car beside it stays one
    review.press("Escape", "ArrowDown", "c")
    review.page.keyboard.type("person")
    review.press("Enter", "e", "Tab", "Shift+ArrowRight", "i", "Enter")
    review.press("Escape", "n", "n").expect_open("empty.png")
    review.press("b", *["ArrowLeft"] * 18, *["ArrowUp"] * 12, "Space")
    review.press(*["ArrowRight"] * 36, *["ArrowDown"] * 20)
    with review.page.expect_response("**/mask"):
        review.press("Space")
    expect(review.rows).to_have_count(1)
    review.press(
        "g", "Shift+ArrowLeft", "Space", "Shift+ArrowUp", "Space", "Shift+ArrowLeft", "Space", "Enter"
    )
    expect(review.rows).to_have_count(2)
    review.press("z", "Escape", "Escape")
    expect(review.grid).to_be_focused()
    review.saved()
    kept = kept_reviews(street)
    assert [d["how"] for d in kept["empty.png"]["instances"]] == ["box"]
    first, *_ = kept["cars.png"]["instances"]
    assert (first["category"], first["how"]) == ("person", "vertices")


def test_every_button_and_field_is_reached_by_tab_and_seen(review):
    """Tab goes through all that can be used, and each shows that it has the focus."""
    met: list[str] = []
    review.open("cars.png")
    for _ in range(60):
        review.press("Tab")
        seen = review.page.evaluate(
            """() => {
                const at = document.activeElement;
                if (at === document.body) return null;
                const style = getComputedStyle(at);
                const shown = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
                return [at.getAttribute("aria-label") || at.textContent || at.type, shown];
            }"""
        )
        if seen is not None:  # between the last and the first the browser itself has it
            name, shown = seen
            assert shown, f"{name} has the focus and does not show it"
            met.append(name)
    for part in ("Undo", "Help", "Accept", "Polygon", "Merge", "Back", "Save to config", "instances"):
        assert any(part in name for name in met), (part, met)


def test_the_focus_in_the_grid_is_seen(review):
    """The image that keys act on has a thick border in the colour of the focus."""
    border = "e => [getComputedStyle(e).borderTopWidth, getComputedStyle(e).borderTopColor]"
    review.press("ArrowRight")
    width, colour = review.tile("double.png").evaluate(border)
    _, other = review.tile("cars.png").evaluate(border)
    assert (width, colour != other) == ("3px", True)


def test_what_happens_is_said_to_screen_readers(review):
    """The image with the focus, its state, and every message are there for those who can't see them."""
    expect(review.message).to_have_attribute("role", "status")
    review.press("r")
    expect(review.tile("cars.png")).to_have_attribute("aria-label", "0 · cars.png, rejected, 0 instances")
    active = review.grid.get_attribute("aria-activedescendant")
    expect(review.root.locator(f"#{active}")).to_have_attribute("data-name", "double.png")
    review.open("cars.png").press("ArrowDown")


@pytest.mark.parametrize("width", [1024, 640])
def test_small_windows_hide_nothing(review, width):
    """In a narrow window nothing lies outside of it to the side."""
    review.page.set_viewport_size({"width": width, "height": 700})
    review.open("cars.png")
    outside = review.page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert outside <= 0
    expect(review.root.get_by_role("button", name="Back")).to_be_in_viewport()
