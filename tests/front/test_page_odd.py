"""Pictures that are not as others: turned by EXIF, equal to another, without scores, many, and unsaved ones."""

from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
from PIL import Image
from playwright.sync_api import expect

import autolabel
from autolabel import Config
from autolabel.geometry import rle
from tests.front.browser import Reviewer, tab
from tests.front.street import CONFIG, STREET, WH, bitmap, box, kept_reviews, label_street
from tests.review.support import served

BODY_RGB = (20, 200, 60)


@pytest.fixture
def turned(own_folder):
    """A run of one photo that its EXIF turns, with a body and an answer of no score on the upright picture."""
    pixels = np.full((WH[1], WH[0], 3), 90, np.uint8)
    pixels[bitmap(box(10, 20, 50, 70)).astype(bool)] = BODY_RGB
    stored = Image.fromarray(np.rot90(pixels).copy())  # a reader turns it back by a quarter
    exif = Image.Exif()
    exif[0x0112] = 6
    Path("photos").mkdir()
    stored.save("photos/turned.jpg", exif=exif.tobytes(), quality=95)
    counts = rle.from_bitmap(bitmap(box(10, 20, 50, 70)).astype(np.bool_)).counts.decode()
    answer = {"prompt": "car", "confidence": None, "segmentation": {"size": [WH[1], WH[0]], "counts": counts}}
    Path("answers").mkdir()
    Path("answers/turned.jpg.json").write_bytes(orjson.dumps({"detections": [answer]}))
    Path(CONFIG).write_text("images: photos\nclasses: [car]\nbackend: {name: replay, answers: answers}\n")
    config = Config.load(CONFIG)
    autolabel.label(config)
    return config


def test_a_turned_photo_is_upright_and_its_masks_lie_on_it(turned, browser):
    """The body is seen where the mask is, and a click there chooses the instance, which has no score."""
    with served(turned) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        review.open("turned.jpg").press("h")  # the picture alone
        page.wait_for_function("() => new Promise(requestAnimationFrame)")
        seen = {place: colour_at(review, *place) for place in ((15, 25), (45, 65), (60, 40), (20, 75))}
        assert all(np.abs(seen[place] - BODY_RGB).max() < 40 for place in ((15, 25), (45, 65)))
        assert all(np.abs(seen[place] - 90).max() < 40 for place in ((60, 40), (20, 75)))
        review.press("h").click(45, 65)
        expect(review.chosen).to_have_text("car")


def colour_at(review: Reviewer, x: int, y: int) -> np.ndarray:
    """The colour that the canvas shows at a pixel of the image."""
    left, top = review.place(x, y)
    found = review.canvas.evaluate(
        """(canvas, [x, y]) => {
            const at = canvas.getBoundingClientRect();
            return [...canvas.getContext("2d").getImageData(x - at.left, y - at.top, 1, 1).data].slice(0, 3);
        }""",
        [left, top],
    )
    return np.array(found)


def test_equal_images_share_their_decisions(own_folder, browser):
    """A decision belongs to the content: both names of it show the verdict, and one undo takes both back."""
    label_street({name: STREET[name] for name in ("cars.png", "ring.png")})
    Path("photos/again.png").write_bytes(Path("photos/ring.png").read_bytes())
    Path("answers/again.png.json").write_bytes(Path("answers/ring.png.json").read_bytes())
    config = Config.load(CONFIG)
    autolabel.label(config)
    with served(config) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        review.tile("ring.png").click()
        review.press("r").expect_state("ring.png", "rejected").expect_state("again.png", "rejected")
        review.press("z").expect_state("ring.png", "new").expect_state("again.png", "new")


def test_many_decisions_in_a_row_are_all_kept(own_folder, browser):
    """Forty images are accepted as fast as keys can be pressed; the run has every one, the grid scrolls along."""
    config = label_street({f"{i:03}.png": [("car", 0.9, box(i, i, i + 40, i + 40))] for i in range(40)})
    with served(config) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        review.press(*["a"] * 40)
        expect(review.states).to_have_text("40 images: 40 accepted")
        review.saved().expect_state("039.png", "accepted")
        expect(review.tile("039.png")).to_be_in_viewport()
    kept = kept_reviews(config)
    assert [review["verdict"] for review in kept.values()] == ["accepted"] * 40


def test_a_tab_with_unsaved_decisions_asks_before_it_closes(street, browser):
    """Leaving a page that could not save yet is asked about; after saving it is not."""
    asked: list[str] = []
    with served(street) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
        page.context.set_offline(True)
        review.press("r")
        expect(review.status).to_contain_text("not saved")
        page.close(run_before_unload=True)
        expect(review.status).to_contain_text("not saved")
        assert asked == ["beforeunload"]
        page.context.set_offline(False)
        review.saved()
    assert kept_reviews(street)["cars.png"]["verdict"] == "rejected"


def test_a_broken_picture_file_is_told(street, browser):
    """A file that was overwritten since is not shown under the masks of another one."""
    with served(street) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        Path("photos/ring.png").write_bytes(
            cv2.imencode(".png", np.zeros((50, 50, 3), np.uint8))[1].tobytes()
        )
        review.tile("ring.png").dblclick()
        expect(review.message).to_contain_text("ring.png can't be shown")


def test_equal_pictures_with_boxes_of_their_own_keep_their_decisions(own_folder, browser):
    """What is decided in one of two equal files is neither lost nor out of date in the other."""
    street = twins()
    with served(street) as server, tab(browser) as page:
        review = Reviewer(page).begin(f"{server.url}/?token={server.token}")
        review.open("a.png").press("ArrowDown", "2").saved()
        review.open("b.png").press("ArrowDown", "d").saved()
        review.leave()
        expect(review.states).to_have_text("2 images: 2 edited")
        review.tile("a.png").click()
        review.press("a")
        expect(review.message).to_have_text("accepted a.png")
        review.saved()
        page.reload()
        review.settle()
        expect(review.states).to_have_text("2 images: 1 edited, 1 accepted")
        review.open("b.png").press("s").expect_rows("person ✕ box of person · review rejected")
    [kept] = kept_reviews(street).values()
    assert [d["verdict"] for d in kept["instances"]] == ["accepted", "rejected"]


def twins() -> Config:
    """A run of two equal pictures, with another box in each, which GrabCut answers."""
    Path("photos").mkdir()
    pixels = np.full((WH[1], WH[0], 3), 90, np.uint8)
    boxes = {"a.png": (10, 20, 50, 70), "b.png": (80, 30, 140, 90)}
    for left, top, right, bottom in boxes.values():
        pixels[top:bottom, left:right] = BODY_RGB
    images = [
        {"id": i, "file_name": name, "width": WH[0], "height": WH[1]} for i, name in enumerate(boxes, 1)
    ]
    annotations = [
        {
            "id": i,
            "image_id": i,
            "category_id": i,
            "bbox": [x0 - 3, y0 - 3, x1 - x0 + 6, y1 - y0 + 6],
            "area": 1,
            "iscrowd": 0,
        }
        for i, (x0, y0, x1, y1) in enumerate(boxes.values(), 1)
    ]
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "person"}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    Path("boxes.json").write_bytes(orjson.dumps(data))
    for name in boxes:
        Image.fromarray(pixels).save(Path("photos") / name)
    Path(CONFIG).write_text(
        "images: photos\nclasses: [car, person]\nbackend: {name: grabcut}\nlabel: {boxes: boxes.json}\n"
    )
    config = Config.load(CONFIG)
    autolabel.label(config)
    return config
