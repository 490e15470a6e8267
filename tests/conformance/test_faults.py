"""Every planted fault is found, and nothing in models without one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.conformance.finding import RULES, Severity
from onnxq.graph.io import to_bytes
from onnxq.linting import lint
from onnxq.plan.target import known_targets
from tests.conformance.planted_faults import CLEAN, FAULTS, Fault, made
from tests.passes.lower.optimized import optimized_ops
from tests.support import feeds_for, run

INTEGER = {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat"}


def found(fault: Fault, *, notes: bool) -> set[tuple[str, str]]:
    linted = lint(to_bytes(made(fault)), fault.target)
    return {(f.rule, f.node) for f in linted.findings if (f.severity is Severity.NOTE) == notes}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(name: str) -> None:
    fault = FAULTS[name]
    assert found(fault, notes=False) == fault.found
    assert fault.notes <= found(fault, notes=True)


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_model_has_no_finding(name: str) -> None:
    assert lint(to_bytes(made(CLEAN[name])), CLEAN[name].target).findings == ()


@pytest.mark.parametrize(
    "name", [n for n, f in {**CLEAN, **FAULTS}.items() if f.integer is not None]
)
def test_onnxruntime_does_what_lint_says(name: str) -> None:
    fault = {**CLEAN, **FAULTS}[name]
    model = made(fault)
    assert bool(INTEGER & set(optimized_ops(model))) is fault.integer


def test_every_rule_has_a_model_that_breaks_it() -> None:
    broken = {rule for f in FAULTS.values() for rule, _ in f.found | f.notes}
    assert set(RULES) - broken == {"half-scale"}
    assert {f.target for f in FAULTS.values()} >= {"cpu", "tensorrt", "openvino", "qnn", "cuda"}
    assert {f.target for f in CLEAN.values()} <= set(known_targets())


def test_a_float_layer_beside_quantized_ones_is_a_note() -> None:
    text = (
        CLEAN["cpu"]
        .text.replace("y = Deq", "d = Deq")
        .replace("yz) }", "yz)\n    y = Conv(d, v) }")
    )
    text = text.replace("float ys,", "float[8,8,1,1] v, float ys,")
    fault = Fault("cpu", text, {**CLEAN["cpu"].data, "v": np.ones((8, 8, 1, 1), np.float32)})
    assert found(fault, notes=False) == set()
    assert found(fault, notes=True) == {("float-layer", "node_y")}


def test_scales_in_half_precision_are_told() -> None:
    text = CLEAN["cpu"].text
    for name in ("float xs", "float[1,4,8,8] x"):
        text = text.replace(name, name.replace("float", "float16"))
    fault = Fault("cpu", text, {**CLEAN["cpu"].data, "xs": np.float16(0.02)})
    assert ("half-scale", "node_xq") in found(fault, notes=False)


def test_a_float_model_is_clean_everywhere() -> None:
    fault = Fault("cpu", "f (float[1,4] x) => (float[1,4] y) { y = Relu(x) }", {})
    for target in known_targets():
        assert lint(to_bytes(made(fault)), target).findings == ()


def test_the_wrong_axis_really_gives_wrong_results() -> None:
    """What lint calls an error: equal lengths along both axes fuse, and are not the same."""
    model = made(FAULTS["weight along the wrong axis"])
    weights = model.graph.initializers
    scales = np.linspace(0.002, 0.02, 8).astype(np.float32)
    weights["ws"].const_value = ir.tensor(scales, name="ws")
    weights["bs"].const_value = ir.tensor(np.float32(0.02) * scales, name="bs")
    feed = {k: v * np.float32(0.5) for k, v in feeds_for(model).items()}
    plain, fused = run(model, feed, "off")["y"], run(model, feed, "all")["y"]
    assert (plain != fused).mean() > 0.2
