from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.passbase import PlanContext
from onnxq.passes.plan.weight_only import QuantizeWeightsOnly
from onnxq.plan.check import violations
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, PerBlock, PerTensor, QuantSpec
from onnxq.plan.target import load_target
from onnxq.plan.weight_error import weight_error
from onnxq.plan.weight_params import weight_params
from tests.passes.plan.planning import revised
from tests.passes.rewrite.building import build, rng_weight
from tests.support import model

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

CPU = load_target("cpu")


def planned(source: ir.Model, **options: object) -> QuantPlan:
    context = PlanContext(source, CPU, None, {}, lambda _count: ())
    plan = revised(QuantizeWeightsOnly(**options), context, QuantPlan())  # type: ignore[arg-type]
    assert violations(plan, source, CPU) == []
    return plan


def single(node: str, *shape: int, weight: npt.NDArray[np.generic] | None = None) -> ir.Model:
    """One node that reads x and the weight w."""
    dims = ",".join(map(str, shape))
    data = rng_weight(*shape) if weight is None else weight
    return build(
        f"f (float[A,B,C,D] x, float[{dims}] w) => (float[E,F,G,H] y) {{ {node} }}", w=data
    )


@pytest.mark.parametrize(
    ("node", "shape", "axis"),
    [
        ("y = Conv(x, w)", (16, 8, 3, 3), 0),
        ("y = ConvTranspose(x, w)", (16, 8, 3, 3), 1),
        ("y = MatMul(x, w)", (32, 48), 1),
        ("y = Gemm(x, w)", (32, 48), 1),
        ("y = Gemm<transB = 1>(x, w)", (48, 32), 0),
    ],
    ids=["Conv", "ConvTranspose", "MatMul", "Gemm", "Gemm transposed"],
)
def test_one_scale_per_output_channel(node: str, shape: tuple[int, ...], axis: int) -> None:
    plan = planned(single(node, *shape))
    assert set(plan.values) == {"w"}
    spec, params = plan.values["w"].spec, plan.values["w"].params
    assert (str(spec.dtype), spec.symmetric, spec.granularity) == ("int8", True, PerAxis(axis))
    assert params is not None
    others = tuple(i for i in range(len(shape)) if i != axis)
    largest = np.abs(rng_weight(*shape)).max(axis=others)
    np.testing.assert_allclose(params.scale, largest / 127, rtol=1e-6)
    assert not params.zero_point.any()


def test_one_scale_per_weight() -> None:
    planned_value = planned(single("y = MatMul(x, w)", 32, 48), per_channel=False).values["w"]
    assert planned_value.spec.granularity == PerTensor()
    assert planned_value.params is not None
    assert planned_value.params.scale.shape == ()


@pytest.mark.parametrize(
    ("node", "shape", "granularity"),
    [
        ("y = MatMul(x, w)", (64, 48), PerBlock(0, 32)),
        ("y = Gemm<transB = 1>(x, w)", (48, 64), PerBlock(1, 32)),
        ("y = MatMul(x, w)", (40, 48), PerAxis(1)),
        ("y = MatMul(x, w)", (2, 32, 48), PerAxis(2)),
        ("y = Conv(x, w)", (16, 32, 3, 3), PerAxis(0)),
    ],
    ids=["MatMul", "Gemm transposed", "uneven", "stack", "Conv"],
)
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_matrices_of_few_bits_have_a_scale_per_block(
    node: str, shape: tuple[int, ...], granularity: PerAxis | PerBlock, bits: int
) -> None:
    planned_value = planned(single(node, *shape), bits=bits).values["w"]
    assert planned_value.bits == bits
    assert planned_value.spec.granularity == granularity
    assert planned_value.params is not None
    assert planned_value.params.method == "mse"


NAN = np.full((32, 48), np.nan, np.float32)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (single("y = MatMul(x, w)", 31, 33), "only 1023 elements"),
        (single("y = MatMul(x, w)", 32, 48, weight=NAN), "not finite"),
        (single("t = MatMul(x, w) y = Add(t, w)", 32, 48), "read by node 'node_y' (Add) too"),
        (single("t = MatMul(x, w) y = MatMul(w, t)", 32, 32), "read by node 'node_y' (MatMul) too"),
    ],
    ids=["small", "nan", "other reader", "other side"],
)
def test_weights_that_stay_float(source: ir.Model, reason: str) -> None:
    plan = planned(source)
    assert not plan.values
    assert list(plan.float_nodes)
    assert all(reason in text for text in plan.float_nodes.values())
    assert {note.kind for note in plan.notes} == {NoteKind.REFUSED}
    assert [note.where for note in plan.notes] == list(plan.float_nodes)


def test_other_float_types_stay() -> None:
    data = rng_weight(32, 48).astype(np.float16)
    source = build(
        "f (float16[A,32] x, float16[32,48] w) => (float16[A,48] y) { y = MatMul(x, w) }", w=data
    )
    plan = planned(source)
    assert plan.float_nodes == {"node_y": "its weight is float16"}


def test_kept_nodes_keep_their_weights_even_where_others_read_them() -> None:
    source = single("t = MatMul(x, w) y = MatMul(t, w)", 32, 32)
    plan = planned(source, keep_float=("*_t",))
    assert plan.float_nodes == dict.fromkeys(("node_t", "node_y"), "asked for by --keep-float")


def test_a_shared_weight_is_planned_once() -> None:
    plan = planned(single("t = MatMul(x, w) y = MatMul(t, w)", 32, 32))
    assert list(plan.values) == ["w"]
    assert [note.where for note in plan.notes] == ["node_t"]


def test_weights_that_a_branch_reads_stay() -> None:
    source = model(
        """f (float[1,32] x, bool c, float[32,32] w) => (float[1,32] y) {
            t = MatMul(x, w)
            y = If (c) <
                then_branch = a () => (float[1,32] p) { p = MatMul(t, w) },
                else_branch = b () => (float[1,32] q) { q = Identity(t) }> }"""
    )
    value = source.graph.inputs.pop()
    value.const_value = (
        build("f (float[32,32] w) => (float[32,32] y) { y = Relu(w) }", w=rng_weight(32, 32))
        .graph.initializers["w"]
        .const_value
    )
    source.graph.register_initializer(value)
    assert not planned(source).values


def test_what_is_computed_is_no_weight() -> None:
    plan = planned(build("f (float[32,32] x) => (float[32,32] y) { y = MatMul(x, x) }"))
    assert not plan.values
    assert not plan.float_nodes


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(
    ("node", "shape"),
    [
        ("y = Conv(x, w)", (16, 8, 3, 3)),
        ("y = Conv<group = 4>(x, w)", (16, 8, 3, 3)),
        ("y = ConvTranspose(x, w)", (16, 8, 3, 3)),
    ],
)
def test_convolutions_of_few_bits_have_codebooks(
    node: str, shape: tuple[int, ...], bits: int, per_channel: bool
) -> None:
    weight = np.random.default_rng(0).laplace(size=shape).astype(np.float32)
    source = single(node, *shape, weight=weight)
    found = planned(source, bits=bits, per_channel=per_channel).values["w"]
    assert found.levels is not None
    assert found.levels.size <= 1 << bits
    assert found.bits == bits
    spec = QuantSpec(IntType(bits, signed=True), True, found.spec.granularity)
    even = ValuePlan(spec, weight_params(weight, spec))
    errors = [np.square(weight_error(weight, one)).sum() for one in (found, even)]
    assert errors[0] < 0.9 * errors[1]


def test_where_even_steps_do_there_is_no_codebook() -> None:
    weight = np.random.default_rng(0).integers(-8, 8, (16, 8, 3, 3)).astype(np.float32)
    found = planned(single("y = Conv(x, w)", *weight.shape, weight=weight), bits=4).values["w"]
    assert found.levels is None
    assert found.spec.dtype == IntType(4, signed=True)


def test_other_runtimes_have_none() -> None:
    weight = np.random.default_rng(0).laplace(size=(16, 8, 3, 3)).astype(np.float32)
    source = single("y = Conv(x, w)", *weight.shape, weight=weight)
    context = PlanContext(source, load_target("qnn"), None, {}, lambda _count: ())
    plan = revised(QuantizeWeightsOnly(bits=4), context, QuantPlan())
    assert plan.values["w"].levels is None
