"""A folder with one sub-folder per input; the numbers are the rules of `onnxq.data.per_input`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from onnxq.data import InputSpec, load_preprocess, open_source
from onnxq.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

X = InputSpec("x", np.dtype(np.float32), (None, 3, 4, 4))
Y = InputSpec("y", np.dtype(np.float32), (None, 2))
RAW = load_preprocess("raw")


def save_arrays(folder: Path, names: list[str], *, shape: tuple[int, ...] = (2,)) -> None:
    for level, name in enumerate(names):
        file = folder / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.full(shape, level, np.float32))


def save_images(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for level, name in enumerate(names):
        Image.new("RGB", (6, 6), (level,) * 3).save(folder / f"{name}.png")


def refusal(folder: Path, inputs: list[InputSpec], preprocess: Any = None) -> str:  # noqa: ANN401
    with pytest.raises(DataError) as caught:
        open_source(folder, inputs, preprocess)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def levels(folder: Path, indices: list[int], preprocess: Any = None) -> list[tuple[int, int]]:  # noqa: ANN401
    source = open_source(folder, [X, Y], preprocess)
    return [(int(f["x"].max()), int(f["y"].max())) for f in source.feeds(indices)]


def test_arrays_are_matched_by_name(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x", ["a", "b", "c"], shape=(3, 4, 4))
    save_arrays(tmp_path / "y", ["c", "b", "a"])
    assert levels(tmp_path, [0, 2, 1]) == [(0, 2), (2, 0), (1, 1)]


def test_files_may_hold_several_samples(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x", ["a", "b"], shape=(3, 3, 4, 4))
    save_arrays(tmp_path / "y", ["a", "b"], shape=(3, 2))
    assert len(open_source(tmp_path, [X, Y])) == 6
    assert levels(tmp_path, [0, 5]) == [(0, 0), (1, 1)]


def test_names_that_all_differ_are_matched_in_order(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x", ["left1", "left2"], shape=(3, 4, 4))
    save_arrays(tmp_path / "y", ["right1", "right2"])
    assert levels(tmp_path, [1]) == [(1, 1)]


def test_images_and_arrays_may_be_mixed(tmp_path: Path) -> None:
    save_images(tmp_path / "x", ["a", "b", "c"])
    save_arrays(tmp_path / "y", ["a", "b", "c"])
    assert levels(tmp_path, [2, 0], RAW) == [(2, 2), (0, 0)]
    assert (
        open_source(tmp_path, [X, Y], RAW)
        .describe()
        .startswith(f"{tmp_path}: 3 samples ({tmp_path / 'x'}: 3 images, stretch")
    )


def test_images_for_every_input_are_taken(tmp_path: Path) -> None:
    for name in ("left", "right"):
        save_images(tmp_path / name, ["a", "b"])
    inputs = [InputSpec(name, X.dtype, X.shape) for name in ("left", "right")]
    feed = next(open_source(tmp_path, inputs, RAW).feeds([1]))
    assert (feed["left"].max(), feed["right"].max()) == (1, 1)


@pytest.mark.parametrize("broken", [b"no image", None], ids=["header", "pixels"])
def test_an_unreadable_image_takes_its_whole_sample_along(
    tmp_path: Path, broken: bytes | None
) -> None:
    save_images(tmp_path / "x", ["a", "b", "c"])
    save_arrays(tmp_path / "y", ["a", "b", "c"])
    file = tmp_path / "x" / "b.png"
    file.write_bytes(broken or file.read_bytes()[:45])
    assert levels(tmp_path, [0, 1, 2], RAW) == [(0, 0), (2, 2)]
    source = open_source(tmp_path, [X, Y], RAW)
    list(source.feeds([0, 1, 2]))
    assert [skipped for skipped, _ in source.skipped] == [str(file)]
    with pytest.raises(DataError, match=r"none of the 1 chosen samples can be read; check the"):
        list(source.feeds([1]))


def test_sub_folders_within_are_groups(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x", ["p/a", "p/b", "q/a"], shape=(3, 4, 4))
    save_arrays(tmp_path / "y", ["p/a", "p/b", "q/a"])
    assert open_source(tmp_path, [X, Y]).groups == [[0, 1], [2]]


@pytest.mark.parametrize("name", ["serving/x:0", "a?b", "x|1"])
def test_names_that_no_folder_can_have_are_written_with_underscores(
    tmp_path: Path, name: str
) -> None:
    plain = name.translate(str.maketrans("/:?|", "____"))
    save_arrays(tmp_path / plain, ["a"], shape=(3, 4, 4))
    save_arrays(tmp_path / "y", ["a"])
    inputs = [InputSpec(name, X.dtype, X.shape), Y]
    assert set(next(open_source(tmp_path, inputs).feeds([0]))) == {name, "y"}


@pytest.mark.parametrize("name", ["..", "/", "", "."])
def test_names_that_lead_elsewhere_are_no_sub_folders(tmp_path: Path, name: str) -> None:
    arrays: dict[str, Any] = {name or "z": np.zeros((2, 2), np.float32), "y": np.zeros((2, 2))}
    np.savez(tmp_path / "a.npz", **arrays)
    inputs = [InputSpec(name or "z", Y.dtype, Y.shape), Y]
    assert len(open_source(tmp_path, inputs)) == 2


def test_one_input_reads_its_sub_folder_as_any_other(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x", ["a", "b"], shape=(3, 4, 4))
    assert len(open_source(tmp_path, [X])) == 2


def test_a_fixed_batch_groups_samples(tmp_path: Path) -> None:
    save_images(tmp_path / "x", ["a", "b", "c", "d"])
    save_arrays(tmp_path / "y", ["a", "b", "c", "d"])
    fixed = [InputSpec("x", X.dtype, (2, 3, 4, 4)), InputSpec("y", Y.dtype, (2, 2))]
    feeds = list(open_source(tmp_path, fixed, RAW).feeds([0, 1]))
    assert [feed["y"][:, 0].tolist() for feed in feeds] == [[0, 1], [2, 3]]
    assert [feed["x"][:, 0, 0, 0].tolist() for feed in feeds] == [[0, 1], [2, 3]]


def test_batches_beside_single_images_are_refused(tmp_path: Path) -> None:
    save_images(tmp_path / "x", ["a", "b"])
    save_arrays(tmp_path / "y", ["a", "b"], shape=(1, 2, 2))
    fixed = [InputSpec("x", X.dtype, (2, 3, 4, 4)), InputSpec("y", Y.dtype, (2, 2))]
    assert refusal(tmp_path, fixed, RAW) == (
        f"{tmp_path} mixes single samples with whole batches of 2; save every input the same way"
    )


def test_an_input_without_a_sub_folder_is_named(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x", ["a"], shape=(3, 4, 4))
    assert refusal(tmp_path, [X, Y]) == (
        f"folder {tmp_path} has a sub-folder for input 'x', but none for input 'y';"
        " give one per input: x, y"
    )


@pytest.mark.parametrize("kind", ["arrays", "mixed"])
def test_unequal_counts_are_refused(tmp_path: Path, kind: str) -> None:
    if kind == "mixed":
        save_images(tmp_path / "x", ["1", "2", "3"])
    else:
        save_arrays(tmp_path / "x", ["1", "2", "3"], shape=(3, 4, 4))
    save_arrays(tmp_path / "y", ["l", "m"])
    assert refusal(tmp_path, [X, Y], RAW if kind == "mixed" else None) == (
        f"folder {tmp_path}: the files of the inputs do not match, there are 3 for 'x', 2 for 'y';"
        " give one file of the same name per sample in every sub-folder"
    )


def test_a_name_that_only_one_input_has_is_refused(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x", ["1", "2", "3"], shape=(3, 4, 4))
    save_arrays(tmp_path / "y", ["2", "3", "4"])
    assert "3 for 'x', 3 for 'y'; '1' is not in both; give" in refusal(tmp_path, [X, Y])


def test_unequal_samples_in_files_are_refused(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x", ["a"], shape=(3, 3, 4, 4))
    save_arrays(tmp_path / "y", ["a"], shape=(2, 2))
    assert refusal(tmp_path, [X, Y]) == (
        f"{tmp_path / 'x' / 'a.npy'} + {tmp_path / 'y' / 'a.npy'} holds unequal numbers of samples:"
        " 3 for 'x', 2 for 'y'; save the same number for every input"
    )


def test_several_samples_beside_one_image_are_refused(tmp_path: Path) -> None:
    save_images(tmp_path / "x", ["a"])
    save_arrays(tmp_path / "y", ["a"], shape=(3, 2))
    assert refusal(tmp_path, [X, Y], RAW) == (
        f"{tmp_path / 'y' / 'a.npy'} holds 3 samples, but goes with one image;"
        " save each sample in a file of its own"
    )


def test_an_empty_sub_folder_is_refused(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x", ["a"], shape=(3, 4, 4))
    (tmp_path / "y").mkdir()
    assert refusal(tmp_path, [X, Y]) == (
        f"folder {tmp_path / 'y'} for input 'y' holds neither images nor arrays;"
        " give one file per sample"
    )


def test_an_npz_of_several_arrays_for_one_input_is_refused(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x", ["a"], shape=(3, 4, 4))
    (tmp_path / "y").mkdir()
    np.savez(tmp_path / "y" / "a.npz", y=np.zeros((1, 2)), z=np.zeros((1, 2)))
    assert refusal(tmp_path, [X, Y]) == (
        f"{tmp_path / 'y' / 'a.npz'} holds 2 arrays, but feeds the one input 'y';"
        " save one array a file"
    )


def test_images_without_preprocessing_are_refused(tmp_path: Path) -> None:
    save_images(tmp_path / "x", ["a"])
    save_arrays(tmp_path / "y", ["a"])
    line = refusal(tmp_path, [X, Y])
    assert line.startswith(f"{tmp_path / 'x'} holds images, which need --preprocess imagenet|")


def test_preprocessing_of_arrays_alone_is_refused(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x", ["a"], shape=(3, 4, 4))
    save_arrays(tmp_path / "y", ["a"])
    assert "holds ready inputs, to which --preprocess" in refusal(tmp_path, [X, Y], RAW)
