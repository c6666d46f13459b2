"""The review page in a real browser, over a real server: what is shown, the thresholds, the verdicts."""

import re
from pathlib import Path

from playwright.sync_api import expect

import autolabel
from autolabel import Config
from tests.front.street import CONFIG, NASTY, NASTY_CLASS, STREET, bitmap, kept_reviews

ALL = sorted(STREET)


def test_the_grid_shows_every_image_with_its_figures(review):
    """A tile for each labelled image, in the order of names, with what is kept of it."""
    review.expect_names(*ALL)
    expect(review.states).to_have_text("6 images: 6 new")
    expect(review.tile("cars.png")).to_have_attribute("aria-label", "3 · cars.png, new, 3 instances")
    expect(review.kept("car")).to_have_text("4 kept, 1 dropped")


def test_names_with_html_are_text(review):
    """File names and class names that hold HTML are shown as they are, and nothing of them runs."""
    expect(review.root.locator(".al-name", has_text=NASTY)).to_be_visible()
    expect(review.root.locator(".al-class-name", has_text=NASTY_CLASS)).to_be_visible()
    review.open(f"side/{NASTY}").expect_rows(f"{NASTY_CLASS} 0.65 dog")
    review.press("ArrowDown", "r").saved()
    assert review.page.locator("#pwned").count() == 0
    assert review.page.locator("img[onerror]").count() == 0
    assert review.page.title() == "autolabel: review"


def test_images_are_found_by_each_filter(review):
    """Name, class, score, state and drop reason each show the images that are like that, and together too."""
    review.press("/")
    expect(review.field("Name")).to_be_focused()
    review.page.keyboard.type("RING")
    review.expect_names("ring.png")
    review.root.get_by_role("button", name="Show all").click()
    review.field("Class").select_option(label="person")
    review.expect_names("cars.png", "parts.png")
    review.field("Instances").select_option(label="below confidence")
    review.expect_names("cars.png")
    review.field("Class").select_option(label="any")
    review.field("Instances").select_option(label="nms same class")
    review.expect_names("double.png")
    review.root.get_by_role("button", name="Show all").click()
    review.root.get_by_role("spinbutton", name="highest score").fill("0.65")
    review.expect_names("cars.png", f"side/{NASTY}")
    review.root.get_by_role("spinbutton", name="lowest score").fill("0.62")
    review.expect_names(f"side/{NASTY}")
    review.root.get_by_role("button", name="Show all").click()
    review.tile("ring.png").click()
    review.press("r")
    review.expect_state("ring.png", "rejected")
    review.field("State").select_option("new")
    review.expect_names(*(name for name in ALL if name != "ring.png"))
    review.field("Name").fill("nothing is called that")
    expect(review.root.locator(".al-empty")).to_be_visible()


def test_the_search_is_left_by_enter_and_undone_by_escape(review):
    """Enter keeps what was typed and goes to the grid, Escape shows all images again."""
    review.press("/")
    review.page.keyboard.type("ring")
    review.press("Enter")
    expect(review.grid).to_be_focused()
    review.expect_names("ring.png").press("/", "Escape").expect_names(*ALL)
    expect(review.grid).to_be_focused()


def test_show_all_says_what_it_shows(review):
    """The score's bounds are 0 and 1 again, not empty."""
    review.root.get_by_role("spinbutton", name="lowest score").fill("0.65")
    review.root.get_by_role("button", name="Show all").click()
    review.expect_names(*ALL)
    for label, value in (("lowest score", "0"), ("highest score", "1")):
        expect(review.root.get_by_role("spinbutton", name=label)).to_have_value(value)


def test_a_filter_that_changes_under_an_open_image_skips_nothing(review):
    """n and p go to the images beside the open one among those that are shown now, also where it is not."""
    review.open("double.png").press("a").expect_open("empty.png").press("p").expect_open("double.png")
    review.field("State").select_option("new")
    expect(review.title).to_contain_text("of 5 · double.png")
    review.title.focus()
    review.press("n").expect_open("empty.png").press("p").expect_open("cars.png")
    expect(review.title).to_contain_text("1 of 5 · cars.png")
    review.press("n", "n").expect_open("parts.png").press("z")  # goes to what was undone, outside or not
    review.expect_open("double.png")


def test_keys_judge_what_is_on_the_screen(review):
    """Who scrolls away takes the focus along: a accepts no image that is out of sight."""
    review.page.set_viewport_size({"width": 560, "height": 420})
    grid = review.grid.bounding_box()
    assert grid is not None
    review.page.mouse.move(grid["x"] + 40, grid["y"] + 40)
    review.page.mouse.wheel(0, 3000)
    focused = review.root.locator(".al-tile.al-focus")
    expect(focused).not_to_have_attribute("data-name", "cars.png")
    expect(focused).to_be_in_viewport()
    name = focused.get_attribute("data-name")
    review.press("a")
    expect(review.message).to_have_text(f"accepted {name}")


def test_images_are_sorted_by_what_is_asked_for(review):
    """The most instances, the lowest score and the largest overlap each come first when asked for."""
    for sort, first in (("instances", "cars.png"), ("lowest", "cars.png"), ("overlap", "double.png")):
        review.field("Sort by").select_option(sort)
        expect(review.root.locator('.al-tile[aria-posinset="1"]')).to_have_attribute("data-name", first)


def test_sliders_show_what_an_export_would_keep(review):
    """Counts and overlays under moved thresholds are those that the filters in Python leave."""
    review.slider("car", "confidence").fill("0.83")
    review.slider("car", "overlap").fill("0.95")
    review.slider("person", "confidence").fill("0.15")
    expect(review.kept("person")).to_have_attribute("data-kept", "3")
    classes = [
        {"name": "car", "confidence": 0.83, "nms_iou": 0.95},
        {"name": "person", "confidence": 0.15},
        {"name": NASTY_CLASS, "prompts": ["dog"]},
    ]
    config = Config.load(CONFIG)
    config = config.model_validate(config.model_dump() | {"classes": classes})
    summary = autolabel.export(config)
    kept = {"car": 0, "person": 0, NASTY_CLASS: 0}
    for split in summary.to_json()["splits"].values():
        for name, count in split["instances"].items():
            kept[name] += count
    for name, count in kept.items():
        expect(review.kept(name)).to_have_attribute("data-kept", str(count))
    reasons = summary.to_json()["instances"]["dropped"]
    for reason, count in reasons.items():
        expect(review.root.locator(".al-dropped")).to_contain_text(f"{reason.replace('_', ' ')} {count}")


def test_overlays_follow_the_sliders(review):
    """A tile's overlay covers the masks that are kept, holes left free, and none of those that are dropped."""
    whole = float(bitmap(STREET["ring.png"][0][2]).mean())
    review.expect_covered("ring.png", whole)
    review.slider("car", "confidence").fill("0.9")
    expect(review.tile("ring.png")).to_have_attribute("aria-label", "0 · ring.png, new, 0 instances")
    review.expect_covered("ring.png", 0)


def test_a_slider_moves_by_keys(review):
    """Arrow keys move a threshold by a hundredth, and move no image meanwhile."""
    slider = review.slider("car", "confidence")
    slider.focus()
    review.press("ArrowRight", "ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "0.52")
    expect(review.tile("cars.png")).to_have_attribute("aria-selected", "true")


def test_thresholds_are_saved_into_the_config(review):
    """Save to config writes the moved thresholds and keeps the user's comments."""
    review.slider("car", "confidence").fill("0.83")
    review.root.get_by_role("button", name="Save to config").click()
    expect(review.message).to_have_text(f"saved to {CONFIG}")
    assert "# the street" in Path(CONFIG).read_text(encoding="utf-8")
    [car, *_] = Config.load(CONFIG).categories
    assert car.confidence == 0.83


def test_verdicts_in_the_grid_are_kept_and_stand_after_a_reload(review, street):
    """a accepts and goes on, r rejects, w withdraws; each stands in the run, and after a reload."""
    review.press("a", "r", "r")
    for name, state in zip(ALL, ("accepted", "rejected", "rejected"), strict=False):
        review.expect_state(name, state)
    review.press("ArrowLeft", "w")
    review.expect_state("empty.png", "new")
    review.saved()
    kept = kept_reviews(street)
    assert [kept[name]["verdict"] for name in ALL[:3]] == ["accepted", "rejected", None]
    assert [d["verdict"] for d in kept["cars.png"]["instances"]] == ["accepted"] * 3
    review.page.reload()
    expect(review.states).to_have_text("6 images: 4 new, 1 accepted, 1 rejected")
    review.expect_state("double.png", "rejected")


def test_undo_and_redo_go_through_all_decisions(review, street):
    """z takes the last decision back, in the run too, and Shift+z makes it again."""
    review.press("r", "r")
    review.expect_state("double.png", "rejected")
    review.press("z", "z")
    expect(review.states).to_have_text("6 images: 6 new")
    review.press("Shift+Z")
    expect(review.states).to_have_text("6 images: 5 new, 1 rejected")
    review.press("Control+z")
    expect(review.states).to_have_text("6 images: 6 new")
    review.press("z")
    expect(review.message).to_have_text("nothing to be undone")
    review.press("y").expect_state("cars.png", "rejected")
    review.saved()
    assert kept_reviews(street)["cars.png"]["verdict"] == "rejected"
    assert kept_reviews(street)["double.png"]["verdict"] is None


def test_single_instances_are_judged(review, street):
    """In an image, a and r judge the chosen instance and go to the next; w takes it back."""
    review.open("cars.png").expect_rows("car 0.90", "person 0.70", "car 0.60")
    review.press("ArrowDown", "r", "a", "r")
    review.expect_rows("car ✕ review rejected", "person ✓", "car ✕ review rejected")
    review.rows.first.click()
    review.press("w")
    review.expect_rows("car 0.90", "person ✓", "car ✕ review rejected")
    review.saved()
    decided = kept_reviews(street)["cars.png"]["instances"]
    assert sorted((d["origin"]["confidence"], d["verdict"]) for d in decided) == [
        (0.6, "rejected"),
        (0.7, "accepted"),
    ]
    review.leave().expect_state("cars.png", "edited")
    expect(review.tile("cars.png")).to_have_attribute("aria-label", "2 · cars.png, edited, 2 instances")


def test_all_instances_of_an_image_are_accepted_at_once(review, street):
    """Shift+a accepts whatever is kept, whichever instance is chosen, and goes on to the next image."""
    review.open("cars.png").press("ArrowDown", "Shift+A").expect_open("double.png")
    review.leave().expect_state("cars.png", "accepted")
    review.saved()
    assert len(kept_reviews(street)["cars.png"]["instances"]) == 3


def test_what_was_dropped_can_be_seen_and_accepted(review, street):
    """s lists what the filters drop with the reason; a keeps it all the same."""
    review.open("cars.png").press("s")
    review.expect_rows("car 0.90", "person 0.70", "car 0.60", "person 0.20 below confidence")
    review.press("ArrowUp", "a", "s")
    review.expect_rows("car 0.90", "person 0.70", "car 0.60", "person 0.20 ✓")
    review.saved()
    [decision] = kept_reviews(street)["cars.png"]["instances"]
    assert (decision["verdict"], decision["origin"]["confidence"]) == ("accepted", 0.2)


def test_a_class_is_given_by_digit_by_typing_and_by_its_button(review, street):
    """A digit gives the chosen instance that class, c and a name's beginning does too, and so does its button."""
    review.open("cars.png").press("ArrowDown", "2").expect_rows(
        "person 0.90 ✓ car · changed", "person 0.70", "car 0.60"
    )
    review.press("ArrowDown", "ArrowDown", "c")
    review.page.keyboard.type("<b")
    review.press("Enter").expect_rows(
        "person 0.90 ✓ changed", "person 0.70", f"{NASTY_CLASS} 0.60 ✓ car · changed"
    )
    review.press("9")
    expect(review.message).to_have_text("there is no class 9")
    review.saved()
    decided = {
        d["origin"]["confidence"]: d["category"] for d in kept_reviews(street)["cars.png"]["instances"]
    }
    assert decided == {0.9: "person", 0.6: NASTY_CLASS}
    review.viewer.get_by_role("group", name="classes").get_by_role("button", name="car").click()
    review.saved()
    [_, back] = kept_reviews(street)["cars.png"]["instances"]
    assert back["category"] is None


def test_masks_are_hidden_and_help_is_shown(review):
    """h takes the overlays off the grid and the image and puts them back; ? lists the keys, Escape closes it."""
    share = sum(float(bitmap(draw).mean()) for _, score, draw in STREET["cars.png"] if score >= 0.5)
    review.expect_covered("cars.png", share)
    review.press("h").expect_covered("cars.png", 0)
    review.press("h").expect_covered("cars.png", share)
    review.press("?")
    help_box = review.root.get_by_role("dialog", name="keys")
    expect(help_box).to_contain_text(re.compile("accept.*reject.*withdraw", re.DOTALL))
    review.press("Escape")
    expect(help_box).to_be_hidden()


def test_the_image_view_goes_through_the_images_that_are_shown(review):
    """n and p, or the arrows, go to the next and previous image of the filter; Escape goes back."""
    review.field("Class").select_option(label="person")
    review.expect_names("cars.png", "parts.png")
    review.open("cars.png").press("n").expect_open("parts.png")
    review.press("n")
    expect(review.message).to_have_text("this was the last image")
    review.press("ArrowLeft").expect_open("cars.png")
    review.press("Escape")
    expect(review.viewer).to_be_hidden()
    expect(review.grid).to_be_focused()
