"""Weights that the tests of the local model share, made once a session."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """More threads than one lose time on layers this small."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Detector and tracker, in the published layout."""
    from tests.local import tiny

    return tiny.save_video(tmp_path_factory.mktemp("weights") / "video")


@pytest.fixture(scope="session")
def detector_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector alone."""
    from tests.local import tiny

    return tiny.save_detector(tmp_path_factory.mktemp("weights") / "detector")


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    """Five pictures (h, w, 3) of coloured tiles, in different sizes."""
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 256, (9 + number, 13, 3), np.uint8).repeat(10, axis=0).repeat(10, axis=1)
        for number in range(5)
    ]
