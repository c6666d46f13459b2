"""Datasets damaged at random, file by file: nothing crashes, hangs, gets lost unseen, or leaves its folder."""

import json
import shutil
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from autolabel.checks import check
from autolabel.conversion import convert
from autolabel.errors import UsageError
from autolabel.formats import FORMATS
from tests.datasets import coco8_seg, own, photo, roboflow_coco, voc2012
from tests.formats.support import contents

# What damages parsers, as text put into a file's middle.
BOMBS = [
    b"", b"\0", b"\xff\xfe", b"\n", b"[" * 3000, b"NaN", b"-1", b"1e308", b"9" * 400, b"1e999", b"null", b'"', b"}",
    b"../../secret.jpg", b"//tmp/x", b"a/../../../secret.jpg", b"./", b"C:/x", b"/etc/passwd", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"*a", b"!!python/object:os.system",
    b"\xe2\x80\xae", b": ", b"999999999", b"-" * 50, b" 0.5" * 500, b"\r\n", b"<a>" * 500,
]  # fmt: skip


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[int, float, str, bytes]]:
    """(which file, where in it, what is done, with what), once to three times."""
    one = st.tuples(
        st.integers(0, 10**6),
        st.floats(0, 1),
        st.sampled_from(["insert", "overwrite", "cut", "flip", "replace", "double"]),
        st.one_of(st.sampled_from(BOMBS), st.binary(max_size=40)),
    )
    return draw(st.lists(one, min_size=1, max_size=3))


def damage(path: Path, share: float, how: str, what: bytes) -> None:
    data = path.read_bytes()
    at = int(share * len(data))
    match how:
        case "insert":
            data = data[:at] + what + data[at:]
        case "overwrite":
            data = data[:at] + what + data[at + len(what) :]
        case "cut":
            data = data[:at]
        case "flip":
            data = data[:at] + bytes(byte ^ 0x55 for byte in data[at : at + 3]) + data[at + 3 :]
        case "replace":
            data = what
        case "double":
            data += data
    path.write_bytes(data)


BUILDS = {
    "coco": lambda root: own("coco", root, masks=2, size=(24, 32)),
    "rle": lambda root: own("coco", root, masks=2, size=(24, 32), segmentation="rle"),
    "yolo": lambda root: own("yolo", root, masks=2, size=(24, 32)),
    "voc": lambda root: own("voc", root, masks=2, size=(24, 32)),
    "roboflow": roboflow_coco,
    "coco8-seg": coco8_seg,
    "voc2012": voc2012,
}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """One dataset of each layout, and a picture outside of all."""
    folder = tmp_path_factory.mktemp("built")
    for name, build in BUILDS.items():
        build(folder / name / name)
        shutil.rmtree(folder / name / "source", ignore_errors=True)
    return folder


@pytest.mark.parametrize("layout", BUILDS)
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(damage_list=damages(), target=st.sampled_from(sorted(FORMATS)))
def test_a_damaged_dataset_harms_nothing(built, tmp_path, layout, damage_list, target):
    """Whatever is broken, `check` and `convert` end with counts that add up or a usage error, and touch only DST."""
    home = tmp_path / "home"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(built / layout, home)
    secret = photo(home / "secret.jpg", (24, 32)).read_bytes()
    root = home / layout
    files = sorted(path for path in root.rglob("*") if path.is_file())
    for which, share, how, what in damage_list:
        damage(files[which % len(files)], share, how, what)
    before = contents(home)
    try:
        check(root)
    except UsageError as error:
        assert str(error)
    assert contents(home) == before
    try:
        done = convert(root, home / "out", target)
    except UsageError as error:
        assert str(error)
        assert not (home / "out").exists()
    else:
        assert done.read == done.written + done.lost.total()
        assert done.images == sum(row["images"] for row in done.splits.values()) + len(done.failures)
        assert json.loads((home / "out/dataset.json").read_bytes())["instances"]["written"] == done.written
        assert secret not in contents(home / "out").values()
        # VOC, and names that differ in case only, are all told apart: a file for each image that was written
        pictures = [
            path for path in (home / "out").rglob("*") if path.suffix.lower() in (".jpg", ".png", ".jpeg")
        ]
        written = sum("Segmentation" not in path.parent.name for path in pictures)
        assert written == sum(row["images"] for row in done.splits.values())
    assert {name: data for name, data in contents(home).items() if not name.startswith("out/")} == before
