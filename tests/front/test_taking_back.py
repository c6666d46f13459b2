"""What a reviewer takes back: w undoes all that a decision brought with it, and nothing that was decided by hand."""

import pytest
from playwright.sync_api import expect

from tests.front.street import kept_reviews


def rows(review) -> list[str]:
    """The list beside the image."""
    return review.rows.all_text_contents()


def decided(config, name: str) -> int:
    """How many decisions an image has."""
    return len(kept_reviews(config)[name]["instances"])


@pytest.mark.parametrize(
    ("name", "count", "before", "deed"),
    [
        ("parts.png", 1, ["ArrowDown"], ["x"]),
        ("cars.png", 4, ["ArrowDown", "Shift+ArrowDown", "Shift+ArrowDown"], ["m"]),
        ("double.png", 2, ["ArrowDown"], ["2"]),
        ("double.png", 2, ["ArrowDown"], ["d", "ArrowUp"]),
    ],
    ids=["split", "merge", "relabel", "reject"],
)
def test_w_takes_back_a_deed_with_all_that_it_did(review, street, name, count, before, deed):
    """Pieces, merged instances and doubles are as they were, though w is pressed on one instance."""
    review.open(name).press("s")
    expect(review.rows).to_have_count(count)
    shown = rows(review)
    review.press(*before, *deed).saved()
    assert decided(street, name) > 1
    review.press("Escape", *before[:1], "w").saved()
    expect(review.rows).to_have_text(shown)
    assert decided(street, name) == 0


def test_w_on_a_piece_takes_the_split_back(review, street):
    """Whichever piece is chosen, the instance is whole again."""
    review.open("parts.png").press("ArrowDown", "x")
    review.expect_rows("person 0.75 ✓ changed", "person ✓ by hand: split")
    review.rows.last.click()
    review.press("w").expect_rows("person 0.75").saved()
    assert decided(street, "parts.png") == 0


def test_w_on_an_image_leaves_what_was_decided_by_hand(review, street):
    """A dropped instance that was accepted stays so when the image is accepted and opened again."""
    review.open("cars.png").press("s", "ArrowUp", "a", "Escape", "a")
    review.leave().expect_state("cars.png", "accepted").tile("cars.png").click()
    review.press("w").expect_state("cars.png", "edited").saved()
    [kept] = kept_reviews(street)["cars.png"]["instances"]
    assert kept["origin"]["confidence"] == 0.2


def test_an_image_that_was_accepted_then_rejected_is_new_after_w(review, street):
    """Nothing of either verdict stays."""
    review.press("a", "Home", "r", "Home")
    review.expect_state("cars.png", "rejected").press("w").expect_state("cars.png", "new").saved()
    assert decided(street, "cars.png") == 0


def test_an_outline_is_kept_when_one_goes_on(review, street):
    """Next, another instance or Accept with the mouse finish the outline; z takes it back."""
    review.open("cars.png").press("ArrowDown", "e").drag((60, 50), (68, 58))
    review.viewer.get_by_role("button", name="Next").click()
    review.expect_open("double.png").press("p").expect_open("cars.png")
    review.expect_rows("car 0.90 ✓ changed", "person 0.70", "car 0.60")
    review.rows.last.click()
    review.press("e").drag((110, 48), (118, 54))
    review.rows.first.click()
    review.expect_rows("car 0.90 ✓ changed", "person 0.70", "car 0.60 ✓ changed").saved()
    assert decided(street, "cars.png") == 2
    review.press("z").expect_rows("car 0.90 ✓ changed", "person 0.70", "car 0.60").saved()
    assert decided(street, "cars.png") == 1


def test_what_is_half_drawn_is_given_up_with_a_word(review):
    """A polygon that was not closed is no instance, and one is told."""
    review.open("empty.png").press("g").click(50, 40).click(110, 40)
    review.press("a")
    expect(review.message).to_have_text("Enter finishes the polygon, Esc gives it up")
    review.viewer.get_by_role("button", name="Next").click()
    expect(review.message).to_have_text("the polygon is given up: it was not finished")


def test_the_class_of_what_is_drawn_is_told_and_changed_before(review, street):
    """The hint names it, a digit changes it."""
    review.open("empty.png").press("g")
    expect(review.hint).to_contain_text("It will be: car;")
    review.press("2")
    expect(review.hint).to_contain_text("It will be: person;")
    review.click(50, 40).click(110, 40).click(80, 90).press("Enter")
    review.expect_rows("person ✓ by hand: polygon").saved()


def test_w_finds_what_belongs_together_after_an_edit(review, street):
    """A merged instance whose outline was edited is two again, and so is an edited piece one."""
    review.open("cars.png").click(30, 30).click(90, 30, "Shift").press("m")
    review.expect_rows("car 0.90 ✓ changed", "person 0.70", "car 0.60 ✕ review rejected")
    review.press("e").drag((10, 10), (4, 4)).press("Enter", "w")
    review.expect_rows("car 0.90", "person 0.70", "car 0.60").saved()
    assert decided(street, "cars.png") == 0
    review.open("parts.png").press("ArrowDown", "x").click(20, 50)
    review.press("e").drag((10, 20), (2, 12)).press("Enter", "w").expect_rows("person 0.75").saved()
    assert decided(street, "parts.png") == 0


@pytest.mark.parametrize("row", ["first", "last"])
@pytest.mark.parametrize("then", [[], ["ArrowDown", "Shift+ArrowDown", "m"]], ids=["split", "merged again"])
def test_w_takes_back_a_chain_of_deeds(review, street, row, then):
    """Merged, split, and two of the pieces merged: from any of them w leads back to what the model answered."""
    review.open("cars.png").press("ArrowDown", *["Shift+ArrowDown"] * 2, "m", "x", "Escape")
    expect(review.rows).to_have_count(5)  # three pieces, and the two that were merged
    review.press(*then)
    getattr(review.rows, row).click()
    review.press("w").expect_rows("car 0.90", "person 0.70", "car 0.60").saved()
    assert decided(street, "cars.png") == 0


def test_w_on_what_was_merged_takes_the_merge_back(review, street):
    """No pixel is in two instances then."""
    review.open("cars.png").click(30, 30).click(90, 30, "Shift").press("m")
    review.rows.last.click()
    review.press("w").expect_rows("car 0.90", "person 0.70", "car 0.60").saved()
    assert decided(street, "cars.png") == 0


def test_the_undo_button_is_the_tools_while_one_is_open(review, street):
    """It takes the last corner back, and nothing that was decided elsewhere."""
    review.open("cars.png").press("ArrowDown", "2").saved()
    review.open("empty.png").press("g").click(20, 20).click(60, 20).click(60, 60).click(120, 110)
    review.root.get_by_role("button", name="Undo").click()
    review.press("Enter").expect_rows("person ✓ by hand: polygon").saved()
    assert decided(street, "cars.png") == 1


def test_w_on_a_piece_of_what_was_drawn_takes_that_piece(review, street):
    """Where no answer was split, a piece is an instance like any other by hand."""
    review.open("empty.png").press("g").click(20, 20).click(60, 20).click(20, 60).press("Enter")
    review.press("g").click(100, 70).click(140, 70).click(140, 110).press("Enter")
    review.click(30, 30).click(130, 80, "Shift").press("m", "x")
    review.expect_rows("car ✓ by hand: split", "car ✓ by hand: split")
    review.rows.last.click()
    review.press("w").expect_rows("car ✓ by hand: split").saved()
    assert decided(street, "empty.png") == 1


def test_an_outline_without_points_harms_nobody(review, street):
    """Every point is deleted, Tab and arrows do nothing then, z brings points back; Enter deletes an instance."""
    review.open("empty.png").press("g").click(50, 40).click(110, 40).click(80, 90).press("Enter", "e")
    review.press(*["Delete"] * 20, "Tab", "ArrowLeft", "i", "z", "Tab", "ArrowLeft", "Delete", "Tab", "Enter")
    review.expect_rows().saved()
    assert decided(street, "empty.png") == 0
    expect(review.kept("car")).to_have_attribute("data-kept", "4")


def test_a_class_button_is_for_what_is_drawn(review, street):
    """While a polygon is open, its button gives the class to the polygon, not to the chosen instance."""
    review.open("cars.png").press("ArrowDown", "g").click(120, 60).click(150, 60)
    review.viewer.get_by_role("group", name="classes").get_by_role("button", name="person").click()
    review.click(150, 100).press("1")
    review.viewer.get_by_role("group", name="classes").get_by_role("button", name="person").click()
    review.press("Enter")
    review.expect_rows("car 0.90", "person 0.70", "car 0.60", "person ✓ by hand: polygon").saved()
