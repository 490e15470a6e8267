"""The quadratic form of a layer's moments is the error of its outputs."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph.edit import set_weight
from onnxq.graph.weight_rows import to_rows
from onnxq.numerics.rounding import output_error
from onnxq.passes.plan.assign_integers import AssignIntegers
from onnxq.plan.target import load_target
from onnxq.runtime.session import run_model
from onnxq.search.coded_layer import CodedLayer, coded_layer
from onnxq.search.layer_moments import layer_moments
from tests.passes.plan.planning import build, context_for, plan_for
from tests.passes.rewrite.building import rng_weight


@pytest.mark.parametrize(
    ("call", "weight", "shape"),
    [
        ("Conv <pads = [1, 1, 1, 1], strides = [2, 2], group = 2>", (6, 2, 3, 3), (1, 4, 9, 8)),
        ("ConvTranspose <pads = [1, 1, 1, 1]>", (4, 6, 3, 3), (1, 4, 6, 5)),
        (
            "ConvTranspose <strides = [2, 2], pads = [1, 0, 1, 0], output_padding = [1, 1]>",
            (4, 6, 3, 3),
            (1, 4, 6, 5),
        ),
        ("ConvTranspose <strides = [2, 2], group = 2>", (4, 3, 4, 4), (1, 4, 6, 5)),
        ("ConvTranspose <strides = [2, 2], group = 4>", (4, 1, 2, 2), (1, 4, 6, 5)),
        ("Gemm", (4, 6), (7, 4)),
        ("MatMul", (4, 6), (3, 5, 4)),
    ],
)
def test_the_quadratic_form_is_the_error_of_the_outputs(
    call: str, weight: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    sizes, own = (",".join(map(str, numbers)) for numbers in (shape, weight))
    model = build(
        f"""f (float[{sizes}] x, float[{own}] w) => (float[{",".join("abcde"[: len(shape)])}] y) {{
        y = {call} (x, w) }}""",
        w=rng_weight(*weight),
    )
    samples = [rng_weight(*shape, seed=seed) for seed in range(5)]
    context = context_for(model, load_target("qnn"), [{"x": x} for x in samples])
    layer = coded_layer(model.graph[0], plan_for(context, AssignIntegers(weight_bits=4)))
    assert isinstance(layer, CodedLayer)
    change = rng_weight(*weight, seed=1)

    hessian, _ = layer_moments(layer, samples, samples, 0).matrices(centred=False)
    rows = to_rows(layer.node, layer.weight)
    found = output_error(rows + to_rows(layer.node, change), rows, hessian)

    changed = model.clone()
    set_weight(changed.graph.initializers["w"], layer.weight + change)
    pairs = [[run_model(m, {"x": x}, None)["y"] for m in (model, changed)] for x in samples]
    squares = np.square(np.concatenate([second - first for first, second in pairs]))
    axis = 1 if "Conv" in call else -1
    wanted = np.moveaxis(squares, axis, 0).reshape(found.size, -1).mean(axis=1)
    np.testing.assert_allclose(found.reshape(-1), wanted, rtol=1e-3)
