"""What the emitted model takes, returns and leaves out; what is refused."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import onnxq.autodiff
from onnxq.autodiff.rules import FLAT, RULES
from onnxq.autodiff.vjp import vjp
from onnxq.errors import ModelError
from onnxq.graph.io import to_bytes
from tests.autodiff.checking import assert_gradients, cotangents_for, gradients
from tests.passes.rewrite.building import build, ops, rng_weight
from tests.support import feeds_for, run

CHAIN = (
    "f (float[N,4] x, float[4,4] u, float[4,4] v, float[4,2] w) => (float[N,2] y)"
    " { a = MatMul(x, u) b = Tanh(a) c = MatMul(b, v) d = Relu(c) y = MatMul(d, w) }"
)
WEIGHTS = {"u": rng_weight(4, 4), "v": rng_weight(4, 4, seed=1), "w": rng_weight(4, 2, seed=2)}
FEEDS = {"x": rng_weight(3, 4, seed=3)}


def test_outputs_come_first_and_unchanged() -> None:
    model = build(CHAIN, **WEIGHTS)
    found = vjp(model, ["u"], FEEDS)

    results = run(found.model, {**FEEDS, **cotangents_for(found)})

    assert list(results) == ["y", found.gradients["u"]]
    np.testing.assert_array_equal(results["y"], run(model, FEEDS)["y"])


def test_gradients_by_inputs_weights_and_values_within() -> None:
    assert_gradients(build(CHAIN, **WEIGHTS), ["x", "u", "b", "d", "w", "y"], FEEDS)


def test_the_model_stays_as_it_is() -> None:
    model = build(CHAIN, **WEIGHTS)
    before = ops(model)

    vjp(model, ["u"], FEEDS)

    assert ops(model) == before
    assert [value.name for value in model.graph.inputs] == ["x"]


def test_the_opset_is_the_models() -> None:
    model = build(CHAIN, **WEIGHTS)
    model.graph.opset_imports[""] = 19

    assert vjp(model, ["u"], FEEDS).model.graph.opset_imports == {"": 19}


def test_what_is_not_on_the_way_adds_nothing() -> None:
    whole, last = (len(vjp(build(CHAIN, **WEIGHTS), [w], FEEDS).model.graph) for w in ("u", "w"))

    assert last == len(build(CHAIN, **WEIGHTS).graph) + 2  # Transpose and MatMul
    assert whole > last + 4


def test_without_a_feed_open_dimensions_are_one() -> None:
    found = vjp(build(CHAIN, **WEIGHTS), ["w"])

    shapes = {value.name: list(value.shape or ()) for value in found.model.graph.inputs}

    assert shapes == {"x": [1, 4], "y_cotangent": [1, 2]}


def test_outputs_that_depend_on_nothing_asked_for_take_no_cotangent() -> None:
    text = "f (float[2] x, float[2] z) => (float[2] y, float[2] o) { y = Relu(x) o = Relu(z) }"

    found = vjp(build(text), ["x"])

    assert list(found.cotangents) == ["y"]
    assert [value.name for value in found.model.graph.outputs][:2] == ["y", "o"]


def test_what_the_outputs_do_not_depend_on_has_gradient_zero() -> None:
    text = "f (float[2] x, float[3] z) => (float[2] y) { y = Relu(x) }"
    found = vjp(build(text), ["z"])

    got = gradients(found, {"x": np.ones(2, np.float32), "z": np.ones(3, np.float32)})

    np.testing.assert_array_equal(got["z"], np.zeros(3))


def test_cotangents_of_several_outputs_add_up() -> None:
    text = "f (float[2] x) => (float[2] y, float[2] o) { y = Sin(x) o = Exp(y) }"

    assert_gradients(build(text), ["x"])


def test_the_gradient_by_an_output_is_its_cotangent() -> None:
    found = vjp(build("f (float[2] x) => (float[2] y) { y = Sin(x) }"), ["y", "x"])
    d = np.array([2, 3], np.float32)

    got = gradients(found, {"x": np.zeros(2, np.float32), found.cotangents["y"]: d})

    np.testing.assert_array_equal(got["y"], d)
    np.testing.assert_array_equal(got["x"], d)


def test_two_values_with_one_gradient() -> None:
    text = "f (float[2] a, float[2] b) => (float[2] y) { y = Add(a, b) }"

    assert_gradients(build(text), ["a", "b"])


def test_fed_weights_are_inputs() -> None:
    model = build(CHAIN, **WEIGHTS)
    found = vjp(model, ["u"], FEEDS, fed=["u"])
    given_arrays = cotangents_for(found)

    results = run(found.model, {**FEEDS, **given_arrays, "u": 2 * WEIGHTS["u"]})

    doubled = {**WEIGHTS, "u": 2 * WEIGHTS["u"]}
    wanted = run(build(CHAIN, **doubled), FEEDS)["y"]
    np.testing.assert_allclose(results["y"], wanted, rtol=1e-6)


def test_values_within_as_outputs_cut_the_rest_off() -> None:
    text = "f (float[1,8] x, int64[1] k) => (float[] y, int64[] i) { z = Sin(x) y, i = TopK(z, k) }"
    model = build(text, k=np.array([2]))

    found = vjp(model, ["x"], outputs=["z"])

    assert list(found.cotangents) == ["z"]
    assert "TopK" not in ops(found.model)


def test_an_operator_without_a_rule_is_named_with_its_node() -> None:
    text = "f (float[1,8] x, int64[1] k) => (float[] y, int64[] i) { z = Sin(x) y, i = TopK(z, k) }"

    with pytest.raises(ModelError, match=r"^node 'node_y' \(TopK\): there is no gradient rule"):
        vjp(build(text, k=np.array([2])), ["x"])


def test_an_operator_without_a_rule_does_not_matter_elsewhere() -> None:
    text = "f (float[8] x, float[8] b, int64[1] k) => (float[2] y)"
    model = build(f"{text} {{ t, i = TopK(x, k) u = Gather(b, i) y = Add(t, u) }}", k=np.array([2]))

    feeds = feeds_for(model)

    assert_gradients(model, ["b"], feeds)


def test_a_subgraph_on_the_way_is_refused() -> None:
    text = (
        "f (float[2] x, bool c) => (float[2] y) { y = If (c) <"
        " then_branch = g1 () => (float[2] a) { a = Sin(x) },"
        " else_branch = g2 () => (float[2] b) { b = Cos(x) }> }"
    )

    with pytest.raises(ModelError, match=r"\(If\): there is no gradient rule"):
        vjp(build(text), ["x"], {"x": np.ones(2, np.float32), "c": np.array(True)})


def test_an_operator_of_another_domain_is_refused() -> None:
    header = '<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]>'
    text = f"{header} f (float[2] x) => (float[2] y) {{ y = com.microsoft.QuickGelu(x) }}"

    with pytest.raises(ModelError, match="QuickGelu"):
        vjp(build(text), ["x"])


@pytest.mark.parametrize(
    ("wrt", "reason"), [("nothing", "'nothing' is no value"), ("k", "'k' holds no floats")]
)
def test_what_has_no_gradient_is_refused(wrt: str, reason: str) -> None:
    text = "f (float[4] x, int64[1] k) => (float[1] y) { y = Gather(x, k) }"

    with pytest.raises(ModelError, match=reason):
        vjp(build(text), [wrt], {"x": np.ones(4, np.float32), "k": np.array([1])})


def test_an_output_that_nothing_computes_is_refused() -> None:
    with pytest.raises(ModelError, match="'q'"):
        vjp(build(CHAIN, **WEIGHTS), ["u"], FEEDS, outputs=["q"])


def test_feeding_what_is_no_weight_is_refused() -> None:
    with pytest.raises(ModelError, match="'b' is no weight"):
        vjp(build(CHAIN, **WEIGHTS), ["u"], FEEDS, fed=["b"])


def test_an_old_opset_is_refused() -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> f (float[2] x) => (float[2] y) { y = Sin(x) }'

    with pytest.raises(ModelError, match="opset 18 or newer, but the model says 17"):
        vjp(build(text), ["x"])


def test_the_same_model_gives_the_same_graph() -> None:
    first, second = (
        to_bytes(vjp(build(CHAIN, **WEIGHTS), ["u", "v"], FEEDS).model) for _ in range(2)
    )

    assert first == second


def test_no_operator_has_a_rule_and_is_flat() -> None:
    assert not FLAT & set(RULES)


def test_all_that_rules_emit_has_a_rule_itself() -> None:
    emitted = set()
    for path in Path(onnxq.autodiff.__file__).parent.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                first = call.args[0] if call.args else None
                if call.func.attr in ("op", "ops", "mask") and isinstance(first, ast.Constant):
                    emitted.add(str(first.value))

    assert len(emitted) > 30
    assert emitted <= FLAT | set(RULES)
