"""The files that data is read from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onnxq.data.given import given_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with a.npy, b/c.npy and list.txt, which names b/c.npy."""
    (tmp_path / "b").mkdir()
    (tmp_path / "a.npy").touch()
    (tmp_path / "b" / "c.npy").touch()
    (tmp_path / "list.txt").write_text("b/c.npy")
    return tmp_path


def test_a_folder_gives_itself_and_all_below(tree: Path) -> None:
    names = ("a.npy", "list.txt", "b/c.npy")
    assert given_files(tree) == [tree, *(tree / name for name in names)]


def test_a_text_gives_itself_and_what_it_lists(tree: Path) -> None:
    assert given_files(tree / "list.txt") == [tree / "list.txt", tree / "b" / "c.npy"]


def test_a_file_gives_itself(tree: Path) -> None:
    assert given_files(str(tree / "a.npy")) == [tree / "a.npy"]


def test_a_named_callable_gives_its_file(tree: Path) -> None:
    assert given_files(f"{tree / 'feeds.py'}:samples") == [tree / "feeds.py"]


@pytest.mark.parametrize("name", ["gone", "gone.txt", "a\0b", "x" * 5000])
def test_what_cannot_be_read_gives_its_path_alone(tree: Path, name: str) -> None:
    assert given_files(tree / name) == [tree / name]
