"""A browser for the tests that need one; they are left out where there is none (scripts/front installs one)."""

import pytest

from autolabel.config.keys import ALL_VARIABLES

try:
    from playwright.sync_api import sync_playwright

    from tests.front import browser as browsers
except ImportError:
    collect_ignore_glob = [
        f"test_{name}.py"
        for name in ("page*", "editing", "taking_back", "widget", "report", "people", "shots")
    ]


@pytest.fixture(scope="session")
def browser():
    """A Chromium without a window, for the whole session."""
    if browsers.chromium_path() is None:
        pytest.skip("needs Chromium: ./scripts/front installs it")
    with sync_playwright() as playwright:
        started = browsers.launch(playwright)
        yield started
        started.close()


@pytest.fixture
def own_folder(monkeypatch, tmp_path):
    """A working directory of the test's own, without a key of the machine."""
    for name in ALL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def street(own_folder):
    """The labelled street in a folder of its own."""
    from tests.front.street import label_street

    return label_street()


@pytest.fixture
def review(street, browser):
    """Someone at its review page, on a real port."""
    from tests.review.support import served

    with served(street) as served_page, browsers.tab(browser) as page:
        yield browsers.Reviewer(page).begin(f"{served_page.url}/?token={served_page.token}")
