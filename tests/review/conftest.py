"""Each review happens in a folder of its own, without a key of the machine."""

import pytest

from autolabel.config.keys import ALL_VARIABLES
from tests.review.support import labelled, served


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    for name in ALL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config():
    """A labelled run of three pictures."""
    return labelled()


@pytest.fixture
def page(config):
    """Its review on a real port, the index ready."""
    with served(config) as page:
        page.index()
        yield page
