"""Text files of paths; the numbers are the rules of `onnxq.data.lists`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnxq.data.lists import listed_files
from onnxq.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, text: str, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    listing = folder / "list.txt"
    listing.write_text(text, encoding="utf-8")
    return listing


def refusal(listing: Path) -> str:
    with pytest.raises(DataError) as caught:
        listed_files(listing)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_paths_count_from_the_folder_of_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = write(tmp_path, "./b/1.jpg\na.jpg", "b/1.jpg", "a.jpg")
    monkeypatch.chdir("/")
    assert listed_files(listing) == [tmp_path / "b" / "1.jpg", tmp_path / "a.jpg"]


def test_absolute_paths_stay(tmp_path: Path) -> None:
    far = tmp_path / "far"
    listing = write(tmp_path, f"{far / '1.jpg'}\n", "far/1.jpg")
    assert listed_files(listing) == [far / "1.jpg"]


def test_blank_lines_and_comments_are_skipped(tmp_path: Path) -> None:
    listing = write(tmp_path, "\ufeff# all\r\n\r\n  a.jpg \r\n \t\r\n#b.jpg\r\n", "a.jpg")
    assert listed_files(listing) == [tmp_path / "a.jpg"]


def test_a_label_behind_the_path_is_ignored(tmp_path: Path) -> None:
    listing = write(tmp_path, "my photo.jpg 65\nb.jpg -1", "my photo.jpg", "b.jpg")
    assert listed_files(listing) == [tmp_path / "my photo.jpg", tmp_path / "b.jpg"]


def test_a_file_of_that_very_name_goes_before_a_label(tmp_path: Path) -> None:
    listing = write(tmp_path, "a.jpg 1.jpg", "a.jpg", "a.jpg 1.jpg")
    assert listed_files(listing) == [tmp_path / "a.jpg 1.jpg"]


@pytest.mark.parametrize("line", ["gone.jpg", "folder", "a\0b.jpg", "x" * 5000, "gone.jpg 3"])
def test_a_missing_file_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "folder").mkdir()
    listing = write(tmp_path, f"# first\na.jpg\n\n{line}\n", "a.jpg")
    assert refusal(listing) == (
        f"{listing}, line 4: there is no file {tmp_path / line};"
        " paths count from the folder of the text file"
    )


def test_an_unknown_kind_is_named_with_its_line(tmp_path: Path) -> None:
    listing = write(tmp_path, "a.jpg\nb.csv", "a.jpg", "b.csv")
    assert refusal(listing) == (
        f"{listing}, line 2: {tmp_path / 'b.csv'} is neither an image nor an array; take it out"
    )


@pytest.mark.parametrize("names", [("a.jpg", "b.npy"), ("a.npz", "b.png")])
def test_images_among_arrays_are_named_with_their_line(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    listing = write(tmp_path, "\n".join(names), *names)
    assert refusal(listing) == (
        f"{listing}, line 2: {tmp_path / names[1]} mixes images with arrays; list one kind"
    )


@pytest.mark.parametrize("text", ["", "\n# nothing\n"], ids=["empty", "comments"])
def test_a_text_without_paths_is_refused(tmp_path: Path, text: str) -> None:
    listing = write(tmp_path, text)
    assert refusal(listing) == f"{listing} names no files; give one path a line"


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_bytes(b"\xff\xfe\x00\xd8")
    assert refusal(listing) == f"{listing} is no UTF-8 text; give a text file of paths"


def test_a_missing_text_is_named(tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    assert refusal(listing) == (
        f"cannot read data {listing}: No such file or directory; check the path"
    )
