"""What every hosted model shares: the key, the client, and errors for answers that are not understood.

The layout of requests and answers is each host's own.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from autolabel.backends.base import Answer, Meter, Model
from autolabel.backends.http import Host, Retry
from autolabel.backends.reading import parse
from autolabel.config import BackendConfig, api_key
from autolabel.errors import ConfigError
from autolabel.types import Picture, Prompt


class Hosted(Model, ABC):
    """A backend that answers over HTTP: one request for one picture and its prompts."""

    SETTINGS: ClassVar[frozenset[str]] = frozenset({"base_url"})
    METERED: ClassVar[bool] = True
    PATH: ClassVar[str]

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
        base_url = (settings.base_url or str(self.BASE_URL)).rstrip("/")
        self._host = Host(
            base_url,
            key=self._key(base_url),
            key_variable=self.KEY_VARIABLES[0],
            auth=settings.auth,
            timeout_s=settings.timeout_s,
            requests_per_second=self.limits.requests_per_second,
            meter=meter,
            stop=stop,
            retry=retry,
            advice=self._advice(settings, own_server=base_url != self.BASE_URL),
        )

    def predict(self, picture: Picture, prompts: Sequence[Prompt]) -> Answer:
        """Ask for all `prompts` on one picture; see `Backend.predict`."""
        reply = self._host.post(self.PATH, self._request(picture, prompts))
        size = (picture.height, picture.width)
        return self._understood(reply.value, reply.body, size, prompts)

    def read(self, body: bytes, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        """Read a kept body again; see `Backend.read`."""
        return self._understood(parse(body), body, size, prompts)

    def close(self) -> None:
        """Close the connections; `read` still works."""
        self._host.close()

    @abstractmethod
    def _request(self, picture: Picture, prompts: Sequence[Prompt]) -> bytes:
        """Return the JSON body that asks for `prompts`."""

    @abstractmethod
    def _answer(self, value: object, size: tuple[int, int], prompts: Sequence[Prompt]) -> Answer:
        """Read a parsed answer, without its body. Raises ValueError where it is not as documented."""

    def _advice(self, settings: BackendConfig, *, own_server: bool) -> Mapping[int, str]:  # noqa: ARG002
        """Return what to add to the error for a status."""
        return {}

    def _key(self, base_url: str) -> str | None:
        key = api_key(self.KEY_VARIABLES)
        if key is None and base_url == self.BASE_URL:
            raise ConfigError(
                f"{' or '.join(self.KEY_VARIABLES)} is not set: "
                f"put the key for {base_url} into the environment or into .env"
            )
        return key

    def _understood(
        self, value: object, body: bytes, size: tuple[int, int], prompts: Sequence[Prompt]
    ) -> Answer:
        try:
            return replace(self._answer(value, size, prompts), body=body)
        except ValueError as error:
            trouble = str(error)
        except RecursionError:
            trouble = "it is nested too deeply"
        except Exception as error:  # even a bug must not lose what was paid for  # noqa: BLE001
            trouble = f"{type(error).__name__}: {error}"
        raise self._host.reasons.unexpected(trouble, body)
