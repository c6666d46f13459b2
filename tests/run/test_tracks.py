"""A 10-second clip becomes a dataset whose track ids are stable, through a host that answers with a video."""

from collections import defaultdict

import numpy as np
import pytest

from autolabel.backends.http import Retry
from autolabel.backends.segmind.client import Segmind
from tests.run.support import autolabel, write_config
from tests.run.test_clips import COLOURS, exported
from tests.servers.host import Fault, Host
from tests.servers.segmind import SegmindServer
from tests.sources import clips

LONG = 100  # frames: ten seconds


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setitem(Segmind.__init__.__kwdefaults__, "retry", Retry(4, 0.001, 0.005))


def config(url: str, **keys) -> str:
    backend = {"name": "segmind", "model": "sam3-video", "base_url": url, "requests_per_second": 1000}
    return write_config(
        url, backend=backend, images="videos", classes=COLOURS, **{"label": {"confidence": 0.1}} | keys
    )


def test_objects_keep_their_ids_over_ten_seconds(tmp_path):
    """Each object has one id in all frames, also after it was hidden; one that comes back elsewhere has another."""
    (tmp_path / "videos").mkdir()
    clips.write(tmp_path / "videos/clip.mp4", clips.scenes(LONG))
    with Host(SegmindServer()) as host:
        name = config(host.url)
        assert autolabel("plan", name, "--json").summary["requests"] == 3
        outcome = autolabel("run", name, "--json")
        assert outcome.code == 0, outcome.err
        assert (outcome.summary["labelled"], outcome.summary["requests"]) == (LONG, 3)
        assert autolabel("run", name, "--json").summary["requests"] == 0
    found = exported()
    frames = {n: a for split in found.values() for n, a in split.items()}
    assert sorted(frames) == list(range(LONG))
    ids, seen = defaultdict(lambda: defaultdict(int)), defaultdict(int)
    for number, annotations in frames.items():
        for colour, truth in clips.truth(number).items():
            if truth.sum() < 60:
                continue
            seen[colour] += 1
            mine = [a for a in annotations if COLOURS[a["category_id"] - 1] == colour]
            best = max(mine, key=lambda a: (a["mask"] & truth).sum(), default=None)
            assert best is not None, (number, colour)
            shared = (best["mask"] & truth).sum() / (best["mask"] | truth).sum()
            assert shared > 0.6, (number, colour, shared)
            part = f"{colour} later" if colour == "blue" and number >= clips.AWAY[1] else colour
            ids[part][best["track_id"]] += 1
    assert sorted(ids) == ["blue", "blue later", "green", "red"]
    assert {part: len(of) for part, of in ids.items()} == dict.fromkeys(ids, 1)
    assert len({number for of in ids.values() for number in of}) == 4
    assert sum(seen.values()) > 250


@pytest.mark.parametrize("rate", ["constant", "variable"])
def test_frames_of_a_sampled_clip_stay_aligned(tmp_path, rate):
    """Masks lie on the frame they are for, also where the clip's rate varies and frames are sampled."""
    (tmp_path / "videos").mkdir()
    stamps = None if rate == "constant" else [n * 100 + (n % 3) * 30 for n in range(30)]
    clips.write(tmp_path / "videos/clip.mkv", clips.scenes(30), stamps=stamps)
    with Host(SegmindServer()) as host:
        outcome = autolabel("run", config(host.url, video={"fps": 4}), "--json")
        assert outcome.code == 0, outcome.err
    found = exported()
    for split in found.values():
        for number, annotations in split.items():
            for annotation in annotations:
                truth = clips.truth(number)[COLOURS[annotation["category_id"] - 1]]
                if annotation["mask"].sum() > 100:
                    assert (annotation["mask"] & truth).sum() / annotation["mask"].sum() > 0.75


def test_an_unclear_clip_is_not_paid_for_again(tmp_path):
    """A request that broke off fails every frame with a reason, and is asked again on demand alone."""
    (tmp_path / "videos").mkdir()
    clips.write(tmp_path / "videos/clip.mp4", clips.scenes(5))
    server = SegmindServer()

    def cut_once(request):
        return server(request)

    with Host(cut_once, script=[None, Fault(reset=True)]) as host:
        name = config(host.url, label={"workers": 1})
        outcome = autolabel("run", name, "--json")
        assert (outcome.code, outcome.summary["failed"]) == (3, 5)
        assert "unclear" in outcome.err
        asked = sum(r.path.endswith("sam3-video") for r in host.requests)
        autolabel("run", name)
        again = [r for r in host.requests if r.path.endswith("sam3-video")]
        assert len({r.body for r in again}) == len(again) == asked + 2
        assert autolabel("plan", name, "--json").summary["requests"] == 0
        assert autolabel("run", name, "--retry-unclear", "--json").code == 0


def test_colours_are_far_enough_apart():
    """The scene's objects are told apart by the tiny model after the clip was encoded."""
    for number in (0, 30, 99):
        assert np.unique(clips.scene(number).reshape(-1, 3), axis=0).shape[0] in (3, 4)
