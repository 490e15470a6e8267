"""Operators that move values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.autodiff.vjp import vjp
from tests.autodiff.checking import assert_gradients, assert_second_gradients, gradients
from tests.passes.rewrite.building import build

MOVES = {
    "Reshape": "y = Reshape(x, a)",
    "Flatten": "y = Flatten<axis=2>(x)",
    "Unsqueeze": "y = Unsqueeze(x, b)",
    "Squeeze": "z = Unsqueeze(x, b) y = Squeeze(z)",
    "Expand": "z = Unsqueeze(x, b) y = Expand(z, c)",
    "Tile": "y = Tile(x, d)",
    "Trilu": "y = Trilu<upper=0>(x)",
    "Dropout": "y = Dropout(x)",
}
INPUTS = {"a": [-1, 6], "b": [0, 2], "c": [2, 1, 3, 1, 1], "d": [2, 1, 3]}


@pytest.mark.parametrize("op_type", MOVES)
def test_a_move(op_type: str) -> None:
    arrays = {name: np.array(values) for name, values in INPUTS.items()}
    inputs = ", ".join(f"int64[{len(array)}] {name}" for name, array in arrays.items())
    model = build(f"f (float[2,3,4] x, {inputs}) => (float[] y) {{ {MOVES[op_type]} }}", **arrays)

    assert_gradients(model, ["x"])
    assert_second_gradients(model, ["x"])


@given(order=st.permutations(range(4)))
@settings(deadline=None, max_examples=8)
def test_transpose(order: list[int]) -> None:
    text = f"f (float[2,3,4,2] x) => (float[] y) {{ y = Transpose<perm={list(order)}>(x) }}"

    assert_gradients(build(text), ["x"])


def test_transpose_reverses_by_default() -> None:
    assert_gradients(build("f (float[2,3,4] x) => (float[] y) { y = Transpose(x) }"), ["x"])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat(axis: int) -> None:
    shapes = [[2, 3, 4] for _ in range(2)]
    shapes[1][axis] = 1
    text = f"f (float{shapes[0]} x, float{shapes[1]} z) => (float[] y)"
    model = build(f"{text} {{ y = Concat<axis={axis}>(x, z, x) }}")

    assert_gradients(model, ["x", "z"])
    assert_second_gradients(model, ["x", "z"])


def test_only_the_needed_part_of_a_concat_is_cut_out() -> None:
    model = build("f (float[2] x, float[2] z) => (float[] y) { y = Concat<axis=0>(x, z) }")

    ops = [node.op_type for node in vjp(model, ["z"]).model.graph]

    assert ops.count("Slice") == 1


def test_split_with_a_part_that_nobody_reads() -> None:
    text = (
        "f (float[2,5] x) => (float[] y, float[] z) { y, w, z = Split<axis=1, num_outputs=3>(x) }"
    )

    assert_gradients(build(text), ["x"])
    assert_second_gradients(build(text), ["x"])


PADS = st.lists(st.integers(0, 2), min_size=4, max_size=4)


@settings(deadline=None, max_examples=10)
@given(pads=PADS)
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad(mode: str, pads: list[int]) -> None:
    text = f'f (float[2,3,4] x, int64[4] p, int64[2] axes) => (float[] y) {{ y = Pad<mode="{mode}">'
    model = build(f"{text}(x, p, , axes) }}", p=np.array(pads), axes=np.array([-1, 1]))

    assert_gradients(model, ["x"])
    assert_second_gradients(model, ["x"])


def test_pad_by_less_than_nothing() -> None:
    text = "f (float[3,4] x, int64[4] p) => (float[] y) { y = Pad(x, p) }"

    assert_gradients(build(text, p=np.array([-1, 2, 1, -1])), ["x"])


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode: str) -> None:
    text = (
        f'f (float[2,8,3,2] x) => (float[] y) {{ y = DepthToSpace<blocksize=2, mode="{mode}">(x) }}'
    )

    assert_gradients(build(text), ["x"])
    assert_second_gradients(build(text), ["x"])


def test_space_to_depth() -> None:
    text = "f (float[2,2,4,6] x) => (float[] y) { y = SpaceToDepth<blocksize=2>(x) }"

    assert_gradients(build(text), ["x"])


def test_a_shape_that_is_computed_at_run_time() -> None:
    body = "s = Shape<start=0, end=1>(x) t = Concat<axis=0>(s, rest) y = Reshape(x, t)"
    text = f"f (float[N,3,4] x, int64[1] rest) => (float[N,M] y) {{ {body} }}"
    model = build(text, rest=np.array([-1]))

    found = assert_gradients(model, ["x"], {"x": np.ones((5, 3, 4), np.float32)})

    assert "Shape" not in {node.op_type for node in found.model.graph}


def test_an_expanded_scalar() -> None:
    model = build(
        "f (float x, int64[2] s) => (float[2,3] y) { y = Expand(x, s) }", s=np.array([2, 3])
    )
    found = vjp(model, ["x"])
    d = np.arange(6, dtype=np.float32).reshape(2, 3)

    assert gradients(found, {"x": np.array(1, np.float32), found.cotangents["y"]: d})["x"] == 15
