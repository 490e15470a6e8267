"""A result of a thousand nodes, for what has to work at that size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.numerics.statistics import Stats, ValueStats
from onnxq.plan.quant_plan import QuantPlan
from onnxq.report.evidence import Evidence, LayerError
from onnxq.report.result import HeavyLayer
from tests.passes.rewrite.building import build
from tests.report.page.evidence import planned
from tests.report.samples import sample_result

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.report.result import Result

__all__ = ["deep_result"]

_BLOCKS = 250


def deep_result() -> Result:
    """Returns a result whose report has a row, a box and a histogram for each of the nodes."""
    rng = np.random.default_rng(1)
    model = _deep_model()
    values = [str(node.outputs[0].name) for node in model.graph]
    float_nodes = {str(node.name): "for a change" for node in list(model.graph)[400:440]}
    quantized = dict.fromkeys(["x", *values[:400], *values[440:]], planned(0.02, 128))
    seen = ValueStats.of(rng.normal(size=4096))
    errors = [
        LayerError(str(node.name), value, 40 - place / 50, 45 + float(rng.normal()))
        for place, (node, value) in enumerate(zip(model.graph, values, strict=True))
    ]
    evidence = Evidence(
        model=model,
        shapes=dict.fromkeys(values, (1, 4, 8, 8)),
        stats=Stats(dict.fromkeys(quantized, seen), 8),
        layers=tuple(errors),
    )
    plan = QuantPlan(values=quantized, float_nodes=float_nodes)
    heavy = tuple(
        HeavyLayer(str(node.name), "QLinearConv", 9216, integer=str(node.name) not in float_nodes)
        for node in model.graph
        if node.op_type == "Conv"
    )
    return sample_result(plan=plan, evidence=evidence, heavy=heavy)


def _deep_model() -> ir.Model:
    """Residual blocks of four nodes each: Conv, Relu, Conv, Add."""
    weight = np.zeros((4, 4, 3, 3), np.float32)
    lines, x = [], "x"
    for i in range(_BLOCKS):
        out = "y" if i == _BLOCKS - 1 else f"x{i}"
        lines += [
            f"a{i} = Conv<pads=[1,1,1,1]>({x}, w)",
            f"r{i} = Relu(a{i})",
            f"b{i} = Conv<pads=[1,1,1,1]>(r{i}, w)",
            f"{out} = Add(b{i}, {x})",
        ]
        x = out
    body = "\n".join(lines)
    text = f"f (float[1,4,8,8] x, float[4,4,3,3] w) => (float[1,4,8,8] y) {{ {body} }}"
    return build(text, w=weight)
