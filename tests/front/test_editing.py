"""Masks made and changed in the browser, by mouse and by keyboard: what the run keeps is what was drawn."""

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.front.street import STREET, bitmap, box, decoded, kept_reviews

BODY = bitmap(box(50, 40, 110, 90))  # on the picture that has no answer


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two bitmaps."""
    return float((one & other).sum() / (one | other).sum())


def decisions(config, name: str) -> list[dict[str, Any]]:
    return kept_reviews(config)[name]["instances"]


def test_a_corner_is_dragged(review, street):
    """Dragging a point of the outline moves that corner; every pixel away from it stays."""
    review.open("cars.png").press("ArrowDown", "e")
    expect(review.hint).to_contain_text("Drag points")
    review.drag((60, 50), (68, 58)).press("Enter").saved()
    [decision] = decisions(street, "cars.png")
    assert (decision["how"], decision["verdict"], decision["category"]) == ("vertices", "accepted", None)
    before = bitmap(STREET["cars.png"][0][2])
    after = decoded(decision["counts"])
    assert after.sum() > before.sum()
    assert (after >= before).all()
    assert np.argwhere(after > before).min(axis=0).tolist() >= [10, 10]
    assert after[54, 63] == 1
    review.expect_rows("car 0.90 ✓ changed", "person 0.70", "car 0.60")


def test_points_are_added_and_taken_away(review, street):
    """A click on an edge adds a point that can be dragged; a right click takes one away; z takes it back."""
    review.open("cars.png").press("ArrowDown", "e")
    review.drag((35, 50), (35, 60))  # a new point on the lower edge
    review.click(10, 10, button="right")  # without the upper left corner
    review.press("z").click(60, 10, button="right").press("Enter").saved()
    [decision] = decisions(street, "cars.png")
    after = decoded(decision["counts"])
    assert after[12, 12] == 1, "the point that came back"
    assert after[12, 57] == 0, "the point that is gone"
    assert after[55, 35] == 1, "the point that is new"


def test_an_outline_is_edited_by_keys_and_its_hole_too(review, street):
    """Tab goes from point to point and into the hole, arrows move a point; what is far away keeps every pixel."""
    review.open("ring.png").press("ArrowDown", "e", *["Tab"] * 4, *["Shift+ArrowDown"], "Enter").saved()
    [decision] = decisions(street, "ring.png")
    before = bitmap(STREET["ring.png"][0][2])
    after = decoded(decision["counts"])
    changed = np.argwhere(after != before)
    assert len(changed) > 20
    assert changed.min(axis=0).tolist() >= [35, 45], "in the hole or beside it"
    assert changed.max(axis=0).tolist() <= [95, 115]
    assert after[60, 80] == 0, "still a hole"


def test_a_hole_is_filled_by_deleting_its_points(review, street):
    """An inner outline of less than three points is none: the hole is gone."""
    review.open("ring.png").press("ArrowDown", "e", *["Tab"] * 4, "Delete", "Delete", "Enter").saved()
    [decision] = decisions(street, "ring.png")
    assert (decoded(decision["counts"]) == bitmap(box(30, 20, 130, 100))).all()


def test_an_edit_that_is_given_up_changes_nothing(review, street):
    """Escape leaves the mask as it was; so does Enter where nothing was moved."""
    review.open("cars.png").press("ArrowDown", "e").drag((60, 50), (80, 60)).press("Escape")
    expect(review.hint).to_be_empty()
    review.press("e", "Enter").press("2").saved()
    [decision] = decisions(street, "cars.png")
    assert decision["counts"] is None


def test_a_polygon_is_drawn(review, street):
    """The clicked corners become an instance of the class last given, exactly as large as drawn."""
    review.open("empty.png").press("g")
    for corner in ((50, 40), (110, 40), (110, 90), (50, 90)):
        review.click(*corner)
    review.press("Enter").expect_rows("car ✓ by hand: polygon")
    expect(review.message).to_contain_text("added as car")
    review.press("2").expect_rows("person ✓ by hand: polygon").saved()
    [decision] = decisions(street, "empty.png")
    assert (decision["origin"], decision["category"], decision["how"]) == (None, "person", "polygon")
    assert iou(decoded(decision["counts"]), BODY) > 0.97


def test_a_polygon_of_two_corners_is_none(review):
    """Too little was drawn: it is said, and nothing is added."""
    review.open("empty.png").press("g").click(50, 40).click(110, 40).press("Enter")
    expect(review.message).to_have_text("nothing was drawn")
    review.expect_rows()


def test_a_box_becomes_a_mask(review, street):
    """A dragged box is answered by the model with the body that is inside of it."""
    review.open("empty.png").press("b").drag((44, 34), (116, 96))
    review.expect_rows("car ✓ by hand: box")
    review.saved()
    [decision] = decisions(street, "empty.png")
    assert decision["how"] == "box"
    assert iou(decoded(decision["counts"]), BODY) > 0.9


def test_points_become_a_mask(review, street):
    """Points on the body and beside it are answered with its mask, which Enter keeps."""
    review.open("empty.png").press("o")
    with review.page.expect_response("**/mask"):
        review.click(80, 65)
    with review.page.expect_response("**/mask"):
        review.click(20, 100, "Shift")
    expect(review.hint).to_contain_text("Enter keeps it")
    review.press("Enter").expect_rows("car ✓ by hand: points")
    review.saved()
    [decision] = decisions(street, "empty.png")
    assert decision["how"] == "points"
    assert iou(decoded(decision["counts"]), BODY) > 0.8


def test_points_that_are_taken_back_leave_no_mask(review):
    """With the last point gone its mask is gone, and Enter adds nothing."""
    review.open("empty.png").press("o")
    with review.page.expect_response("**/mask"):
        review.click(80, 65)
    expect(review.hint).to_contain_text("Enter keeps it")
    review.press("z", "Enter")
    expect(review.message).to_have_text("nothing was drawn")
    review.expect_rows()


def test_enter_before_the_answer_keeps_it_when_it_comes(review):
    """Whoever presses Enter before a slow model has answered gets the mask all the same, once."""
    held = hold_masks(review)
    review.open("empty.png").press("o").click(80, 65)
    expect(review.hint).to_contain_text("asking grabcut")
    review.press("Enter").expect_rows()
    released(held)
    review.expect_rows("car ✓ by hand: points")


def test_an_answer_that_nobody_waits_for_is_dropped(review):
    """A box that was given up adds nothing when its answer comes, and leaves the polygon of then alone."""
    held = hold_masks(review)
    review.open("empty.png").press("b").drag((44, 34), (116, 96))
    expect(review.hint).to_contain_text("asking grabcut")
    review.press("Escape", "g").click(20, 20).click(60, 20).click(40, 40)
    with review.page.expect_response("**/mask"):
        released(held)
    expect(review.hint).to_contain_text("Click the corners")
    review.press("Enter").expect_rows("car ✓ by hand: polygon")


def hold_masks(review) -> list:
    """Keep requests for masks from the server, and collect them."""
    held: list = []

    def hold(route) -> None:
        held.append(route)

    review.page.route("**/mask", hold)
    return held


def released(held: list) -> None:
    """Let the one that is held go there."""
    [route] = held
    route.continue_()


def test_a_model_without_an_answer_is_told(review):
    """A box in which nothing is found says so, and the tool stays for another try."""
    review.page.route("**/mask", lambda route: route.fulfill(status=422, json={"error": "no object there"}))
    review.open("empty.png").press("b").drag((2, 2), (6, 6))
    expect(review.message).to_have_text("no mask from the box: no object there")
    review.page.unroute("**/mask")
    review.drag((44, 34), (116, 96)).expect_rows("car ✓ by hand: box")


def test_an_instance_is_split_into_its_parts(review, street):
    """x makes each part an instance; together they have the pixels of the whole."""
    review.open("parts.png").press("ArrowDown", "x")
    review.expect_rows("person 0.75 ✓ changed", "person ✓ by hand: split").saved()
    first, second = decisions(street, "parts.png")
    assert first["how"] == second["how"] == "split"
    masks = [decoded(first["counts"]), decoded(second["counts"])]
    assert (masks[0] & masks[1]).sum() == 0
    assert (masks[0] + masks[1] == bitmap(STREET["parts.png"][0][2])).all()


def test_instances_are_merged(review, street):
    """m makes the chosen instances one, with the pixels of all; the others are rejected."""
    review.open("cars.png").click(30, 30).click(90, 30, "Shift")
    expect(review.chosen).to_have_count(2)
    review.press("m").saved()
    merged, gone = sorted(decisions(street, "cars.png"), key=lambda d: d["verdict"])
    assert (merged["how"], gone["verdict"], gone["origin"]["confidence"]) == ("merge", "rejected", 0.6)
    whole = bitmap(STREET["cars.png"][0][2]) | bitmap(STREET["cars.png"][1][2])
    assert (decoded(merged["counts"]) == whole).all()


@pytest.mark.parametrize("key", ["d", "Delete"])
def test_an_instance_is_deleted(review, street, key):
    """d or Delete rejects an answer, and takes away what was drawn by hand."""
    review.open("empty.png").press("g").click(50, 40).click(110, 40).click(80, 90).press("Enter")
    review.expect_rows("car ✓ by hand: polygon")
    review.press(key).expect_rows()
    review.open("ring.png").press("ArrowDown", key).expect_rows("car 0.85 ✕ review rejected").saved()
    assert decisions(street, "empty.png") == []
    assert [d["verdict"] for d in decisions(street, "ring.png")] == ["rejected"]


def test_every_edit_is_undone_and_done_again(review, street):
    """z goes back through edits one by one to nothing, Shift+z forward to the same masks."""
    review.open("cars.png").press("ArrowDown", "2").press("e").drag((60, 50), (68, 58)).press("Enter")
    review.click(90, 30).press("d").saved()
    done = decisions(street, "cars.png")
    review.press("z", "z", "z").expect_rows("car 0.90", "person 0.70", "car 0.60").saved()
    assert decisions(street, "cars.png") == []
    review.press("Shift+Z", "Shift+Z", "Shift+Z").saved()
    again = decisions(street, "cars.png")
    assert [{**d, "at": ""} for d in again] == [{**d, "at": ""} for d in done]


def test_what_is_chosen_stays_chosen_through_an_undo(review, street):
    """After z the next key is about the same instance, not about the image."""
    review.open("cars.png").press("ArrowDown", "2", "z")
    expect(review.chosen).to_have_text("car0.90")
    review.press("r").expect_rows("car ✕ review rejected", "person 0.70", "car 0.60").saved()
    assert kept_reviews(street)["cars.png"]["verdict"] is None


def test_the_image_is_zoomed_and_edited_where_it_stands_then(review, street):
    """Wheel and keys zoom, Alt with arrows pans, 0 fits again; a click still meets the pixel it shows."""
    review.open("cars.png")
    at = review.place(90, 30)
    review.page.mouse.move(*at)
    review.page.mouse.wheel(0, -400)  # about the pointer
    review.page.mouse.click(*at)
    expect(review.chosen).to_have_text("car0.60")
    review.press("Escape", "-", "Alt+ArrowLeft", "+", "0").click(30, 90)
    expect(review.chosen).to_have_text("person0.70")


def test_a_click_meets_the_instance_whose_pixel_it_is(review):
    """What lies in a ring's hole is met there, and the ring on itself only."""
    review.open("ring.png").press("g")
    for corner in ((70, 50), (90, 50), (90, 70), (70, 70)):
        review.click(*corner)
    review.press("Enter", "Escape").click(80, 60)
    expect(review.chosen).to_contain_text("by hand")
    review.click(40, 30)
    expect(review.chosen).to_have_text("car0.85")
    review.click(60, 50)
    expect(review.chosen).to_have_count(0)
