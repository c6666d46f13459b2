"""The output folder: what replaces it, what never does, and what a crash leaves."""

import os
from pathlib import Path

import pytest

from autolabel.errors import OutputError
from autolabel.formats import tree
from autolabel.formats.tree import LISTING, check_output, staged
from tests.formats.support import contents

FILES = ("coco/annotations/instances_train.json", "coco/images/train/a b.jpg", "dataset.json", "ü\nx/é.txt")


def put(output: Path, text: str = "new", *, overwrite: bool = False) -> None:
    with staged(output, overwrite=overwrite) as folder:
        for name in FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)


def state(output: Path) -> set[str]:
    return {text.decode() for name, text in contents(output).items() if name != LISTING}


def test_a_dataset_is_put_in_place_with_a_listing(tmp_path):
    """The folder appears whole, with a sorted list of its files, and nothing is left beside it."""
    output = tmp_path / "deep/er/set"
    put(output)
    assert sorted(contents(output)) == sorted((*FILES, LISTING))
    assert (output / LISTING).read_text(encoding="utf-8") == (
        "coco/annotations/instances_train.json\ncoco/images/train/a b.jpg\ndataset.json\nü\0x/é.txt\n"
    )
    assert [path.name for path in output.parent.iterdir()] == ["set"]


def test_the_listing_is_sorted_as_paths(tmp_path):
    """A folder sorts as the paths that begin with it, so that two sorted streams can be merged."""
    names = ["a/z", "a-b/c", "a.txt", "a/b/c", "a b", "B", "a0/x"]
    with staged(tmp_path / "set", overwrite=False) as folder:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    assert (tmp_path / "set" / LISTING).read_text().splitlines() == sorted(names)
    check_output(tmp_path / "set", overwrite=False)


def test_our_own_dataset_is_replaced_caches_and_all(tmp_path):
    """What trainers and desktops leave does not stop a new export, and goes with the old one."""
    output = tmp_path / "set"
    put(output, "old")
    for name in (
        "yolo/labels/train.cache",
        "coco/images/train/a b.npy",
        "coco/images/.DS_Store",
        "Thumbs.db",
        "coco/.ipynb_checkpoints/x-checkpoint.json",
        "__pycache__/x.pyc",
    ):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).touch()
    (output / "dataset.json").unlink()
    put(output)
    assert sorted(contents(output)) == sorted((*FILES, LISTING))
    assert state(output) == {"new"}


def test_an_empty_folder_is_fine(tmp_path):
    """A folder without a file may be the output, also with empty folders in it."""
    (tmp_path / "set/sub").mkdir(parents=True)
    put(tmp_path / "set")
    assert state(tmp_path / "set") == {"new"}


def test_foreign_files_are_never_replaced(tmp_path):
    """A file that is not ours is named with the number of them, before and after staging; --overwrite replaces."""
    output = tmp_path / "set"
    put(output, "old")
    (output / "coco/notes.md").touch()
    (output / "zzz.txt").touch()
    with pytest.raises(
        OutputError, match=r"2 files that autolabel did not write \(coco/notes.md\).*--overwrite"
    ):
        check_output(output, overwrite=False)
    with pytest.raises(OutputError):
        put(output)
    assert state(output) == {"old", ""}
    put(output, overwrite=True)
    assert sorted(contents(output)) == sorted((*FILES, LISTING))


def test_a_file_that_comes_while_staging_stays(tmp_path):
    """A foreign file that appears during the export stops the replacement at its end."""
    output = tmp_path / "set"
    put(output, "old")
    with pytest.raises(OutputError, match="a file that"), staged(output, overwrite=False):
        (output / "precious.txt").write_text("old")
    assert state(output) == {"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_folder_of_someone_else_is_refused(tmp_path):
    """A folder without our listing is foreign, whatever it holds."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").touch()
    with pytest.raises(OutputError, match=r"holds a file that autolabel did not write \(a.jpg\)"):
        check_output(tmp_path / "photos", overwrite=False)


def test_links_are_files(tmp_path):
    """A link to a folder is one foreign file, and what it leads to is not touched by --overwrite."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/precious.txt").touch()
    put(tmp_path / "set", "old")
    (tmp_path / "set/link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=r"\(link\)"):
        check_output(tmp_path / "set", overwrite=False)
    put(tmp_path / "set", overwrite=True)
    assert (tmp_path / "elsewhere/precious.txt").exists()


def test_an_output_that_is_a_link_stays_one(tmp_path):
    """The folder that a link leads to is replaced, and the link stays."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "set").symlink_to(tmp_path / "disk")
    put(tmp_path / "set")
    assert (tmp_path / "set").is_symlink()
    assert state(tmp_path / "disk") == {"new"}


@pytest.mark.parametrize(
    ("output", "match"),
    [
        ("photos", "lies inside"),
        ("photos/sub/set", "lies inside"),
        (".", "is or holds"),
        ("file.txt", "is a file"),
        ("file.txt/set", "can't be written to"),
        ("work", "is or holds"),
        ("/", "mount point"),
    ],
)
def test_places_that_are_never_an_output(tmp_path, monkeypatch, output, match):
    """Inside the images, around them, a file, below a file, the working directory: an error, overwrite or not."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "file.txt").touch()
    monkeypatch.chdir(tmp_path / "work")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=match):
            check_output(tmp_path / output, overwrite=overwrite, sources=[tmp_path / "photos"])


def test_beside_the_images_is_fine(tmp_path):
    """An output may lie beside the images, in the folder of a single image, and around nothing to keep."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "one.jpg").touch()
    check_output(tmp_path / "set", overwrite=False, sources=[tmp_path / "photos", tmp_path / "one.jpg"])
    with pytest.raises(OutputError, match="is or holds"):
        check_output(tmp_path / "runs", overwrite=True, keep=[tmp_path / "runs/street"])


def test_an_exception_leaves_the_old_dataset(tmp_path):
    """Whatever ends the block, the old dataset stays and the staged folder goes."""
    put(tmp_path / "set", "old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), staged(tmp_path / "set", overwrite=False) as folder:
            (folder / "half").touch()
            raise error
    assert state(tmp_path / "set") == {"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


class Crash(BaseException):
    """The end of the process: nothing is cleaned up."""


@pytest.mark.parametrize("fatal", [1, 2, 3, 4])
def test_a_crash_at_any_step_leaves_a_whole_dataset(tmp_path, monkeypatch, fatal):
    """Ended at the first rename, between the two, or in the clean-up: the next start finds a whole dataset."""
    output = tmp_path / "set"
    put(output, "old")
    steps = []

    def crash_at(step):
        def call(*args, **kwargs):
            steps.append(None)
            if len(steps) >= fatal:
                raise Crash
            return step(*args, **kwargs)

        return call

    with monkeypatch.context() as patched, pytest.raises(Crash):
        patched.setattr(Path, "rename", crash_at(Path.rename))
        patched.setattr(tree.shutil, "rmtree", crash_at(tree.shutil.rmtree))
        put(output)
    assert output.exists() == (fatal != 2)
    check_output(output, overwrite=False)
    assert state(output) == ({"new"} if fatal >= 3 else {"old"})
    put(output, "newer")
    assert state(output) == {"newer"}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_stage_of_a_process_that_runs_is_left(tmp_path):
    """Only the stages of processes that are gone are removed."""
    for pid in (os.getppid(), 2**22 + 1):
        (tmp_path / f".set.autolabel-new-{pid}").mkdir()
    put(tmp_path / "set")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"set", f".set.autolabel-new-{os.getppid()}"}
