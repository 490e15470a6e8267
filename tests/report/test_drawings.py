"""Which pictures are drawn, where the boxes lie in them, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from onnxq.data.base import InputSpec
from onnxq.data.images import ImageSource
from onnxq.data.preprocess import Preprocess
from onnxq.data.sequences import FeedSource
from onnxq.errors import ConfigError, OutputError
from onnxq.report.drawings import Drawings
from onnxq.tasks.base import Comparison, Task, generic
from onnxq.tasks.end_to_end import FinishedBoxes, FinishedRows
from onnxq.tasks.head import Head, Part, ScoreForm
from onnxq.tasks.layout import Field, Layout
from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.data.base import DataSource
    from onnxq.tasks.head import Reader

X = InputSpec("x", np.dtype(np.float32), (1, 3, 480, 480))
GREEN, RED = (0, 200, 83), (255, 23, 68)


def task(reader: Reader) -> Task:
    return Task("detection", "boxes", Comparison, reader)


ROWS = task(FinishedRows("y", boxes=0, score=4, label=5, picture=None))


def rows(*boxes: tuple[float, ...]) -> ir.Model:
    """A detector that finds the same in every picture: x, y, x, y, score, class."""
    return build(
        """f (float[1,3,480,480] x, float[1,2,6] r) => (float[1,2,6] y) {
            m = ReduceMax<keepdims=0>(x)
            n = Sub(m, m)
            y = Add(r, n) }""",
        r=np.array([boxes], np.float32),
    )


@pytest.fixture
def source(tmp_path: Path) -> DataSource:
    files = [tmp_path / "data" / name for name in ("cat.png", "dog.png")]
    files[0].parent.mkdir()
    for file in files:
        Image.new("RGB", (960, 960), (90, 90, 90)).save(file)
    return ImageSource("data", files, X, Preprocess(scale=1 / 255))


def boxes_of(file: Path, colour: tuple[int, int, int], side: int) -> tuple[int, ...] | None:
    """Returns (left, right, bottom) of what has the colour; at the top stand the numbers."""
    sheet = np.asarray(Image.open(file))[16:]
    panel = sheet[:, 488:] if side else sheet[:, :480]
    found: tuple[npt.NDArray[np.int64], ...] = np.nonzero((panel == colour).all(axis=2))
    if not found[0].size:
        return None
    return int(found[1].min()), int(found[1].max()), int(found[0].max())


SURE, OTHER = (100, 200, 150, 300, 0.9, 1), (300, 300, 400, 470, 0.8, 2)


def test_every_picture_gets_a_file_of_its_name(source: DataSource, tmp_path: Path) -> None:
    model = rows(SURE, OTHER)

    files = Drawings(tmp_path / "new" / "out", ROWS, source, [1, 0]).write(model, model, ("a", "b"))

    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "new/out/001-dog.png",
        "new/out/002-cat.png",
    ]
    assert all(file.is_file() for file in files)


def test_boxes_of_both_models_are_green_and_others_red(source: DataSource, tmp_path: Path) -> None:
    first = rows(SURE, OTHER)
    second = rows((101, 200, 151, 300, 0.9, 1), (300, 300, 400, 470, 0.1, 2))

    (file,) = Drawings(tmp_path / "out", ROWS, source, [0]).write(first, second, ("a", "b"))

    assert boxes_of(file, GREEN, 0) == (100, 150, 300)
    assert boxes_of(file, RED, 0) == (300, 400, 470)
    assert boxes_of(file, GREEN, 1) == (101, 151, 300)
    assert boxes_of(file, RED, 1) is None


def test_shares_of_the_size_become_pixels(source: DataSource, tmp_path: Path) -> None:
    model = rows((0.25, 0.5, 0.5, 0.75, 0.9, 1), (0, 0, 0, 0, 0, 0))

    (file,) = Drawings(tmp_path / "out", ROWS, source, [0]).write(model, model, ("a", "b"))

    assert boxes_of(file, GREEN, 0) == (120, 240, 360)


def test_finished_shares_in_outputs_of_their_own_have_y_first(
    source: DataSource, tmp_path: Path
) -> None:
    model = build(
        """f (float[1,3,480,480] x, float[1,1,4] b, float[1,1] p, float[1,1] c)
            => (float[1,1,4] boxes, float[1,1] scores, float[1,1] classes) {
            m = ReduceMax<keepdims=0>(x)
            n = Sub(m, m)
            boxes = Add(b, n)
            scores = Add(p, n)
            classes = Add(c, n) }""",
        b=np.array([[[0.5, 0.25, 0.75, 0.5]]], np.float32),
        p=np.array([[0.9]], np.float32),
        c=np.array([[3]], np.float32),
    )
    finished = task(FinishedBoxes("boxes", "scores", "classes"))

    (file,) = Drawings(tmp_path / "out", finished, source, [0]).write(model, model, ("a", "b"))

    assert boxes_of(file, GREEN, 0) == (120, 240, 360)


def test_what_is_no_detector_is_refused(source: DataSource, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--draw needs a detector .*generic: numbers"):
        Drawings(tmp_path / "out", generic("numbers"), source, [0])


def test_ready_inputs_are_refused(tmp_path: Path) -> None:
    ready = FeedSource([{"x": np.zeros((1, 3, 480, 480), np.float32)}], [X])

    with pytest.raises(ConfigError, match=r"--draw needs images as data"):
        Drawings(tmp_path / "out", ROWS, ready, [0])


def test_a_file_is_no_folder(source: DataSource, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")

    with pytest.raises(OutputError, match="is a file; name a folder"):
        Drawings(tmp_path / "out", ROWS, source, [0])

    assert (tmp_path / "out").read_text() == "mine"


def test_nothing_is_drawn_into_the_data(source: DataSource, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="lies in the data"):
        Drawings(tmp_path / "data" / "out", ROWS, source, [0], [tmp_path / "data"])


def test_asking_leaves_no_trace(source: DataSource, tmp_path: Path) -> None:
    Drawings(tmp_path / "out", ROWS, source, [0])

    assert not (tmp_path / "out").exists()


def test_a_picture_that_cannot_be_decoded_is_left_out(source: DataSource, tmp_path: Path) -> None:
    drawings = Drawings(tmp_path / "out", ROWS, source, [0, 1])
    (tmp_path / "data" / "cat.png").write_bytes(b"broken")

    files = drawings.write(rows(SURE, OTHER), rows(SURE, OTHER), ("a", "b"))

    assert [file.name for file in files] == ["001-dog.png"]


def test_boxes_that_cannot_be_decoded_are_refused(source: DataSource, tmp_path: Path) -> None:
    part = Part(Field(Layout("y", "rows"), 0, 4), Field(Layout("y", "rows"), 4, 6))

    with pytest.raises(ConfigError, match=r"--draw needs .*; leave it out$"):
        Drawings(tmp_path / "out", task(Head((part,), "raw", ScoreForm())), source, [0])
