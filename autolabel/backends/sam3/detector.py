"""The image model: texts and exemplar boxes to every instance of a concept. Knows no files and no threads."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from autolabel.backends.sam3.pixels import normalised
from autolabel.backends.sam3.weights import Weights
from autolabel.errors import StopRun

_TOKENS = 32  # what the text encoder reads, with the two that mark a text's ends
_TEXTS_KEPT = 1024  # 32 KB each
_MOST_VIEWS = 32  # more at once gain nothing
_FEW_VIEWS = 4  # without a GPU
_FLOATS_A_VIEW = 8  # for each value of a view's features, by the mask decoder's layers at its largest size
_PAD = -10  # the label of a box that is none


@dataclass(frozen=True, slots=True)
class View:
    """A question about one image of a batch: a text, and boxes (centre x and y, width, height in 0..1) with
    their labels, 1 for what is meant and 0 for what is not.
    """

    image: int
    text: str
    boxes_cxcywh: tuple[tuple[float, float, float, float], ...] = ()
    labels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The instances of a view: scores (n,) in 0..1 on the CPU, masks (n, h, w) in 0..1 on the device."""

    scores: torch.Tensor
    masks: torch.Tensor


class Detector:
    """Runs the detector of `weights`, whose text encoder runs once for a text."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._model = weights.detector
        self._texts: OrderedDict[str, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()

    def see(self, inputs: torch.Tensor) -> torch.Tensor:
        """The backbone's features (n, patches, channels) of `inputs` (n, 3, side, side) in uint8."""
        pixels = normalised(inputs.to(self._weights.device))
        return self._model.vision_encoder.backbone(pixels).last_hidden_state

    def find(self, features: torch.Tensor, views: Sequence[View], floors: Sequence[float]) -> list[Found]:
        """What scores at least its floor in each view of the images whose `features` these are, in order."""
        found: list[Found | None] = [None] * len(views)
        # boxes add a token of their own, so that views with and without them don't go together
        for with_boxes in (False, True):
            places = [place for place, view in enumerate(views) if bool(view.boxes_cxcywh) == with_boxes]
            step = self._views_at_once(features)
            for chunk in (places[start : start + step] for start in range(0, len(places), step)):
                answers = self._ask(features, [views[place] for place in chunk])
                for place, (scores, masks) in zip(chunk, answers, strict=True):
                    keep = scores >= floors[place]
                    found[place] = Found(scores[keep].cpu(), masks[keep].float().sigmoid())
        return [answer for answer in found if answer is not None]

    def text(self, text: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A text's features (tokens, channels) and which tokens are no padding. Raises StopRun."""
        self._read([text])
        return self._texts[text]

    def _ask(self, features: torch.Tensor, views: Sequence[View]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Scores (queries,) and mask logits (queries, h, w) of each view."""
        texts, attention = self._read([view.text for view in views])
        boxes, labels = self._boxes(views)
        answer = self._model(
            vision_embeds=self._pyramid(features, [view.image for view in views]),
            text_embeds=BaseModelOutputWithPooling(pooler_output=texts),
            attention_mask=attention,
            input_boxes=boxes,
            input_boxes_labels=labels,
        )
        scores = answer.pred_logits.float().sigmoid() * answer.presence_logits.float().sigmoid()
        return list(zip(scores, answer.pred_masks, strict=True))

    def _pyramid(self, features: torch.Tensor, images: Sequence[int]) -> Sam3VisionEncoderOutput:
        """The neck's features of `images`, one for each view; the neck runs once for an image."""
        needed = sorted(set(images))
        chosen = features[needed]
        patches = self._weights.side // self._model.config.vision_config.backbone_config.patch_size
        square = chosen.view(len(needed), patches, patches, -1).permute(0, 3, 1, 2)
        levels, positions = self._model.vision_encoder.neck(square)
        rows = [needed.index(image) for image in images]
        return Sam3VisionEncoderOutput(
            fpn_hidden_states=tuple(_rows(level, rows) for level in levels),
            fpn_position_encoding=tuple(_rows(position, rows) for position in positions),
        )

    def _read(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (n, tokens, channels) and attention masks (n, tokens) of `texts`."""
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if new:
            self._encode(new)
        known = {text: self._texts[text] for text in texts}
        for text in known:
            self._texts.move_to_end(text)
        while len(self._texts) > max(_TEXTS_KEPT, len(known)):
            self._texts.popitem(last=False)
        return torch.stack([known[text][0] for text in texts]), torch.stack(
            [known[text][1] for text in texts]
        )

    def _encode(self, texts: Sequence[str]) -> None:
        tokens = self._weights.tokenizer(
            list(texts), padding="max_length", max_length=_TOKENS, return_tensors=None
        )
        for text, ids in zip(texts, tokens["input_ids"], strict=True):
            if len(ids) > _TOKENS:
                raise StopRun(
                    f"the prompt {text!r} is too long for SAM 3, which reads about 30 short words: shorten it"
                )
        attention = torch.tensor(tokens["attention_mask"], device=self._weights.device)
        ids = torch.tensor(tokens["input_ids"], device=self._weights.device)
        answer = self._model.get_text_features(input_ids=ids, attention_mask=attention, return_dict=True)
        for text, *read in zip(texts, answer.pooler_output, attention, strict=True):
            self._texts[text] = (read[0].clone(), read[1].clone())  # a view would keep all of the batch

    def _boxes(self, views: Sequence[View]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Boxes (n, most, 4) and labels (n, most), filled up with boxes that are none; None without any."""
        most = max(len(view.labels) for view in views)
        if not most:
            return None, None
        device = self._weights.device
        boxes = torch.zeros(len(views), most, 4, device=device)
        labels = torch.full((len(views), most), _PAD, device=device)
        for row, view in enumerate(views):
            boxes[row, : len(view.labels)] = torch.tensor(view.boxes_cxcywh, device=device)
            labels[row, : len(view.labels)] = torch.tensor(view.labels, device=device)
        return boxes, labels

    def _views_at_once(self, features: torch.Tensor) -> int:
        if features.device.type != "cuda":
            return _FEW_VIEWS
        free, _ = torch.cuda.mem_get_info(features.device)
        free += torch.cuda.memory_reserved(features.device) - torch.cuda.memory_allocated(features.device)
        vision = self._model.config.vision_config
        sizes: Iterable[Sequence[int]] = vision.backbone_feature_sizes
        values = vision.fpn_hidden_size * sum(height * width for height, width in sizes)
        return int(max(1, min(_MOST_VIEWS, free // (4 * _FLOATS_A_VIEW * values))))


def _rows(values: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    """Rows of `values`, without a copy where all of them are the only one."""
    if values.shape[0] == 1:
        return values.expand(len(rows), *values.shape[1:])
    return values[list(rows)]
