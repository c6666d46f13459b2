"""The registry of backends: one line each, imported when it is asked for; and those of other packages."""

import difflib
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

from autolabel.backends.base import Backend, BackendClass, Limits, Model, Tracker
from autolabel.backends.meter import Meter
from autolabel.config import BackendConfig
from autolabel.errors import AutolabelError, ConfigError

NO_CHOICE, ANY = "", "*"  # in place of a model's name: there is one model only, or the user's own
BACKENDS: dict[str, dict[str, str]] = {
    "roboflow": {
        "concept": "autolabel.backends.roboflow.concept:Concept",
        "visual": "autolabel.backends.roboflow.visual:Visual",
    },
    "segmentlens": {NO_CHOICE: "autolabel.backends.segmentlens:SegmentLens"},
    "segmind": {
        "sam3-image": "autolabel.backends.segmind.sam3_image:Sam3Image",
        "sam-v2-image": "autolabel.backends.segmind.sam_v2_image:SamV2Image",
        "sam3-video": "autolabel.backends.segmind.sam3_video:Sam3Video",
    },
    "sam3": {
        "facebook/sam3": "autolabel.backends.sam3:Sam3",
        ANY: "autolabel.backends.sam3:Sam3",  # a folder of weights, or another name on the Hub
    },
    "replay": {NO_CHOICE: "autolabel.backends.replay:Replay"},
    "grabcut": {NO_CHOICE: "autolabel.backends.grabcut:GrabCut"},
}


def open_backend(settings: BackendConfig, *, floor: float, meter: Meter, stop: threading.Event) -> Backend:
    """Open the backend that `settings` name; close it after use.

    `floor` is the lowest confidence that is asked for; a `stop` that is set ends every wait.
    Raises ConfigError for an unknown name or model, a missing key, or answers that can't be read.
    """
    from autolabel.backends.metered import Metered, MeteredTracker  # noqa: PLC0415  (not for the rest)

    found = backend_class(settings)
    try:
        backend = found(settings, floor=floor, meter=meter, stop=stop)
    except Exception as error:
        if ":" not in settings.name or isinstance(error, AutolabelError):
            raise
        trouble = f"{type(error).__name__}: {error}"
        raise ConfigError(f"backend.name {settings.name!r} can't be opened ({trouble})") from error
    if found.METERED or backend.limits.free:
        return backend
    if isinstance(backend, Tracker):
        return MeteredTracker(backend, meter=meter, stop=stop)
    return Metered(backend, meter=meter, stop=stop)


def limits_of(settings: BackendConfig) -> Limits:
    """Limits with the overrides of `settings`. Opens nothing and needs no key. Raises ConfigError."""
    return backend_class(settings).limits_for(settings)


def identity(settings: BackendConfig) -> str:
    """Who answers, as a JSON text that is equal for equal name, model, address and options.

    It is part of the cache key. Raises ConfigError.
    """
    parts = {"name": settings.name, "model": model_of(settings), "base_url": base_url_of(settings)}
    options = answer_options(settings)
    return orjson.dumps(parts | ({"options": options} if options else {})).decode()


def answer_options(settings: BackendConfig) -> dict[str, Any]:
    """The options that change answers, not speed alone, by name. Raises ConfigError."""
    speed = backend_class(settings).SPEED
    return {name: value for name, value in sorted(settings.options.items()) if name not in speed}


def model_of(settings: BackendConfig) -> str | None:
    """The model that is asked: that of `settings` or the backend's default; None where there is no choice."""
    return settings.model or next(iter(BACKENDS.get(settings.name, ())), "").rstrip(ANY) or None


def base_url_of(settings: BackendConfig) -> str | None:
    """Where it is asked: the address of `settings` or the vendor's; None where no network is needed."""
    base_url = settings.base_url or backend_class(settings).BASE_URL
    return base_url.rstrip("/") if base_url else None


def backend_class(settings: BackendConfig) -> BackendClass:
    """The class that `settings` name, which takes all that they state. Raises ConfigError."""
    if ":" in settings.name:
        found = _plug_in(settings.name)
    elif settings.name in BACKENDS:
        found = _own(settings)
    else:
        near = difflib.get_close_matches(settings.name, BACKENDS, n=1, cutoff=0.5)
        known = f"known are {', '.join(BACKENDS)} and your own as 'package.module:Class'"
        raise ConfigError(
            f"backend.name {settings.name!r} is unknown: " + (f"did you mean {near[0]!r}?" if near else known)
        )
    _check(settings, found)
    return found


def _own(settings: BackendConfig) -> BackendClass:
    models = BACKENDS[settings.name]
    model = settings.model or next(iter(models))
    place = models.get(model) or models.get(ANY)
    if place is None or (settings.model is not None and NO_CHOICE in models):
        known = (
            "there is no choice: leave it out" if NO_CHOICE in models else f"known are {', '.join(models)}"
        )
        raise ConfigError(f"backend.model {settings.model!r} is unknown to {settings.name}; {known}")
    module, name = place.split(":")
    return cast(BackendClass, getattr(import_module(module), name))


def _plug_in(place: str) -> BackendClass:
    """The class that "package.module:Class" names, which may lie in the working directory."""
    module, _, name = place.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # whatever the module does when it is imported  # noqa: BLE001
        trouble = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"backend.name {place!r} can't be imported ({trouble}); "
            "write it as package.module:Class, installed or below the working directory"
        ) from None
    finally:
        sys.path.remove(here)
    if not (isinstance(found, type) and issubclass(found, Model) and _asks(found)):
        raise ConfigError(
            f"backend.name {place!r} is no backend: derive the class from autolabel.backends.base.Model"
        )
    return cast(BackendClass, found)


def _asks(found: type) -> bool:
    return hasattr(found, "predict") or hasattr(found, "track")


def _check(settings: BackendConfig, backend: BackendClass) -> None:
    """Raise ConfigError for a key that means nothing to this backend: it would change nothing, silently."""
    given = {
        "base_url": settings.base_url is not None,
        "auth": settings.auth != "bearer",
        "answers": settings.answers is not None,
        "api": settings.api is not None,
    }
    for key, is_given in given.items():
        if is_given and key not in backend.SETTINGS:
            raise ConfigError(f"backend.{key} means nothing to {settings.name}: leave it out")
    backend.check_options(settings)
    url = urlsplit(settings.base_url or "")
    if url.username or url.password or url.query or url.fragment:
        # it would stand in the manifest, in logs and in the cache key
        variable = backend.KEY_VARIABLES[0]
        raise ConfigError(
            f"backend.base_url should hold no user name, query or fragment; a key belongs into {variable}"
        )
