"""A block's error and its gradient by weights and scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.runtime.pieces import PieceFinder
from onnxq.search.block_graph import BlockError, block_model, forward
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

_TEXT = """f (float[1,3,5,5] x, float[4,3,3,3] w, float s, uint8 z, float[4,4,1,1] v)
    => (float[1,4,3,3] y) {
    c = Conv(x, w)
    r = Relu(c)
    q = QuantizeLinear(r, s, z)
    d = DequantizeLinear(q, s, z)
    e = Conv(d, v)
    y = Relu(e) }"""


def block() -> ir.Model:
    source = build(
        _TEXT, w=rng_weight(4, 3, 3, 3), v=rng_weight(4, 4, 1, 1, seed=1),
        s=np.float32(0.1), z=np.uint8(0),
    )  # fmt: skip
    return block_model(PieceFinder(source).find(["y"], ["x"]))


def given(batch: int) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, 3, 5, 5)).astype(np.float32)
    return {"x": x}, {"y": rng.normal(size=(batch, 4, 3, 3)).astype(np.float32)}


def learned(model: ir.Model) -> dict[str, npt.NDArray[np.float32]]:
    return {name: model.graph.initializers[name].const_value.numpy() for name in ("v", "s")}  # type: ignore[union-attr]


@pytest.mark.parametrize("batch", [1, 4])
def test_the_loss_is_the_weighted_squared_error_of_any_batch(batch: int) -> None:
    model = block()
    feed, wanted = given(batch)
    error = BlockError(model, {"y": 0.5}, ["v", "s"], feed, wanted, threads=1)
    loss, slopes = error.run(feed, wanted, learned(model))
    y = forward(model, threads=1).run(feed)["y"]
    assert loss == pytest.approx(0.5 * float(np.square(y - wanted["y"]).sum()), rel=1e-5)
    assert {name: slope.shape for name, slope in slopes.items()} == {"v": (4, 4, 1, 1), "s": ()}


def test_the_gradient_by_a_weight_is_that_of_differences() -> None:
    model = block()
    feed, wanted = given(3)
    error = BlockError(model, {"y": 1.0}, ["v"], feed, wanted, threads=1)
    v = learned(model)["v"]
    rng = np.random.default_rng(1)
    change = rng.normal(size=v.shape).astype(np.float32) * np.float32(1e-3)
    losses = [error.run(feed, wanted, {"v": v + sign * change})[0] for sign in (1, -1)]
    slope = error.run(feed, wanted, {"v": v})[1]["v"]
    assert float(np.vdot(slope, change)) == pytest.approx((losses[0] - losses[1]) / 2, rel=0.02)


def test_the_block_itself_stays_as_it_is() -> None:
    model = block()
    feed, wanted = given(2)
    BlockError(model, {"y": 1.0}, ["v"], feed, wanted, threads=1)
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert "v" in model.graph.initializers
