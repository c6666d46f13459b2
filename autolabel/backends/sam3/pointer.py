"""The tracker on a single image: a box or points, or both, to the mask of the one object that they mean."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from autolabel.backends.sam3.weights import Weights

_OBJECTS_AT_ONCE = 16  # each takes about 50 MB at full size


@dataclass(frozen=True, slots=True)
class Pointed:
    """What is meant, in px of the model's square: a box (x0, y0, x1, y1), points (x, y) with their labels, or
    both; 1 is on the object, 0 beside it.
    """

    box_xyxy: tuple[float, float, float, float] | None
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()


class Pointer:
    """Runs the tracker's decoder of `weights`, which hold one, on the features of the detector's backbone."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._whole = weights.whole

    def find(self, features: torch.Tensor, prompts: Sequence[Pointed]) -> list[tuple[float, torch.Tensor]]:
        """The best of three masks for each prompt: its estimated IoU, and logits (h, w) on the device.

        `features` are the backbone's of one image, (1, patches, channels).
        """
        levels = self._levels(features)
        alike: defaultdict[tuple[bool, int], list[int]] = defaultdict(list)
        for place, prompt in enumerate(prompts):
            # filling up with points that are none would change an answer by the prompts beside it
            alike[prompt.box_xyxy is not None, len(prompt.points)].append(place)
        found: dict[int, tuple[float, torch.Tensor]] = {}
        for places in alike.values():
            for start in range(0, len(places), _OBJECTS_AT_ONCE):
                chunk = places[start : start + _OBJECTS_AT_ONCE]
                answers = self._decode(levels, [prompts[place] for place in chunk])
                found.update(zip(chunk, answers, strict=True))
        return [found[place] for place in range(len(prompts))]

    def _levels(self, features: torch.Tensor) -> list[torch.Tensor]:
        """Three levels of features, (1, channels, h, w) each, finest first."""
        tracker = self._whole.tracker_model
        maps, _ = self._whole.get_vision_features_for_tracker(
            Sam3VisionEncoderOutput(last_hidden_state=features)
        )
        # As in the published code of SAM 3; transformers' Sam3TrackerModel adds it to a level that it drops.
        maps[-1] = maps[-1] + tracker.no_memory_embedding
        return [
            level.permute(1, 2, 0).reshape(1, -1, *size)
            for level, size in zip(maps, tracker.backbone_feature_sizes, strict=True)
        ]

    def _decode(
        self, levels: list[torch.Tensor], prompts: Sequence[Pointed]
    ) -> list[tuple[float, torch.Tensor]]:
        """One call for prompts that all have a box or none, and equally many points."""
        tracker, device = self._whole.tracker_model, self._weights.device
        points = labels = boxes = None
        if prompts[0].points:
            points = torch.tensor([prompt.points for prompt in prompts], device=device)[None]
            labels = torch.tensor([prompt.labels for prompt in prompts], device=device)[None]
        if prompts[0].box_xyxy is not None:
            boxes = torch.tensor([prompt.box_xyxy for prompt in prompts], device=device)[None]
        sparse, dense = tracker.prompt_encoder(
            input_points=points, input_labels=labels, input_boxes=boxes, input_masks=None
        )
        masks, ious, *_ = tracker.mask_decoder(
            image_embeddings=levels[-1],
            image_positional_embeddings=tracker.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            high_resolution_features=levels[:-1],
        )
        best = ious[0].argmax(dim=-1)
        rows = torch.arange(len(prompts), device=best.device)
        scores = ious[0][rows, best].float().clamp(0, 1).tolist()
        return list(zip(scores, masks[0][rows, best], strict=True))
