"""Texts, exemplars, boxes and points on pictures, against the model's own code, asked in the plainest way."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the local model needs torch: pip install '.[local]'")
pytest.importorskip("transformers", reason="the local model needs transformers: pip install '.[local]'")

from PIL import Image  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import Sam3Model, Sam3TrackerModel  # noqa: E402
from transformers.models.sam3_tracker.configuration_sam3_tracker import (  # noqa: E402
    Sam3TrackerConfig,
    Sam3TrackerMaskDecoderConfig,
    Sam3TrackerPromptEncoderConfig,
)

from autolabel.backends import limits_of  # noqa: E402
from autolabel.backends.sam3.detector import Detector, View  # noqa: E402
from autolabel.backends.sam3.model import Instance, Model  # noqa: E402
from autolabel.backends.sam3.pixels import normalised, to_input  # noqa: E402
from autolabel.backends.sam3.pointer import Pointed, Pointer  # noqa: E402
from autolabel.backends.sam3.weights import open_weights  # noqa: E402
from autolabel.config import BackendConfig  # noqa: E402
from autolabel.errors import RefusedError, StopRun, UnknownModel  # noqa: E402
from autolabel.geometry import rle  # noqa: E402
from autolabel.types import Exemplar, Point, Prompt  # noqa: E402
from tests.local import tiny  # noqa: E402

CAT, DOG = Prompt("cat", 0), Prompt("dog", 1)
SHOWN = Prompt("cat", 0, exemplars=(Exemplar((10, 5, 60, 40)),))
SHOWN_MORE = Prompt(
    "dog", 1, exemplars=(Exemplar((10, 5, 60, 40)), Exemplar((70, 9, 99, 80), positive=False))
)
BOXED = Prompt("cat", 0, box_xyxy=(20.0, 10.0, 90.0, 70.0))
POINTED = Prompt("cat", 0, points=(Point(30, 40), Point(100, 20, positive=False)))
BOTH = Prompt("cat", 0, box_xyxy=(20.0, 10.0, 90.0, 70.0), points=(Point(30, 40),))
ALL = [CAT, BOXED, SHOWN, DOG, POINTED, SHOWN_MORE, BOTH]


@pytest.fixture(scope="module")
def model(video_folder: Path) -> Model:
    return Model(str(video_folder))


@pytest.fixture
def seen(model: Model) -> Iterator[list[int]]:
    """How many pictures each call of the vision backbone is given."""
    calls: list[int] = []
    backbone = model._weights.detector.vision_encoder.backbone
    handle = backbone.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    model._features.clear()
    yield calls
    handle.remove()


def bitmaps(instances: list[Instance]) -> np.ndarray:
    return np.stack([rle.to_bitmap(instance.mask) for instance in instances])


def scores(instances: list[Instance]) -> list[float]:
    return [instance.score for instance in instances]


def same(ours: list[Instance], others: list[Instance]) -> None:
    """Scores are equal, and masks but for pixels on the border."""
    assert scores(ours) == pytest.approx(scores(others), abs=6e-5)
    if ours:
        assert (bitmaps(ours) != bitmaps(others)).mean() < 1e-3


def resized(masks: Any, hw: tuple[int, int]) -> np.ndarray:
    return torch.nn.functional.interpolate(masks, hw, mode="bilinear").numpy()


def plain(video_folder: Path, pixels: np.ndarray, prompt: Prompt) -> tuple[list[float], np.ndarray]:
    """Scores and masks of a text, with its exemplars, from the image model alone, one call for one picture."""
    image_model = Sam3Model.from_pretrained(video_folder)
    height, width = pixels.shape[:2]
    boxes = [
        [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]
        for x0, y0, x1, y1 in (exemplar.box_xyxy for exemplar in prompt.exemplars)
    ]
    asked = {}
    if boxes:
        asked["input_boxes"] = torch.tensor([boxes], dtype=torch.float32)
        asked["input_boxes_labels"] = torch.tensor([[int(e.positive) for e in prompt.exemplars]])
    tokens = tiny.tokenizer()([prompt.text], padding="max_length", max_length=32, return_tensors="pt")
    with torch.no_grad():
        answer = image_model(pixel_values=normalised(to_input(pixels, tiny.SIDE))[None], **tokens, **asked)
    probabilities = answer.pred_logits.sigmoid() * answer.presence_logits.sigmoid()
    return probabilities[0].tolist(), resized(answer.pred_masks.sigmoid(), (height, width))[0] > 0.5


def tracker(video_folder: Path) -> Any:
    """The tracker for single images, with its own copy of the backbone, from the published names of weights."""
    config = Sam3TrackerConfig(
        vision_config=tiny.vision_config(),
        prompt_encoder_config=Sam3TrackerPromptEncoderConfig(hidden_size=tiny.WIDTH, image_size=tiny.SIDE),
        mask_decoder_config=Sam3TrackerMaskDecoderConfig(
            hidden_size=tiny.WIDTH, mlp_dim=32, num_attention_heads=4, iou_head_hidden_dim=32
        ),
    )
    alone = Sam3TrackerModel(config).eval()
    backbone = "detector_model.vision_encoder.backbone."
    weights = {}
    for name, value in load_file(video_folder / "model.safetensors").items():
        if name.startswith("tracker_model."):
            weights[name.removeprefix("tracker_model.")] = value
        elif name.startswith("tracker_neck."):
            weights["vision_encoder.neck." + name.removeprefix("tracker_neck.")] = value
        elif name.startswith(backbone):
            weights["vision_encoder.backbone." + name.removeprefix(backbone)] = value
    assert alone.load_state_dict(weights, strict=False).missing_keys == []
    return alone


@pytest.mark.parametrize("prompt", [CAT, SHOWN, SHOWN_MORE])
def test_texts_and_exemplars_are_answered_as_by_the_image_model(
    model: Model, video_folder: Path, pictures: list[np.ndarray], prompt: Prompt
) -> None:
    """Scores and masks are those of the model's own code, in the picture's pixels."""
    [instances] = model.predict(pictures[1], [prompt])
    expected_scores, expected_masks = plain(video_folder, pictures[1], prompt)
    assert scores(instances) == pytest.approx(expected_scores, abs=6e-5)
    assert bitmaps(instances).shape == (5, 100, 130)
    assert (bitmaps(instances) != expected_masks).mean() < 1e-3


@pytest.mark.parametrize("prompt", [BOXED, POINTED, BOTH])
def test_boxes_and_points_are_answered_as_by_the_tracker(
    model: Model, video_folder: Path, pictures: list[np.ndarray], prompt: Prompt
) -> None:
    """One mask for each, the best of three, as the tracker's own code gives it for a single image."""
    pixels = pictures[1]
    [[instance]] = model.predict(pixels, [prompt])
    scale = np.array([tiny.SIDE / 130, tiny.SIDE / 100])
    asked = {}
    if prompt.points:
        points = [np.array([point.x, point.y]) * scale for point in prompt.points]
        asked["input_points"] = torch.tensor(np.array([[points]]), dtype=torch.float32)
        asked["input_labels"] = torch.tensor([[[int(point.positive) for point in prompt.points]]])
    if prompt.box_xyxy:
        box = (np.array(prompt.box_xyxy).reshape(2, 2) * scale).ravel()
        asked["input_boxes"] = torch.tensor(box[None, None], dtype=torch.float32)
    alone = tracker(video_folder)
    with torch.no_grad():
        embeddings = alone.get_image_embeddings(normalised(to_input(pixels, tiny.SIDE))[None])
        # it is added by that code too, but to a level that is never used
        embeddings[-1] = embeddings[-1] + alone.no_memory_embedding.view(1, -1, 1, 1)
        answer = alone(image_embeddings=embeddings, multimask_output=True, **asked)
    best = int(answer.iou_scores[0, 0].argmax())
    assert instance.score == pytest.approx(float(answer.iou_scores[0, 0, best]), abs=6e-5)
    expected = resized(answer.pred_masks[0], (100, 130))[0, best] > 0
    assert (rle.to_bitmap(instance.mask) != expected).mean() < 1e-3


def test_exemplars_and_their_sign_matter(model: Model, pictures: list[np.ndarray]) -> None:
    """A box that shows the object changes the answer, and one that shows what it is not changes it otherwise."""
    negative = replace(SHOWN, exemplars=(Exemplar((10, 5, 60, 40), positive=False),), key="")
    answers = model.predict(pictures[0], [CAT, SHOWN, negative])
    assert len({tuple(scores(answer)) for answer in answers}) == 3


def test_prompts_together_are_answered_as_one_by_one(model: Model, pictures: list[np.ndarray]) -> None:
    """Kinds of prompts may be mixed, and what else is asked changes no answer."""
    together = model.predict(pictures[2], ALL)
    assert [len(instances) for instances in together] == [5, 1, 5, 5, 1, 5, 1]
    for prompt, instances in zip(ALL, together, strict=True):
        same(instances, model.predict(pictures[2], [prompt])[0])


def test_pictures_together_are_answered_as_one_by_one(
    video_folder: Path, model: Model, pictures: list[np.ndarray]
) -> None:
    """Four threads with four pictures, two of a size, get what one thread gets for each; they do share calls."""
    batched = Model(str(video_folder), batch=4)
    calls: list[int] = []
    batched._weights.detector.vision_encoder.backbone.register_forward_hook(
        lambda _, inputs, __: calls.append(len(inputs[0]))
    )
    with batched._answer.alone(), ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(batched.predict, pixels, ALL) for pixels in pictures[:4]]
        while len(batched._answer._waiting) < 4:
            pass
        batched._answer._turn.release()  # all four wait: now let them go
        results = [answer.result(60) for answer in answers]
        batched._answer._turn.acquire()
    assert calls == [4]
    for pixels, result in zip(pictures, results, strict=False):
        for ours, others in zip(result, model.predict(pixels, ALL), strict=True):
            same(ours, others)


def test_the_backbone_runs_once_for_a_picture(
    model: Model, pictures: list[np.ndarray], seen: list[int]
) -> None:
    """Texts, exemplars, boxes and points share it, in one request and in the next."""
    model.predict(pictures[3], ALL)
    model.predict(pictures[3], [BOXED])
    model.predict(pictures[3], [DOG])
    assert seen == [1]
    model.predict(pictures[4], [DOG])
    assert seen == [1, 1]


def test_features_of_few_pictures_are_kept(model: Model, seen: list[int]) -> None:
    """Memory does not grow with the folder: those asked about last stay."""
    for value in range(20):
        model.predict(np.full((20, 30, 3), 10 * value, np.uint8), [CAT])
    assert len(model._features) == 16
    model.predict(np.full((20, 30, 3), 190, np.uint8), [CAT])
    assert seen == [1] * 20


def test_a_text_is_encoded_once(video_folder: Path, pictures: list[np.ndarray]) -> None:
    """Class names are the same for all pictures."""
    model = Model(str(video_folder))
    calls: list[int] = []
    model._weights.detector.text_encoder.register_forward_hook(
        lambda _, __, answer: calls.append(len(answer.last_hidden_state))
    )
    model.predict(pictures[0], [CAT, DOG, SHOWN])
    model.predict(pictures[1], [DOG, CAT])
    assert calls == [2]


def test_nothing_comes_back_below_the_floor(model: Model, pictures: list[np.ndarray]) -> None:
    """Not for texts, down to no instance at all; a box gets its mask all the same."""
    [everything] = model.predict(pictures[0], [CAT])
    floor = np.mean(sorted(scores(everything))[1:3])
    [some] = model.predict(pictures[0], [CAT], float(floor))
    assert scores(some) == [score for score in scores(everything) if score >= floor]
    assert len(some) == 3
    assert model.predict(pictures[0], [CAT, BOXED, SHOWN], 1.0) == [
        [],
        model.predict(pictures[0], [BOXED])[0],
        [],
    ]
    assert model.predict(pictures[0], []) == []


def test_pictures_are_squeezed_as_pillow_does(pictures: list[np.ndarray]) -> None:
    """Bilinear with antialiasing: all pixels count, to within two of 255 levels."""
    noise = np.random.default_rng(1).integers(0, 256, (300, 500, 3), np.uint8)
    for pixels in (noise, pictures[0]):
        pillow = Image.fromarray(pixels[..., ::-1]).resize((112, 112), Image.Resampling.BILINEAR)
        ours = to_input(pixels, 112).permute(1, 2, 0).numpy().astype(int)
        assert np.abs(ours - np.asarray(pillow)).max() <= 2


def test_channels_are_not_swapped(model: Model) -> None:
    """Pixels come as BGR, and the model's first channel is red."""
    blue = np.zeros((20, 20, 3), np.uint8)
    blue[..., 0] = 255
    assert to_input(blue, 4)[:, 0, 0].tolist() == [0, 0, 255]
    assert normalised(to_input(blue, 4))[:, 0, 0].tolist() == [-1, -1, 1]


def test_a_text_that_is_too_long_stops_the_run(model: Model, pictures: list[np.ndarray]) -> None:
    """It would be cut silently, for every image; the limit is the text encoder's."""
    model.predict(pictures[0], [Prompt("x" * 30, 0)])
    with pytest.raises(StopRun, match="too long for SAM 3"):
        model.predict(pictures[0], [Prompt("x" * 31, 0)])


def test_a_detector_alone_takes_texts_and_exemplars(
    detector_folder: Path, pictures: list[np.ndarray]
) -> None:
    """Weights without a tracker answer what they can, say what they can't, and so do their limits."""
    model = Model(str(detector_folder))
    assert [len(found) for found in model.predict(pictures[0], [CAT, SHOWN])] == [5, 5]
    with pytest.raises(UnknownModel, match="detector alone, which does not take boxes and points"):
        model.predict(pictures[0], [BOXED])
    with pytest.raises(UnknownModel, match="does not take videos"):
        next(model.track(iter(pictures), ["cat"]))
    limits = limits_of(BackendConfig(name="sam3", model=str(detector_folder)))
    assert (limits.takes, limits.clips) == ({"text", "exemplars"}, False)


def test_a_memory_that_is_too_small_is_explained(video_folder: Path, pictures: list[np.ndarray]) -> None:
    """What torch raises then becomes the picture's or the clip's trouble, in a sentence."""

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    model = Model(str(video_folder))
    model._weights.detector.vision_encoder.backbone.register_forward_pre_hook(full)
    with pytest.raises(RefusedError, match="the GPU's memory is too small for it"):
        model.predict(pictures[0], [CAT])
    with pytest.raises(RefusedError, match="the GPU's memory is too small for it"):
        next(model.track(iter(pictures[:1]), ["cat"]))


def test_bfloat16_gives_nearly_the_same(video_folder: Path, pictures: list[np.ndarray]) -> None:
    """What a GPU computes in mixed precision runs through all layers, and scores differ by little."""
    weights = open_weights(str(video_folder))
    inputs = torch.stack([to_input(pixels, tiny.SIDE) for pixels in pictures[:2]])
    views = [View(0, "cat"), View(1, "dog", ((0.5, 0.5, 0.2, 0.3),), (1,))]
    pointed = [Pointed((10.0, 10.0, 50.0, 60.0)), Pointed(None, ((20.0, 30.0),), (1,))]
    answers, kinds = [], []
    for precise in (weights, replace(weights, mixed=True)):
        with precise.running():
            detector = Detector(precise)
            features = detector.see(inputs)
            found = detector.find(features, views, [0.0, 0.0])
            kinds.append(detector._pyramid(features, [0]).fpn_hidden_states[0].dtype)
            marked = Pointer(precise).find(features[:1], pointed)
        answers.append([*(score for one in found for score in one.scores.tolist()), *(s for s, _ in marked)])
    assert kinds == [torch.float32, torch.bfloat16]
    assert answers[1] == pytest.approx(answers[0], abs=0.02)
    assert answers[1] != answers[0]
