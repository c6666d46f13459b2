"""Videos through whole runs: frames one by one, and clips that are tracked."""

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import orjson
import pytest
from pycocotools.coco import COCO

from tests.run import tracker
from tests.run.support import autolabel, contents, write_config, write_pictures
from tests.servers.host import Host
from tests.servers.roboflow import RoboflowServer
from tests.sources import clips

COLOURS = ["red", "green", "blue"]
TRACKER = {"name": "tests.run.tracker:Colours"}


@pytest.fixture(autouse=True)
def _own_calls():
    tracker.Colours.calls.clear()


@pytest.fixture
def clip(tmp_path) -> Path:
    """Two seconds of the scene: 20 frames."""
    (tmp_path / "videos").mkdir()
    return clips.write(tmp_path / "videos/clip.mp4", clips.scenes(20))


def exported(folder: str = "datasets/street") -> dict[str, dict[int, list[dict]]]:
    """Annotations by split and frame number; the image's record stands in each."""
    found: dict[str, dict[int, list[dict]]] = {}
    for path in sorted(Path(folder, "coco/annotations").glob("*.json")):
        coco, frames = COCO(str(path)), defaultdict(list)
        for image in coco.imgs.values():
            frames[image["frame_id"]] = [
                a | {"mask": coco.annToMask(a).astype(bool), "image": image}
                for a in coco.loadAnns(coco.getAnnIds([image["id"]]))
            ]
        found[path.stem.removeprefix("instances_")] = dict(frames)
    return found


def test_image_backends_label_frames_one_by_one(clip):
    """Each frame is an image with the clip's name and its number, in COCO with its time; masks are the scene's."""
    with Host(RoboflowServer()) as host:
        config = write_config(host.url, images="videos/clip.mp4", classes=COLOURS, video={"fps": 5})
        assert autolabel("plan", config, "--json").summary["requests"] == 10
        outcome = autolabel("run", config, "--json")
        assert (outcome.code, len(host.log)) == (0, 10)
        assert autolabel("run", config, "--json").summary["requests"] == 0
    found = exported()
    frames = found["train"] | found["val"]
    assert sorted(frames) == list(range(0, 20, 2))
    for number, annotations in frames.items():
        for annotation in annotations:
            truth = clips.truth(number)[COLOURS[annotation["category_id"] - 1]]
            shared = (annotation["mask"] & truth).sum() / (annotation["mask"] | truth).sum()
            assert shared > 0.8 or truth.sum() < 60
            image = annotation["image"]
            assert image["file_name"] == f"clip.mp4/{number:06}.jpg"
            assert (image["video_id"], image["time_s"]) == (1, pytest.approx(number / 10, abs=1e-3))
            assert "track_id" not in annotation
    for split in ("train", "val"):
        data = orjson.loads(Path(f"datasets/street/coco/annotations/instances_{split}.json").read_bytes())
        assert data["videos"] == [{"id": 1, "name": "clip.mp4", "width": 160, "height": 120}]
        assert {path.parent.name for path in Path("datasets/street/coco/images", split).rglob("*.jpg")} == {
            "clip.mp4"
        }


def test_one_clip_gives_val_its_last_part(clip):
    """Where one clip is all there is, val is its end, and the summary and the manifest say so; it stays so."""
    config = write_config("", images="videos/clip.mp4", classes=COLOURS, backend=TRACKER)
    outcome = autolabel("run", config, "--json")
    found = exported()
    assert sorted(found["val"]) == list(range(16, 20))
    assert sorted(found["train"]) == list(range(16))
    note = "clip.mp4 was the only clip when it was split: val has the last 4 of its 20 frames"
    assert note in outcome.err
    assert orjson.loads(Path("datasets/street/dataset.json").read_bytes())["notes"] == [note]
    clips.write(Path("videos/more.mp4"), clips.scenes(8))
    more = write_config("", images="videos", classes=COLOURS, backend=TRACKER)
    autolabel("run", more)
    kept = exported()
    assert set(range(16, 20)) <= set(kept["val"])


def test_tracked_objects_keep_their_number(clip):
    """A backend that takes clips is asked once for all frames and so many prompts, and its numbers are exported."""
    config = write_config("", images="videos/clip.mp4", classes=COLOURS, backend=TRACKER)
    assert autolabel("plan", config, "--json").summary["requests"] == 2
    outcome = autolabel("run", config, "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.summary["requests"], outcome.summary["cost"]) == (2, 0.02)
    assert tracker.Colours.calls == [20, 20]
    found = exported()
    numbers = defaultdict(set)
    for annotations in (found["train"] | found["val"]).values():
        for annotation in annotations:
            numbers[annotation["category_id"]].add(annotation["track_id"])
    assert {category: len(ids) for category, ids in numbers.items()} == {1: 1, 2: 1, 3: 1}
    assert len(set.union(*numbers.values())) == 3
    assert autolabel("run", config, "--json").summary["requests"] == 0
    assert autolabel("plan", config, "--json").summary["requests"] == 0


def test_equal_frames_of_a_clip_keep_their_own_answers(tmp_path):
    """Two frames of equal content are two answers where objects are tracked."""
    (tmp_path / "videos").mkdir()
    still = [clips.scene(10)] * 6
    clips.write(tmp_path / "videos/still.mkv", still, codec="ffv1", pix_fmt="bgr0")
    config = write_config("", images="videos", classes=COLOURS, backend=TRACKER)
    outcome = autolabel("run", config, "--json")
    assert (outcome.code, outcome.summary["labelled"]) == (0, 6)


def test_frames_that_are_gone_are_made_again(clip):
    """The frames' folder is no state: an export without it gives the same bytes."""
    config = write_config("", images="videos", classes=COLOURS, backend=TRACKER)
    autolabel("run", config)
    before = contents("datasets/street")
    shutil.rmtree("runs/street/frames")
    assert autolabel("export", config).code == 0
    assert contents("datasets/street") == before
    assert tracker.Colours.calls == [20, 20]


def test_every_clip_is_in_one_split(tmp_path):
    """Frames of one clip never stand in two splits where there are more clips."""
    (tmp_path / "videos").mkdir()
    for i in range(5):
        clips.write(tmp_path / f"videos/{i}.mp4", (clips.scene(i * 10 + j) for j in range(4)))
    config = write_config("", images="videos", classes=COLOURS, backend=TRACKER)
    assert autolabel("run", config).code == 0
    places = defaultdict(set)
    for path in Path("datasets/street/coco/images").rglob("*.jpg"):
        split, clip_name, _ = path.relative_to("datasets/street/coco/images").parts
        places[clip_name].add(split)
    assert sorted(len(splits) for splits in places.values()) == [1] * 5
    assert set.union(*places.values()) == {"train", "val"}


def test_a_broken_clip_is_one_failure(clip):
    """A clip that can't be read is listed, and the rest is labelled."""
    data = clip.read_bytes()
    Path("videos/cut.mp4").write_bytes(data[: len(data) // 2])
    Path("videos/text.mp4").write_text("no video at all")
    write_pictures(Path("videos/photos"), 2)
    config = write_config("", images="videos", classes=COLOURS, backend=TRACKER)
    outcome = autolabel("run", config, "--json")
    assert (outcome.code, outcome.summary["failed"], outcome.summary["labelled"]) == (3, 2, 22)
    failures = Path("datasets/street/failures.csv").read_text()
    assert "cut.mp4," in failures
    assert "text.mp4," in failures


def test_clips_alone_are_asked_for_where_images_can_not_be(clip):
    """A backend that takes videos only is told an image before anything is asked."""
    write_pictures(Path("videos/photos"), 1)
    only = {"name": "tests.run.tracker:ClipsOnly"}
    outcome = autolabel("run", write_config("", images="videos", classes=COLOURS, backend=only))
    assert outcome.code == 2
    assert "takes videos only, and photos/000.png is an image" in outcome.err
    assert (
        autolabel("run", write_config("", images="videos/clip.mp4", classes=COLOURS, backend=only)).code == 0
    )


def test_an_answer_of_other_frames_is_kept_and_not_paid_for_again(clip):
    """Too few frames fail the clip with a reason; the body stays, and only --retry-unclear asks again."""
    short = {"name": "tests.run.tracker:Short"}
    config = write_config("", images="videos", classes=COLOURS, backend=short)
    outcome = autolabel("run", config, "--json")
    assert (outcome.code, outcome.summary["failed"]) == (3, 20)
    assert "the answer can't be used: it has 19 frames, the clip 20" in outcome.err
    autolabel("run", config)  # for the third class, which was not asked about after that
    asked = len(tracker.Colours.calls)
    autolabel("run", config)
    assert len(tracker.Colours.calls) == asked == 2
    autolabel("label", config, "--retry-unclear")
    assert len(tracker.Colours.calls) > asked


def test_a_sample_of_tracked_clips_is_of_whole_clips(tmp_path):
    """--limit draws clips where they are asked about as such."""
    (tmp_path / "videos").mkdir()
    for i in range(4):
        clips.write(tmp_path / f"videos/{i}.mp4", (clips.scene(i * 10 + j) for j in range(4)))
    config = write_config("", images="videos", classes=COLOURS, backend=TRACKER)
    assert autolabel("label", config, "--limit", "5", "--json").summary["images"] == 8
    assert tracker.Colours.calls == [4] * 4


def test_start_and_end_bound_the_frames(clip):
    """video.start and video.end choose frames by time."""
    config = write_config(
        "", images="videos", classes=COLOURS, backend=TRACKER, video={"start": 0.5, "end": 1.0}
    )
    autolabel("run", config)
    found = exported()
    assert sorted(found["train"] | found["val"]) == [5, 6, 7, 8, 9]


def test_black_frames_need_no_object(tmp_path):
    """Frames without an object are exported as images without annotations."""
    (tmp_path / "videos").mkdir()
    clips.write(tmp_path / "videos/grey.mp4", [np.full((48, 64, 3), 128, np.uint8)] * 3)
    config = write_config("", images="videos", classes=["red"], backend=TRACKER)
    outcome = autolabel("run", config, "--json")
    assert (outcome.code, outcome.summary["instances"]["answered"]) == (0, 0)


def test_a_clip_under_two_names_is_asked_about_once(clip):
    """Two files of the same content are one request each prompt, and both are labelled."""
    Path("videos/copy.mp4").write_bytes(clip.read_bytes())
    config = write_config("", images="videos", classes=COLOURS, backend=TRACKER)
    outcome = autolabel("run", config, "--json")
    assert (outcome.code, outcome.summary["labelled"]) == (0, 40)
    assert tracker.Colours.calls == [20, 20]
    assert autolabel("plan", config, "--json").summary["requests"] == 0


def test_frames_keep_to_their_clip_s_split(tmp_path):
    """Clips that share a frame, and other choices of frames, leave no clip in two splits, nor a hole in val."""
    (tmp_path / "videos").mkdir()
    black = np.zeros((120, 160, 3), np.uint8)
    for i in range(5):
        frames = [black, black, *(clips.scene(20 * i + n) for n in range(6))]
        clips.write(tmp_path / f"videos/{i}.mkv", frames, codec="ffv1", pix_fmt="bgr0")
    config = write_config("", images="videos", classes=COLOURS, backend=TRACKER)
    assert autolabel("run", config).code == 0
    places = defaultdict(set)
    for path in Path("datasets/street/coco/images").rglob("*.jpg"):
        places[path.parent.name].add(path.parts[-3])
    assert sorted(len(splits) for splits in places.values()) == [1] * 5


def test_val_s_part_of_a_lone_clip_has_no_holes(clip):
    """The number from which a clip is val stays when other frames of it are chosen."""
    sparse = write_config("", images="videos", classes=COLOURS, backend=TRACKER, video={"fps": 2})
    autolabel("run", sparse)
    config = write_config("", images="videos", classes=COLOURS, backend=TRACKER)
    autolabel("run", config)
    found = exported()
    assert sorted(found["val"]) == list(range(min(found["val"]), 20))
    assert sorted(found["train"]) == list(range(min(found["val"])))


def test_the_same_frames_are_not_paid_for_again_however_they_are_chosen(clip):
    """start: 0, or an end beyond the clip, chooses the frames that nothing chooses."""
    autolabel("run", write_config("", images="videos", classes=COLOURS, backend=TRACKER))
    for video in ({"start": 0}, {"end": 100.0}, {"fps": 10}, {"fps": 1000}):
        config = write_config("", images="videos", classes=COLOURS, backend=TRACKER, video=video)
        assert autolabel("run", config, "--json").summary["requests"] == 0


def test_a_stop_counts_what_clips_have_answered(tmp_path):
    """A budget that ends the run between clips leaves the frames of those before it labelled."""
    (tmp_path / "videos").mkdir()
    for i in range(3):
        clips.write(tmp_path / f"videos/{i}.mp4", (clips.scene(10 * i + n) for n in range(5)))
    config = write_config(
        "", images="videos", classes=["red"], backend=TRACKER, label={"budget": 0.025, "workers": 1}
    )
    outcome = autolabel("run", config, "--json")
    assert (outcome.code, outcome.summary["labelled"]) == (4, 10)


def test_a_tracker_with_a_bug_is_one_clip_s_trouble(clip):
    """Whatever a tracker raises fails the clip with a reason; photos beside it are labelled."""
    Path("breaks.py").write_text(
        "from tests.run.tracker import Colours\n"
        "class Breaks(Colours):\n"
        "    def track(self, footage, prompts):\n        raise KeyError('a bug')\n"
    )
    write_pictures(Path("videos/photos"), 2)
    backend = {"name": "breaks:Breaks"}
    outcome = autolabel("run", write_config("", images="videos", classes=["red"], backend=backend), "--json")
    assert (outcome.code, outcome.summary["labelled"], outcome.summary["failed"]) == (3, 2, 20)
    assert "unexpected KeyError: 'a bug'" in outcome.err


def test_frames_never_take_an_image_s_name(clip):
    """A folder that is named like a video beside it is an error that says so."""
    write_pictures(Path("more/clip.mp4"), 1, ".jpg")
    Path("more/clip.mp4/000.jpg").rename("more/clip.mp4/000000.jpg")
    config = write_config("", images=["videos", "more"], classes=["red"], backend=TRACKER)
    outcome = autolabel("run", config)
    assert outcome.code == 2
    assert "clip.mp4: its frames have the names of images" in outcome.err
