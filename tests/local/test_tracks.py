"""Texts over the frames of a clip, against the model's own run over a whole clip."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the local model needs torch: pip install '.[local]'")
pytest.importorskip("transformers", reason="the local model needs transformers: pip install '.[local]'")

from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession  # noqa: E402

from autolabel.backends.sam3.detector import Detector  # noqa: E402
from autolabel.backends.sam3.model import Model, Tracked  # noqa: E402
from autolabel.backends.sam3.pixels import normalised, to_input  # noqa: E402
from autolabel.backends.sam3.tracks import Tracker  # noqa: E402
from autolabel.backends.sam3.weights import open_weights  # noqa: E402
from autolabel.geometry import rle  # noqa: E402
from autolabel.types import Prompt  # noqa: E402
from tests.local import tiny  # noqa: E402

TEXTS = ["cat", "dog"]
STEADY = {"hotstart_delay": 0, "high_iou_thresh": 0.05}  # no track is taken back, all are conditioned anew
RESTLESS = {  # many are
    "det_nms_thresh": 0.5,
    "assoc_iou_thresh": 0.4,
    "trk_assoc_iou_thresh": 0.4,
    "hotstart_unmatch_thresh": 3,
}


def copied(video_folder: Path, folder: Path, **config: Any) -> str:
    """The weights with other thresholds."""
    shutil.copytree(video_folder, folder)
    whole = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(whole | config))
    return str(folder)


def clip(count: int) -> list[np.ndarray]:
    """Frames (90, 130, 3) of coloured tiles that move to the right."""
    tiles = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)
    picture = tiles.repeat(10, axis=0).repeat(10, axis=1)
    return [np.roll(picture, 5 * number, axis=1) for number in range(count)]


@dataclass
class Plain:
    """Text, id, score and mask of the objects on a frame, and what the model had removed when it was done."""

    objects: list[tuple[int, int, float, np.ndarray]]
    removed_obj_ids: set[int]


def opened_session(model: Model, frames: list[np.ndarray]) -> Any:
    """A session that holds all frames, as the model's own processor begins."""
    video = torch.stack([normalised(to_input(frame, tiny.SIDE)) for frame in frames])
    session = Sam3VideoInferenceSession(video=video, video_height=90, video_width=130, dtype=torch.float32)
    for text in TEXTS:
        tokens = tiny.tokenizer()([text], padding="max_length", max_length=32, return_tensors="pt")
        number = session.add_prompt(text)
        session.prompt_input_ids[number] = tokens.input_ids
        session.prompt_attention_masks[number] = tokens.attention_mask
    return session


def whole_run(model: Model, frames: list[np.ndarray]) -> list[Plain]:
    """What the model's own iterator over all frames gives."""
    session, whole = opened_session(model, frames), model._weights.whole
    return [
        Plain(plain_end(session, answer), answer.removed_obj_ids)
        for answer in whole.propagate_in_video_iterator(session)
    ]


def plain_end(session: Any, answer: Any) -> list[tuple[int, int, float, np.ndarray]]:
    """What the model's own processor does at the end, object by object and pixel by pixel."""
    found = []
    for track_id, logits in sorted(answer.obj_id_to_mask.items()):
        mask = torch.nn.functional.interpolate(logits[None], (90, 130), mode="bilinear")[0, 0].numpy() > 0
        hidden = track_id in session.hotstart_removed_obj_ids or track_id in answer.suppressed_obj_ids
        if mask.any() and not hidden:
            sure = answer.obj_id_to_tracker_score.get(track_id, 0.0)
            found.append((session.obj_id_to_prompt_id[track_id], track_id, sure, mask))
    ends = []
    for text, track_id, sure, mask in found:
        taken = np.zeros_like(mask)
        for other_text, other_id, other_sure, other in found:
            before = other_sure > sure or (other_sure == sure and other_id < track_id)
            if other_text == text and other_id != track_id and before:
                taken |= other
        if (mask & ~taken).any():
            ends.append((text, track_id, answer.obj_id_to_score[track_id], mask & ~taken))
    return ends


def identities(frame: list[Tracked]) -> list[tuple[int, int, float]]:
    return [(found.text, found.track_id, found.score) for found in frame]


def test_frames_one_by_one_are_answered_as_a_whole_clip(video_folder: Path, tmp_path: Path) -> None:
    """Ids, scores, texts and masks are those of the model's run over all frames at once, past its memory."""
    model = Model(copied(video_folder, tmp_path / "weights", **STEADY))
    frames = clip(24)
    ours = list(model.track(iter(frames), TEXTS))
    expected = whole_run(model, frames)
    assert len(ours) == len(expected) == 24
    for frame, plain in zip(ours, expected, strict=True):
        assert identities(frame) == [found[:3] for found in plain.objects]
        for found, (*_, mask) in zip(frame, plain.objects, strict=True):
            assert (rle.to_bitmap(found.mask) != mask).mean() < 1e-3
    ids = [{found.track_id for found in frame} for frame in ours]
    assert ids[0] & ids[23], "no object is followed to the end"
    assert {found.text for found in ours[0]} == {0, 1}


@pytest.mark.parametrize(("every", "count"), [(3, 22), (6, 34)])
def test_what_is_forgotten_does_not_matter(
    video_folder: Path, tmp_path: Path, every: int, count: int
) -> None:
    """Mask logits are, to the last bit, those of the run that keeps all frames and all it made of them."""
    model = Model(copied(video_folder, tmp_path / "weights", **STEADY, recondition_every_nth_frame=every))
    session, whole = opened_session(model, clip(count)), model._weights.whole
    expected = [answer.obj_id_to_mask for answer in whole.propagate_in_video_iterator(session)]
    with model._weights.running():
        tracker = Tracker(model._weights, model._detector, TEXTS)
        frames = [seen for frame in clip(count) for seen in tracker.add(to_input(frame, tiny.SIDE))]
    for seen, masks in zip(frames[16:], expected[16:], strict=True):
        for one in seen:
            assert torch.equal(one.logits, masks[one.track_id][0])


def test_what_turns_out_to_be_none_is_taken_back(video_folder: Path, tmp_path: Path) -> None:
    """Objects that the model removes within its delay are on no frame, also on those before."""
    model = Model(copied(video_folder, tmp_path / "weights", **RESTLESS))
    frames = clip(13)
    ours = list(model.track(iter(frames), TEXTS))
    expected = whole_run(model, frames)
    removed = [answer.removed_obj_ids for answer in expected]
    calm = [number for number in range(13) if number and removed[number] == removed[number - 1]]
    assert 2 < len(calm) < 10
    for number in calm:  # on the others its own masks and ids are out of step
        assert identities(ours[number]) == [found[:3] for found in expected[number].objects]
    assert not removed[-1] & {found.track_id for frame in ours for found in frame}


def test_a_removal_does_not_mix_up_the_others(video_folder: Path, tmp_path: Path) -> None:
    """On the frame on which an object is removed, the others' masks are still the tracker's own for them."""
    plain = {
        "fill_hole_area": 0,
        "recondition_every_nth_frame": 0,
        "suppress_overlapping_based_on_recent_occlusion_threshold": 0.0,
    }
    weights = open_weights(copied(video_folder, tmp_path / "weights", **RESTLESS, **plain))
    with weights.running():
        tracker = Tracker(weights, Detector(weights), TEXTS)
        compared = 0
        for number, frame in enumerate(clip(10)):
            removed = len(tracker._removed)
            tracker.add(to_input(frame, tiny.SIDE))
            session = tracker._session
            logits = {one.track_id: one.logits for one in tracker._late[-1]} if tracker._late else {}
            for index in range(session.get_obj_num()):
                track_id = session.obj_idx_to_id(index)
                stored = session.output_dict_per_obj[index]["non_cond_frame_outputs"].get(number)
                if len(tracker._removed) > removed and stored is not None and track_id in logits:
                    compared += 1
                    assert torch.equal(stored["pred_masks"][0, 0], logits[track_id])
    assert compared > 5


def test_memory_does_not_grow_with_the_clip(video_folder: Path, tmp_path: Path) -> None:
    """After 32 frames the session holds no more frames, features and notes than the model looks at again."""
    weights = open_weights(copied(video_folder, tmp_path / "weights", **STEADY))
    with weights.running():
        tracker = Tracker(weights, Detector(weights), TEXTS)
        for frame in clip(32):
            tracker.add(to_input(frame, tiny.SIDE))
    session = tracker._session
    assert not dict.keys(session.processed_frames)
    assert len(session.obj_id_to_tracker_score_frame_wise) <= 1
    oldest = session.output_dict_per_obj[0]
    assert session.obj_first_frame_idx[session.obj_idx_to_id(0)] == 0
    assert len(oldest["non_cond_frame_outputs"]) <= 16
    heavy = [one for one in oldest["cond_frame_outputs"].values() if "maskmem_features" in one]
    assert len(heavy) <= 4 + 16 // 3
    assert len(oldest["cond_frame_outputs"]) > len(heavy), "nothing was conditioned anew"


def test_the_backbone_runs_once_for_a_frame(video_folder: Path) -> None:
    """However many texts there are."""
    model = Model(str(video_folder))
    calls: list[int] = []
    model._weights.detector.vision_encoder.backbone.register_forward_hook(
        lambda _, inputs, __: calls.append(len(inputs[0]))
    )
    assert len(list(model.track(iter(clip(5)), TEXTS))) == 5
    assert calls == [1] * 5


def test_frames_are_read_as_they_are_needed(video_folder: Path) -> None:
    """Answers come before the clip has ended, some frames late."""
    read: list[int] = []

    def frames() -> Any:
        for number, frame in enumerate(clip(12)):
            read.append(number)
            yield frame

    answers = Model(str(video_folder)).track(frames(), TEXTS)
    next(answers)
    assert read == list(range(6))
    next(answers)
    assert read == list(range(7))
    assert len(list(answers)) == 10


def test_texts_keep_their_places(video_folder: Path) -> None:
    """A text that is asked twice counts where it stands first; without texts every frame is empty."""
    model = Model(str(video_folder))
    [frame] = model.track(iter(clip(1)), ["dog", "dog", "cat"])
    assert {found.text for found in frame} == {0, 2}
    assert list(model.track(iter(clip(2)), [])) == [[], []]


def test_the_floor_leaves_tracks_out(video_folder: Path) -> None:
    """A track below it is on no frame."""
    model = Model(str(video_folder))
    [frame] = model.track(iter(clip(1)), TEXTS)
    floor = max(found.score for found in frame)
    [kept] = model.track(iter(clip(1)), TEXTS, floor)
    assert identities(kept) == [found for found in identities(frame) if found[2] >= floor]
    assert len(kept) < len(frame)


def test_pictures_and_clips_share_a_model(video_folder: Path) -> None:
    """A picture between two frames changes neither answer."""
    model = Model(str(video_folder))
    frames = clip(8)
    alone = list(model.track(iter(frames), TEXTS))
    [before] = model.predict(frames[3], [Prompt("cat", 0)])
    between = []
    for answer in model.track(iter(frames), TEXTS):
        between.append(answer)
        assert model.predict(frames[3], [Prompt("cat", 0)]) == [before]
    assert between == alone


def test_bfloat16_runs_through_the_tracker(video_folder: Path, tmp_path: Path) -> None:
    """Mixed precision, as on a GPU, follows objects over frames."""
    weights = replace(open_weights(copied(video_folder, tmp_path / "weights", **STEADY)), mixed=True)
    with weights.running():
        tracker = Tracker(weights, Detector(weights), TEXTS)
        settled = [seen for frame in clip(8) for seen in tracker.add(to_input(frame, tiny.SIDE))]
        settled += tracker.rest()
    assert len(settled) == 8
    assert {one.track_id for one in settled[0]} & {one.track_id for one in settled[7]}
