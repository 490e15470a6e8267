from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from onnxq.contract import structural_fault
from onnxq.errors import ModelError
from onnxq.passes.rewrite.widen_half import WidenHalf
from onnxq.plan.note import NoteKind
from tests.passes.rewrite.building import build, ops, rng_weight
from tests.support import assert_same_function, feeds_for, model, run

if TYPE_CHECKING:
    import numpy.typing as npt

HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
# What rounding in between may cost on graphs of a few nodes.
ROUNDING = 2e-3


def half(*shape: int, seed: int = 0) -> npt.NDArray[np.float16]:
    return rng_weight(*shape, seed=seed).astype(np.float16)


def inner(source: ir.Model) -> list[ir.Value]:
    """All values but the model's inputs and outputs."""
    boundary = {*source.graph.inputs, *source.graph.outputs}
    values = [
        value
        for graph in source.graphs()
        for value in (
            *graph.inputs,
            *graph.initializers.values(),
            *(output for node in graph for output in node.outputs),
        )
    ]
    return [value for value in values if value not in boundary]


def widened(source: ir.Model, feeds: dict[str, npt.NDArray[Any]] | None = None) -> list[str]:
    """Runs the pass and asserts what holds for any model; returns the operators left."""
    before = source.clone()
    rewrite = WidenHalf()
    assert rewrite(source).modified
    assert any(note.kind is NoteKind.FIRED for note in rewrite.take_notes())
    assert structural_fault(before, source) is None
    assert [value.name for value in inner(source) if value.dtype in HALF] == []
    assert_same_function(before, source, feeds_for(before) if feeds is None else feeds, ROUNDING)
    assert not rewrite(source).modified
    return ops(source)


# ---- rule 1: weights -----------------------------------------------------------------------------


def test_weights_become_float32() -> None:
    data = half(3, 3)
    after = build("f (float16[2,3] x, float16[3,3] w) => (float16[2,3] y) { y = MatMul(x, w) }",
                  w=data)  # fmt: skip
    assert widened(after) == ["Cast", "MatMul", "Cast"]
    tensor = after.graph.initializers["w"].const_value
    assert tensor is not None
    np.testing.assert_array_equal(tensor.numpy(), data.astype(np.float32), strict=True)


def test_a_shared_weight_stays_one() -> None:
    after = build(
        """f (float16[2,3] x, float16[3] w) => (float16[2,3] y, float16[2,3] z)
        { y = Mul(x, w) z = Add(x, w) }""",
        w=half(3),
    )
    widened(after)
    assert list(after.graph.initializers) == ["w"]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@given(bits=arrays.arrays(np.uint16, st.integers(1, 40)))
def test_no_number_changes(dtype: type[Any], bits: npt.NDArray[np.uint16]) -> None:
    data = bits.view(dtype)
    kind = "float16" if dtype is np.float16 else "bfloat16"
    source = model(f"f ({kind}[N] w) => ({kind}[N] y) {{ y = Neg(w) }}")
    weight = source.graph.inputs.pop()
    weight.const_value = ir.tensor(data, name="w")
    source.graph.register_initializer(weight)
    WidenHalf()(source)
    assert weight.const_value.dtype == ir.DataType.FLOAT
    with np.errstate(invalid="ignore"):  # a signalling NaN says so when it is cast
        again = weight.const_value.numpy().astype(dtype)
    nan = np.isnan(data)
    np.testing.assert_array_equal(np.isnan(again), nan)
    np.testing.assert_array_equal(again[~nan].view(np.uint16), bits[~nan])


@pytest.mark.parametrize(
    "text",
    [
        "c = Constant<value = float16[3] {1, 2, 3}>() y = Mul(x, c)",
        "s = Shape(x) c = ConstantOfShape<value = float16[1] {2}>(s) y = Mul(x, c)",
    ],
    ids=["Constant", "ConstantOfShape"],
)
def test_tensors_in_attributes_become_float32(text: str) -> None:
    widened(build(f"f (float16[2,3] x) => (float16[2,3] y) {{ {text} }}"))


def test_bounds_and_scales_become_float32() -> None:
    widened(
        build(
            """f (float16[1,1,2,2] x, float16 low, float16 high, float[4] scales)
               => (float16[1,1,4,4] y)
            { c = Clip(x, low, high) y = Resize(c, , scales) }""",
            low=np.float16(-0.5),
            high=np.float16(0.5),
            scales=np.array([1, 1, 2, 2], np.float32),
        )
    )


# ---- rule 2: attributes that name a type ---------------------------------------------------------


def test_random_numbers_are_drawn_in_float32() -> None:
    after = build(
        """f (float16[2,3] x) => (bool[2,3] y)
        { r = RandomUniformLike<dtype = 10, low = 5.0, high = 6.0>(x) y = Less(x, r) }"""
    )
    widened(after)
    assert after.graph[1].attributes.get_int("dtype") == ir.DataType.FLOAT


def test_eye_like_makes_float32() -> None:
    widened(
        build(
            """f (float16[3,3] x) => (float16[3,3] y)
            { e = EyeLike<dtype = 10>(x) y = Add(x, e) }"""
        )
    )


def test_integers_are_cast_to_float32() -> None:
    after = build(
        """f (int64[2,3] x, float16[3] w) => (float16[2,3] y)
        { h = Cast<to = 10>(x) y = Mul(h, w) }""",
        w=half(3),
    )
    assert widened(after) == ["Cast", "Mul", "Cast"]


# ---- rule 3: subgraphs ---------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [False, True])
def test_both_branches_compute_in_float32(condition: bool) -> None:
    after = model(
        """f (float16[2] x, bool c) => (float16[2] y) <float16[2] w = {2, 3}> {
            z = If(c) <
                then_branch = t () => (float16[2] p) { p = Mul(x, w) },
                else_branch = e () => (float16[2] q)
                { k = Constant<value = float16[2] {1, 2}>() q = Sub(x, k) }>
            y = Abs(z) }"""
    )
    feeds = {"x": np.array([1, -4], np.float16), "c": np.array(condition)}
    assert widened(after, feeds) == ["Cast", "If", "Abs", "Cast"]


def test_a_loop_carries_float32() -> None:
    after = model(
        """f (float16[2] x, int64 n, bool c) => (float16[2] y, float16[N,2] all) {
            y, all = Loop(n, c, x) <
                body = b (int64 i, bool go, float16[2] a) => (bool on, float16[2] s, float16[2] o)
                { on = Identity(go) s = Add(a, x) o = Identity(s) }> }"""
    )
    feeds = {"x": half(2), "n": np.array(3), "c": np.array(True)}
    assert widened(after, feeds) == ["Cast", "Loop", "Cast", "Cast"]


def test_a_sequence_inside_holds_float32() -> None:
    after = model(
        """f (float16[4,3] x) => (float16[2,3] y) <int64 one = {1}, int64 two = {2}> {
            parts = SplitToSequence<axis = 0>(x, two)
            p = SequenceAt(parts, one) y = Relu(p) }"""
    )
    parts = after.graph[0].outputs[0]
    parts.type = ir.SequenceType(ir.TensorType(ir.DataType.FLOAT16))
    widened(after)
    assert parts.type == ir.SequenceType(ir.TensorType(ir.DataType.FLOAT))


# ---- rules 4 and 5: the boundary -----------------------------------------------------------------


def test_the_interface_stays() -> None:
    after = build(
        "f (float16[2,3] x) => (float16[2,3] y, bool[2,3] z) { y = Relu(x) z = IsNaN(y) }"
    )
    assert widened(after) == ["Cast", "Relu", "IsNaN", "Cast"]
    assert [(v.name, v.dtype) for v in (*after.graph.inputs, *after.graph.outputs)] == [
        ("x", ir.DataType.FLOAT16),
        ("y", ir.DataType.FLOAT16),
        ("z", ir.DataType.BOOL),
    ]


def test_an_input_that_is_an_output_is_not_touched() -> None:
    after = build("f (float16[2] x) => (float16[2] x, float16[2] y) { y = Relu(x) }")
    assert widened(after) == ["Cast", "Relu", "Cast"]
    assert after.graph.outputs[0] is after.graph.inputs[0]


def test_a_weight_that_is_an_output_keeps_its_type() -> None:
    after = build(
        "f (float16[2] x, float16[2] w) => (float16[2] y, float16[2] w) { y = Add(x, w) }",
        w=half(2),
    )
    widened(after)
    assert after.graph.initializers["w"].dtype == ir.DataType.FLOAT16


def test_casts_at_the_boundary_serve_as_they_are() -> None:
    after = build(
        """f (float16[2,3] x) => (float16[2,3] y)
        { a = Cast<to = 1>(x) b = Relu(a) y = Cast<to = 10>(b) }"""
    )
    assert not WidenHalf()(after).modified


def test_an_output_that_is_read_on_is_read_in_float32() -> None:
    after = build(
        """f (float[2,3] x) => (float16[2,3] y, float16[2,3] z)
        { a = Relu(x) y = Cast<to = 10>(a) z = Neg(y) }"""
    )
    assert widened(after) == ["Relu", "Neg", "Cast", "Cast"]


# ---- rule 6: casts without work ------------------------------------------------------------------


def test_mixed_precision_loses_its_casts() -> None:
    after = build(
        """f (float[2,3] x, float16[3,3] w) => (float[2,3] y) {
            h = Cast<to = 10>(x) m = MatMul(h, w) f = Cast<to = 1>(m) s = Softmax(f)
            g = Cast<to = 10>(s) r = Relu(g) y = Cast<to = 1>(r) }""",
        w=half(3, 3),
    )
    assert widened(after) == ["MatMul", "Softmax", "Relu"]


def test_a_cast_between_input_and_output_stays() -> None:
    source = build("f (float[2] x) => (float[2] y) { h = Cast<to = 10>(x) y = Cast<to = 1>(h) }")
    assert widened(source) == ["Cast"]


def test_casts_that_were_there_in_float32_stay() -> None:
    source = build(
        """f (float[2] x, float16[2] w) => (float16[2] y)
        { c = Cast<to = 1>(x) a = Abs(c) h = Cast<to = 10>(a) y = Add(h, w) }""",
        w=half(2),
    )
    assert widened(source) == ["Cast", "Abs", "Add", "Cast"]


# ---- what it leaves or refuses -------------------------------------------------------------------


def test_float32_is_not_touched() -> None:
    source = build("f (float[2,3] x, double[3] w) => (double[2,3] y)"
                   "{ d = Cast<to = 11>(x) y = Mul(d, w) }", w=np.ones(3, np.float32))  # fmt: skip
    assert not WidenHalf()(source).modified


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "f (seq(float16[2]) s, int64 i) => (float16[2] y) { y = SequenceAt(s, i) }",
            "'s' holds numbers of FLOAT16 in a SequenceType",
        ),
        (
            """<ir_version: 13, opset_import: ["": 26]>
            f (float16[2] x) => (uint16[2] y) { y = BitCast<to = 4>(x) }""",
            "BitCast 'y' depends on half precision",
        ),
    ],
    ids=["sequence", "bits"],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        WidenHalf()(model(text))


def test_only_what_leaves_the_model_saturates() -> None:
    after = model(
        """f (float16[1] x) => (float16[1] y, float16[1] z) { y = Mul(x, x) z = Sqrt(y) }"""
    )
    WidenHalf()(after)
    found = run(after, {"x": np.full(1, 300, np.float16)})
    assert (found["y"].item(), found["z"].item()) == (np.inf, 300)


def test_bfloat16_runs_when_widened() -> None:
    after = build(
        """f (float[2,3] x, bfloat16[3] w) => (float[2,3] y)
        { h = Cast<to = 16>(x) m = Mul(h, w) y = Cast<to = 1>(m) }""",
        w=np.array([1, 2, 3], ml_dtypes.bfloat16),
    )
    WidenHalf()(after)
    x = rng_weight(2, 3)
    np.testing.assert_array_equal(run(after, {"x": x})["y"], x * np.array([1, 2, 3], np.float32))
