"""The random networks are of the size of those whose names they have."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tools.rounding_times import NETWORKS, samples


@pytest.mark.parametrize(
    ("name", "millions", "layers"), [("resnet18", 11.68, 21), ("mobilenetv2", 3.47, 53)]
)
def test_networks_have_the_weights_of_their_models(name: str, millions: float, layers: int) -> None:
    model = NETWORKS[name](64)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type in ("Conv", "Gemm") for node in model.graph.node].count(True) == layers
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) > 1]
    count = sum(int(np.prod(tensor.dims)) for tensor in weights)
    assert count / 1e6 == pytest.approx(millions, abs=0.01)


def test_samples_are_pictures_of_the_size() -> None:
    pictures = samples(20, 3)
    assert pictures.shape == (3, 3, 20, 20)
    assert pictures.dtype == np.float32
    assert np.isfinite(pictures).all()
