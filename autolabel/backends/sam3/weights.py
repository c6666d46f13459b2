"""SAM 3's weights, opened from a folder or from the Hugging Face Hub, checked, and put onto a device."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import GatedRepoError, HFValidationError
from transformers import AutoConfig, AutoTokenizer
from transformers.models.sam3.modeling_sam3 import Sam3Model
from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoModel
from transformers.utils import logging as transformers_logging

from autolabel.backends.sam3 import stand_ins
from autolabel.errors import ConfigError

_log = logging.getLogger(__name__)
_CLASSES = {"sam3_video": Sam3VideoModel, "sam3": Sam3Model}  # by the model_type of config.json
_FILES = "config.json, model.safetensors and the tokenizer's files"

_BYTES = 256  # each has a token


@dataclass(frozen=True, slots=True)
class Weights:
    """A model on its device, ready to answer.

    `whole` is the published layout, whose tracker shares the vision backbone of its `detector`; it is None
    where the weights are of a detector alone. `side` is that of the model's square input, in px. `mixed` is
    whether layers compute in bfloat16, from weights in float32.
    """

    detector: Any  # Sam3Model
    whole: Any  # Sam3VideoModel or None
    tokenizer: Any
    device: torch.device
    side: int
    mixed: bool

    @contextmanager
    def running(self) -> Iterator[None]:
        """Compute without gradients, and in bfloat16 where that is exact enough."""
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            yield


def open_weights(name: str) -> Weights:
    """Open the weights in the folder `name`, or those of that name on the Hub.

    Only safetensors are read, as other files can hold code. Raises ConfigError where there are none, where
    they are of another model, damaged, or where some of the model's weights are missing.
    """
    stand_ins.install()
    with _quiet():
        try:
            config = AutoConfig.from_pretrained(name)
            if config.model_type not in _CLASSES:
                raise ConfigError(
                    f"backend.model {name!r} is of the type {config.model_type!r}: "
                    f"SAM 3's weights are of {' or '.join(_CLASSES)}"
                )
            model, info = _CLASSES[config.model_type].from_pretrained(
                name, use_safetensors=True, ignore_mismatched_sizes=True, output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(name)
        except ConfigError:
            raise
        except Exception as error:  # damaged files raise anything  # noqa: BLE001
            raise ConfigError(_reason(name, error)) from None
    _check_complete(name, info)
    if len(tokenizer) < _BYTES:  # without its files it is made all the same, and knows no text
        raise ConfigError(f"backend.model {name!r} has no tokenizer: the folder should hold {_FILES}")
    device = _device()
    model = model.eval().requires_grad_(False).to(device)
    whole = model if config.model_type == "sam3_video" else None
    return Weights(
        whole.detector_model if whole else model,
        whole,
        tokenizer,
        device,
        config.image_size,
        mixed=device.type == "cuda",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bars and reports away: what matters of them becomes an error here."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _reason(name: str, error: Exception) -> str:
    chain = [error, error.__cause__, error.__context__]
    if any(isinstance(link, GatedRepoError) for link in chain):
        return (
            f"backend.model {name!r} is gated: accept its licence on the Hugging Face Hub and log in with "
            "`hf auth login`, or name a folder that holds the weights"
        )
    if Path(name).is_dir():
        trouble = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return f"backend.model {name!r} can't be opened ({trouble}): the folder should hold {_FILES}"
    if Path(name).exists() or any(isinstance(link, HFValidationError) for link in chain):
        return f"backend.model {name!r} is no folder of weights: it should hold {_FILES}"
    return (
        f"backend.model {name!r} is no folder, and the Hugging Face Hub did not give weights of that name: "
        f"name a folder that holds {_FILES}, or look after the name, the network and `hf auth login`"
    )


def _check_complete(name: str, info: dict[str, Any]) -> None:
    """Refuse weights that would leave a part of the model random: its answers would be too, silently."""
    wrong = sorted(info["missing_keys"]) + sorted(key for key, *_ in info["mismatched_keys"])
    if wrong:
        raise ConfigError(
            f"backend.model {name!r} lacks {len(wrong)} of the model's weights or has them in another shape "
            f"(the first is {wrong[0]}): fetch them again, or convert them with transformers"
        )


def _device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    _log.warning("no GPU was found: on a processor SAM 3 takes about a minute for an image")
    return torch.device("cpu")
