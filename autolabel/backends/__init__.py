"""The registry of backends: one line each, imported when it is asked for."""

import difflib
import threading
from importlib import import_module
from typing import cast
from urllib.parse import urlsplit

import orjson

from autolabel.backends.base import Backend, BackendClass, Limits, Meter
from autolabel.config import BackendConfig
from autolabel.errors import ConfigError

BACKENDS = {
    "roboflow": "autolabel.backends.roboflow:Roboflow",
    "segmentlens": "autolabel.backends.segmentlens:SegmentLens",
    "replay": "autolabel.backends.replay:Replay",
}


def open_backend(settings: BackendConfig, *, floor: float, meter: Meter, stop: threading.Event) -> Backend:
    """Open the backend that `settings` name; close it after use.

    `floor` is the lowest confidence that is asked for; a `stop` that is set ends every wait.
    Raises ConfigError for an unknown name or model, a missing key, or answers that can't be read.
    """
    return _backend_class(settings)(settings, floor=floor, meter=meter, stop=stop)


def limits_of(settings: BackendConfig) -> Limits:
    """Limits with the overrides of `settings`. Opens nothing and needs no key. Raises ConfigError."""
    backend = _backend_class(settings)
    own_server = backend.OWN_SERVERS and base_url_of(settings) != backend.BASE_URL
    return backend.LIMITS.with_overrides(settings, own_server=own_server)


def identity(settings: BackendConfig) -> str:
    """Who answers, as a JSON text that is equal for equal name, model and address: part of the cache key."""
    model = settings.model or next(iter(_backend_class(settings).MODELS), None)
    parts = {"name": settings.name, "model": model, "base_url": base_url_of(settings)}
    return orjson.dumps(parts).decode()


def base_url_of(settings: BackendConfig) -> str | None:
    """Where it is asked: the address of `settings` or the vendor's; None where no network is needed."""
    base_url = settings.base_url or _backend_class(settings).BASE_URL
    return base_url.rstrip("/") if base_url else None


def _backend_class(settings: BackendConfig) -> BackendClass:
    if settings.name not in BACKENDS:
        near = difflib.get_close_matches(settings.name, BACKENDS, n=1, cutoff=0.5)
        meant = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(BACKENDS)}"
        raise ConfigError(f"backend.name {settings.name!r} is unknown: {meant}")
    module, name = BACKENDS[settings.name].split(":")
    found = cast(BackendClass, getattr(import_module(module), name))
    _check(settings, found)
    return found


def _check(settings: BackendConfig, backend: BackendClass) -> None:
    """Raise ConfigError for a key that means nothing to this backend: it would change nothing, silently."""
    name = settings.name
    if settings.model is not None and settings.model not in backend.MODELS:
        known = (
            f"known are {', '.join(backend.MODELS)}" if backend.MODELS else "there is no choice: leave it out"
        )
        raise ConfigError(f"backend.model {settings.model!r} is unknown to {name}; {known}")
    given = {
        "base_url": settings.base_url is not None,
        "auth": settings.auth != "bearer",
        "answers": settings.answers is not None,
    }
    for key, is_given in given.items():
        if is_given and key not in backend.TAKES:
            raise ConfigError(f"backend.{key} means nothing to {name}: leave it out")
    url = urlsplit(settings.base_url or "")
    if url.username or url.password or url.query or url.fragment:
        # it would stand in the manifest, in logs and in the cache key
        variable = backend.KEY_VARIABLES[0]
        raise ConfigError(
            f"backend.base_url should hold no user name, query or fragment; a key belongs into {variable}"
        )
