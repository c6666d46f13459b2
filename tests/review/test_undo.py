"""Whatever was decided once may be decided again, whatever happened to answers and classes since."""

from pathlib import Path

import orjson
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import autolabel
from autolabel import Config
from autolabel.review.session import Session
from tests.review.support import BOXES, added, labelled, review, write_answers

OTHERS = BOXES | {"a.png": [("car", 0.8, (6, 6, 33, 33)), ("person", 0.75, (52, 10, 81, 50))]}
verdicts = st.sampled_from(["accepted", "rejected"])
said = st.sampled_from(["open", "accepted", "rejected", "relabelled", "redrawn"])
decided = st.tuples(st.none() | verdicts, st.lists(said, min_size=3, max_size=3), st.booleans())
steps = st.lists(
    st.tuples(st.just("decide"), decided)
    | st.tuples(st.just("again"), st.integers(0, 20))
    | st.tuples(st.sampled_from(["relabel", "classes"]), st.none()),
    min_size=2,
    max_size=7,
)

ACCEPT = ("decide", ("accepted", ["accepted", "rejected", "open"], True))
REJECT = ("decide", ("rejected", ["open"] * 3, False))
RENAME = ("decide", (None, ["relabelled"] * 3, False))


class Reviewer:
    """A page over a run, which may be labelled anew and lose a class."""

    def __init__(self) -> None:
        self.config = labelled()
        self.data = yaml.safe_load(Path("street.yaml").read_text(encoding="utf-8"))
        self.boxes = BOXES
        self.told = [review()]

    def decide(self, document) -> None:
        """Send a document over the present one; it has to be kept."""
        with Session(self.config) as session:
            index = orjson.loads(session.index())
            image = index["images"]["image"][0]
            base = index["reviews"].get(image, {"revision": 0})["revision"]
            kept = session.decide(0, image, base, document)
        assert kept["ok"], kept
        self.told.append(kept["review"])

    def made(self, verdict, choices, adds):
        """A document over the answers that are there now, in the names of classes that are there."""
        with Session(self.config) as session:
            session.index()
            (image,) = session.images([0])
        names = [category.name for category in self.config.categories]
        instances = [added((40, 40, 50, 50), names[-1])] if adds else []
        for (id_, _), choice in zip(image["instances"], choices, strict=False):
            if choice == "open":
                continue
            one = {"origin": {"id": id_}, "verdict": "rejected" if choice == "rejected" else "accepted"}
            more = {
                "relabelled": {"category": names[-1]},
                "redrawn": {"counts": added((1, 1, 9, 9))["counts"]},
            }
            instances.append(one | more.get(choice, {}))
        return review(*instances, verdict=verdict, made_on=image["answers"] if verdict else "")

    def step(self, kind, given) -> None:
        """One thing that a reviewer, or somebody at a terminal, does."""
        if kind == "decide":
            self.decide(self.made(*given))
        elif kind == "again":
            self.decide(self.told[given % len(self.told)])
        elif kind == "relabel":
            self.boxes = OTHERS if self.boxes is BOXES else BOXES
            write_answers(Path("answers"), self.boxes)
            autolabel.label(self.config)
        else:
            self.data["classes"] = ["car"] if len(self.data["classes"]) > 1 else ["car", "person"]
            Path("street.yaml").write_text(yaml.safe_dump(self.data, sort_keys=False), encoding="utf-8")
            self.config = Config.load("street.yaml")
            autolabel.label(self.config)


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps)
@example([ACCEPT, ("relabel", None), REJECT, ("again", 1)])
@example([RENAME, ("classes", None), REJECT, ("again", 1)])
@example([RENAME, ("relabel", None), ("again", 0), ("again", 1), ("relabel", None), ("again", 2)])
def test_any_decision_may_be_made_again(tmp_path_factory, monkeypatch, sequence):
    """Any sequence of decisions and undos, re-labels and classes that go, is kept, and can be exported."""
    monkeypatch.chdir(tmp_path_factory.mktemp("run"))
    reviewer = Reviewer()
    for kind, given_ in sequence:
        reviewer.step(kind, given_)
    assert autolabel.export(reviewer.config).failures == []
