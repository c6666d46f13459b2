"""Filters of the page: the same reason and the same winner as autolabel.filters for every last instance."""

import dataclasses
from collections import Counter
from itertools import chain

import numpy as np

from autolabel import filters
from autolabel.geometry import rle
from autolabel.types import Detection
from tests.front.node import mapped, needs_node
from tests.front.scenes import (
    CLASSES,
    index_of,
    random_detection,
    random_mask,
    random_scenes,
    random_settings,
    shared_pixels,
    thresholds,
)

pytestmark = needs_node

# Codes as words, for all images at once and for each alone.
BOTH = """(c) => {
    const data = prepare(c.index);
    const judged = (c.judged ?? []).map((one) => one && {
        ...one, sure: new Map(one.sure), rejected: new Set(one.rejected), redrawn: new Map(one.redrawn) });
    return c.thresholds.map((t) => {
        const all = filterAll(data, t, new Map([...judged.entries()].filter((entry) => entry[1])));
        return {
            all: Array.from(all.codes, (code) => REASONS[code]),
            counts: all.counts,
            images: data.width.map((_, n) => filterImage(data, n, t, judged[n])).map(
                ({ codes, winners }) => ({ reasons: Array.from(codes, (code) => REASONS[code]), winners })),
        };
    });
}"""


def expected(detections, categories, settings, **keys) -> tuple[list[str], list[int]]:
    """Reason and winner of each detection as autolabel.filters has them."""
    # Equal detections are told apart by their track.
    marked = [dataclasses.replace(d, track_id=i) for i, d in enumerate(detections)]
    kept, dropped = filters.apply(marked, categories, settings, **keys)
    reasons, winners = ["kept"] * len(marked), [-1] * len(marked)
    for one in dropped:
        reasons[one.detection.track_id] = one.reason
        winners[one.detection.track_id] = one.kept_by.track_id if one.kept_by else -1
    assert len(kept) == reasons.count("kept")
    return reasons, winners


def tally(names: list[str], reasons: list[str], classes: list[int]) -> list[list[int]]:
    """How often each class has each reason."""
    found = Counter(zip(classes, reasons, strict=True))
    return [[found[own, name] for name in names] for own in range(CLASSES)]


def test_every_reason_and_winner_is_pythons():
    """Random images under random thresholds, many of them met exactly: reasons, winners and counts are equal."""
    rng = np.random.default_rng(0)
    scenes = random_scenes(60, seed=1)
    chosen = [random_settings(rng, scenes) for _ in range(25)]
    (names,) = mapped("() => REASONS", [0])
    (found,) = mapped(BOTH, [{"index": index_of(scenes), "thresholds": [thresholds(*one) for one in chosen]}])
    classes = [d.class_id for scene in scenes for d in scene]
    seen = set()
    for one, result in zip(chosen, found, strict=True):
        images = [expected(scene, *one) for scene in scenes]
        assert [(image["reasons"], image["winners"]) for image in result["images"]] == images
        every = [reason for reasons, _ in images for reason in reasons]
        assert result["all"] == every
        assert result["counts"] == tally(names, every, classes)
        seen |= set(every)
    assert seen == set(names) - {"review_rejected"}


def reviewed(
    scene: list[Detection], rng: np.random.Generator
) -> tuple[dict, list[Detection], set[int], set[int]]:
    """A random review: as the page gets it, the detections after it, which of them are sure, which rejected."""
    after, sure, rejected, redrawn = list(scene), set(), set(), set()
    for i, detection in enumerate(scene):
        verdict = rng.choice(["", "accepted", "relabelled", "redrawn", "rejected"])
        if verdict == "rejected":
            rejected.add(i)
        elif verdict:
            sure.add(i)
        if verdict == "relabelled":
            after[i] = dataclasses.replace(detection, class_id=int(rng.integers(CLASSES)))
        if verdict == "redrawn":
            redrawn.add(i)
            after[i] = dataclasses.replace(detection, mask=rle.from_bitmap(random_mask(rng)))
    added = [dataclasses.replace(random_detection(rng), confidence=None) for _ in range(rng.integers(0, 3))]
    after += added
    sure |= set(range(len(scene), len(after)))
    shared = shared_pixels(after)
    # A pair of two new masks may stand with the one or with both: it does nothing.
    new = {*redrawn, *range(len(scene), len(after))}
    listed = {
        i: [
            [j, int(shared[i, j])]
            for j in range(len(after))
            if j != i and (j not in new or i < j or rng.random() < 0.5)
        ]
        for i in new
    }
    judged = {
        "sure": [[i, after[i].class_id] for i in sorted(sure) if i < len(scene)],
        "rejected": sorted(rejected),
        "redrawn": [[i, {"area": int(shared[i, i]), "shared": listed[i]}] for i in sorted(redrawn)],
        "added": [
            {"category": after[i].class_id, "area": int(shared[i, i]), "shared": listed[i]}
            for i in range(len(scene), len(after))
        ],
    }
    return judged, after, sure, rejected


def test_reviewed_images_are_filtered_as_the_export_does():
    """Accepted, relabelled, redrawn, added and rejected instances, among images without a review."""
    rng = np.random.default_rng(2)
    scenes = random_scenes(60, seed=3)
    reviews = [reviewed(scene, rng) if number % 4 else None for number, scene in enumerate(scenes)]
    chosen = [random_settings(rng, scenes) for _ in range(15)]
    case = {
        "index": index_of(scenes),
        "judged": [review and review[0] for review in reviews],
        "thresholds": [thresholds(*one) for one in chosen],
    }
    (names,) = mapped("() => REASONS", [0])
    (found,) = mapped(BOTH, [case])
    for one, result in zip(chosen, found, strict=True):
        images = []
        for scene, review in zip(scenes, reviews, strict=True):
            _, after, sure, rejected = review or ({}, scene, set(), set())
            left = [i for i in range(len(after)) if i not in rejected]
            some, winners = expected(
                [after[i] for i in left], *one, sure={k for k, i in enumerate(left) if i in sure}
            )
            reasons, won = ["review_rejected"] * len(after), [-1] * len(after)
            for k, i in enumerate(left):
                reasons[i], won[i] = some[k], left[winners[k]] if winners[k] >= 0 else -1
            images.append((reasons, won))
        assert [(image["reasons"], image["winners"]) for image in result["images"]] == images
        own = [reasons[: len(scene)] for (reasons, _), scene in zip(images, scenes, strict=True)]
        assert result["all"] == list(chain(*own))
        after = [review[1] if review else scene for review, scene in zip(reviews, scenes, strict=True)]
        every = list(chain(*(reasons for reasons, _ in images)))
        assert result["counts"] == tally(names, every, [d.class_id for d in chain(*after)])


def test_a_frozen_image_keeps_what_was_accepted_and_a_rejected_one_nothing():
    """What the filters would keep besides is review_rejected; of a rejected image, everything is."""
    scene = [Detection(0, 0.9 - k / 10, "a", rle.from_bitmap(_column(k))) for k in range(3)]
    scene.append(Detection(0, 0.1, "a", rle.from_bitmap(_column(4))))
    judged = {
        "sure": [[1, 0]],
        "rejected": [],
        "redrawn": [],
        "added": [{"category": 1, "area": 5, "shared": []}],
    }
    rule = {"confidence": 0.5, "nms_iou": 0.7, "min_area": 0, "max_instances": None}
    case = {
        "index": index_of([scene, scene, scene]),
        "judged": [judged, judged | {"frozen": True}, judged | {"leftOut": True}],
        "thresholds": [
            {"classes": [rule] * 3, "cross_class_iou": None, "nms_metric": "iou", "max_area": None}
        ],
    }
    ((result,),) = mapped(BOTH, [case])
    no = "review_rejected"
    assert [image["reasons"] for image in result["images"]] == [
        ["kept", "kept", "kept", "below_confidence", "kept"],
        [no, "kept", no, "below_confidence", "kept"],
        [no] * 5,
    ]
    assert [counts[0] for counts in result["counts"]] == [4, 2, 0]


def _column(x: int) -> np.ndarray:
    mask = np.zeros((24, 32), bool)
    mask[:9, 4 * x : 4 * x + 3] = True
    return mask


def test_histograms_tell_kept_from_dropped():
    """Every score of the class is in its bin once, 1 in the last; what has none is counted apart."""
    scenes = random_scenes(40, seed=4)
    scenes[0] = [Detection(1, 1.0, "a", rle.from_bitmap(_column(0)))]
    one = random_settings(np.random.default_rng(5), scenes)
    work = """(c) => { const data = prepare(c.index);
        return histograms(data, filterAll(data, c.thresholds).codes, c.thresholds.classes.length, 8)[1]; }"""
    (found,) = mapped(work, [{"index": index_of(scenes), "thresholds": thresholds(*one)}])
    reasons = [reason for scene in scenes for reason in expected(scene, *one)[0]]
    own = [
        (d.confidence, reason == "kept")
        for d, reason in zip((d for scene in scenes for d in scene), reasons, strict=True)
        if d.class_id == 1
    ]
    for key, is_kept in (("kept", True), ("dropped", False)):
        scores = [score for score, kept in own if kept is is_kept and score is not None]
        assert found[key] == np.histogram(scores, 8, (0, 1))[0].tolist()
        assert found["unscored"][key] == sum(kept is is_kept and score is None for score, kept in own)


def test_images_are_ranked_by_doubt_and_by_overlap():
    """The least distance of a score from its class's confidence, and the largest overlap by either metric."""
    scenes = random_scenes(60, seed=6)
    categories, settings = random_settings(np.random.default_rng(7), scenes)
    work = """(c) => { const data = prepare(c.index);
        return data.width.map((_, n) => [uncertainty(data, n, c.thresholds),
            largestOverlap(data, n, "iou"), largestOverlap(data, n, "ios")]); }"""
    (found,) = mapped(work, [{"index": index_of(scenes), "thresholds": thresholds(categories, settings)}])
    for scene, (doubt, iou, ios) in zip(scenes, found, strict=True):
        distances = [
            abs(d.confidence - categories[d.class_id].confidence) for d in scene if d.confidence is not None
        ]
        assert doubt == min(distances, default=None)  # infinity is null in JSON
        shared = shared_pixels(scene)
        area = shared.diagonal()
        pairs = [(i, j) for j in range(len(scene)) for i in range(j) if shared[i, j]]
        assert iou == max((shared[i, j] / (area[i] + area[j] - shared[i, j]) for i, j in pairs), default=0)
        assert ios == max((shared[i, j] / min(area[i], area[j]) for i, j in pairs), default=0)
