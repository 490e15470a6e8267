"""Straight-through rounding and learned step size, against their formulas in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.autodiff.vjp import vjp
from onnxq.errors import ModelError
from tests.autodiff.checking import cotangents_for, gradients
from tests.passes.rewrite.building import build
from tests.support import feeds_for

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "int16": (-32768, 32767), "int4": (-8, 7)}
ROUND_TRIP = "q = QuantizeLinear{a}(x, s, z) y = DequantizeLinear{a}(q, s, z)"


def learned_step(
    x: Array, d: Array, s: float | Array, z: float | Array, limits: tuple[int, int]
) -> list[Array]:
    """dL/dx and, before it is summed, dL/ds (Esser et al. 2020, section 3.1)."""
    low, high = limits
    v = x / s
    inside = (v + z >= low - 0.5) & (v + z <= high + 0.5)
    codes = np.clip(np.round(v) + z, low, high)
    return [d * inside, d * np.where(inside, np.round(v) - v, codes - z)]


@settings(deadline=None, max_examples=6)
@given(scale=st.sampled_from([0.01, 0.1, 0.4]), zero=st.integers(-3, 3), seed=st.integers(0, 99))
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16"])
def test_one_scale(dtype: str, scale: float, zero: int, seed: int) -> None:
    zero = zero + 100 if dtype == "uint8" else zero
    model = build(
        f"f (float[3,4] x, float s, {dtype} z) => (float[] y) {{ {ROUND_TRIP.format(a='')} }}",
        s=np.float32(scale),
        z=np.array(zero, dtype),
    )
    feeds = {"x": 4 * feeds_for(model, seed)["x"]}
    found = vjp(model, ["x", "s"], feeds)
    given_arrays = cotangents_for(found)

    got = gradients(found, {**feeds, **given_arrays})

    d = given_arrays[found.cotangents["y"]]
    dx, ds = learned_step(feeds["x"], d, np.float32(scale).item(), zero, LIMITS[dtype])
    np.testing.assert_allclose(got["x"], dx, rtol=1e-5)
    np.testing.assert_allclose(got["s"], ds.sum(), rtol=2e-3, atol=2e-2 * np.abs(ds).max())


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_scale_per_channel(axis: int) -> None:
    shape = (3, 4, 2)
    n = shape[axis]
    scale = np.linspace(0.02, 0.2, n, dtype=np.float32)
    zero = np.arange(n, dtype=np.int8)
    model = build(
        f"f (float[3,4,2] x, float[{n}] s, int8[{n}] z) => (float[] y)"
        f" {{ {ROUND_TRIP.format(a=f'<axis={axis}>')} }}",
        s=scale,
        z=zero,
    )
    feeds = {"x": 5 * feeds_for(model)["x"]}
    found = vjp(model, ["x", "s"], feeds)
    given_arrays = cotangents_for(found)

    got = gradients(found, {**feeds, **given_arrays})

    wide = [1, 1, 1]
    wide[axis] = n
    d, s = given_arrays[found.cotangents["y"]], scale.reshape(wide)
    dx, ds = learned_step(feeds["x"], d, s, zero.astype(np.float32).reshape(wide), (-128, 127))
    others = tuple(i for i in range(3) if i != axis % 3)
    np.testing.assert_allclose(got["x"], dx, rtol=1e-5)
    np.testing.assert_allclose(got["s"], ds.sum(others), rtol=1e-3, atol=1e-2)


def test_a_scale_per_block_of_constant_codes() -> None:
    codes = np.arange(-6, 6, dtype=np.int8).reshape(2, 6)
    scale = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], np.float32)
    model = build(
        "f (float[1] x, int8[2,6] q, float[2,3] s) => (float[] y)"
        " { w = DequantizeLinear<axis=1, block_size=2>(q, s) y = Mul(w, x) }",
        q=codes,
        s=scale,
    )
    feeds = {"x": np.ones(1, np.float32)}
    found = vjp(model, ["s"], feeds)
    given_arrays = cotangents_for(found)

    got = gradients(found, {**feeds, **given_arrays})["s"]

    d = given_arrays[found.cotangents["y"]]
    np.testing.assert_allclose(got, (d * codes).reshape(2, 3, 2).sum(2), rtol=1e-4, atol=1e-5)


def test_codes_clipped_to_fewer_bits() -> None:
    model = build(
        "f (float[1,9] x, float s, int8 z, int8 lo, int8 hi) => (float[] y)"
        " { q = QuantizeLinear(x, s, z) c = Clip(q, lo, hi) y = DequantizeLinear(c, s, z) }",
        s=np.float32(0.3),
        z=np.int8(1),
        lo=np.int8(-8),
        hi=np.int8(7),
    )
    feeds = {"x": 3 * feeds_for(model)["x"]}
    found = vjp(model, ["x", "s"], feeds)
    given_arrays = cotangents_for(found)

    got = gradients(found, {**feeds, **given_arrays})

    d = given_arrays[found.cotangents["y"]]
    dx, ds = learned_step(feeds["x"], d, 0.3, 1, (-8, 7))
    assert 0 < np.count_nonzero(dx) < dx.size
    np.testing.assert_allclose(got["x"], dx, rtol=1e-5)
    np.testing.assert_allclose(got["s"], ds.sum(), rtol=1e-3, atol=1e-3)


def test_codes_pooled_and_moved_in_between() -> None:
    between = "p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(q) t = Transpose<perm=[0,2,3,1]>(p)"
    model = build(
        "f (float[1,2,4,4] x, float s, uint8 z) => (float[] y)"
        f" {{ q = QuantizeLinear(x, s, z) {between} y = DequantizeLinear(t, s, z) }}",
        s=np.float32(0.001),
        z=np.uint8(0),
    )
    feeds = {"x": np.random.default_rng(0).random((1, 2, 4, 4), np.float32) / 4}
    found = vjp(model, ["x"], feeds)
    d = np.ones((1, 2, 2, 2), np.float32)

    got = gradients(found, {**feeds, found.cotangents["y"]: d})["x"]

    blocks = feeds["x"].reshape(1, 2, 2, 2, 2, 2)
    largest = blocks == blocks.max((3, 5), keepdims=True)
    np.testing.assert_array_equal(got, largest.reshape(1, 2, 4, 4).astype(np.float32))


def test_what_quantization_puts_into_layers_gets_the_gradient_of_the_float_layer() -> None:
    weight = np.random.default_rng(0).standard_normal((3, 2, 3, 3)).astype(np.float32)
    text = "f (float[1,2,5,5] x, float[3,2,3,3] w, float s, int8 z) => (float[] y)"
    quantized = "q = QuantizeLinear(w, s, z) v = DequantizeLinear(q, s, z) y = Conv(x, v)"
    fine: dict[str, Any] = {"w": weight, "s": np.float32(0.03), "z": np.int8(0)}
    model, plain = (
        build(f"{text} {{ {quantized} }}", **fine),
        build(f"{text} {{ y = Conv(x, w) }}", **fine),
    )
    feeds = feeds_for(plain)
    found, reference = vjp(model, ["w"], feeds), vjp(plain, ["w"], feeds)
    given_arrays = cotangents_for(found)

    got = gradients(found, {**feeds, **given_arrays})["w"]

    np.testing.assert_allclose(got, gradients(reference, {**feeds, **given_arrays})["w"], rtol=1e-4)


def test_eight_bit_floats_are_refused() -> None:
    trip = "z = Cast<to=17>(zero) q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"
    text = f"f (float[4] x, float s, float zero) => (float[] y) {{ {trip} }}"

    with pytest.raises(ModelError, match=r"QuantizeLinear\): its codes are no integers"):
        vjp(build(text, s=np.float32(1), zero=np.float32(0)), ["x"])
