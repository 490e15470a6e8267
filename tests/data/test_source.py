"""`open_source`: what it takes, and one clear line for what it does not."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from onnxq.data import InputSpec, load_preprocess, open_source
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnxq.data import DataLike, Feed

X = InputSpec("x", np.dtype(np.float32), (None, 3, 4, 4))
Y = InputSpec("y", np.dtype(np.int64), (None,))
RAW = load_preprocess("raw")
KINDS = (
    "give .npz or .npy arrays, a folder of them or of images, a .txt file with their paths, or"
    " package.module:callable or file.py:callable"
)
PRESETS = "imagenet|tf|yolo|caffe|raw|FILE.toml"


def ramp(count: int, start: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    levels = np.arange(start, start + count, dtype=np.float32)
    return np.broadcast_to(levels[:, None, None, None], (count, 3, 4, 4)).copy()


def marks(where: DataLike, indices: list[int]) -> list[int]:
    return [int(feed["x"][0, 0, 0, 0]) for feed in open_source(where, [X]).feeds(indices)]


def refusal(where: Any, inputs: list[InputSpec], preprocess: Any = None) -> str:  # noqa: ANN401
    with pytest.raises(DataError) as caught:
        open_source(where, inputs, preprocess)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def save_image(path: Path, level: int = 9) -> None:
    Image.new("RGB", (6, 6), (level,) * 3).save(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_an_npz_is_taken(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "a.npz", x=ramp(5))
    assert marks(tmp_path / "a.npz", [0, 3, 4]) == [0, 3, 4]
    assert marks(str(tmp_path / "a.npz"), [4, 0]) == [4, 0]


def test_an_npz_feeds_several_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", y=np.arange(5), x=ramp(5))
    feed = next(open_source(tmp_path / "a.npz", [X, Y]).feeds([3]))
    assert (feed["x"].shape, feed["x"].max(), feed["y"].tolist()) == ((1, 3, 4, 4), 3, [3])


def test_an_npy_is_taken(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ramp(5))
    assert marks(tmp_path / "a.npy", [1, 4]) == [1, 4]


def test_a_fortran_ordered_npy_is_taken(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(ramp(5)))
    assert marks(tmp_path / "a.npy", [1, 4]) == [1, 4]


def test_a_folder_of_arrays_is_taken_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", ramp(2, 3))
    np.savez(tmp_path / "a.npz", x=ramp(3))
    np.save(tmp_path / "c.npy", ramp(1, 5)[0])
    (tmp_path / "notes.txt").write_text("hello")
    assert marks(tmp_path, [0, 1, 2, 3, 4, 5]) == [0, 1, 2, 3, 4, 5]


def test_a_folder_of_images_is_taken_by_name(tmp_path: Path) -> None:
    for name, level in (("c.PNG", 3), ("a.bmp", 1), ("b.webp", 2)):
        save_image(tmp_path / name, level)
    (tmp_path / "._a.jpg").write_text("left behind by another system")
    (tmp_path / "labels.npy").write_bytes(b"")
    source = open_source(tmp_path, [X], RAW)
    assert [feed["x"].max() for feed in source.feeds([0, 1, 2])] == [1, 2, 3]
    assert source.skipped == []


def test_images_in_sub_folders_are_taken_too(tmp_path: Path) -> None:
    save_image(tmp_path / "b.png", 1)
    (tmp_path / "a.png").mkdir()
    save_image(tmp_path / "a.png" / "a.png", 2)
    source = open_source(tmp_path, [X], RAW)
    assert [feed["x"].max() for feed in source.feeds([0, 1])] == [1, 2]
    assert source.groups == [[0], [1]]
    assert source.describe().startswith(f"{tmp_path}: 2 images in 2 folders, stretch")


def test_arrays_in_sub_folders_are_taken_too(tmp_path: Path) -> None:
    for folder, start, count in (("b", 3, 2), ("a", 0, 3)):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "x.npy", ramp(count, start))
    assert marks(tmp_path, [0, 3, 4]) == [0, 3, 4]
    assert open_source(tmp_path, [X]).groups == [[0, 1, 2], [3, 4]]


def test_of_a_data_set_with_splits_one_is_taken_and_told(tmp_path: Path) -> None:
    for place, folder in enumerate(("images/val2017", "images/train2017", "labels/train2017")):
        (tmp_path / folder).mkdir(parents=True)
        save_image(tmp_path / folder / "a.png", place)
    source = open_source(tmp_path, [X], RAW)
    assert [feed["x"].max() for feed in source.feeds(range(len(source)))] == [1]
    assert source.describe().startswith(
        f"{tmp_path} ('images/train2017' taken, 'labels', 'images/val2017' left out): 1 images,"
    )


def test_a_text_file_of_images_is_taken_in_its_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    save_image(tmp_path / "b" / "1.png", 1)
    save_image(tmp_path / "2.png", 2)
    (tmp_path / "list.txt").write_text(f"# calibration\n\nb/1.png\n{tmp_path / '2.png'}\n b/1.png ")
    source = open_source(tmp_path / "list.txt", [X], RAW)
    assert [feed["x"].max() for feed in source.feeds([0, 1, 2])] == [1, 2, 1]
    assert source.groups == [[0, 2], [1]]


def test_a_text_file_of_arrays_is_taken_in_its_order(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", ramp(2))
    np.savez(tmp_path / "a.npz", x=ramp(3, 2))
    (tmp_path / "list.txt").write_text("b.npy\na.npz\n")
    assert marks(tmp_path / "list.txt", [0, 1, 2, 3, 4]) == [0, 1, 2, 3, 4]


def test_a_single_image_is_taken(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", 7)
    assert next(open_source(tmp_path / "a.png", [X], RAW).feeds([0]))["x"].max() == 7


def generator() -> Iterator[Feed]:
    yield from ({"x": row} for row in ramp(5))


class Loader:
    """An iterable that starts afresh each time, as data loaders do."""

    def __iter__(self) -> Iterator[Feed]:
        return generator()


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"x": ramp(5)},
        lambda: {"other": ramp(5).tolist()},
        lambda: ramp(5),
        lambda: [{"x": row} for row in ramp(5)],
        lambda: [row[None] for row in ramp(5)],
        lambda: generator,
        lambda: lambda: list(generator()),
        lambda: lambda: {"x": ramp(5)},
        generator,
        Loader,
    ],
    ids=[
        "mapping", "other-name", "array", "feeds", "arrays", "callable", "callable-list",
        "callable-mapping", "generator", "iterable",
    ],
)  # fmt: skip
def test_python_objects_are_taken_again_and_again(make: Callable[[], DataLike]) -> None:
    source = open_source(make(), [X])
    assert len(source) == 5
    for order in ([0, 2, 4], [3, 1]):
        assert [feed["x"][0, 0, 0, 0] for feed in source.feeds(order)] == order


def test_a_fixed_batch_groups_samples() -> None:
    fixed = InputSpec("x", np.dtype(np.float32), (2, 3, 4, 4))
    source = open_source(ramp(5), [fixed])
    assert len(source) == 2
    assert source.describe() == (
        "data: 5 samples (x float32 [5, 3, 4, 4]), in 2 batches of 2, the last 1 dropped"
    )
    assert next(source.feeds([1]))["x"][:, 0, 0, 0].tolist() == [2, 3]


def test_a_fixed_batch_groups_images(tmp_path: Path) -> None:
    for place in range(4):
        save_image(tmp_path / f"{place}.png", place)
    fixed = InputSpec("x", np.dtype(np.float32), (2, 3, 4, 4))
    feeds = list(open_source(tmp_path, [fixed], RAW).feeds([0, 1]))
    assert [feed["x"][:, 0, 0, 0].tolist() for feed in feeds] == [[0, 1], [2, 3]]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_memory_does_not_grow_with_the_number_of_samples(
    save: Callable[..., None], tmp_path: Path
) -> None:
    big = InputSpec("x", np.dtype(np.float32), (None, 2**18))

    def peak(count: int) -> int:
        save(tmp_path / "a.npz", x=np.zeros((count, 2**18), np.float32))
        tracemalloc.start()
        try:
            for _ in open_source(tmp_path / "a.npz", [big]).feeds(range(count)):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(4), peak(32)
    assert many < few + 2**18
    assert many < 8 * 2**20


def test_a_model_without_inputs_takes_no_data() -> None:
    assert refusal({}, []) == ("the model has no inputs, so it takes no data; leave the data out")


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert refusal(path, [X]) == (
        f"cannot read data {path}: No such file or directory; check the path"
    )


def test_a_path_with_a_null_byte_is_refused() -> None:
    assert refusal("a\0b", [X]).endswith("embedded null byte; check the path")


def test_a_forbidden_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    assert refusal(tmp_path, [X]) == (
        f"cannot read data {tmp_path}: Permission denied; check the path"
    )


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2")
    assert (
        refusal(tmp_path / "a.csv", [X]) == f"cannot take data from {tmp_path / 'a.csv'}; {KINDS}"
    )


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, [X], RAW) == f"folder {tmp_path} holds no files; {KINDS}"


def test_a_folder_without_usable_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    assert refusal(tmp_path, [X]) == f"folder {tmp_path} holds neither images nor arrays; {KINDS}"


@pytest.mark.parametrize("name", ["", "a.png"], ids=["folder", "file"])
def test_images_without_preprocessing_are_refused(tmp_path: Path, name: str) -> None:
    save_image(tmp_path / "a.png")
    where = tmp_path / name
    said = f"{where} holds images, which need --preprocess {PRESETS}"
    assert refusal(where, [X]).startswith(said)


@pytest.mark.parametrize("kind", ["file", "folder", "memory"])
def test_preprocessing_of_ready_inputs_is_refused(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "a.npy", ramp(2))
    where, text = {
        "file": (tmp_path / "a.npy", str(tmp_path / "a.npy")),
        "folder": (tmp_path, str(tmp_path)),
        "memory": (ramp(2), "the data"),
    }[kind]
    assert refusal(where, [X], RAW) == (
        f"{text} holds ready inputs, to which --preprocess does not apply;"
        " leave it out, or give a folder of images"
    )


@pytest.mark.parametrize("kind", ["npy", "images", "memory"])
def test_one_array_for_two_inputs_is_refused(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "a.npy", ramp(2))
    save_image(tmp_path / "a.png")
    where, preprocess, text = {
        "npy": (tmp_path / "a.npy", None, str(tmp_path / "a.npy")),
        "images": (tmp_path, RAW, f"images in {tmp_path}"),
        "memory": (ramp(2), None, "a bare array"),
    }[kind]
    assert refusal(where, [X, Y], preprocess) == (
        f"{text} feeds one input, but the model has 2; give .npz with one array per input,"
        " or a folder with one sub-folder per input: x, y"
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": ramp(2), "z": ramp(2)}, "no array for input 'y', there is x, z;"),
        ({"x": ramp(2), "y": np.arange(2), "z": ramp(2)}, "array 'z' is no input of the model;"),
        ({"x": ramp(2), "y": np.arange(3)}, "holds unequal numbers of samples: 2 for 'x', 3 for"),
        ({"x": ramp(2)[:, :2], "y": np.arange(2)}, "array 'x' has shape [2, 2, 4, 4]; input 'x'"),
        ({"x": ramp(2), "y": ramp(2)[:, 0, 0, 0]}, "array 'y' is float32; input 'y' wants int64;"),
        ({"x": ramp(0), "y": np.arange(0)}, "array 'x' holds no samples; give at least one"),
    ],
    ids=["missing", "extra", "counts", "shape", "dtype", "empty"],
)
def test_an_npz_that_does_not_fit_is_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    assert f"{path}: {message}" in refusal(path, [X, Y]).replace(f"{path} holds", f"{path}: holds")


def test_a_bad_file_in_a_folder_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ramp(2))
    np.save(tmp_path / "b.npy", ramp(2)[:, :1])
    assert refusal(tmp_path, [X]).startswith(f"{tmp_path / 'b.npy'}: array 'x' has shape")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_in_a_file_names_file_and_sample(tmp_path: Path, bad: float) -> None:
    data = ramp(4)
    data[2, 1, 1, 1] = bad
    np.savez(tmp_path / "a.npz", x=data)
    source = open_source(tmp_path / "a.npz", [X])
    with pytest.raises(DataError) as caught:
        list(source.feeds(range(4)))
    assert str(caught.value) == (
        f"{tmp_path / 'a.npz'}: array 'x', sample 2 holds NaN or infinity;"
        " remove or repair that sample"
    )


@pytest.mark.parametrize("data", [3, None, b"bytes"], ids=["number", "none", "bytes"])
def test_other_objects_are_refused(data: object) -> None:
    assert refusal(data, [X]) == f"cannot take data from type {type(data).__name__}; {KINDS}"


def test_a_callable_that_returns_no_iterable_is_refused() -> None:
    assert refusal(lambda: 3, [X]) == (
        "the data callable returned type int; return an iterable of feeds"
    )


def test_a_callable_that_fails_is_refused() -> None:
    def fail() -> None:
        raise RuntimeError("no\ncamera")

    line = fail.__code__.co_firstlineno + 1
    assert refusal(fail, [X]) == (
        f"the data callable failed at {Path(__file__).relative_to(Path.cwd())}:{line} with"
        " RuntimeError: no camera; mend it"
    )
