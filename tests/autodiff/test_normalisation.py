"""Softmax and normalisations."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.autodiff.vjp import vjp
from onnxq.errors import ModelError
from tests.autodiff.checking import assert_gradients, assert_second_gradients
from tests.passes.rewrite.building import build

OPSET_23 = '<ir_version: 11, opset_import: ["": 23]>'


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(op_type: str, axis: int) -> None:
    model = build(f"f (float[2,3,4] x) => (float[] y) {{ y = {op_type}<axis={axis}>(x) }}")

    assert_gradients(model, ["x"])
    assert_second_gradients(model, ["x"])


@pytest.mark.parametrize("shape", ["4,3", "2,3,4", "2,3,4,5"])
def test_batch_normalization(shape: str) -> None:
    text = f"f (float[{shape}] x, float[3] s, float[3] b, float[3] m, float[3] v) => (float[] y)"
    model = build(
        f"{text} {{ y = BatchNormalization<epsilon=0.01>(x, s, b, m, v) }}",
        m=np.array([1, 0, 0.5], np.float32),
        v=np.array([1, 2, 0.5], np.float32),
    )

    assert_gradients(model, ["x", "s", "b", "m", "v"])
    assert_second_gradients(model, ["x", "s", "b", "m", "v"])


@pytest.mark.parametrize(("axis", "shape"), [(-1, "4"), (1, "3,4"), (0, "2,3,4"), (2, "1")])
def test_layer_normalization(axis: int, shape: str) -> None:
    text = f"f (float[2,3,4] x, float[{shape}] s, float[{shape}] b) => (float[] y)"
    model = build(f"{text} {{ y = LayerNormalization<axis={axis}>(x, s, b) }}")

    assert_gradients(model, ["x", "s", "b"])
    assert_second_gradients(model, ["x", "s", "b"])


def test_rms_normalization() -> None:
    text = "f (float[2,3,4] x, float[4] s) => (float[] y) { y = RMSNormalization(x, s) }"

    assert_gradients(build(f"{OPSET_23} {text}"), ["x", "s"])
    assert_second_gradients(build(f"{OPSET_23} {text}"), ["x", "s"])


def test_instance_normalization() -> None:
    text = "f (float[2,3,4,5] x, float[3] s, float[3] b) => (float[] y)"
    model = build(f"{text} {{ y = InstanceNormalization(x, s, b) }}")

    assert_gradients(model, ["x", "s", "b"])
    assert_second_gradients(model, ["x", "s", "b"])


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_normalization(groups: int) -> None:
    text = "f (float[2,4,5] x, float[4] s, float[4] b) => (float[] y)"
    model = build(f"{text} {{ y = GroupNormalization<num_groups={groups}>(x, s, b) }}")

    assert_gradients(model, ["x", "s", "b"])
    assert_second_gradients(model, ["x", "s", "b"])


@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response_normalization(size: int) -> None:
    attributes = f"size={size}, alpha=0.3, beta=0.6, bias=1.5"
    model = build(f"f (float[2,6,3,2] x) => (float[] y) {{ y = LRN<{attributes}>(x) }}")

    assert_gradients(model, ["x"])
    assert_second_gradients(model, ["x"])


def test_euclidean_normalization() -> None:
    model = build("f (float[2,6,3] x) => (float[] y) { y = LpNormalization<axis=1>(x) }")

    assert_gradients(model, ["x"])
    assert_second_gradients(model, ["x"])


def test_a_norm_that_is_not_euclidean_is_refused() -> None:
    text = "f (float[2,6] x) => (float[] y) { y = LpNormalization<p=1>(x) }"

    with pytest.raises(ModelError, match="not Euclidean"):
        vjp(build(text), ["x"])


def test_a_gradient_of_the_moments_is_refused() -> None:
    text = "f (float[2,4] x, float[4] s) => (float[] y, float[] m) {"
    model = build(f"{text} y, m = LayerNormalization(x, s) }}")

    with pytest.raises(ModelError, match="first output alone"):
        vjp(model, ["x"])
