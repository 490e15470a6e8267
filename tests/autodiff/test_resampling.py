"""Resize in its modes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.autodiff.vjp import vjp
from onnxq.errors import ModelError
from tests.autodiff.checking import cotangents_for, gradients
from tests.passes.rewrite.building import build
from tests.support import feeds_for, run

MODES = ["nearest", "linear", "cubic"]
PLACINGS = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]


def assert_adjoint(text: str, **weights: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
    """Resize is linear: Σ d · f(x) = Σ x · (gradient for d), in any direction x."""
    model = build(text, **weights)
    feeds = feeds_for(model)
    found = vjp(model, ["x"], feeds)
    given_arrays = cotangents_for(found)
    got = gradients(found, {**feeds, **given_arrays})["x"].astype(np.float64)
    y = run(model, feeds)["y"]

    ahead = float((given_arrays[found.cotangents["y"]].astype(np.float64) * y).sum())

    assert abs(float((got * feeds["x"]).sum()) - ahead) < 1e-5 * float(np.abs(got).sum())


@settings(deadline=None, max_examples=8)
@given(
    placing=st.sampled_from(PLACINGS),
    high=st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0]),
    wide=st.sampled_from([0.6, 1.0, 2.0, 2.5]),
)
@pytest.mark.parametrize("mode", MODES)
def test_by_scales(mode: str, placing: str, high: float, wide: float) -> None:
    attributes = f'mode="{mode}", coordinate_transformation_mode="{placing}"'
    text = f"f (float[1,2,4,5] x, float[4] s) => (float[] y) {{ y = Resize<{attributes}>(x, , s) }}"

    assert_adjoint(text, s=np.array([1, 1, high, wide], np.float32))


@settings(deadline=None, max_examples=6)
@given(placing=st.sampled_from(PLACINGS), high=st.integers(2, 9), wide=st.integers(2, 9))
@pytest.mark.parametrize("mode", MODES)
def test_by_sizes(mode: str, placing: str, high: int, wide: int) -> None:
    attributes = f'mode="{mode}", coordinate_transformation_mode="{placing}"'
    text = (
        f"f (float[1,2,4,5] x, int64[4] s) => (float[] y) {{ y = Resize<{attributes}>(x, , , s) }}"
    )

    assert_adjoint(text, s=np.array([1, 2, high, wide]))


def test_some_axes() -> None:
    text = 'f (float[1,2,4,5] x, float[2] s) => (float[] y) { y = Resize<mode="linear", axes=[2,3]>'

    assert_adjoint(f"{text}(x, , s) }}", s=np.array([2, 1.5], np.float32))


def test_doubling_is_summed_without_products() -> None:
    attributes = 'nearest_mode="floor", coordinate_transformation_mode="asymmetric"'
    text = f"f (float[1,2,4,5] x, float[4] s) => (float[] y) {{ y = Resize<{attributes}>(x, , s) }}"
    model = build(text, s=np.array([1, 1, 2, 2], np.float32))

    ops = {node.op_type for node in vjp(model, ["x"]).model.graph}

    assert ops == {"Resize", "Reshape", "ReduceSum"}


def test_twice() -> None:
    text = 'f (float[1,1,2,3] x, float[4] s) => (float[] y) { z = Exp(x) y = Resize<mode="linear">'
    model = build(f"{text}(z, , s) }}", s=np.array([1, 1, 2, 2], np.float32))
    first = vjp(model, ["x"])

    second = vjp(first.model, ["x"], outputs=[first.gradients["x"]])

    feeds = {**feeds_for(model), **cotangents_for(first), **cotangents_for(second)}
    got = gradients(second, feeds)["x"]
    # the gradient is exp(x) times what does not depend on x, so its own gradient is itself times d
    wanted = run(
        first.model, {k: feeds[k] for k in (v.name or "" for v in first.model.graph.inputs)}
    )
    d = feeds[next(iter(second.cotangents.values()))]
    np.testing.assert_allclose(got, wanted[first.gradients["x"]] * d, rtol=1e-5)


def test_cropping_is_refused() -> None:
    attributes = 'coordinate_transformation_mode="tf_crop_and_resize"'
    text = "f (float[1,1,4,4] x, float[8] roi, float[4] s) => (float[] y)"
    model = build(
        f"{text} {{ y = Resize<{attributes}>(x, roi, s) }}",
        roi=np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32),
        s=np.array([1, 1, 2, 2], np.float32),
    )

    with pytest.raises(ModelError, match=r"'node_y' \(Resize\): it crops"):
        vjp(model, ["x"])
