from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.graph.expectations import expectations, mean_response
from onnxq.graph.linear import LinearLayer, linear_layer
from tests.passes.rewrite.building import build, rng_weight
from tests.support import run

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.graph.prior import Prior
    from onnxq.numerics.normal import Normal

MEANS = np.array([1.0, -0.5, 0.25, 2.0], np.float32)
DEVIATIONS = np.array([1.0, 2.0, 0.5, 1.5], np.float32)
PRIOR: Prior = {"x": (MEANS, DEVIATIONS)}
SHAPE = (512, 4, 6, 6)

WEIGHTS: dict[str, npt.ArrayLike] = {
    "w": rng_weight(5, 4, 1, 1, seed=1),
    "k": rng_weight(5, 4, 3, 3, seed=2),
    "g": rng_weight(4, 2, 3, 3, seed=3),
    "t": rng_weight(4, 2, 2, 2, seed=4),
    "b": rng_weight(5, seed=5),
    "a": rng_weight(4, 1, 1, seed=6),
    "l": rng_weight(144, 3, seed=7),
    "m": rng_weight(4, 3, seed=8),
    "zero": 0.0,
    "one": 1.0,
    "six": 6.0,
    "first": np.array([0]),
    "three": np.array([3]),
    "axis": np.array([1]),
    "spatial": np.array([2, 3]),
    "five": np.array([0, 2, 2, 6, 6]),
    "four": np.array([0, 4, 6, 6]),
    "channels": np.array([0, 1, 0, 0, 0, 2, 0, 0]),
    "amounts": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
}


def graph(body: str, outputs: str = "float[A,B,C,D] y") -> ir.Model:
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    used = {name: np.asarray(array) for name, array in WEIGHTS.items() if name in words}
    heads = [
        f"{'int64' if a.dtype.kind == 'i' else 'float'}[{','.join(map(str, a.shape))}] {name}"
        for name, a in used.items()
    ]
    head = ", ".join(["float[N,4,6,6] x", *heads]).replace("[] ", " ")
    return build(f"f ({head}) => ({outputs}) {{ {body} }}", **used)


def known(source: ir.Model, name: str = "y", prior: Prior | None = None) -> Normal | None:
    found = expectations(source.graph, PRIOR if prior is None else prior)
    return next((moments for value, moments in found.items() if value.name == name), None)


def samples() -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(0)
    column = (slice(None), None, None)
    x = MEANS[column] + DEVIATIONS[column] * rng.standard_normal(SHAPE)
    return np.asarray(x, np.float32)


def constant() -> npt.NDArray[np.float32]:
    return np.broadcast_to(MEANS[:, None, None], (1, *SHAPE[1:])).astype(np.float32)


def assert_agrees(source: ir.Model, *, variance: bool = True) -> None:
    found = known(source)
    assert found is not None
    y = run(source, {"x": samples()})["y"]
    axes = tuple(axis for axis in range(y.ndim) if axis != 1)
    scale = float(y.std()) + 1e-6
    np.testing.assert_allclose(found.mean, y.mean(axes), atol=0.02 * scale)
    if variance:
        np.testing.assert_allclose(found.variance, y.var(axes), rtol=0.05, atol=0.01 * scale**2)


@pytest.mark.parametrize(
    "body",
    [
        "y = Conv(x, w, b)",
        "y = Conv(x, k)",
        "y = Conv<group = 2>(x, g)",
        "y = ConvTranspose<strides = [2,2]>(x, t)",
        "y = ConvTranspose<strides = [2,2], group = 2>(x, t)",
        "y = Relu(x)",
        "y = Clip(x, zero, one)",
        "y = Clip(x, zero)",
        "y = LeakyRelu<alpha = 0.2>(x)",
        "y = PRelu(x, a)",
        "y = HardSwish(x)",
        "y = Sigmoid(x)",
        "s = Sigmoid(x) y = Mul(x, s)",
        "s = Add(x, one) r = Clip(s, zero, six) y = Mul(x, r)",
        "y = Mul(x, a)",
        "y = Sub(a, x)",
        "y = Transpose<perm = [0,1,3,2]>(x)",
        "r = Relu(x) y = Concat<axis = 1>(r, x)",
        "r, s = Split<axis = 1, num_outputs = 2>(x) y = Relu(s)",
        "r, s = Split<axis = 2, num_outputs = 2>(x) y = Relu(s)",
        "y = Slice(x, axis, three, axis)",
        "c = Conv(x, w) d = Conv(x, w, b) y = Sub(c, d)",
    ],
)
def test_moments_of_independent_numbers(body: str) -> None:
    assert_agrees(graph(body), variance="Sub(c" not in body and "ConvTr" not in body)


def test_moments_of_flat_values() -> None:
    source = graph("f1 = Flatten(x) y = MatMul(f1, l)", "float[A,B] y")
    found = known(source)
    assert found is not None
    np.testing.assert_allclose(found.mean, run(source, {"x": constant()})["y"][0], rtol=1e-4)
    weight = np.asarray(WEIGHTS["l"]).reshape(4, 36, 3)
    wanted = np.einsum("cpo,c->o", weight**2, DEVIATIONS**2)
    np.testing.assert_allclose(found.variance, wanted, rtol=1e-5)


def test_channels_of_zeros_may_be_put_around() -> None:
    source = graph("y = Pad(x, channels)")
    found = known(source)
    assert found is not None
    np.testing.assert_allclose(found.mean, run(source, {"x": constant()})["y"].mean((0, 2, 3)))
    np.testing.assert_array_equal(found.variance, [0.0, *DEVIATIONS**2, 0.0, 0.0])


@pytest.mark.parametrize(
    "body",
    [
        "y = GlobalAveragePool(x)",
        "y = AveragePool<kernel_shape = [2,2]>(x)",
        "y = ReduceMean(x, spatial)",
        "p = GlobalAveragePool(x) y = Add(x, p)",
    ],
)
def test_averages_keep_the_mean(body: str) -> None:
    assert_agrees(graph(body), variance=False)


@pytest.mark.parametrize(
    "body",
    [
        "y = Conv<pads = [1,1,1,1]>(x, k, b)",
        "y = Conv<pads = [0,2,1,0], strides = [2,1]>(x, k)",
        'y = Conv<auto_pad = "SAME_UPPER", strides = [2,2]>(x, k)',
        "y = Conv<pads = [2,2,2,2], dilations = [2,2]>(x, k)",
    ],
)
def test_a_padded_convolution_reads_zeros_at_the_border(body: str) -> None:
    source = graph(body)
    y = run(source, {"x": constant()})["y"]
    found = known(source)
    assert found is not None
    np.testing.assert_allclose(found.mean, y.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_of_unknown_size_the_interior_counts() -> None:
    source = graph("y = Conv<pads = [1,1,1,1]>(x, k)")
    source.graph.inputs[0].shape = None
    layer = linear_layer(source.graph.node("node_y"))
    assert isinstance(layer, LinearLayer)
    wanted = layer.response(MEANS.astype(np.float64))
    np.testing.assert_allclose(mean_response(layer, MEANS.astype(np.float64)), wanted)


def test_max_pool_and_padding_are_taken_for_the_value_itself() -> None:
    for body in ("y = MaxPool<kernel_shape = [2,2]>(x)", "y = Pad(x, amounts)"):
        found = known(graph(body))
        assert found is not None
        np.testing.assert_array_equal(found.mean, MEANS)


def test_what_was_measured_wins() -> None:
    told = (np.full(4, 7.0, np.float32), np.full(4, 3.0, np.float32))
    found = known(graph("r = Relu(x) y = Neg(r)"), prior={**PRIOR, "r": told})
    assert found is not None
    np.testing.assert_allclose(found.mean, -7.0, rtol=1e-3)


def test_an_entry_of_another_size_counts_for_nothing() -> None:
    assert known(graph("y = Relu(x)"), prior={"x": (MEANS[:3], DEVIATIONS[:3])}) is None


@pytest.mark.parametrize(
    "body",
    [
        "y = Softmax<axis = 1>(x)",
        "y = MatMul(x, x)",
        "y = ReduceMax(x, axis)",
        "y = ReduceMean(x, axis)",
        "y = Concat<axis = 0>(x, x)",
        "y = Reshape(x, five)",
        'y = Pad<mode = "edge">(x, channels)',
        "y = Pad(x, channels, six)",
    ],
)
def test_other_operators_leave_nothing_known(body: str) -> None:
    outputs = "float[A,B,C,D,E] y" if "five" in body else "float[A,B,C,D] y"
    assert known(graph(body, outputs)) is None


def test_without_prior_nothing_is_known() -> None:
    assert not expectations(graph("y = Relu(x)").graph, {})


def test_nothing_follows_from_half_of_a_sum() -> None:
    source = build("f (float[N,4,6,6] x, float[N,4,6,6] z) => (float[A,B,C,D] y) { y = Add(x, z) }")
    assert known(source) is None
