"""Which files of a folder are samples; the numbers are the rules of `onnxq.data.folders`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.data.folders import files_below, take
from onnxq.errors import DataError

JPG = frozenset({".jpg"})


def tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def found(root: Path) -> list[str]:
    return [file.relative_to(root).as_posix() for file in files_below(root)]


def taken(*names: str) -> tuple[list[str], str]:
    root = Path("root")
    chosen = take(root, [root / name for name in names], JPG)
    return [file.relative_to(root).as_posix() for file in chosen.files], chosen.note


def test_own_files_come_before_those_of_sub_folders_each_by_name(tmp_path: Path) -> None:
    tree(tmp_path, "b/z/1", "b/2", "a/9", "c", "B", "b/10")
    assert found(tmp_path) == ["B", "c", "a/9", "b/10", "b/2", "b/z/1"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    tree(tmp_path, ".git/a", "a/.b", "a/c", "._a")
    assert found(tmp_path) == ["a/c"]


def test_a_link_back_is_not_followed_again(tmp_path: Path) -> None:
    tree(tmp_path, "a/1", "b/2")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "c").symlink_to(tmp_path / "b")
    (tmp_path / "self").symlink_to("self")
    assert found(tmp_path) == ["a/1", "b/2"]


def test_a_link_to_elsewhere_is_followed(tmp_path: Path) -> None:
    tree(tmp_path, "far/1", "here/2")
    (tmp_path / "here" / "link").symlink_to(tmp_path / "far")
    assert found(tmp_path / "here") == ["2", "link/1"]


def test_a_forbidden_sub_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a/1", "b/2")
    scandir = os.scandir

    def refuse(folder: Path) -> object:
        if folder.name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError) as caught:
        files_below(tmp_path)
    assert str(caught.value) == (
        f"cannot read data {tmp_path / 'b'}: Permission denied; check the path"
    )


def test_other_files_beside_are_ignored() -> None:
    assert taken("a.JPG", "a.txt", "b/c.jpg", "b/c.xml") == (["a.JPG", "b/c.jpg"], "")


def test_classes_are_all_taken() -> None:
    names = ["n01/a.jpg", "n02/a.jpg", "train/b.jpg"]
    assert taken(*names) == (names, "")


@pytest.mark.parametrize(
    ("best", "others"),
    [
        ("calib", ["train", "val"]),
        ("calibration_set", ["train2017", "val2017"]),
        ("train2017", ["val2017", "test2017"]),
        ("training", ["validation"]),
        ("train", ["valid", "test"]),
        ("trainval", ["test-dev"]),
        ("Train", ["Val"]),
        ("dev", ["test"]),
        ("val", ["test"]),
        ("train", ["test", "extra"]),
    ],
)
def test_of_splits_the_best_is_taken(best: str, others: list[str]) -> None:
    files, note = taken(*sorted([f"{best}/1.jpg", *(f"{other}/1.jpg" for other in others)]))
    assert files == [f"{best}/1.jpg"]
    assert note.startswith(f"'{best}' taken, '")


def test_several_folders_of_the_best_split_are_taken() -> None:
    files, note = taken("train2014/1.jpg", "train2017/2.jpg", "val2017/3.jpg")
    assert files == ["train2014/1.jpg", "train2017/2.jpg"]
    assert note == "'train2014', 'train2017' taken, 'val2017' left out"


def test_a_split_without_samples_is_passed_over() -> None:
    assert taken("train/a.txt", "val/1.jpg", "test/2.jpg") == (
        ["val/1.jpg"],
        "'val' taken, 'test' left out",
    )


@pytest.mark.parametrize("names", [("train", "truck"), ("valley", "trainer"), ("val1", "val2")])
def test_classes_that_sound_like_splits_are_all_taken(names: tuple[str, str]) -> None:
    assert taken(*(f"{name}/a.jpg" for name in names))[1] == ""


@pytest.mark.parametrize("labels", ["labels", "annotations", "Annotations", "masks"])
def test_images_beside_labels_are_taken(labels: str) -> None:
    files, note = taken("images/a.jpg", f"{labels}/a.jpg", "shown/a.jpg")
    assert files == ["images/a.jpg"]
    assert note == f"'images' taken, '{labels}', 'shown' left out"


def test_images_beside_other_folders_are_not_all() -> None:
    assert taken("images/a.jpg", "photos/a.jpg")[1] == ""


@pytest.mark.parametrize(
    "names",
    [
        ["annotations/a.json", "images/train2017/1.jpg", "images/val2017/2.jpg"],
        ["annotations/a.json", "train2017/1.jpg", "val2017/2.jpg"],
        ["coco/images/train/1.jpg", "coco/images/val/2.jpg", "coco/labels/train/1.txt"],
        ["train/images/1.jpg", "train/labels/1.txt", "valid/images/2.jpg", "valid/labels/2.txt"],
        ["Annotations/1.xml", "JPEGImages/1.jpg", "SegmentationClass/1.jpg"],
        ["ILSVRC/Data/train/n01/1.jpg", "ILSVRC/Data/val/2.jpg"],
    ],
    ids=["coco", "coco-flat", "yolo", "roboflow", "voc", "imagenet"],
)
def test_usual_roots_give_one_set_of_images(names: list[str]) -> None:
    files, note = taken(*names)
    assert [Path(file).name for file in files] == ["1.jpg"]
    assert len(note.split(" taken, ")) <= 2


def test_files_beside_splits_make_it_no_data_set() -> None:
    assert taken("a.jpg", "train/1.jpg", "val/2.jpg")[1] == ""


def test_a_long_note_is_cut() -> None:
    note = taken("train/1.jpg", *(f"val{place}/1.jpg" for place in range(6)))[1]
    assert note == "'train' taken, 'val0', 'val1', 'val2' and 3 more left out"


@given(
    st.lists(
        st.lists(st.sampled_from(["train", "val", "images", "labels", "c"]), max_size=4),
        min_size=1,
        max_size=8,
        unique_by=tuple,
    )
)
def test_what_is_taken_keeps_its_order_and_is_never_nothing(folders: list[list[str]]) -> None:
    names = sorted("/".join([*folder, "a.jpg"]) for folder in folders)
    files, note = taken(*names)
    assert files
    assert [name for name in names if name in files] == files
    assert (len(files) < len(names)) == bool(note)
