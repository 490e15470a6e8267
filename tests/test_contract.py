from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.contract import Reference, difference, find_violation, structural_fault
from onnxq.graph.edit import add_initializer
from onnxq.runtime.session import run_model
from tests.passes.rewrite.building import build
from tests.support import feeds_for

if TYPE_CHECKING:
    import numpy.typing as npt

_CHAIN = """f (float[4] x, float k) => (float[4] y, float[4] z) {
    a = Relu(x)
    b = Add(a, k)
    y = Neg(b)
    z = Abs(a) }"""

_CHOICE = """f (float[8] x, float k, int64[1] n) => (float[2] v, int64[2] i, float[2] w) {
    s = Mul(x, k)
    v, i = TopK(s, n)
    w = Gather(x, i) }"""


def _violation(
    before: ir.Model, after: ir.Model, feeds: dict[str, npt.NDArray[Any]] | None = None
) -> str | None:
    probes = [feeds_for(before) if feeds is None else feeds]
    was = tuple(run_model(before, probe) for probe in probes)
    now = [run_model(after, probe) for probe in probes]
    return find_violation(Reference(before, was), after, now, probes, run_model)


@pytest.mark.parametrize(
    ("expected", "actual", "agree"),
    [
        ([1.0, 2.0], [1.0, 2.0 + 1.9e-5], True),
        ([1.0, 2.0], [1.0, 2.0 + 2.1e-5], False),
        ([0.0, 100.0], [0.0009, 100.0], True),
        ([1.0, np.inf], [1.0, np.inf], True),
        ([1.0, np.nan], [1.0, 2.0], False),
        ([np.inf], [np.nan], True),
        ([0.0], [1e-30], False),
        ([1.0], [1.0, 1.0], False),
        (np.array([1, 2]), np.array([1, 3]), False),
        (np.array([1, 2]), np.array([1, 2]), True),
        (np.array([1, 2]), np.array([1.0, 2.0]), False),
        (np.zeros(0), np.zeros(0), True),
    ],
)
def test_difference(expected: Any, actual: Any, agree: bool) -> None:  # noqa: ANN401
    assert (difference(np.asarray(expected), np.asarray(actual)) is None) is agree


def test_equal_models_keep_the_contract() -> None:
    source = build(_CHAIN, k=1.0)
    assert structural_fault(source, source.clone()) is None
    assert _violation(source, source.clone()) is None


def test_duplicate_value_names() -> None:
    after = build(_CHAIN, k=1.0)
    before = after.clone()
    after.graph[1].outputs[0].name = "a"
    assert structural_fault(before, after) == "two values are called 'a'"


def test_duplicate_node_names() -> None:
    after = build(_CHAIN, k=1.0)
    before = after.clone()
    after.graph[1].name = "node_a"
    assert structural_fault(before, after) == "two nodes are called 'node_a'"


def test_a_value_read_too_early() -> None:
    after = build(_CHAIN, k=1.0)
    before = after.clone()
    node = after.graph[1]
    after.graph.remove(node)
    after.graph.append(node)
    assert structural_fault(before, after) == "node 'node_y' reads 'b' before it exists"


def test_a_weight_may_leave_the_inputs() -> None:
    before = build(_CHAIN, k=1.0)
    after = before.clone()
    before.graph.inputs.append(before.graph.initializers["k"])
    assert structural_fault(before, after) is None


def test_an_old_fault_is_not_held_against_the_pass() -> None:
    before = build(_CHAIN, k=1.0)
    before.graph[1].name = "node_a"
    assert structural_fault(before, before.clone()) is None


def test_an_output_that_nothing_computes() -> None:
    after = build(_CHAIN, k=1.0)
    before = after.clone()
    after.graph.remove(after.graph[3])
    assert structural_fault(before, after) == "output 'z' is computed by nothing"


def test_an_unknown_domain() -> None:
    after = build(_CHAIN, k=1.0)
    before = after.clone()
    after.graph[0].domain = "elsewhere"
    fault = structural_fault(before, after)
    assert fault == "node 'node_a' is of domain 'elsewhere', which is not imported"


@pytest.mark.parametrize("change", ["name", "dtype", "shape", "missing"])
def test_changed_outputs(change: str) -> None:
    after = build(_CHAIN, k=1.0)
    before = after.clone()
    output = after.graph.outputs[1]
    if change == "name":
        output.name = "other"
    elif change == "dtype":
        output.type = ir.TensorType(ir.DataType.DOUBLE)
    elif change == "shape":
        output.shape = None
    else:
        after.graph.outputs.pop()
    fault = structural_fault(before, after)
    assert fault is not None
    assert fault.startswith("the graph's outputs were")


def test_the_first_differing_value_is_named() -> None:
    before, after = build(_CHAIN, k=1.0), build(_CHAIN, k=2.0)
    fault = _violation(before, after, {"x": np.ones(4, np.float32)})
    assert fault == "value 'b' differs: largest error 1, where the largest magnitude is 2"


def test_a_missing_output_is_named() -> None:
    before, after = build(_CHAIN, k=1.0), build(_CHAIN, k=1.0)
    after.graph.outputs.pop()
    assert _violation(before, after) == "value 'z' differs: is missing"


def _tied() -> npt.NDArray[np.float32]:
    """Numbers of which two are nearly the greatest, so that a rounding error swaps them."""
    return np.array([0.0, 1.0, 1.0 + 1e-6, 0.5, 0.0, 0.0, 0.0, 0.0], np.float32)


def test_a_swapped_tie_behind_topk_is_excused() -> None:
    before = build(_CHOICE, k=1.0, n=np.array([2]))
    after = build(_CHOICE, k=1.0, n=np.array([2]))
    graph = after.graph
    nudge = np.array([0, 2e-6, 0, 0, 0, 0, 0, 0], np.float32)
    graph[0].op_type = "Add"
    graph[0].replace_input_with(1, add_initializer(graph, "nudge", nudge))
    feeds = {"x": _tied()}
    assert run_model(before, feeds)["i"].tolist() != run_model(after, feeds)["i"].tolist()
    assert _violation(before, after, feeds) is None


def test_a_changed_topk_is_not_excused() -> None:
    before, after = (build(_CHOICE, k=1.0, n=np.array([2])) for _ in range(2))
    after.graph[1].attributes.add(ir.AttrInt64("largest", 0))
    fault = _violation(before, after, {"x": _tied()})
    assert fault is not None
    assert fault.startswith("value 'v' differs")


def test_a_topk_with_wrong_inputs_is_not_excused() -> None:
    before = build(_CHOICE, k=1.0, n=np.array([2]))
    after = build(_CHOICE, k=-1.0, n=np.array([2]))
    fault = _violation(before, after, {"x": _tied()})
    assert fault is not None
    assert fault.startswith("value 's' differs")


def test_another_number_of_choices_is_not_excused() -> None:
    before = build(_CHOICE.replace("[2]", "[M]"), k=1.0, n=np.array([2]))
    after = build(_CHOICE.replace("[2]", "[M]"), k=1.0, n=np.array([3]))
    fault = _violation(before, after, {"x": _tied()})
    assert fault == "value 'v' differs: float32[3] instead of float32[2]"


@pytest.mark.parametrize(
    ("kind", "shift", "agree"),
    [(10, 2**-10, True), (10, 2**-8, False), (16, 2**-7, True), (16, 2**-5, False)],
    ids=["float16", "float16 too far", "bfloat16", "bfloat16 too far"],
)
def test_a_half_precision_output_may_fall_to_its_neighbour(
    kind: int,
    shift: float,
    agree: bool,
) -> None:
    name = "float16" if kind == 10 else "bfloat16"
    text = f"f (float[2] x, float k) => ({name}[2] y) {{ a = Mul(x, k) y = Cast<to = {kind}>(a) }}"
    before, after = build(text, k=1.0), build(text, k=1.0 + shift)
    found = _violation(before, after, {"x": np.array([1, 0.5], np.float32)})
    # the product itself is inside, and is only looked at once an output is wrong
    assert (found is None) == agree
