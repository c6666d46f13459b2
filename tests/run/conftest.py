"""Each run happens in a folder of its own, without a key of the machine, and with short waits."""

import pytest

from autolabel.backends.hosted import Hosted
from autolabel.backends.http import Retry
from autolabel.config.keys import ALL_VARIABLES
from tests.run.support import write_pictures
from tests.servers.host import Host
from tests.servers.roboflow import RoboflowServer


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    for name in ALL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    short = Retry(tries=4, first_wait_s=0.001, max_wait_s=0.005)
    monkeypatch.setitem(Hosted.__init__.__kwdefaults__, "retry", short)


@pytest.fixture
def photos(tmp_path):
    """Six pictures in photos/."""
    return write_pictures(tmp_path / "photos", 6)


@pytest.fixture
def host():
    """A Roboflow server that answers well."""
    with Host(RoboflowServer()) as host:
        yield host
