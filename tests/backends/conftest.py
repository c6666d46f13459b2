"""No key of the machine or of a working directory reaches a test."""

from pathlib import Path

import pytest

from autolabel.config.keys import ALL_VARIABLES
from tests.backends.support import SERVICES, TEXT_SERVICES, Service


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ALL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def _name(service: Service) -> str:
    return f"{service.name}-{service.model}" if service.model else service.name


@pytest.fixture(params=SERVICES, ids=_name)
def service(request: pytest.FixtureRequest) -> Service:
    """Each host and call in turn."""
    return request.param


@pytest.fixture(params=TEXT_SERVICES, ids=_name)
def text_service(request: pytest.FixtureRequest) -> Service:
    """Each host that takes texts in turn."""
    return request.param
