"""The stand-ins for compiled packages, against code that does the same pixel by pixel."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the local model needs torch: pip install '.[local]'")
pytest.importorskip("transformers", reason="the local model needs transformers: pip install '.[local]'")

from autolabel.backends.sam3 import stand_ins  # noqa: E402


def bilinear(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """The value of (c, h, w) at a place, as torchvision's kernel takes it."""
    height, width = image.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(len(image))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = image[:, top, left] * (1 - (x - left)) + image[:, top, right] * (x - left)
    lower = image[:, bottom, left] * (1 - (x - left)) + image[:, bottom, right] * (x - left)
    return upper * (1 - (y - top)) + lower * (y - top)


def brute_roi_align(image: np.ndarray, box: list[float], size: int) -> np.ndarray:
    """One box of (c, h, w), sample by sample."""
    x0, y0, x1, y1 = box
    width, height = max(x1 - x0, 1), max(y1 - y0, 1)
    across, down = math.ceil(width / size), math.ceil(height / size)
    pooled = np.zeros((len(image), size, size))
    for row in range(size):
        for column in range(size):
            for i in range(down):
                for j in range(across):
                    y = y0 + row * height / size + (i + 0.5) * height / size / down
                    x = x0 + column * width / size + (j + 0.5) * width / size / across
                    pooled[:, row, column] += bilinear(image, y, x) / (down * across)
    return pooled


BOXES = [
    [0.0, 0.0, 12.0, 9.0],
    [1.3, 2.7, 9.9, 8.1],
    [4.0, 4.0, 4.0, 4.0],
    [3.2, 1.0, 3.5, 8.9],
    [-3.0, -2.5, 5.0, 4.0],
    [8.0, 6.0, 15.0, 13.0],
]


@pytest.mark.parametrize("size", [3, 7])
def test_roi_align_is_the_mean_of_bilinear_samples(size: int) -> None:
    """Boxes of all kinds, also beyond the edges, give what a loop over samples gives, for each image its own."""
    features = np.random.default_rng(0).normal(size=(2, 4, 9, 12))
    boxes = [torch.tensor(BOXES[:4]), torch.tensor(BOXES[4:])]
    ours = stand_ins.roi_align(torch.from_numpy(features).float(), boxes, size)
    expected = [brute_roi_align(features[0], box, size) for box in BOXES[:4]]
    expected += [brute_roi_align(features[1], box, size) for box in BOXES[4:]]
    assert np.allclose(ours.numpy(), np.stack(expected), atol=1e-5)


def test_roi_align_keeps_the_type() -> None:
    """Half precision goes in and comes out, as the model asks on a GPU."""
    features = torch.randn(1, 2, 8, 8, dtype=torch.float16)
    boxes = (torch.tensor([BOXES[1]], dtype=torch.float16),)
    assert stand_ins.roi_align(features, boxes, 7).dtype == torch.float16
    assert stand_ins.roi_align(features, (torch.zeros(0, 4),), 7).shape == (0, 2, 7, 7)


def test_nms_keeps_the_best_of_what_overlaps() -> None:
    """The best is kept, what overlaps it is not, and what overlaps only the dropped one is."""
    ious = torch.tensor([[1.0, 0.6, 0.0], [0.6, 1.0, 0.6], [0.0, 0.6, 1.0]])
    kept = stand_ins.generic_nms(ious, torch.tensor([0.5, 0.4, 0.3]), 0.5, use_iou_matrix=True)
    assert kept.tolist() == [0, 2]
    kept = stand_ins.generic_nms(ious, torch.tensor([0.5, 0.9, 0.3]), 0.5, use_iou_matrix=True)
    assert kept.tolist() == [1]


def test_parts_are_labelled_with_their_areas() -> None:
    """Each mask is labelled by itself; what touches at a corner is one part."""
    masks = torch.zeros(2, 1, 4, 5, dtype=torch.uint8)
    masks[0, 0, 0, 0] = masks[0, 0, 1, 1] = masks[0, 0, 3, 4] = 1
    masks[1, 0, 2] = 1
    labels, areas = stand_ins.cc_2d(masks, get_counts=True)
    assert labels[0, 0, 0, 0] == labels[0, 0, 1, 1] != labels[0, 0, 3, 4]
    assert [int(areas[0, 0, 0, 0]), int(areas[0, 0, 3, 4]), int(areas[1, 0, 2, 0])] == [2, 1, 5]


def test_iou_is_counted_in_pixels() -> None:
    """All pairs, exactly, in mixed precision too; two empty masks have nothing in common."""
    rng = np.random.default_rng(0)
    some, others = rng.random((6, 70, 90)) > 0.4, rng.random((5, 70, 90)) > 0.6
    some[0], others[0] = False, False
    expected = [[(a & b).sum() / max((a | b).sum(), 1) for b in others] for a in some]
    with torch.autocast("cpu", torch.bfloat16):
        ours = stand_ins.mask_iou(torch.from_numpy(some), torch.from_numpy(others))
    assert np.array_equal(ours.numpy(), np.array(expected, np.float32))


def test_crowds_fit_the_memory() -> None:
    """200 masks of the model's size, as its detector gives at most, are compared without 27 GB."""
    stand_ins.install()
    from transformers.models.sam3_video import modeling_sam3_video

    masks = torch.zeros(200, 288, 288, dtype=torch.bool)
    masks[:, 0, 0] = True
    assert bool((modeling_sam3_video.mask_iou(masks, masks) == 1).all())
