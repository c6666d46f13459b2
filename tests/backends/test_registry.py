"""The registry: names, keys that mean nothing, limits, and who is asked."""

import subprocess
import sys
import threading
from typing import Any

import orjson
import pytest

from autolabel.backends import BACKENDS, base_url_of, identity, limits_of, open_backend
from autolabel.backends.meter import Meter
from autolabel.config import BackendConfig
from autolabel.errors import ConfigError
from tests.backends.support import SERVICES, Service


def open_with(**settings: Any) -> None:
    open_backend(BackendConfig(**settings), floor=0.1, meter=Meter(), stop=threading.Event()).close()


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_states_what_the_registry_needs(name: str) -> None:
    """Limits and identity need no key, no network and no file."""
    settings = BackendConfig(name=name)
    limits = limits_of(settings)
    assert limits.max_prompts >= 1
    assert orjson.loads(identity(settings))["name"] == name
    changed = limits_of(BackendConfig(name=name, requests_per_second=0.5, price_per_request=0.25))
    assert (changed.requests_per_second, changed.price_per_request) == (0.5, 0.25)


def test_importing_the_package_does_not_import_httpx() -> None:
    """Commands that ask nothing start fast."""
    code = "import sys, autolabel, autolabel.backends; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "robflow"}, "'robflow' is unknown: did you mean 'roboflow'"),
        ({"name": "zzz"}, "known are roboflow, segmentlens, segmind, sam3, replay"),
        ({"name": "roboflow", "model": "visul"}, "'visul' is unknown to roboflow; known are concept, visual"),
        ({"name": "segmentlens", "model": "sam3"}, "there is no choice: leave it out"),
        ({"name": "segmentlens", "auth": "query"}, r"backend\.auth means nothing to segmentlens"),
        ({"name": "roboflow", "answers": "a"}, r"backend\.answers means nothing to roboflow"),
        ({"name": "replay", "base_url": "http://a"}, r"backend\.base_url means nothing to replay"),
        ({"name": "roboflow", "base_url": "http://a:b@c"}, "a key belongs into ROBOFLOW_API_KEY"),
        ({"name": "roboflow", "base_url": "http://a/?api_key=x"}, "a key belongs into ROBOFLOW_API_KEY"),
    ],
)
def test_what_means_nothing_is_an_error(settings: dict[str, Any], words: str) -> None:
    """An unknown name or model, or a key that would be passed over, is told before anything runs."""
    for function in (limits_of, identity):
        with pytest.raises(ConfigError, match=words):
            function(BackendConfig(**settings))
    with pytest.raises(ConfigError, match=words):
        open_with(**settings)


def test_identity_resolves_defaults() -> None:
    """Stating a default changes nothing; another address or model is another answerer."""
    plain = identity(BackendConfig(name="roboflow"))
    assert plain == '{"name":"roboflow","model":"concept","base_url":"https://serverless.roboflow.com"}'
    same = BackendConfig(name="roboflow", model="concept", base_url="https://serverless.roboflow.com/")
    assert identity(same) == plain
    paced = BackendConfig(name="roboflow", requests_per_second=1.0, timeout_s=5.0, auth="query")
    assert identity(paced) == plain
    assert identity(BackendConfig(name="roboflow", base_url="http://localhost:9001")) != plain
    assert (
        identity(BackendConfig(name="replay", answers="a"))
        == '{"name":"replay","model":null,"base_url":null}'
    )
    assert base_url_of(BackendConfig(name="replay")) is None
    assert base_url_of(BackendConfig(name="segmentlens")) == "https://sam3.ai"


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_the_vendor_needs_a_key(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the vendor's own address is an error that names the variable; another needs none."""
    with pytest.raises(ConfigError, match=f"^{service.variable}.* is not set"):
        open_with(name=service.name)
    with pytest.raises(ConfigError, match="is not set"):
        open_with(name=service.name, base_url=f"{service.backend.BASE_URL}/")
    open_with(name=service.name, base_url="http://127.0.0.1:9")
    monkeypatch.setenv(service.variable, "a-key")
    open_with(name=service.name)


def test_options_that_change_no_answer_are_no_part_of_the_identity() -> None:
    """How many pictures a GPU looks at together asks nothing again; what changes answers does."""
    plain = identity(BackendConfig(name="sam3"))
    assert identity(BackendConfig(name="sam3", options={"batch": 4})) == plain
    segmind = identity(BackendConfig(name="segmind"))
    assert identity(BackendConfig(name="segmind", options={"max_masks": 4})) != segmind
