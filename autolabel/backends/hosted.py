"""What every hosted model shares: the key, the client, and errors for answers that are not understood.

The layout of requests and answers is each host's own.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, TypeVar

from autolabel.backends.base import Answer, Model
from autolabel.backends.http import Host, Retry
from autolabel.backends.meter import Meter
from autolabel.backends.reading import parse
from autolabel.config import BackendConfig, api_key
from autolabel.errors import AutolabelError, ConfigError
from autolabel.types import Picture, Prompt

T = TypeVar("T")


class OverHttp(Model):
    """A backend with a host and a key: what it asks and reads is up to the classes below."""

    METERED: ClassVar[bool] = True

    def __init__(
        self,
        settings: BackendConfig,
        *,
        floor: float,
        meter: Meter,
        stop: threading.Event,
        retry: Retry = Retry(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(settings, floor=floor, meter=meter, stop=stop)
        self._base_url = (settings.base_url or str(self.BASE_URL)).rstrip("/")
        self._host = self._open_host(self._base_url, meter, stop, retry)

    def close(self) -> None:
        """Close the connections; kept bodies can still be read."""
        self._host.close()

    def _open_host(self, base_url: str, meter: Meter, stop: threading.Event, retry: Retry) -> Host:
        return Host(
            base_url,
            key=self._key(),
            key_variable=self.KEY_VARIABLES[0],
            auth=self.settings.auth,
            timeout_s=self.settings.timeout_s,
            requests_per_second=self.limits.requests_per_second,
            meter=meter,
            stop=stop,
            retry=retry,
            advice=self._advice(own_server=base_url != self.BASE_URL),
        )

    def _advice(self, *, own_server: bool) -> Mapping[int, str]:  # noqa: ARG002
        """Return what to add to the error for a status."""
        return {}

    def _key(self) -> str | None:
        key = api_key(self.KEY_VARIABLES)
        if key is None and self._base_url == self.BASE_URL:
            raise ConfigError(
                f"{' or '.join(self.KEY_VARIABLES)} is not set: "
                f"put the key for {self._base_url} into the environment or into .env"
            )
        return key

    def _understood(self, read: Callable[[], T], body: bytes) -> T:
        """What `read` makes of a body. AnswerError, which keeps it, where that raises ValueError or fails."""
        try:
            return read()
        except AutolabelError:
            raise
        except ValueError as error:
            trouble = str(error)
        except RecursionError:
            trouble = "it is nested too deeply"
        except Exception as error:  # even a bug must not lose what was paid for  # noqa: BLE001
            trouble = f"{type(error).__name__}: {error}"
        raise self._host.reasons.unexpected(trouble, body)


class Hosted(OverHttp, ABC):
    """A backend that answers with JSON: one request for one picture and its prompts."""

    SETTINGS: ClassVar[frozenset[str]] = frozenset({"base_url"})
    PATH: ClassVar[str]

    def predict(self, picture: Picture, prompts: Sequence[Prompt]) -> Answer:
        """Ask for all `prompts` on one picture; see `Backend.predict`."""
        reply = self._host.post(self.PATH, self._request(picture, prompts))
        size = (picture.height, picture.width)
        return self._read(reply.value, reply.body, size, prompts)

    def read(self, body: bytes, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        """Read a kept body again; see `Backend.read`."""
        return self._read(parse(body), body, size, prompts)

    @abstractmethod
    def _request(self, picture: Picture, prompts: Sequence[Prompt]) -> bytes:
        """Return the JSON body that asks for `prompts`."""

    @abstractmethod
    def _answer(self, value: object, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        """Read a parsed answer, without its body. Raises ValueError where it is not as documented."""

    def _read(self, value: object, body: bytes, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        return self._understood(lambda: replace(self._answer(value, size, prompts), body=body), body)
