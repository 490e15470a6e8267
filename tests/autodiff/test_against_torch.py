"""Gradients against torch autograd in double precision; only where torch is installed.

pip install -e '.[test,reference]'
python -m pytest tests/autodiff/test_against_torch.py
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.autodiff.specialize import specialize
from onnxq.autodiff.vjp import vjp
from onnxq.graph.io import load
from onnxq.graph.query import heavy
from onnxq.manager import PassManager
from onnxq.passes.rewrite.normalize import normalize_passes, repair_passes
from onnxq.runtime.probe import probe_feed
from tests.autodiff.checking import cotangents_for, gradients
from tests.passes.rewrite.building import build
from tests.support import feeds_for

torch = pytest.importorskip("torch")

from tests.autodiff.torch_runner import torch_gradients  # noqa: E402 (needs torch)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import onnx_ir as ir

MODELS = Path(__file__).resolve().parents[2] / "models"

OPERATORS = {
    "Conv, padded": "y = Conv<pads=[1,0,1,2]>(x, w)",
    "Conv, strides": "y = Conv<strides=[2,3]>(x, w)",
    "Conv, dilations": "y = Conv<dilations=[2,1]>(x, w)",
    "Conv, depthwise": "v = Conv(x, w) y = Conv<group=4>(v, u)",
    "ConvTranspose": "y = ConvTranspose<strides=[2,2], output_padding=[1,0]>(x, t)",
    "MaxPool": "r = Relu(x) y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(r)",
    "AveragePool": "y = AveragePool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)",
    "Softmax": "y = Softmax<axis=1>(x)",
    "Gelu": "y = Gelu(x)",
    "HardSwish": "y = HardSwish(x)",
    "Elu": "y = Elu(x)",
    "LeakyRelu": "y = LeakyRelu(x)",
}
WEIGHTS = {"w": (4, 3, 3, 3), "u": (4, 1, 3, 2), "t": (3, 2, 3, 3)}


def assert_as_torch(
    model: ir.Model, feeds: Mapping[str, npt.NDArray[Any]], wrt: list[str], tolerance: float
) -> None:
    """Asserts equal gradients, relative to each one's largest element."""
    found = vjp(model, wrt, feeds)
    given = cotangents_for(found)
    got = gradients(found, {**feeds, **given})
    special = specialize(model, feeds, variables=wrt)
    by_output = {output: given[name] for output, name in found.cotangents.items()}
    wanted = torch_gradients(special, feeds, wrt, by_output)
    for name in wrt:
        bound = tolerance * float(np.abs(wanted[name]).max())
        np.testing.assert_allclose(got[name], wanted[name], rtol=0, atol=bound, err_msg=name)


@pytest.mark.parametrize("case", OPERATORS)
def test_an_operator(case: str) -> None:
    rng = np.random.default_rng(0)
    used = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in WEIGHTS.items()
        if f" {name})" in OPERATORS[case]
    }
    inputs = "".join(f", float{list(array.shape)} {name}" for name, array in used.items())
    model = build(f"f (float[2,3,9,8] x{inputs}) => (float[] y) {{ {OPERATORS[case]} }}", **used)

    assert_as_torch(model, feeds_for(model), ["x", *used], 1e-5)


SMOOTH = ["Tanh", "Sigmoid", "Gelu", "Elu"]


@pytest.mark.parametrize("seed", range(8))
def test_a_random_network(seed: int) -> None:
    """Convolutions of random form with residuals, a Concat and a Gemm at the end."""
    rng = np.random.default_rng(seed)
    lines, weights, last, channels = [], {}, "x", 3
    for i in range(5):
        group = int(rng.choice([1, channels]))
        out = channels if group > 1 else int(rng.integers(2, 7))
        size = int(rng.choice([1, 3]))
        stride = int(rng.choice([1, 1, 2]))
        name, pad = f"w{i}", size // 2
        shape = (out, channels // group, size, size)
        weights[name] = (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(
            np.float32
        )
        attributes = f"pads=[{pad},{pad},{pad},{pad}], strides=[{stride},{stride}], group={group}"
        lines.append(f"c{i} = Conv<{attributes}>({last}, {name}) a{i} = {rng.choice(SMOOTH)}(c{i})")
        if out == channels and stride == 1:
            lines.append(f"s{i} = Add({last}, a{i})")
            last = f"s{i}"
        else:
            lines.append(f"s{i} = Concat<axis=1>(a{i}, c{i})")
            last, out = f"s{i}", 2 * out
        channels = out
    weights["g"] = rng.standard_normal((channels, 4)).astype(np.float32)
    lines.append(f"p = GlobalAveragePool({last}) f = Flatten(p) y = Gemm(f, g)")
    inputs = "".join(f", float{list(array.shape)} {name}" for name, array in weights.items())
    model = build(
        f"f (float[2,3,16,16] x{inputs}) => (float[] y) {{ {' '.join(lines)} }}", **weights
    )

    assert_as_torch(model, feeds_for(model), ["x", *weights], 1e-5)


# onnxruntime's Sigmoid is exact to 1e-7 of 1, not of itself, which shows in the slope y (1 - y) of
# scores that are almost 0.
WHOLE = {"digits_mobilenetv2": 2e-5, "digits_vit": 2e-5, "digits_yolo": 1e-2}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_model(name: str) -> None:
    model = load(MODELS / f"{name}.onnx")
    for rewrite in repair_passes():
        rewrite(model)
    model = PassManager().rewrite(model, normalize_passes())
    feeds = probe_feed(model)
    layers = [node for node in model.graph if heavy(node)]
    wrt = [*dict.fromkeys(str(value.name) for node in layers if (value := node.inputs[1])), *feeds]

    assert_as_torch(model, feeds, wrt, WHOLE[name])
