"""Foreign readers: skipped where they are not installed, cut off from the network and the home folder otherwise."""

import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conformance.foreign import make_torchvision_importable
from tests.conformance.written import Written, write_all

MISSING = [name for name in ("datumaro", "faster_coco_eval", "hotcoco", "ultralytics") if not find_spec(name)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip with a reason where readers are missing; what they warn of is theirs and no failure of ours."""
    reason = (
        f"needs {', '.join(MISSING)}: ./scripts/conformance installs them beside .venv and runs these tests"
    )
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(
                pytest.mark.skip(reason=reason) if MISSING else pytest.mark.filterwarnings("ignore")
            )


@pytest.fixture(scope="session", autouse=True)
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No reader gets at the network, or leaves settings and fonts in the home folder."""
    home = str(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "YOLO_CONFIG_DIR"):
            patch.setenv(name, home)
        patch.setenv("YOLO_OFFLINE", "true")
        patch.setattr(socket.socket, "connect", _refuse)
        patch.setattr(socket, "getaddrinfo", _refuse)
        make_torchvision_importable()
        yield


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """All scenes, written once by our writers into all formats, with real image files."""
    return write_all(tmp_path_factory.mktemp("written"))


def _refuse(*_: object) -> None:
    raise OSError("the conformance tests have no network")
