"""The session behind the page, the widget and the report, on a small run."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
from PIL import Image

import autolabel
from autolabel import decisions
from autolabel.errors import InputError
from autolabel.geometry import rle
from autolabel.review.problems import Changed, NotFound, Refused
from autolabel.review.session import Session
from autolabel.sources import images
from autolabel.store import Store
from tests.review.support import BOXES, WH, added, column, counts, labelled, rejected, review, write_answers


@pytest.fixture
def session(config):
    with Session(config) as session:
        session.index()
        yield session


def index_of(session):
    return orjson.loads(session.index())


def store():
    return Store(Path("runs/street/answers.sqlite"))


def decide(session, number, *instances, base=0):
    return session.decide(number, session.digest(number).hex(), base, review(*instances))


def test_the_index_has_every_answer(session):
    """Names, classes, scores, areas and shared pixels are those of the kept answers, in answer order."""
    index = index_of(session)
    assert index["images"]["name"] == ["a.png", "b/ü <b>.png", "c.png"]
    assert (index["images"]["width"], index["images"]["height"]) == ([WH[0]] * 3, [WH[1]] * 3)
    assert [entry["name"] for entry in index["classes"]] == ["car", "person"]
    assert index["prompts"] == ["car", "person"]
    assert column(index, "offsets", "<u4") == [0, 3, 4, 4]
    assert column(index, "category", "<u2") == [0, 0, 1, 0]
    assert column(index, "score", "<f8") == [0.9, 0.6, 0.7, 0.55]
    assert column(index, "area", "<u4") == [26 * 26, 26 * 26, 30 * 40, 30 * 30]
    assert column(index, "pair_offsets", "<u4") == [0, 1, 1, 1]
    assert [column(index, f"pair_{name}", "<u4") for name in ("a", "b", "shared")] == [[0], [1], [24 * 24]]
    with autolabel.open_run(session.config) as run:
        for result, digest in zip(run.results(raw=True), index["images"]["answers"], strict=True):
            assert decisions.answers_digest(decisions.instance_ids(result.detections)) == digest


def test_images_have_their_masks_in_the_order_of_the_index(session):
    """Ids are those that decisions go by, counts COCO's own."""
    first, second = session.images([0, 2])
    assert [box for _, box in first["instances"]] == [counts(box) for _, _, box in BOXES["a.png"]]
    assert (first["n"], second["n"], second["instances"]) == (0, 2, [])
    assert session.images([3]) == [{"n": 3, "error": "there is no image 3; reload"}]
    with pytest.raises(Refused):
        session.images([0] * 201)


def test_a_labelling_leaves_all_that_the_review_needs(config):
    """Glances and thumbs are there when it ends: the first index makes none, and no picture is decoded."""
    with store() as kept:
        assert len(list(kept.glances())) == 3
    with Session(config) as session:
        session.index()
        for path in Path("photos").rglob("*.png"):
            path.unlink()
        assert all(images.probe(session.thumb(number)).format == "JPEG" for number in range(3))


def test_what_goes_wrong_with_a_thumb_or_a_figure_is_no_trouble_of_the_labelling(monkeypatch):
    """Both can be made later: the images are labelled, and nothing is said."""

    def broken(*_):
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr("autolabel.thumbs.make", broken)
        patch.setattr("autolabel.pipeline.glances.make", broken)
        config = labelled()
    with store() as kept:
        assert list(kept.glances()) == []
    with Session(config) as session:
        assert len(index_of(session)["images"]["name"]) == 3
        assert session.thumb(0)


def test_an_older_run_gets_its_figures_when_it_is_opened(config):
    """Without glances the index is the same, and the next time they are there."""
    with Session(config) as session:
        before = index_of(session)
    with store() as kept:
        kept._db.execute("DELETE FROM glances")
    Path("runs/street/thumbs.sqlite").unlink()
    with Session(config) as session:
        assert index_of(session) == before
        assert images.probe(session.thumb(0)).width == WH[0]
    with store() as kept:
        assert len(list(kept.glances())) == 3


def test_damaged_figures_are_made_again(config):
    """What is no glance counts as none."""
    with Session(config) as session:
        before = index_of(session)
    with store() as kept:
        for image, question, data in list(kept.glances()):
            kept.put_glance(image, question, data[:-1] if data else b"x")
    with Session(config) as session:
        assert index_of(session) == before


def test_nothing_labelled_is_told():
    """A config without a run is an input error, as elsewhere."""
    labelled()
    config = autolabel.Config.load("street.yaml", ["run=runs/other"])
    with pytest.raises(InputError, match="autolabel label"):
        Session(config)


def test_answers_that_changed_are_not_shown_as_the_old_ones(session):
    """After another labelling, masks and decisions of the old index are refused until a reload."""
    index_before = index_of(session)
    decided = decide(session, 0, rejected(session.images([0])[0]["instances"][1]))
    write_answers(Path("answers"), BOXES | {"a.png": [("car", 0.8, (6, 6, 33, 33))]})
    autolabel.label(session.config)
    before = index_before["images"]["answers"]
    assert [image["answers"] == before[image["n"]] for image in session.images([0, 1])] == [False, True]
    with pytest.raises(Changed, match="reload"):
        decide(session, 0, base=1)
    index = index_of(session)
    shown = index["reviews"][session.digest(0).hex()]
    assert (shown["review"], shown["lost"], shown["matched"]) == (decided["review"], [], [0]), (
        "found by overlap"
    )
    again = session.decide(0, session.digest(0).hex(), 1, decided["review"])
    assert (again["ok"], again["matched"]) == (True, [0]), (
        "what was decided on a former answer may be sent again"
    )


def test_a_lost_decision_is_shown_as_such(session):
    """Where no answer is left to belong to, the decision stays and is named."""
    decide(session, 0, rejected(session.images([0])[0]["instances"][2], "person"), added((1, 1, 9, 9)))
    write_answers(Path("answers"), BOXES | {"a.png": []})
    autolabel.label(session.config)
    shown = index_of(session)["reviews"][session.digest(0).hex()]
    assert (shown["lost"], shown["matched"]) == ([0], [None, None])


def test_new_images_come_after_those_that_have_a_number(session):
    """A page that is open keeps meaning the same images."""
    digests = [session.digest(n) for n in range(3)]
    new = Path("photos/0.png")
    new.write_bytes(cv2.imencode(".png", np.full((WH[1], WH[0], 3), 9, np.uint8))[1].tobytes())
    write_answers(Path("answers"), {"0.png": []})
    autolabel.label(session.config)
    index = index_of(session)
    assert index["images"]["name"][3] == "0.png"
    assert [session.digest(n) for n in range(3)] == digests


def test_images_that_are_gone_keep_their_numbers(session):
    """A page that is open never means, or pays for, another image: what is gone is told, and may come back."""
    image = session.digest(0).hex()
    there = Path("photos/a.png").read_bytes()
    Path("photos/a.png").unlink()
    index = index_of(session)
    assert (index["gone"], index["images"]["name"]) == ([0], ["a.png", "b/ü <b>.png", "c.png"])
    assert column(index, "offsets", "<u4") == [0, 0, 1, 1]
    first, second = session.images([0, 1])
    assert first == {"n": 0, "error": "a.png is gone; reload"}
    assert second["n"] == 1
    prompt = {"box": [46, 6, 84, 54], "category": "person"}
    for asked in (
        lambda: session.thumb(0),
        lambda: session.picture(0),
        lambda: session.mask(0, prompt),
        lambda: session.decide(0, image, 0, review()),
    ):
        with pytest.raises(NotFound, match=r"a\.png is gone; reload"):
            asked()
    Path("photos/a.png").write_bytes(there)
    assert index_of(session)["gone"] == []
    assert column(index_of(session), "offsets", "<u4") == [0, 3, 4, 4]


def test_another_content_under_a_name_is_another_image(session):
    """The old number is gone and the new content has one of its own."""
    Path("photos/a.png").write_bytes(
        cv2.imencode(".png", np.full((WH[1], WH[0], 3), 9, np.uint8))[1].tobytes()
    )
    autolabel.label(session.config)
    index = index_of(session)
    assert (index["gone"], index["images"]["name"][3]) == ([0], "a.png")


def test_images_without_an_answer_are_counted(config):
    """What can't be shown is not in the index, and the page can say how many there are."""
    Path("photos/broken.png").write_bytes(b"no picture")
    with Session(config) as session:
        index = index_of(session)
        assert (len(index["images"]["name"]), index["failed"]) == (3, 1)


def test_times_are_ours_and_stay(session):
    """A decision that did not change keeps its time; a new one gets the present."""
    first, second, _ = session.images([0])[0]["instances"]
    decide(session, 0, rejected(first) | {"at": "1999-01-01T00:00:00Z"})
    (one,) = kept_review(session, 0)["instances"]
    assert one["at"] > "2020"
    decide(session, 0, one | {"at": ""}, rejected(second), base=1)
    assert kept_review(session, 0)["instances"][0] == one


def test_a_page_names_answers_and_the_store_knows_them(session):
    """A document may name an answer by its id alone; what is kept has all of it, and is told shortly again."""
    first = session.images([0])[0]["instances"][0]
    short = {"origin": {"id": first[0]}, "verdict": "accepted", "category": "person"}
    told = session.decide(0, session.digest(0).hex(), 0, {"instances": [short]})
    assert told["review"] == {"instances": [short]}
    origin = kept_review(session, 0)["instances"][0]["origin"]
    assert (origin["counts"], origin["category"], origin["confidence"]) == (first[1], "car", 0.9)
    again = session.decide(0, session.digest(0).hex(), 1, told["review"])
    assert (again["ok"], again["revision"]) == (True, 1), "nothing new makes no revision"


def test_an_undo_is_never_refused(session):
    """What an earlier review said may be said again, after a re-label and whatever was decided since."""
    image = session.digest(0).hex()
    _, second, third = session.images([0])[0]["instances"]
    digest = index_of(session)["images"]["answers"][0]
    documents = [
        review(rejected(second), rejected(third, "person"), verdict="accepted", made_on=digest),
        review(verdict="rejected", made_on=digest),
        review(added((1, 1, 9, 9))),
    ]
    for base, document in enumerate(documents):
        assert session.decide(0, image, base, document)["ok"]
    write_answers(Path("answers"), BOXES | {"a.png": [("car", 0.8, (6, 6, 33, 33))]})
    autolabel.label(session.config)
    index_of(session)
    base = 3
    for document in [*reversed(documents), *documents]:
        told = session.decide(0, image, base, document)
        assert told["ok"]
        base = told["revision"]


def kept_review(session, number):
    """The document in the store."""
    with store() as kept:
        return orjson.loads(kept.review(session.digest(number))[1])


def test_pictures_are_shown_as_they_are_labelled():
    """Turned, clear and moving ones are sent as upright JPEG; others as they are, less their metadata."""
    Path("photos").mkdir()
    exif = Image.Exif()
    exif[274] = 6
    left_red = Image.new("RGB", WH, "blue")
    left_red.paste("red", (0, 0, WH[0] // 2, WH[1]))
    left_red.save("photos/a turned.jpg", exif=exif, quality=95)
    left_red.convert("RGBA").save("photos/b clear.png")
    left_red.save("photos/c plain.png")
    left_red.save("photos/d.webp", lossless=True)
    left_red.save("photos/e moves.webp", save_all=True, append_images=[Image.new("RGB", WH)], lossless=True)
    left_red.save("photos/f.tif")
    names = sorted(path.name for path in Path("photos").iterdir())
    boxes = {name: [] for name in names}
    write_answers(Path("answers"), boxes)
    config = labelled(images="photos")
    with Session(config) as session:
        shown = orjson.loads(session.index())["images"]["name"]
        found = {name: session.picture(shown.index(name)) for name in names}
    types = [found[name][1].removeprefix("image/") for name in names]
    assert types == ["jpeg", "jpeg", "png", "webp", "jpeg", "jpeg"]
    for name, (data, _) in found.items():
        info = images.probe(data)
        assert (info.width, info.height) == (WH if "turned" not in name else WH[::-1])
        assert info.orientation == 1
        pixels = images.decode(data, info)
        blue, _, red = pixels[5, 5].tolist()
        assert red > 200 > blue, name


def test_a_file_that_changed_is_not_shown_as_the_labelled_one(session):
    """Another content under the name is an error, not another picture under old masks."""
    Path("photos/a.png").write_bytes(Path("photos/c.png").read_bytes())
    with pytest.raises(Changed, match=r"a\.png has changed"):
        session.picture(0)
    Path("photos/c.png").unlink()
    with pytest.raises(Refused, match=r"c\.png"):
        session.picture(2)


def test_a_mask_is_asked_for_once(session):
    """The same prompt again is answered from the store; the image's figures stay."""
    prompt = {"box": [46, 6, 84, 54], "points": [[60, 30, 1]], "category": "person"}
    with store() as kept:
        figures = sorted(kept.glances())
        mask = session.mask(0, prompt)
        rows = kept._db.execute("SELECT id FROM answers").fetchall()
        assert session.mask(0, prompt) == mask
        assert kept._db.execute("SELECT id FROM answers").fetchall() == rows
        assert sorted(kept.glances()) == figures


def test_masks_that_wait_are_few(session):
    """They are answered one by one, and each that waits holds a thread: more are sent away."""
    prompt = {"box": [46, 6, 84, 54], "category": "person"}
    with ThreadPoolExecutor(5) as pool:
        with session._pointing_lock:
            waiting = [pool.submit(session.mask, 0, prompt) for _ in range(5)]
            while session._pointing_turns._value:
                time.sleep(0.001)
            with pytest.raises(Refused, match="masks are under way; wait for them"):
                session.mask(0, prompt)
        assert len({task.result()["counts"] for task in waiting}) == 1
    assert session.mask(0, prompt)


def test_masks_stop_at_the_budget():
    """label.budget holds here too, and the sentence says so."""
    config = labelled(visual={"name": "grabcut", "price_per_request": 1.0}, label={"budget": 1.5})
    with Session(config) as session:
        session.index()
        session.mask(0, {"box": [46, 6, 84, 54], "category": "person"})
        session.mask(0, {"box": [46, 6, 84, 54], "category": "person"})
        for _ in range(2):
            with pytest.raises(Refused, match=r"label\.budget"):
                session.mask(0, {"box": [46, 6, 84, 55], "category": "person"})


def test_a_visual_backend_without_its_key_is_told_and_the_rest_works(config):
    """Who can't be asked is named; nothing else of the review needs it."""
    config = config.model_copy(
        update={
            "visual": config.backend.model_copy(
                update={"name": "roboflow", "model": "visual", "answers": None}
            )
        }
    )
    with Session(config) as session:
        assert index_of(session)["visual"] == {"name": "roboflow", "takes": ["boxes", "points"]}
        with pytest.raises(Refused, match="ROBOFLOW_API_KEY"):
            session.mask(0, {"box": [46, 6, 84, 54], "category": "person"})
        assert decide(session, 0, added((1, 1, 9, 9)))["ok"]


def test_a_review_that_can_not_be_read_can_be_replaced(session, caplog):
    """A damaged document is told in the log, shown as no decision, and a new one takes its place."""
    with store() as kept:
        kept.put_review(session.digest(0), b'{"verdict": 7}', "", base=0)
    with caplog.at_level(logging.WARNING):
        shown = index_of(session)["reviews"][session.digest(0).hex()]
    assert (shown["revision"], shown["review"]["instances"]) == (1, [])
    assert "a.png" in caplog.text
    assert decide(session, 0, added((1, 1, 9, 9)), base=1)["revision"] == 2


@pytest.mark.parametrize(
    "damage",
    [
        {"counts": "nonsense"},
        {"counts": rle.empty((WH[1], WH[0])).counts.decode()},
        {"how": "magic"},
        {"verdict": "perhaps"},
        {"category": None},
    ],
)
def test_no_page_gets_a_damaged_review(session, damage):
    """What is no review of the image is shown as nothing decided, with its revision, so it can be replaced."""
    document = orjson.dumps(review(added((1, 1, 9, 9)) | damage))
    with store() as kept:
        kept.put_review(session.digest(0), document, "", base=0)
    shown = index_of(session)["reviews"][session.digest(0).hex()]
    assert shown == {"revision": 1, "review": {"instances": []}, "lost": [], "matched": []}
    assert session.decide(0, session.digest(0).hex(), 1, review())["revision"] == 2


def test_nothing_decided_is_not_kept(session):
    """A first review that says nothing makes no revision."""
    assert decide(session, 0) == {
        "ok": True,
        "revision": 0,
        "review": {"instances": []},
        "lost": [],
        "matched": [],
    }


def test_a_match_is_searched_once(session, monkeypatch):
    """What was found by masks after a re-label is kept for the next index, and forgotten with its review."""
    _, second, _ = session.images([0])[0]["instances"]
    decide(session, 0, rejected(second))
    write_answers(Path("answers"), BOXES | {"a.png": [("car", 0.8, (6, 6, 33, 33))]})
    autolabel.label(session.config)
    first = index_of(session)["reviews"]
    with monkeypatch.context() as patch:
        patch.setattr("autolabel.review.matching.search", None)
        assert index_of(session)["reviews"] == first
    assert len(session._searched) == 1
    decide(session, 0, base=1)
    index_of(session)
    assert session._searched == {}


def test_many_threads_at_once(session):
    """Indices, masks, thumbs and decisions from many threads: one revision a decision, and no error."""
    ids = session.images([0])[0]["instances"]
    won = threading.Lock(), []

    def work(i):
        session.thumb(i % 3)
        session.picture(i % 3)
        session.images([0, 1, 2])
        if i % 5 == 0:
            session.index()
        if decide(session, 1, added((1 + i, 1, 40, 9)), base=0)["ok"]:
            with won[0]:
                won[1].append(i)
        return decide(session, 2, base=0)["revision"] + len(ids)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    assert len(won[1]) == 1


def test_an_id_alone_accepts_its_answer(session):
    """The index tells an answer that was accepted with its image so, and a page may send it back so."""
    id_ = session.images([0])[0]["instances"][0][0]
    kept = decide(session, 0, id_)
    assert kept["review"]["instances"] == [id_]
    assert index_of(session)["reviews"][session.digest(0).hex()]["review"]["instances"] == [id_]
    with store() as run:
        [decision] = orjson.loads(run.review(session.digest(0))[1])["instances"]
    assert (decision["verdict"], decision["how"], decision["origin"]["id"]) == ("accepted", "image", id_)
    with pytest.raises(Refused, match="no answer of this image"):
        decide(session, 0, "nobody", base=1)
