"""The video model: texts to tracks over frames that come one after the other, in bounded memory."""

import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

from autolabel.backends.sam3.detector import Detector
from autolabel.backends.sam3.pixels import normalised, resized
from autolabel.backends.sam3.weights import Weights
from autolabel.geometry import rle
from autolabel.types import RLE

_HEAVY = ("maskmem_features", "maskmem_pos_enc", "pred_masks", "high_res_masks")


@dataclass(frozen=True, slots=True)
class Seen:
    """An object on a frame: the index of its text, its id in the clip, the score of its first detection, how
    sure the tracker is of it here, and mask logits (h, w) on the device.
    """

    text: int
    track_id: int
    score: float
    certainty: float
    logits: torch.Tensor


class Tracker:
    """Follows what `texts` (all different) name through one clip: `add` the frames in order, then `rest`.

    A frame's objects come some frames late: what turns out to be no object within that time is left out of
    them, as in the model's own run over a whole clip. One session holds all texts; the vision backbone runs
    once for a frame.
    """

    def __init__(self, weights: Weights, detector: Detector, texts: Sequence[str]) -> None:
        self._weights = weights
        self._whole = weights.whole
        self._session = _session(weights, detector, texts)
        self._late: deque[list[Seen]] = deque()
        self._removed: set[int] = set()
        self._next = 0

    def add(self, inputs: torch.Tensor) -> list[list[Seen]]:
        """Take the next frame, (3, side, side) in uint8, and return the objects of an earlier one, if any."""
        session = self._session
        number = session.add_new_frame(normalised(inputs.to(self._weights.device)), self._next)
        # The model pairs masks and ids after it has removed some of the ids: so that is put off.
        removed: list[int] = []
        session.remove_object = lambda track_id, strict=False: removed.append(track_id)  # noqa: ARG005
        # without `frame=`, whose streaming mode never takes back what it took for an object
        answer = self._whole(session, frame_idx=number)
        del session.remove_object
        self._late.append(self._seen(answer))
        _remove(session, removed)
        self._removed.update(answer.removed_obj_ids)
        self._next += 1
        self._forget()
        if len(self._late) >= max(1, self._whole.hotstart_delay):
            return [self._settled(self._late.popleft())]
        return []

    def rest(self) -> list[list[Seen]]:
        """Return the objects of the last frames."""
        rest = [self._settled(seen) for seen in self._late]
        self._late.clear()
        return rest

    def _seen(self, answer: Any) -> list[Seen]:
        texts = self._session.obj_id_to_prompt_id
        return [
            Seen(
                texts[track_id],
                track_id,
                float(answer.obj_id_to_score[track_id]),
                float(answer.obj_id_to_tracker_score.get(track_id, 0.0)),
                logits[0].float(),
            )
            for track_id, logits in sorted(answer.obj_id_to_mask.items())
            if track_id in texts and track_id not in answer.suppressed_obj_ids
        ]

    def _settled(self, seen: list[Seen]) -> list[Seen]:
        return [one for one in seen if one.track_id not in self._removed]

    def _forget(self) -> None:
        """Drop what the model never reads again: it would grow with the clip, and be copied every frame."""
        session, tracker = self._session, self._whole.tracker_model.config
        session.processed_frames.clear()
        oldest = self._next - max(tracker.max_object_pointers_in_encoder, tracker.num_maskmem)
        for history in session.output_dict_per_obj.values():
            _drop(history["non_cond_frame_outputs"], oldest)
            conditioning = history["cond_frame_outputs"]
            for number in sorted(conditioning)[: -tracker.max_cond_frame_num]:
                if number < oldest:  # of these the pointer alone is still read
                    for key in _HEAVY:
                        conditioning[number].pop(key, None)
        for followed in session.frames_tracked_per_obj.values():
            _drop(followed, oldest)
        for by_frame in (session.obj_id_to_tracker_score_frame_wise, session.suppressed_obj_ids):
            _drop(by_frame, self._next)
        for counted in (session.unmatched_frame_inds, session.overlap_pair_to_frame_inds):
            for numbers in counted.values():  # all that is asked is whether they are as many as this
                del numbers[: -self._whole.hotstart_delay or None]


def apart(seen: Sequence[Seen], hw: tuple[int, int]) -> list[tuple[Seen, RLE]]:
    """The objects of a frame with masks of its size `hw`; where two of a text overlap, the surer one has it.

    So ends the model's own processor. Objects without a pixel are left out.
    """
    found = []
    for text in dict.fromkeys(one.text for one in seen):
        group = [one for one in seen if one.text == text]
        masks = resized(torch.stack([one.logits for one in group]), hw) > 0
        certainty = torch.tensor([one.certainty for one in group], device=masks.device)
        owner = torch.where(masks, certainty[:, None, None], -torch.inf).argmax(dim=0)
        bitmaps = (
            (masks & (owner == torch.arange(len(group), device=masks.device)[:, None, None])).cpu().numpy()
        )
        found += [
            (one, rle.from_bitmap(bitmap)) for one, bitmap in zip(group, bitmaps, strict=True) if bitmap.any()
        ]
    return sorted(found, key=lambda pair: pair[0].track_id)


class _Frames(dict[int, Any]):
    """The frames of a session, of which only the one under way is kept: their number is not that of the clip.

    The model asks for the number of frames to know where the clip ends, which nobody knows yet.
    """

    def __len__(self) -> int:
        return sys.maxsize


def _session(weights: Weights, detector: Detector, texts: Sequence[str]) -> Any:
    session = Sam3VideoInferenceSession(
        inference_device=weights.device,
        inference_state_device=weights.device,
        video_storage_device=weights.device,
        dtype=torch.float32,  # the default, a text, is not taken
    )
    session.processed_frames = _Frames()
    for text in texts:
        number = session.add_prompt(text)
        features, attention = detector.text(text)
        session.prompt_embeddings[number] = BaseModelOutputWithPooling(pooler_output=features[None])
        session.prompt_attention_masks[number] = attention[None]
    return session


def _remove(session: Any, track_ids: Sequence[int]) -> None:
    """Take objects out of a session, whose order of ids the model may have changed already."""
    session.obj_ids = [session.obj_idx_to_id(index) for index in range(session.get_obj_num())]
    for track_id in track_ids:
        session.remove_object(track_id)


def _drop(by_frame: dict[int, Any], oldest: int) -> None:
    for number in [number for number in by_frame if number < oldest]:
        del by_frame[number]
