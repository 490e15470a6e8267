"""Whole models: those that the project ships, and the light ones of the onnx package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxq.autodiff.vjp import vjp
from onnxq.graph.io import load
from onnxq.graph.query import heavy, shape_of
from onnxq.manager import PassManager
from onnxq.passes.rewrite.normalize import normalize_passes, repair_passes
from onnxq.runtime.probe import probe_feed
from tests.autodiff.checking import cotangents_for, gradients
from tools.light_models import FOLDER, fill

if TYPE_CHECKING:
    from onnxq.autodiff.vjp import Differentiated

MODELS = Path(__file__).resolve().parents[2] / "models"


def normalized(model: ir.Model) -> ir.Model:
    for rewrite in repair_passes():
        rewrite(model)
    return PassManager().rewrite(model, normalize_passes())


def weights_of(model: ir.Model) -> list[str]:
    layers = [node for node in model.graph if heavy(node)]
    return list(dict.fromkeys(str(value.name) for node in layers if (value := node.inputs[1])))


def assert_finite(found: Differentiated, model: ir.Model) -> None:
    got = gradients(found, {**probe_feed(model), **cotangents_for(found)})
    assert all(np.isfinite(gradient).all() for gradient in got.values())
    assert all(gradient.any() for gradient in got.values())


@pytest.mark.parametrize("name", ["digits_mobilenetv2", "digits_vit", "digits_yolo"])
def test_every_layer_of_a_shipped_model_has_a_gradient(name: str) -> None:
    model = normalized(load(MODELS / f"{name}.onnx"))
    inputs = [str(value.name) for value in model.graph.inputs]

    found = vjp(model, [*weights_of(model), *inputs])

    assert_finite(found, model)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(FOLDER.glob("light_*.onnx")), ids=lambda path: path.stem)
def test_every_convolution_of_a_light_model_has_a_gradient(path: Path) -> None:
    proto = onnx.load(path)
    fill(proto)
    model = normalized(ir.from_proto(proto))
    last = model.graph.outputs[0].producer()
    # Softmax of filled weights is 1 and 0, where it is flat
    outputs = (
        [str(last.inputs[0].name)]
        if last and last.op_type == "Softmax" and last.inputs[0]
        else None
    )

    # the gradients of the large matrices take gigabytes
    shapes = {name: shape_of(value) or () for name, value in model.graph.initializers.items()}
    filters = [name for name in weights_of(model) if len(shapes[name]) > 2]

    found = vjp(model, filters, outputs=outputs)

    assert_finite(found, model)
