"""SAM 3 on this machine's GPU, at full size with random weights: `python -m benchmarks.sam3`.

Prints pictures a second and the GPU's peak memory by batch size and number of classes, as a markdown table.
What weights are worth does not matter to what they cost; the floor is set so that a picture has about five
instances a class. Without a GPU it takes `--tiny`, which only shows that it runs.
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from transformers import Sam3VideoConfig, Sam3VideoModel

from autolabel.backends.sam3.model import Model
from autolabel.types import Prompt
from tests.local import tiny

BATCHES = (1, 2, 4, 8, 16)
CLASSES = (1, 4, 16)
HW = (960, 1280)
SECONDS = 8.0  # of each line, about
SEEDS = count(1)  # of pictures that were not asked about before
INSTANCES = 5  # of a class in a picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="small weights, also without a GPU")
    small = parser.parse_args().tiny
    if not small and not torch.cuda.is_available():
        parser.error(
            "there is no GPU, and on a processor a picture takes a minute: --tiny shows that it runs"
        )
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), small)
        start = time.perf_counter()
        floor = a_floor(Model(folder, batch=1))
        print(f"opened, and a first picture answered, in {time.perf_counter() - start:.1f} s\n")
        print("| batch | classes | images/s | ms an image | peak GB | instances an image |")
        print("|---|---|---|---|---|---|")
        for batch in BATCHES:
            model = Model(folder, batch=batch)
            for classes in CLASSES:
                line(model, batch, classes, floor, 0.2 if small else SECONDS)
            del model


def save(folder: Path, small: bool) -> None:
    """Random weights of the published size, made where that is fast."""
    if small:
        tiny.save_video(folder)
        return
    with torch.device("cuda"):
        model = Sam3VideoModel(Sam3VideoConfig())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {parameters / 1e6:.0f} M parameters")


def a_floor(model: Model) -> float:
    """A confidence that about five instances of a class reach."""
    [instances] = model.predict(picture(0), [Prompt("class 0", 0)])
    return sorted((instance.score for instance in instances), reverse=True)[INSTANCES - 1]


def line(model: Model, batch: int, classes: int, floor: float, seconds: float) -> None:
    """Asks for pictures from twice as many threads as go into a batch, and prints what that came to."""
    prompts = [Prompt(f"class {number}", number) for number in range(classes)]
    found: list[int] = []
    with ThreadPoolExecutor(2 * batch) as pool:

        def label(seed: int) -> None:
            found.append(sum(map(len, model.predict(picture(seed), prompts, floor))))

        list(pool.map(label, islice(SEEDS, 2 * batch)))  # texts, kernels and memory are made ready
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        found.clear()
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            list(pool.map(label, islice(SEEDS, 8 * batch)))
        spent = time.perf_counter() - start
    peak = f"{torch.cuda.max_memory_allocated() / 1e9:.1f}" if torch.cuda.is_available() else "-"
    done = len(found)
    print(
        f"| {batch} | {classes} | {done / spent:.2f} | {1000 * spent / done:.0f} | {peak} | "
        f"{sum(found) / done:.1f} |",
        flush=True,
    )


def picture(seed: int) -> np.ndarray:
    """Pixels that no other seed has, so that nothing is looked up."""
    return np.full((*HW, 3), np.random.default_rng(seed).integers(0, 256, 3), np.uint8)


if __name__ == "__main__":
    main()
