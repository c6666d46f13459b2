"""The sample under review, as the documents show it: pictures for people to look at, in light and dark."""

from pathlib import Path

import pytest
import yaml
from playwright.sync_api import expect

import autolabel
from autolabel import Config
from tests.front.browser import SHOTS, Reviewer, tab
from tests.review.support import served

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sample(own_folder):
    """The sample of the repository, labelled into a folder of the test's own."""
    data = yaml.safe_load((ROOT / "configs" / "sample.yaml").read_text(encoding="utf-8"))
    data["images"] = str(ROOT / "sample_data" / "images")
    data["backend"]["answers"] = str(ROOT / "sample_data" / "answers")
    Path("sample.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    config = Config.load("sample.yaml")
    autolabel.label(config)
    return config


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_of_the_sample_is_pictured(sample, browser, scheme):
    """Grid, image, outline, help and a message are drawn with real photographs in both schemes."""
    with served(sample) as server, tab(browser, color_scheme=scheme) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        review.tile("cameraman.jpg").click()
        review.press("a").expect_state("cameraman.jpg", "accepted")
        review.tile("still life/coins.png").click()
        review.press("r").expect_state("still life/coins.png", "rejected")
        review.tile("astronaut.jpg").click()
        expect(review.message).to_be_empty(timeout=10_000)
        review.shot(f"grid-{scheme}")
        review.wh = (512, 512)
        review.open("astronaut.jpg").press("ArrowDown", "a", "ArrowUp", "e").shot(f"edit-{scheme}")
        review.press("Escape", "Escape", "s").shot(f"image-{scheme}")
        review.press("c").shot(f"class-{scheme}")
        review.press("Escape", "?").shot(f"help-{scheme}")
        review.press("Escape")
        other = Reviewer(page.context.new_page()).begin(page.url)
        other.tile("rocket.jpg").click()
        other.press("r").expect_state("rocket.jpg", "rejected").saved()
        review.leave().tile("rocket.jpg").click()
        review.press("a")
        expect(review.conflicts).to_be_visible()
        review.shot(f"conflict-{scheme}")
        page.set_viewport_size({"width": 640, "height": 700})
        review.shot(f"narrow-{scheme}")
    assert (SHOTS / f"grid-{scheme}.png").stat().st_size > 10_000
