"""Models of open height and width, calibrated on images of many sizes, each taken as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import onnxq
from onnxq.data.preprocess import Preprocess
from onnxq.data.preprocessor import Preprocessor
from onnxq.errors import DataError
from onnxq.numerics.sqnr import SqnrSum
from tests.e2e.exports import assert_agrees, export, take_all_to_integers
from tests.e2e.networks import integer_heavy
from tests.support import run

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

SIZES = [(16, 16), (24, 20), (20, 32), (16, 40), (33, 17), (48, 48), (21, 23), (19, 16)]
TOML = "resize = 'none'\nscale = 0.0078125\nmean = 1.0\n"
NET = """net (float[N,3,H,W] x, float[8,3,3,3] w1, float[8] b1, float[8,8,3,3] w2, float[10,8] w3,
    float[10] b3, int64[1] two, int64[1] four) => (float[N,10] y, float[N,8,A,B] z) {
    c = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w1, b1) r = Relu(c)
    d = Conv<pads=[1,1,1,1]>(r, w2) e = Relu(d)
    u = MaxPool<kernel_shape=[2,2], strides=[2,2]>(e)
    s = Shape(e) front = Shape<end=2>(e) back = Slice(s, two, four)
    sizes = Concat<axis=0>(front, back)
    v = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">
        (u, , , sizes)
    z = Add(v, e) g = GlobalAveragePool(z) f = Flatten(g) y = Gemm<transB=1>(f, w3, b3) }"""


@pytest.fixture(autouse=True)
def _all_that_can_be_is_integer(monkeypatch: pytest.MonkeyPatch) -> None:
    take_all_to_integers(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number, (height, width) in enumerate(SIZES):
        levels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(levels).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "as_it_is.toml").write_text(TOML)
    return tmp_path


def network() -> onnx.ModelProto:
    return export(NET, two=[2], four=[4])


def test_images_of_many_sizes(folder: Path) -> None:
    proto = network()
    made = onnxq.optimize(
        proto, folder / "images", preprocess=str(folder / "as_it_is.toml"), threads=1, check=True
    )
    assert integer_heavy(made.model) == 3
    assert [row for row in made.trace if row.rolled_back] == []
    # a quarter of the images is held out, whatever their sizes
    assert made.fidelity.samples == 2
    for size in (SIZES[0], SIZES[3], (64, 30)):
        levels = np.random.default_rng(1).integers(0, 256, (*size, 3))
        x = (levels.transpose(2, 0, 1)[None] / 128 - 1).astype(np.float32)
        assert_agrees(proto, made.model, {"x": x}, least=25)


def test_fidelity_is_that_of_each_image_in_its_own_size(folder: Path) -> None:
    proto = network()
    made = onnxq.optimize(
        proto, folder / "images", preprocess=str(folder / "as_it_is.toml"), threads=1, samples=0
    )
    rule = Preprocessor(Preprocess(resize="none", scale=1 / 128, mean=(1.0,), layout="nchw"))
    best, worst = SqnrSum(), SqnrSum()
    for file in sorted((folder / "images").iterdir()):
        feed = {"x": rule(Image.open(file))[None]}
        wanted, found = run(proto.SerializeToString(), feed, "all"), run(made.model, feed, "all")
        one = SqnrSum()
        one.add(wanted["z"], found["z"])
        best, worst = max(best, one, key=_ratio), min(worst, one, key=_ratio)
    assert _ratio(worst) <= made.fidelity.sqnr["z"] <= _ratio(best)


def _ratio(one: SqnrSum) -> float:
    return one.decibels


def test_arrays_of_many_sizes() -> None:
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((1, 3, h, w)).astype(np.float32)} for h, w in SIZES]
    proto = network()
    made = onnxq.optimize(proto, feeds, threads=1, check=True)
    assert integer_heavy(made.model) == 3
    assert_agrees(proto, made.model, feeds[4], least=25)


def test_a_size_is_asked_for_where_images_are_resized(folder: Path) -> None:
    with pytest.raises(DataError, match="resize = 'none' for images as they are"):
        onnxq.optimize(network(), folder / "images", preprocess="imagenet")
