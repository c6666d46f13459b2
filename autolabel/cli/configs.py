"""The CONFIG of a command line, read."""

from pathlib import Path
from typing import TYPE_CHECKING

from autolabel.errors import UsageError

if TYPE_CHECKING:
    from autolabel.config import Config


def config_file(path: str, overrides: list[str] | None) -> "Config":
    """The config of a file. Raises UsageError for a folder, and for what is wrong in the file."""
    from autolabel.config import load_config  # noqa: PLC0415

    if Path(path).is_dir():
        own = f"runs/{Path(path).resolve().name}/config.yaml"
        raise UsageError(f"{path} is a folder, and a config is needed here; that of its own run is {own}")
    return load_config(path, overrides or ())
