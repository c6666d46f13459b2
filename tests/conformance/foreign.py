"""What it takes to import foreign readers: Ultralytics' and torchvision's beside a CPU build of torch."""

import importlib.metadata
import importlib.util
import sys
import types


def make_torchvision_importable() -> None:
    """Let torchvision's modules of plain Python be imported where its package can't be.

    The package's own start registers compiled operators, which fails beside a build of torch that it was not
    compiled for. No data reader uses them: then an empty package stands in for `torchvision` and
    `torchvision.datasets`, and every module below is the real one.
    """
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):  # no module, or an operator that is not there
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("torchvision", "torchvision.datasets"):
            _stand_in(name)


def _stand_in(name: str) -> None:
    spec = importlib.util.find_spec(name)
    if spec is None:  # nothing to read with: the tests that need it say so
        return
    module = types.ModuleType(name)
    module.__spec__, module.__path__ = spec, list(spec.submodule_search_locations or ())
    module.__version__ = importlib.metadata.version("torchvision")
    sys.modules[name] = module
