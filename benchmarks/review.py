"""The review page in a browser, over a run of 10,000 images and 200,000 instances: how fast it is to look at.

    python -m benchmarks.review [FOLDER] [--chromium /usr/bin/chromium]

FOLDER holds the run (`python -m benchmarks.review_data FOLDER`); without one it is made, which takes a minute
or two. Needs Playwright and Chromium: run it with .venv-front, which ./scripts/front makes.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

SCROLL_S = 6
SPEEDS = {
    "60 images a second": 2208,
    "160 images a second": 5888,
}  # px a second: rows of 5 images, 184 px high

# the time from an input until what it asks for stands on the screen, in ms
FIRST_GRID = """window.firstGrid = new Promise((done) => {
  const look = () => {
    if (!document.querySelector(".al-tile[data-drawn]")) return requestAnimationFrame(look);
    const area = document.querySelector(".al-grid").getBoundingClientRect();
    const tiles = [...document.querySelectorAll(".al-tile")].filter((tile) => {
      const box = tile.getBoundingClientRect();
      return box.top < area.bottom && box.bottom > area.top;
    });
    const isThere = (tile) => tile.querySelector("img").complete && tile.dataset.drawn;
    const there = tiles.length > 5 && tiles.every(isThere);
    there ? requestAnimationFrame(() => done(performance.now())) : requestAnimationFrame(look);
  };
  look();
})"""
SCROLL = """([seconds, speed]) => new Promise((done) => {
  const grid = document.querySelector(".al-grid");
  const frames = [];
  const since = new Map();
  let blank = 0;
  let start, last;
  const frame = (now) => {
    start ??= now;
    if (last) frames.push(now - last);
    const area = grid.getBoundingClientRect();
    const seen = new Set();
    for (const tile of document.querySelectorAll(".al-tile")) {
      const box = tile.getBoundingClientRect();
      if (box.top > area.bottom || box.bottom < area.top) continue;
      const picture = tile.querySelector("img");
      const key = tile.id + tile.dataset.name;
      seen.add(key);
      if (!since.has(key)) since.set(key, now);
      if (!(picture.complete && picture.naturalWidth)) blank = Math.max(blank, now - since.get(key));
    }
    for (const key of since.keys()) if (!seen.has(key)) since.delete(key);
    last = now;
    if (now - start > 1000 * seconds) return done({ frames, blank });
    grid.scrollTop = ((now - start) / 1000) * speed;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""
NEXT = """() => new Promise((done) => {
  const before = document.querySelector(".al-canvas").dataset.shown;
  const start = performance.now();
  document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "n", bubbles: true }));
  const look = () => {
    const shown = document.querySelector(".al-canvas").dataset.shown;
    shown && shown !== before ? done(performance.now() - start) : requestAnimationFrame(look);
  };
  look();
})"""
SLIDE = """(value) => new Promise((done) => {
  const slider = document.querySelector(".al-class input[type=range]");
  const counts = document.querySelector(".al-dropped");
  const before = counts.dataset.counted;
  const start = performance.now();
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  const look = () =>
    counts.dataset.counted !== before ? done(performance.now() - start) : requestAnimationFrame(look);
  look();
})"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args()
    if given.folder is not None:
        measure(given.folder, given.chromium)
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "benchmarks.review_data", folder], check=True)
        measure(Path(folder), given.chromium)


def measure(folder: Path, chromium: str) -> None:
    with served(folder) as (server, url, started_s):
        show("the server's start, s", started_s, "")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.add_init_script(FIRST_GRID)
            page.goto(url, wait_until="commit")
            time.sleep(3)  # whoever asks before takes time from the page
            show("first grid, with its masks, ms", page.evaluate("window.firstGrid"), "<= 1000")
            drive(page)
            browser.close()
        show("the server's memory at its highest, MB", highest_mb(server.pid), "< 300")


def drive(page: Page) -> None:
    idle = page.evaluate(SCROLL, [1, 0])["frames"]
    show("frames a second where nothing moves", 1000 / statistics.mean(idle), "")
    for name, speed in SPEEDS.items():
        scrolled = page.evaluate(SCROLL, [SCROLL_S, speed])
        frames = scrolled["frames"]
        show(f"frames a second, scrolling {name}", 1000 / statistics.mean(frames), "60")
        show("  the slowest frame of twenty, ms", statistics.quantiles(frames, n=20)[-1], "")
        show("  an image without its picture for at most, ms", scrolled["blank"], "<= 200")
    moves = [page.evaluate(SLIDE, f"{0.3 + 0.02 * i:.2f}") for i in range(20)]
    show("a slider's move to new counts, ms (median)", statistics.median(moves), "<= 100")
    show("  the slowest of 20", max(moves), "<= 100")
    page.locator(".al-grid").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_selector(".al-canvas[data-shown]")
    time.sleep(1)
    steps = []
    for _ in range(20):
        steps.append(page.evaluate(NEXT))
        time.sleep(0.3)  # somebody looks at it
    show("next image, ms (median)", statistics.median(steps), "<= 100")
    show("  the slowest of 20", max(steps), "<= 100")


@contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str, float]]:
    """A review of the run in `folder`: its process, its address, and how long it took to come up."""
    started = time.monotonic()
    command = [sys.executable, "-m", "autolabel", "review", "street.yaml", "--no-browser"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        try:
            for line in server.stderr or ():
                found = re.search(r"http://\S+", line)
                if found:
                    yield server, found.group(), time.monotonic() - started
                    break
        finally:
            server.terminate()


def highest_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def show(what: str, value: float, bar: str) -> None:
    print(f"{what:<60} {value:9.1f}   {bar}", flush=True)


if __name__ == "__main__":
    main()
