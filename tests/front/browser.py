"""A reviewer at the browser: opens the page, presses keys, points at pixels, and reads what is shown."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, FrameLocator, Locator, Page, Playwright, expect

from tests.front.street import WH

SHOTS = Path(os.environ.get("AUTOLABEL_SHOTS") or Path(__file__).with_name("shots"))
SIZE = {"width": 1280, "height": 800}


def chromium_path() -> str | None:
    """The browser of this machine."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def launch(playwright: Playwright) -> Browser:
    """Start it. Without its sandbox, which a container's root can't have."""
    return playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])


class Reviewer:
    """Someone who reviews a run of pictures of `wh` px in a tab; `root` is where the review stands in it."""

    def __init__(
        self, page: Page, root: Locator | FrameLocator | None = None, wh: tuple[int, int] = WH
    ) -> None:
        self.page = page
        self.root = page.locator(".autolabel") if root is None else root
        self.wh = wh

    # ---- what is shown

    @property
    def grid(self) -> Locator:
        return self.root.get_by_role("listbox", name="images")

    @property
    def viewer(self) -> Locator:
        return self.root.locator(".al-viewer")

    @property
    def title(self) -> Locator:
        return self.root.locator(".al-title")

    @property
    def canvas(self) -> Locator:
        return self.root.locator(".al-canvas")

    @property
    def states(self) -> Locator:
        return self.root.locator(".al-states")

    @property
    def status(self) -> Locator:
        return self.root.locator(".al-status")

    @property
    def message(self) -> Locator:
        return self.root.locator(".al-message")

    @property
    def hint(self) -> Locator:
        return self.root.locator(".al-hint")

    @property
    def conflicts(self) -> Locator:
        return self.root.locator(".al-conflicts p")

    @property
    def rows(self) -> Locator:
        """The instances in the list."""
        return self.root.locator(".al-row")

    @property
    def chosen(self) -> Locator:
        return self.root.locator('.al-row[aria-selected="true"]')

    def tile(self, name: str) -> Locator:
        return self.root.locator(f'.al-tile[data-name="{name}"]')

    def expect_names(self, *names: str) -> "Reviewer":
        """These files are in the grid, in this order."""
        self.page.wait_for_function(
            """wanted => {
                const place = tile => Number(tile.getAttribute("aria-posinset"));
                const tiles = [...document.querySelectorAll(".al-tile")].sort((a, b) => place(a) - place(b));
                return JSON.stringify(tiles.map(tile => tile.dataset.name)) === wanted;
            }""",
            arg=json.dumps(names, ensure_ascii=False, separators=(",", ":")),
        )
        return self

    def expect_covered(self, name: str, share: float) -> "Reviewer":
        """So much of a tile's picture is covered by masks."""
        self.page.wait_for_function(
            """([tile, share]) => {
                const canvas = tile.querySelector("canvas");
                const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                let n = 0;
                for (let i = 3; i < data.length; i += 4) n += data[i] > 0;
                return share === 0 ? n === 0 : Math.abs(n / (data.length / 4) - share) < 0.03;
            }""",
            arg=[self.tile(name).element_handle(), share],
        )
        return self

    def expect_state(self, name: str, state: str) -> "Reviewer":
        """The state of an image in the grid."""
        expect(self.tile(name)).to_have_class(re.compile(rf"\bal-{state}\b"))
        return self

    def expect_rows(self, *texts: str) -> "Reviewer":
        """Each instance in the list has these words in this order, and ends with the last."""
        words = [[re.escape(word) for word in text.split()] for text in texts]
        patterns = [re.compile(f"^{'.*'.join(each)}$", re.DOTALL) for each in words]
        expect(self.rows).to_have_text(patterns)
        return self

    def field(self, label: str) -> Locator:
        """A choice of the filter."""
        return (
            self.root.locator("label.al-field", has_text=re.compile(f"^{label}"))
            .locator("select, input")
            .first
        )

    def slider(self, group: str, label: str) -> Locator:
        return self.root.locator(f'.al-class[aria-label="{group}"]').get_by_role("slider", name=label)

    def kept(self, category: str) -> Locator:
        """How many instances of a class are kept, with the number as data-kept."""
        return self.root.locator(f'.al-class[aria-label="{category}"] .al-counts')

    # ---- what is done

    def begin(self, url: str) -> "Reviewer":
        """Go to a review, and wait until its pictures are there."""
        self.page.goto(url)
        expect(self.grid).to_be_focused()
        self.settle()
        return self

    def settle(self) -> None:
        """Wait until the small pictures on the screen are loaded."""
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('.al-tile img')].every(i => i.complete && i.naturalWidth)"
        )

    def press(self, *keys: str) -> "Reviewer":
        for key in keys:
            self.page.keyboard.press(key)
        return self

    def open(self, name: str) -> "Reviewer":
        """Open an image, and wait for its picture and its instances."""
        if self.viewer.is_visible():
            self.leave()
        self.tile(name).dblclick()
        return self.expect_open(name)

    def expect_open(self, name: str) -> "Reviewer":
        expect(self.title).to_contain_text(f" · {name} · ")
        expect(self.viewer).to_have_attribute("aria-busy", "false")
        return self

    def leave(self) -> "Reviewer":
        """Back to the grid."""
        self.root.get_by_role("button", name="Back").click()
        expect(self.viewer).to_be_hidden()
        return self

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the opened image is in the window, as long as the image fits the screen."""
        found = self.canvas.bounding_box()
        assert found is not None
        scale = min((found["width"] - 16) / self.wh[0], (found["height"] - 16) / self.wh[1])
        left = found["x"] + (found["width"] - self.wh[0] * scale) / 2
        top = found["y"] + (found["height"] - self.wh[1] * scale) / 2
        return left + x * scale, top + y * scale

    def click(self, x: float, y: float, *modifiers: str, button: str = "left") -> "Reviewer":
        """Click a pixel of the opened image."""
        for key in modifiers:
            self.page.keyboard.down(key)
        self.page.mouse.click(*self.place(x, y), button=button)  # type: ignore[arg-type]
        for key in modifiers:
            self.page.keyboard.up(key)
        return self

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> "Reviewer":
        self.page.mouse.move(*self.place(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(*end), steps=5)
        self.page.mouse.up()
        return self

    def saved(self) -> "Reviewer":
        """Wait until the host has every decision."""
        expect(self.status).to_have_attribute("data-saved", "true")
        return self

    def shot(self, name: str) -> None:
        """Keep a picture of the window for people."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")


@contextmanager
def tab(browser: Browser, **options: object) -> Iterator[Page]:
    """A tab in a profile of its own. At its end it must have met no error of the page's own."""
    context = browser.new_context(viewport=SIZE, **options)  # type: ignore[arg-type]
    try:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(10_000)
        yield page
        assert errors == []
    finally:
        context.close()
