"""Image sources: order, dtype, what happens to unreadable files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from onnxq.data import images
from onnxq.data.base import InputSpec
from onnxq.data.guess import Guess
from onnxq.data.images import ImageSource
from onnxq.data.preprocess import Preprocess
from onnxq.data.presets import PRESETS
from onnxq.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

X = InputSpec("x", np.dtype(np.float32), (None, 3, 4, 4))


def save(folder: Path, levels: list[int], *, side: int = 8) -> list[Path]:
    files = [folder / f"{place}.png" for place in range(len(levels))]
    for file, level in zip(files, levels, strict=True):
        Image.new("RGB", (side, side), (level,) * 3).save(file)
    return files


def truncate(file: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:2000])


def test_images_come_as_feeds_in_the_order_asked_for(tmp_path: Path) -> None:
    source = ImageSource("d", save(tmp_path, [10, 20, 30]), X, PRESETS["raw"])
    feeds = [feed["x"] for feed in source.feeds([2, 0])]
    assert [(feed.shape, feed[0, 0, 0, 0]) for feed in feeds] == [
        ((1, 3, 4, 4), 30),
        ((1, 3, 4, 4), 10),
    ]


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint8, ml_dtypes.bfloat16])
def test_feeds_have_the_models_dtype(tmp_path: Path, dtype: npt.DTypeLike) -> None:
    spec = InputSpec("x", np.dtype(dtype), (1, 3, 4, 4))
    source = ImageSource("d", save(tmp_path, [200]), spec, PRESETS["raw"])
    feed = next(source.feeds([0]))["x"]
    assert feed.dtype == np.dtype(dtype)
    assert feed.astype(np.float64).max() == 200


def test_the_description_states_count_and_preprocessing(tmp_path: Path) -> None:
    source = ImageSource("d", save(tmp_path, [1, 2]), X, PRESETS["yolo"])
    assert source.preprocess.size == (4, 4)
    assert source.describe() == (
        "d: 2 images, letterbox to 4x4 (fill 114, bilinear), rgb, x/255, layout nchw"
    )


def test_an_unreadable_file_among_good_ones_is_left_out_and_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = save(tmp_path, [1, 2, 3])
    files[1].write_text("hello")
    with caplog.at_level(logging.WARNING):
        source = ImageSource("d", files, X, PRESETS["raw"])
    reason = "not an image that Pillow can read"
    assert len(source) == 2
    assert source.skipped == [(str(files[1]), reason)]
    assert caplog.messages == [f"{files[1]} is left out: {reason}"]
    assert source.describe().endswith("; 1 unreadable left out")


def test_broken_pixels_are_left_out_when_reached_and_recorded_once(tmp_path: Path) -> None:
    files = save(tmp_path, [1, 2, 3])
    truncate(files[1])
    source = ImageSource("d", files, X, PRESETS["raw"])
    assert len(source) == 3
    for _ in range(2):
        assert [feed["x"].max() for feed in source.feeds([0, 1, 2])] == [1, 3]
    assert [file for file, _ in source.skipped] == [str(files[1])]


def test_only_unreadable_files_are_refused(tmp_path: Path) -> None:
    files = save(tmp_path, [1, 2])
    for file in files:
        file.write_text("hello")
    with pytest.raises(DataError) as caught:
        ImageSource("d", files, X, PRESETS["raw"])
    assert str(caught.value) == (
        f"d: none of 2 images is readable (first {files[0]}: not an image that Pillow can read);"
        " check the files"
    )


def test_only_broken_pixels_are_refused_when_reached(tmp_path: Path) -> None:
    files = save(tmp_path, [1, 2])
    for file in files:
        truncate(file)
    source = ImageSource("d", files, X, PRESETS["raw"])
    with pytest.raises(DataError, match="d: none of the 2 chosen images can be decoded; check"):
        list(source.feeds([0, 1]))


def test_no_indices_give_no_feeds(tmp_path: Path) -> None:
    source = ImageSource("d", save(tmp_path, [1]), X, PRESETS["raw"])
    assert list(source.feeds([])) == []


def test_an_image_of_another_size_is_named_if_it_may_not_be_resized(tmp_path: Path) -> None:
    files = save(tmp_path, [1], side=5)
    source = ImageSource("d", files, X, Preprocess(resize="none"))
    with pytest.raises(DataError, match=r"0\.png: the image has 5x5 pixels, not 4x4; choose"):
        list(source.feeds([0]))


def test_each_folder_is_a_group(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("b", "a")]
    for folder in folders:
        folder.mkdir()
    first, second = (save(folder, [1, 2]) for folder in folders)
    source = ImageSource("d", [first[0], *second, first[1]], X, PRESETS["raw"])
    assert source.groups == [[0, 3], [1, 2]]
    assert source.describe().startswith("d: 4 images in 2 folders, stretch")


def test_images_of_one_folder_are_one_group(tmp_path: Path) -> None:
    assert ImageSource("d", save(tmp_path, [1, 2]), X, PRESETS["raw"]).groups == [[0, 1]]


def test_every_file_counts_where_places_matter(tmp_path: Path) -> None:
    files = save(tmp_path, [1, 2])
    files[0].write_text("hello")
    source = ImageSource("d", files, X, PRESETS["raw"], every_file_counts=True)
    assert len(source) == 2
    assert source.feed(0) is None
    second = source.feed(1)
    assert second is not None
    assert second["x"].max() == 2
    assert [file for file, _ in source.skipped] == [str(files[0])]


def test_headers_in_a_large_tree_are_read_when_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_CHECKED_AT_ONCE", 3)
    (tmp_path / "a").mkdir()
    files = [*save(tmp_path / "a", [1, 2]), *save(tmp_path, [3, 4])]
    files[1].write_text("hello")
    flat = ImageSource("d", [files[1]] * 2 + [files[0]] * 2, X, PRESETS["raw"])
    assert len(flat) == 2
    source = ImageSource("d", files, X, PRESETS["raw"])
    assert (len(source), source.skipped) == (4, [])
    assert [feed["x"].max() for feed in source.feeds(range(4))] == [1, 3, 4]
    assert len(source.skipped) == 1


def test_images_feed_models_with_a_fixed_batch_one_by_one(tmp_path: Path) -> None:
    spec = InputSpec("x", np.dtype(np.float32), (8, 3, 4, 4))
    source = ImageSource("d", save(tmp_path, [1]), spec, PRESETS["raw"])
    assert source.samples_per_feed == 1
    assert next(source.feeds([0]))["x"].shape == (1, 3, 4, 4)


def test_images_feed_inputs_without_a_batch_axis(tmp_path: Path) -> None:
    spec = InputSpec("x", np.dtype(np.float32), (3, 4, 4))
    source = ImageSource("d", save(tmp_path, [1]), spec, PRESETS["raw"])
    assert next(source.feeds([0]))["x"].shape == (3, 4, 4)


def test_what_told_the_preprocessing_is_told(tmp_path: Path) -> None:
    source = ImageSource("d", save(tmp_path, [1]), X, Guess(PRESETS["raw"], "a guess"))
    assert source.describe().endswith(", layout nchw (a guess)")


def test_a_picture_shows_levels_as_they_are_in_the_models_size(tmp_path: Path) -> None:
    file = tmp_path / "a b.png"
    Image.new("RGB", (8, 8), (10, 20, 30)).save(file)
    bgr = Preprocess(channels="bgr", scale=1 / 255, mean=(0.5,), std=(0.2, 0.3, 0.4))
    source = ImageSource("d", [file], X, bgr)

    (picture,) = source.pictures(0)

    assert picture.name == "a b"
    assert picture.levels.shape == (4, 4, 3)
    assert picture.levels[2, 2].tolist() == [10, 20, 30]


def test_there_is_no_picture_of_a_broken_image(tmp_path: Path) -> None:
    files = save(tmp_path, [1, 2])
    source = ImageSource("d", files, X, PRESETS["raw"])
    truncate(files[0])

    assert list(source.pictures(0)) == []
