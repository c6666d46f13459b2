"""The run's memory: what is written stays, whatever happens to the process."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from autolabel.errors import OutputError
from autolabel.store import WHOLE_IMAGE, Exchange, FileRow, Store
from autolabel.types import RLE, Detection

MASK = RLE((3, 4), b"64")


def exchange(*prompts: str, floor: float = 0.1, **keys) -> Exchange:
    found = [Detection(0, 0.5, prompt, MASK) for prompt in prompts]
    return Exchange(prompts, floor, (4, 3), **({"detections": found, "body": b"body"} | keys))


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "run" / "answers.sqlite") as store:
        yield store


def test_answers_come_back_as_they_were(store):
    """Detections, sizes, missing scores, tracks and degradations survive."""
    found = (Detection(0, None, "cat", MASK, track_id=3), Detection(0, 0.25, "cat", MASK))
    store.put(b"i", "s", (4, 3), [Exchange(("cat", "dog"), 0.1, (4, 3), b"{}", found, ("holes",))])
    answers = store.answers(b"i", "s")
    assert answers["cat"].detections == list(found)
    assert (answers["cat"].width, answers["cat"].height) == (4, 3)
    assert answers["cat"].degradations == ("holes",)
    assert answers["dog"].detections == []
    assert store.answered(b"i", "s", 0.1) == {"cat": 2, "dog": 0}


def test_a_floor_serves_requests_at_or_above_it(store):
    """An answer asked from 0.3 up serves a request from 0.3 or 0.5 up, not one from 0.1."""
    store.put(b"i", "s", (4, 3), [exchange("cat", floor=0.3)])
    assert store.answered(b"i", "s", 0.3) == store.answered(b"i", "s", 0.5) == {"cat": 1}
    assert store.answered(b"i", "s", 0.1) == {}


def test_other_contents_and_sources_do_not_serve(store):
    """An answer belongs to a content and a source."""
    store.put(b"i", "s", (4, 3), [exchange("cat")])
    assert store.answered(b"other", "s", 0.1) == store.answered(b"i", "other", 0.1) == {}


def test_files_with_answers_are_looked_up_together(store):
    """Many paths give size, time and answers of each file that has one that serves, and of no other."""
    for name, image in (("a.jpg", b"a"), ("b.jpg", b"a"), ("c.jpg", b"c"), ("é.jpg", b"e")):
        store.put_file(name, 5, 7, FileRow(image, 4, 3))
    store.put(b"a", "s", (4, 3), [exchange("cat", "dog")])
    store.put(b"c", "s", (4, 3), [exchange("cat", floor=0.3)])
    store.put(b"e", "s", (4, 3), [exchange("cat")])
    kept = store.answered_files(["a.jpg", "b.jpg", "c.jpg", "é.jpg", "unknown.jpg"], "s", 0.1)
    both = (FileRow(b"a", 4, 3), 5, 7, {"cat": 1, "dog": 1})
    one = (FileRow(b"e", 4, 3), 5, 7, {"cat": 1})
    assert kept == {b"a.jpg": both, b"b.jpg": both, os.fsencode("é.jpg"): one}
    assert store.answered_files(["a.jpg"], "other", 0.1) == store.answered_files([], "s", 0.1) == {}


def test_a_failure_ends_with_an_answer_and_replaces_none(store):
    """A failure keeps an older answer, and goes when its prompt or the image is answered."""
    store.put(b"i", "s", (4, 3), [exchange("cat", floor=0.3)])
    store.put(b"i", "s", (0, 0), [Exchange(("cat",), 0.1, reason="refused")])
    store.put(b"i", "s", (0, 0), [Exchange((WHOLE_IMAGE,), 0.1, reason="truncated")])
    assert store.answered(b"i", "s", 0.3) == {"cat": 1}
    assert store.failures(b"i", "s") == {"cat": "refused", WHOLE_IMAGE: "truncated"}
    store.put(b"i", "s", (4, 3), [exchange("cat")])
    assert store.failures(b"i", "s") == {}


def test_a_body_that_was_not_understood_stays_with_its_prompts(store):
    """A failed request's body comes back once, with its prompts in the order they were asked."""
    failed = exchange("zebra", "ant", detections=(), reason="odd", body=b"<html>")
    store.put(b"i", "s", (4, 3), [failed, exchange("cat")])
    assert store.unread(b"i", "s") == [failed]


def test_files_are_known_until_they_change(store):
    """A file's content is remembered for its size and time."""
    store.put_file(Path("/a.jpg"), 10, 99, FileRow(b"i", 4, 3))
    assert store.file(Path("/a.jpg"), 10, 99) == FileRow(b"i", 4, 3)
    assert store.file(Path("/a.jpg"), 10, 100) is None


def test_splits_are_kept_and_forgotten_on_demand(store):
    """Assignments add up, until they start afresh."""
    store.put_splits({b"a": "train"})
    store.put_splits({b"b": "val"})
    assert store.splits() == {b"a": "train", b"b": "val"}
    store.put_splits({b"b": "test"}, afresh=True)
    assert store.splits() == {b"b": "test"}


def test_one_process_labels_at_a_time(tmp_path):
    """A second labelling into the same run is refused while the first goes on."""
    path = tmp_path / "answers.sqlite"
    with Store(path) as first, Store(path) as second:
        with (
            first.exclusive("label"),
            pytest.raises(OutputError, match="another `autolabel label`"),
            second.exclusive("label"),
        ):
            pass
        with second.exclusive("label"):
            pass


def test_a_file_that_is_no_run_is_refused(tmp_path):
    """A foreign or newer file is named, and not touched."""
    path = tmp_path / "answers.sqlite"
    path.write_text("hello, I am no database at all, but long enough to be read as one" * 20)
    with pytest.raises(OutputError, match="can't be opened as a run file"):
        Store(path)
    assert path.read_text().startswith("hello")


def test_a_foreign_database_is_left_alone(tmp_path):
    """A database of another program is refused."""
    path = tmp_path / "answers.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE mine (a)")
    with pytest.raises(OutputError, match="another program"):
        Store(path)


def test_sigkill_loses_no_written_answer(tmp_path):
    """Every answer that was put is there after kill -9."""
    script = """
        import os, signal, sys
        from pathlib import Path
        from autolabel.store import Exchange, Store
        store = Store(Path(sys.argv[1]))
        for i in range(200):
            store.put(str(i).encode(), "s", (4, 3), [Exchange(("cat",), 0.1, (4, 3), b"body")])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "answers.sqlite"
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    with Store(path) as store:
        assert all(store.answered(str(i).encode(), "s", 0.1) for i in range(200))


def test_an_unwritable_place_is_named(tmp_path):
    """A run folder that can't be made is one sentence."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OutputError, match="choose another `run`"):
        Store(Path(os.fspath(blocked)) / "answers.sqlite")


def test_reviews_are_a_history_that_nobody_overwrites(store):
    """A document is kept only over the revision it was made from; the newest one counts."""
    assert store.review(b"i") is None
    assert store.put_review(b"i", b"{}", "t", base=0) == 1
    assert store.put_review(b"i", b"[]", "t", base=0) is None
    assert store.put_review(b"i", b"[1]", "t", base=1) == 2
    assert store.review(b"i") == (2, b"[1]")
    assert list(store.reviews()) == [(b"i", 2, b"[1]")]
    assert store.revisions() == {b"i": 2}
    assert store.review(b"i", 1) == (1, b"{}")
    assert store.review(b"i", 3) is None


def test_figures_of_answers_go_with_the_answers(store):
    """What was derived from an image's answers is gone when other answers come."""
    store.put_glance(b"i", b"q", b"data")
    assert store.glance(b"i", b"q") == b"data"
    assert store.glance(b"i", b"other") is None
    store.put(b"i", "s", (4, 3), [exchange("cat")])
    assert store.glance(b"i", b"q") is None


@pytest.mark.parametrize("version", [1, 2])
def test_a_run_of_an_older_layout_gets_what_it_lacks(tmp_path, version):
    """A file of an earlier version opens with its answers, and takes reviews."""
    path = tmp_path / "answers.sqlite"
    with Store(path) as store:
        store.put(b"i", "s", (4, 3), [exchange("cat")])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as old:
        for table in ("reviews", "glances", "pending")[: 4 - version]:
            old.execute(f"DROP TABLE {table}")
        old.execute(f"PRAGMA user_version = {version}")
    with Store(path) as store:
        assert store.answered(b"i", "s", 0.1) == {"cat": 1}
        assert store.put_review(b"i", b"{}", "", base=0) == 1
        assert store.failures(b"i", "s") == {}
        assert list(store.glances()) == []


def test_a_damaged_review_is_handed_on(tmp_path, store):
    """What can't be read as a document is its reader's to refuse: the others are still there."""
    store.put_review(b"i", b"{}", "", base=0)
    store.put_review(b"j", b"{}", "", base=0)
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("UPDATE reviews SET document = x'00' WHERE image = ?", (b"i",))
    assert list(store.reviews()) == [(b"i", 1, b"\0"), (b"j", 1, b"{}")]
