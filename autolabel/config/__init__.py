"""The configuration: its model, how it is read from YAML, and the keys that never stand in it."""

from autolabel.config.keys import api_key, redact
from autolabel.config.load import folder_config, load_config
from autolabel.config.model import BackendConfig, Config, ExportConfig, FilterConfig, LabelConfig, SplitConfig

__all__ = [
    "BackendConfig",
    "Config",
    "ExportConfig",
    "FilterConfig",
    "LabelConfig",
    "SplitConfig",
    "api_key",
    "folder_config",
    "load_config",
    "redact",
]
