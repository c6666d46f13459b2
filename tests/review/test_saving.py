"""Thresholds saved into the user's config: that, and nothing else, changes."""

from pathlib import Path

import orjson
import pytest

from autolabel.config import load_config
from autolabel.review.problems import Refused
from autolabel.review.saving import save_thresholds
from autolabel.review.session import Session

TEXT = """\
# my street: do not lose this
images: photos      # blanks before this
classes:
  - car            # a short form
  - name: "person" # quoted
    prompts: [person, 'pedestrian']
    confidence: 0.4   # found by hand
  # between two classes
  - bicycle
backend: {name: replay, answers: answers}

label:
  confidence: 0.10
filter:
  nms_iou: 0.70   # kept as it is written
"""


def saved(text, thresholds, *overrides, name="street.yaml"):
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    config = load_config(name, overrides)
    new = save_thresholds(config, thresholds)
    return Path(name).read_bytes().decode(), new


def test_a_number_changes_and_the_rest_of_the_file_does_not():
    """Comments, order, quotes and blanks stay; the new config is the file's."""
    text, config = saved(TEXT, {"classes": {"person": {"confidence": 0.55}}})
    assert text == TEXT.replace("confidence: 0.4 ", "confidence: 0.55")
    assert config == load_config("street.yaml")


def test_a_short_form_becomes_a_mapping_only_where_it_must():
    """`- car` grows a key, with its comment; `- bicycle`, whose thresholds stay, does not."""
    text, config = saved(
        TEXT, {"classes": {"car": {"confidence": 0.6, "nms_iou": 0.5}, "bicycle": {"confidence": 0.5}}}
    )
    assert config.categories[0].confidence == 0.6
    assert config.categories[0].nms_iou == 0.5
    assert text == TEXT.replace(
        "  - car            # a short form\n",
        "  - name: car      # a short form\n    confidence: 0.6\n    nms_iou: 0.5\n",
    )


def test_a_comment_on_the_next_class_stays_with_it():
    """A key that is new to a class comes before what is said of the next one."""
    text, _ = saved(TEXT, {"classes": {"person": {"nms_iou": 0.5}}})
    assert (
        text.index("nms_iou: 0.5")
        < text.index("found by hand")
        < text.index("# between")
        < text.index("bicycle")
    )
    text, _ = saved(
        TEXT.replace("  # between", "\n  # between").replace(
            "    prompts: [person, 'pedestrian']\n    confidence: 0.4   # found by hand\n", ""
        ),
        {"classes": {"person": {"confidence": 0.55}}},
    )
    assert (
        '  - name: "person" # quoted\n    confidence: 0.55\n\n  # between two classes\n  - bicycle\n' in text
    )


def test_what_holds_already_is_not_written():
    """The same numbers leave the file untouched, byte for byte."""
    given = {
        "classes": {"car": {"confidence": 0.5, "nms_iou": 0.7}, "person": {"confidence": 0.4}},
        "cross_class_iou": 0.9,
    }
    assert saved(TEXT, given)[0] == TEXT


def test_null_turns_a_step_off():
    """A threshold that is off is written as null, and read so."""
    text, config = saved(TEXT, {"classes": {"person": {"nms_iou": None}}, "cross_class_iou": None})
    assert "nms_iou: null" in text
    assert "cross_class_iou: null" in text
    assert (config.categories[1].nms_iou, config.filter.cross_class_iou) == (None, None)


def test_a_section_is_made_where_there_is_none():
    """A config without a filter gets one."""
    text = "images: photos\nclasses: [car, person]\nbackend: {name: replay, answers: answers}\n"
    text, config = saved(text, {"cross_class_iou": 0.5, "classes": {"person": {"confidence": 0.25}}})
    assert (config.filter.cross_class_iou, config.categories[1].confidence) == (0.5, 0.25)
    assert "backend: {name: replay, answers: answers}\n" in text


def test_line_ends_mark_and_place_stay(tmp_path):
    """A file of Windows stays one, a link stays a link, and rights stay."""
    target = tmp_path / "elsewhere.yaml"
    target.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    target.chmod(0o640)
    Path("street.yaml").symlink_to(target)
    config = load_config("street.yaml")
    save_thresholds(config, {"classes": {"person": {"confidence": 0.55}}})
    assert Path("street.yaml").is_symlink()
    wanted = TEXT.replace("confidence: 0.4 ", "confidence: 0.55").replace("\n", "\r\n").encode()
    assert target.read_bytes() == b"\xef\xbb\xbf" + wanted
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("thresholds", "words"),
    [
        ([], "object"),
        ({"filter": {}}, "object"),
        ({"classes": []}, "by class name"),
        ({"classes": {"zebra": {}}}, "zebra"),
        ({"classes": {"car": {"min_area": 3}}}, "only confidence"),
        ({"classes": {"car": {"confidence": None}}}, "confidence of 'car'"),
        ({"classes": {"car": {"confidence": True}}}, "confidence of 'car'"),
        ({"classes": {"car": {"confidence": 1.5}}}, "from 0 to 1"),
        ({"classes": {"car": {"confidence": 0.05}}}, "label.confidence"),
        ({"cross_class_iou": "0.5"}, "from 0 to 1"),
    ],
)
def test_what_can_not_hold_is_refused_and_nothing_is_written(thresholds, words):
    """The sentence names the threshold; the file and its folder stay as they were."""
    with pytest.raises(Refused, match=words) as error:
        saved(TEXT, thresholds)
    assert Path("street.yaml").read_text(encoding="utf-8") == TEXT
    assert [path.name for path in Path().iterdir()] == ["street.yaml"]
    assert "/." not in str(error.value), "the file that was tried is none of the user's"


def test_an_override_that_would_hide_it_is_pointed_out():
    """With --set on the same key the file alone would not do what the page shows."""
    with pytest.raises(Refused, match="--set"):
        saved(TEXT, {"classes": {"person": {"confidence": 0.6}}}, "classes.1.confidence=0.45")
    text, config = saved(TEXT, {"classes": {"person": {"confidence": 0.6}}}, "run=elsewhere")
    assert (config.run, config.categories[1].confidence) == ("elsewhere", 0.6)
    assert "elsewhere" not in text


def test_a_protected_file_is_left_alone(monkeypatch):
    """A file that may not be written is not replaced behind its owner's back."""
    Path("street.yaml").write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everything
    with pytest.raises(Refused, match="protected"):
        save_thresholds(load_config("street.yaml"), {"classes": {"person": {"confidence": 0.6}}})
    assert Path("street.yaml").read_text(encoding="utf-8") == TEXT


def test_an_alias_is_not_changed_behind_the_other_class():
    """Where one mapping serves two places, a change of one would be a change of both: refused."""
    text = (
        "images: photos\nclasses:\n  - &a {name: car, nms_iou: 0.7}\n  - {<<: *a, name: person}\n"
        "backend: {name: replay, answers: answers}\n"
    )
    with pytest.raises(Refused, match="by hand"):
        saved(text, {"classes": {"car": {"nms_iou": 0.5}}})


def test_a_file_that_changed_meanwhile_is_not_mixed_with_the_review(config):
    """Another's threshold is neither overwritten nor hidden: the review says so, and a reload shows it."""
    path = Path("street.yaml")
    with Session(config) as session:
        session.index()
        own = path.read_text()
        path.write_text(own + "filter: {cross_class_iou: 0.5}\n")
        with pytest.raises(Refused, match=r"street\.yaml has changed since the review was opened; reload"):
            session.save({"classes": {"car": {"confidence": 0.6}}})
        assert "0.6" not in path.read_text()
        assert orjson.loads(session.index())["filter"]["cross_class_iou"] == 0.5
        session.save({"classes": {"car": {"confidence": 0.6}}})
        saved = load_config(path)
        assert (saved.categories[0].confidence, saved.filter.cross_class_iou) == (0.6, 0.5)
        path.write_text(path.read_text().replace("- person", "- walker"))
        with pytest.raises(Refused, match="start the review again"):
            session.save({"classes": {"car": {"confidence": 0.7}}})
        path.write_text("classes: [")
        with pytest.raises(Refused, match=r"street\.yaml"):
            session.save({"classes": {"car": {"confidence": 0.7}}})
