"""Folders, files and globs become a sorted list of images."""

import csv
import io
import json
import os
import pickle
from pathlib import Path

import pytest

from autolabel.errors import ImageError, InputError
from autolabel.sources.images import read_bytes
from autolabel.sources.listing import OTHER_SUFFIXES, READ_SUFFIXES, list_images
from autolabel.types import ImageItem


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def names_of(*sources: str | Path) -> list[str]:
    return [item.file_name for item in list_images([str(source) for source in sources])]


def test_a_folder_is_listed_recursively_in_code_point_order(tmp_path: Path) -> None:
    """Names are posix paths below the folder; capitals come before '_', and that before small letters."""
    make(tmp_path, "b/x.jpg", "a/y/z.png", "a.jpg", "B.jpg", "_.jpg", "é.jpg", "a-1.jpg")
    assert names_of(tmp_path) == ["B.jpg", "_.jpg", "a-1.jpg", "a.jpg", "a/y/z.png", "b/x.jpg", "é.jpg"]


@pytest.mark.parametrize(
    ("file_name", "path"),
    [("a.jpg", "/photos/a.jpg"), ("b/a.jpg", "/photos/b/a.jpg"), ("a.jpg", "a.jpg"), ("a.jpg", "/photos/ba.jpg"),
     (r"\xff.jpg", "/photos/\udcff.jpg"), ("a.jpg", "/a.jpg")],
)  # fmt: skip
def test_items_keep_their_path(file_name: str, path: str) -> None:
    """The path is the one that was given, as text or as a Path, whatever it has in common with the name."""
    for item in (ImageItem(file_name, path), ImageItem(file_name=file_name, path=Path(path))):
        assert (item.file_name, item.location, item.path) == (file_name, path, Path(path))
        assert item == ImageItem(file_name, path)
        assert pickle.loads(pickle.dumps(item)) == item


def test_items_hold_real_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is absolute, so that it holds in another working directory."""
    make(tmp_path, "photos/a/x.jpg")
    monkeypatch.chdir(tmp_path)
    (item,) = list_images("photos")
    assert (item.file_name, item.path) == ("a/x.jpg", tmp_path / "photos" / "a" / "x.jpg")


@pytest.mark.parametrize("suffix", [*READ_SUFFIXES, *OTHER_SUFFIXES, ".JPG", ".Tiff", ".HEIC"])
def test_suffixes_of_images_count_in_any_case(tmp_path: Path, suffix: str) -> None:
    """What is an image by its suffix is listed, also where its type is one that is not read."""
    make(tmp_path, f"a{suffix}")
    assert names_of(tmp_path) == [f"a{suffix}"]


def test_what_is_no_image_is_ignored(tmp_path: Path) -> None:
    """Texts, labels, and names that only look like a suffix are left out."""
    make(tmp_path, "a.jpg", "a.txt", "labels.json", "jpg", "b.jpg.part", "c.jpg~")
    assert names_of(tmp_path) == ["a.jpg"]


def test_names_with_a_leading_dot_are_skipped(tmp_path: Path) -> None:
    """Hidden files and folders don't count, in folders and in globs."""
    make(tmp_path, "a.jpg", ".b.jpg", "._c.jpg", ".git/d.jpg", "e/.f/g.jpg", "e/h.jpg")
    assert names_of(tmp_path) == ["a.jpg", "e/h.jpg"]
    assert names_of(tmp_path / "**" / "*.jpg") == ["a.jpg", "e/h.jpg"]


def test_a_hidden_source_is_listed_when_it_is_named(tmp_path: Path) -> None:
    """The rule on dots is for what is found, not for what is named."""
    make(tmp_path, ".cache/a.jpg")
    assert names_of(tmp_path / ".cache") == ["a.jpg"]
    assert names_of(tmp_path / ".cache" / "*.jpg") == ["a.jpg"]


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    """A loop of links ends, and a linked folder is no part of a source unless it is named itself."""
    make(tmp_path, "in/a.jpg", "out/b.jpg")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "other").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "folder.jpg").symlink_to(tmp_path / "out")
    assert names_of(tmp_path / "in") == ["a.jpg"]
    assert names_of(tmp_path / "in" / "**" / "*") == ["a.jpg"]
    assert names_of(tmp_path / "in" / "other") == ["b.jpg"]


def test_links_to_files_are_listed_and_broken_ones_fail_later(tmp_path: Path) -> None:
    """A link to a file is an image; a broken or circular one fails with a reason when it is read."""
    make(tmp_path, "in/a.jpg", "out/b.jpg")
    (tmp_path / "in" / "b.jpg").symlink_to(tmp_path / "out" / "b.jpg")
    (tmp_path / "in" / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "in" / "self.jpg").symlink_to(tmp_path / "in" / "self.jpg")
    items = {item.file_name: item.path for item in list_images(str(tmp_path / "in"))}
    assert sorted(items) == ["a.jpg", "b.jpg", "broken.jpg", "self.jpg"]
    assert read_bytes(items["b.jpg"]) == b"x"
    for name in ("broken.jpg", "self.jpg"):
        with pytest.raises(ImageError, match="can't be read"):
            read_bytes(items[name])


def test_awkward_names_are_kept(tmp_path: Path) -> None:
    """Spaces, commas, quotes, newlines and other scripts stand in file_name as they are."""
    names = sorted(["a b,c.jpg", 'q"uote.jpg', "new\nline.jpg", "猫/ü.jpg", "[x].jpg", "100%.jpg", "#1.jpg"])
    make(tmp_path, *names)
    assert names_of(tmp_path) == names


def test_names_that_are_not_utf8_are_listed_and_fail_later(tmp_path: Path) -> None:
    """Such a name can be printed and written, and the image fails with a reason; the others don't."""
    make(tmp_path, os.fsdecode(b"caf\xe9/\xff.jpg"))
    (item,) = list_images(str(tmp_path))
    assert item.file_name == r"caf\xe9/\xff.jpg"
    json.dumps(item.file_name, ensure_ascii=False).encode()
    csv.writer(io.TextIOWrapper(io.BytesIO(), "utf-8")).writerow([item.file_name])
    with pytest.raises(ImageError, match="not valid UTF-8"):
        read_bytes(item.path)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["1.jpg"]),
        ("*", ["1.jpg", "2.png"]),
        ("**", ["1.jpg", "2.png", "a/3.jpg", "a/b/4.jpg", "a/b/c/5.png", "x/b/6.jpg"]),
        ("**/*.jpg", ["1.jpg", "a/3.jpg", "a/b/4.jpg", "x/b/6.jpg"]),
        ("a/**/*.jpg", ["3.jpg", "b/4.jpg"]),
        ("*/b/*", ["a/b/4.jpg", "x/b/6.jpg"]),
        ("**/b/**/*", ["a/b/4.jpg", "a/b/c/5.png", "x/b/6.jpg"]),
        ("**/**/5.png", ["a/b/c/5.png"]),
        ("[ax]/?/[46].jpg", ["a/b/4.jpg", "x/b/6.jpg"]),
        ("./a/../*.png", ["2.png"]),
    ],
)
def test_globs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, expected: list[str]) -> None:
    """`**` stands for any number of folders; names are taken below the part before the first wildcard."""
    make(tmp_path, "1.jpg", "2.png", "a/3.jpg", "a/b/4.jpg", "a/b/c/5.png", "x/b/6.jpg", "a/n.txt")
    monkeypatch.chdir(tmp_path)
    assert names_of(pattern) == expected


def test_a_glob_reads_no_folder_that_can_not_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreadable folder that a glob does not reach is none of its business."""
    make(tmp_path, "a.jpg", "closed/b.jpg")
    close(monkeypatch, tmp_path / "closed")
    assert names_of(tmp_path / "*.jpg") == ["a.jpg"]
    with pytest.raises(InputError, match=r"closed' can't be read: Permission denied"):
        names_of(tmp_path / "*" / "*.jpg")


def test_a_file_source_is_named_by_its_name(tmp_path: Path) -> None:
    """A file needs no folder around it, and one whose name holds wildcards is still a file."""
    make(tmp_path, "deep/a.jpg", "b[1].png")
    assert names_of(tmp_path / "deep" / "a.jpg", tmp_path / "b[1].png") == ["a.jpg", "b[1].png"]


def close(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make a folder unreadable, also for root, for whom permissions don't count."""
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


@pytest.mark.parametrize("closed", ["", "sub/deeper"])
def test_an_unreadable_folder_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    """Images behind a closed folder would go missing silently, so nothing is asked."""
    make(tmp_path, "a.jpg", "sub/deeper/b.jpg")
    close(monkeypatch, tmp_path / closed)
    with pytest.raises(InputError) as caught:
        names_of(tmp_path)
    assert str(caught.value) == f"the folder '{tmp_path / closed}' can't be read: Permission denied"


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions don't count for root")
def test_a_closed_folder_is_an_error(tmp_path: Path) -> None:
    """What the file system refuses is reported as such."""
    make(tmp_path, "sub/a.jpg")
    (tmp_path / "sub").chmod(0)
    try:
        with pytest.raises(InputError, match="Permission denied"):
            names_of(tmp_path)
    finally:
        (tmp_path / "sub").chmod(0o755)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing", r"^'missing' does not exist \(seen from '.*'\)$"),
        ("missing/a.jpg", r"^'missing/a.jpg' does not exist"),
        ("", r"^'' does not exist"),
        ("missing/*.jpg", r"^'missing/\*.jpg' matches nothing: 'missing' is no folder$"),
        ("full/a.jpg/*", r"matches nothing: 'full/a.jpg' is no folder$"),
        ("empty", r"^'empty' holds no images; files are read that end in \.jpg .*\.tiff$"),
        ("full/*.png", r"^'full/\*.png' holds no images; files are read that end in \.jpg"),
        ("full/notes.txt", r"^'full/notes.txt' is no image; files are read that end in \.jpg"),
    ],
)
def test_unusable_sources_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    """One clear sentence says which source is wrong and what would do."""
    make(tmp_path, "full/a.jpg", "full/notes.txt", "empty/readme.txt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        names_of("full", source)


def test_no_sources_are_an_error() -> None:
    """An empty list names no images."""
    with pytest.raises(InputError, match="no images were named"):
        list_images([])


def test_one_name_from_two_sources_is_an_error_that_names_both(tmp_path: Path) -> None:
    """Two images can't share a name in a dataset."""
    make(tmp_path, "a/x.jpg", "b/x.jpg")
    with pytest.raises(InputError) as caught:
        names_of(tmp_path / "a", tmp_path / "b")
    assert f"'{tmp_path}/a/x.jpg' and '{tmp_path}/b/x.jpg'" in str(caught.value)


def test_one_file_reached_twice_is_one_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overlapping sources that give a file the same name are no conflict, however they are written."""
    make(tmp_path, "p/a.jpg", "p/b.png")
    (tmp_path / "link").symlink_to(tmp_path / "p")
    monkeypatch.chdir(tmp_path)
    assert names_of("p", "p/*.jpg", "./p/../p", tmp_path / "p", "p/a.jpg", "link") == ["a.jpg", "b.png"]
