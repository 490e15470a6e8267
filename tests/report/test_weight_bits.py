from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, QuantSpec
from onnxq.report.json_report import json_report
from onnxq.report.summary import facts
from onnxq.report.weight_bits import LayerWeight, layer_weights, weights_text
from tests.passes.rewrite.building import build, rng_weight
from tests.report.samples import sample_result


def coded(dtype: str) -> ValuePlan:
    return ValuePlan(QuantSpec(IntType.parse(dtype), True, PerAxis(0)))


@pytest.mark.parametrize(("opset", "stored"), [(21, 4), (25, 2)])
def test_every_layer_with_its_bits(opset: int, stored: int) -> None:
    source = build(
        """f (float[1,4,8,8] x, float[6,4,3,3] w, float[6,6,1,1] u, float[6,6,1,1] v) =>
            (float[1,6,M,N] y) { a = Conv(x, w) b = Relu(a) c = Conv(b, u) y = Conv(c, v) }""",
        w=rng_weight(6, 4, 3, 3), u=rng_weight(6, 6, 1, 1), v=rng_weight(6, 6, 1, 1),
    )  # fmt: skip
    source.graph.opset_imports[""] = opset
    plan = QuantPlan(
        {"w": coded("int2"), "v": coded("int4")},
        uses={Use("node_c", 1): coded("int8")},
        float_nodes={"node_c": "too dear", "node_y": "asked for"},
    )
    assert layer_weights(source, plan) == (
        LayerWeight("node_a", "Conv", 216, 2, stored),
        LayerWeight("node_c", "Conv", 36, 8, 8),
        LayerWeight("node_y", "Conv", 36, 32, 32),
    )


def test_forms_that_do_not_pack_store_eight_bits() -> None:
    source = build(
        "f (float[1,4,8,8] x, float[6,4,3,3] w) => (float[1,6,M,N] y) { y = Conv(x, w) }",
        w=rng_weight(6, 4, 3, 3),
    )
    found = layer_weights(source, QuantPlan({"w": coded("int2")}), packed=False)
    assert found == (LayerWeight("node_y", "Conv", 216, 2, 8),)
    assert weights_text(found) == ("2 bits", "1 layer; 8 bits a weight in the file, 2 in 8")


def layers(*bits: tuple[int, int]) -> tuple[LayerWeight, ...]:
    return tuple(LayerWeight(f"n{i}", "Conv", 100, *pair) for i, pair in enumerate(bits))


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (layers((4, 4), (4, 4)), ("4 bits", "2 layers; 4 bits a weight in the file")),
        (
            layers((4, 4), (8, 8), (32, 32)),
            ("4 bits", "1 layer, 1 with 8, 1 float; 15 bits a weight in the file"),
        ),
        (layers((3, 4)), ("3 bits", "1 layer; 4 bits a weight in the file, 3 in 4")),
        (
            layers((2, 4)),
            (
                "2 bits",
                "1 layer; 4 bits a weight in the file, 2 in 4 (--opset 25 stores them as they are)",
            ),
        ),
        (layers((2, 2)), ("2 bits", "1 layer; 2 bits a weight in the file")),
        (layers((8, 8), (32, 32)), None),
        ((), None),
    ],
)
def test_what_weights_take(weights: tuple[LayerWeight, ...], told: tuple[str, str] | None) -> None:
    assert weights_text(weights) == told


def test_reports_tell_the_bits() -> None:
    result = sample_result(weights=layers((4, 4), (8, 8)))
    told = next(fact for fact in facts(result) if fact.label == "weights")
    assert told.value == "4 bits"
    assert json.loads(json_report(result))["weights"] == [asdict(w) for w in result.weights]
    assert np.all([fact.label != "weights" for fact in facts(sample_result())])
