"""What SAM 3's code leaves to compiled packages (torchvision, kernels), in torch and OpenCV, and less greedy.

So neither is needed: torchvision has to match torch's build, and kernels fetches code when it runs.
"""

import math
from collections.abc import Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch


def install() -> None:
    """Put the functions below where the models look for them, `roi_align` where torchvision is missing."""
    # by their names: `from transformers.models.sam3 import modeling_sam3` asks for torchvision
    image: Any = import_module("transformers.models.sam3.modeling_sam3")
    video: Any = import_module("transformers.models.sam3_video.modeling_sam3_video")
    if not hasattr(image, "torchvision"):
        image.torchvision = SimpleNamespace(ops=SimpleNamespace(roi_align=roi_align))
    video.cv_utils_kernel = SimpleNamespace(generic_nms=generic_nms, cc_2d=cc_2d)
    video.mask_iou = mask_iou


def roi_align(features: torch.Tensor, boxes: Sequence[torch.Tensor], output_size: int) -> torch.Tensor:
    """Features averaged over the cells of boxes, as `torchvision.ops.roi_align` with its defaults does.

    `features` are (n, c, h, w); `boxes` are n tensors (k, 4) of x0, y0, x1, y1 in cells of the features.
    Returns (sum of k, c, output_size, output_size). A box is at least one cell wide; a cell of the output is
    the mean of bilinear samples, about one for each cell of the features, taken at indices of the features
    (`aligned=False`). The mean over a grid is one over rows of one over columns: two matrix products.
    """
    height, width = features.shape[-2:]
    pooled = []
    for image, image_boxes in zip(features.float(), boxes, strict=True):
        for x0, y0, x1, y1 in image_boxes.float().tolist():
            rows = _sampling(y0, max(y1 - y0, 1.0), height, output_size).to(image)
            columns = _sampling(x0, max(x1 - x0, 1.0), width, output_size).to(image)
            with torch.autocast(features.device.type, enabled=False):  # in float32, as torchvision's runs
                pooled.append(rows @ image @ columns.T)
    if not pooled:
        return features.new_zeros((0, features.shape[1], output_size, output_size))
    return torch.stack(pooled).to(features.dtype)


def generic_nms(
    ious: torch.Tensor, scores: torch.Tensor, iou_threshold: float, *, use_iou_matrix: bool
) -> torch.Tensor:
    """Indices of what is kept, best first: all that overlap no kept one by more than `iou_threshold`.

    `ious` are (n, n), `scores` (n,). The name and `use_iou_matrix` are the model's.
    """
    del use_iou_matrix
    overlaps = (ious > iou_threshold).cpu().numpy()
    kept: list[int] = []
    for index in torch.argsort(scores, descending=True, stable=True).tolist():
        if not overlaps[index, kept].any():
            kept.append(index)
    return torch.tensor(kept, device=ious.device)


def cc_2d(masks: torch.Tensor, *, get_counts: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Label the 8-connected parts of `masks` (n, 1, h, w) uint8, and say the area of each pixel's part in px.

    Both are (n, 1, h, w) int32. The name and `get_counts` are the model's.
    """
    del get_counts
    labels = np.zeros(masks.shape, np.int32)
    areas = np.zeros(masks.shape, np.int32)
    for index, mask in enumerate(masks[:, 0].cpu().numpy()):
        _, labels[index, 0], stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        areas[index, 0] = stats[:, cv2.CC_STAT_AREA][labels[index, 0]]
    return torch.from_numpy(labels).to(masks.device), torch.from_numpy(areas).to(masks.device)


def mask_iou(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """The IoU (n, m) of each of n masks (n, h, w) of bool with each of m others.

    The model's own needs 8 bytes for every pixel of every pair: 27 GB for 200 masks with themselves.
    """
    some, others = some.flatten(1).float(), others.flatten(1).float()
    with torch.autocast(some.device.type, enabled=False):  # bfloat16 can't count to a mask's area
        intersections = some @ others.T
    unions = some.sum(dim=1)[:, None] + others.sum(dim=1) - intersections
    return intersections / unions.clamp(min=1)


def _sampling(start: float, length: float, size: int, cells: int) -> torch.Tensor:
    """The (cells, size) weights of `size` features in the mean of each cell of [start, start + length).

    A sample more than one feature outside counts as zero, one within that as the feature at the edge.
    """
    samples = math.ceil(length / cells)
    steps = torch.arange(cells * samples, dtype=torch.float32)
    places = start + (steps + 0.5) * (length / (cells * samples))
    inside = (places >= -1) & (places <= size)
    places = places.clamp(0, size - 1)
    low = places.floor().long()
    high = (low + 1).clamp(max=size - 1)
    weights = torch.zeros(cells * samples, size)
    weights.scatter_add_(1, high[:, None], (places - low)[:, None])
    weights.scatter_add_(1, low[:, None], (1 - (places - low))[:, None])
    weights[~inside] = 0
    return weights.view(cells, samples, size).mean(dim=1)
