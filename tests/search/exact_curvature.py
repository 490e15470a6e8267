"""A small network and the exact curvature of its loss, from one backward pass per output entry."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.autodiff.vjp import vjp
from onnxq.runtime.session import make_session
from onnxq.tasks.classification_loss import ClassificationLoss
from tests.passes.rewrite.building import build
from tests.support import run

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[Any]

__all__ = ["CLASSES", "LAYERS", "LOSS", "batches", "exact", "network"]

CLASSES = 5
CHANNELS = [3, 8, 8, 6, 12, 12, 4, 10, 6]
LAYERS = [*(f"w{i}" for i in range(len(CHANNELS) - 1)), "g"]
LOSS = ClassificationLoss("y")


def network(samples: int = 4) -> ir.Model:
    """Eight convolutions, one of them depthwise, with a residual, and a Gemm."""
    rng = np.random.default_rng(7)
    lines, weights, last = [], {}, "x"
    for i, (into, out) in enumerate(pairwise(CHANNELS)):
        size = 3 if i % 2 else 1
        group = into if i == 4 else 1
        shape = (out, into // group, size, size)
        weights[f"w{i}"] = rng.standard_normal(shape) * (1.5 / np.sqrt(np.prod(shape[1:])))
        pad = size // 2
        attributes = f"pads=[{pad},{pad},{pad},{pad}], group={group}"
        lines.append(f"c{i} = Conv<{attributes}>({last}, w{i}) a{i} = Relu(c{i})")
        last = f"a{i}"
        if i == 1:
            lines.append("s = Add(a0, a1)")
            last = "s"
    weights["g"] = rng.standard_normal((CHANNELS[-1], CLASSES)) / 2
    lines.append(f"p = GlobalAveragePool({last}) f = Flatten(p) y = Gemm(f, g)")
    inputs = "".join(f", float{list(array.shape)} {name}" for name, array in weights.items())
    text = f"f (float[{samples},3,6,6] x{inputs}) => (float[{samples},{CLASSES}] y)"
    return build(f"{text} {{ {' '.join(lines)} }}", **weights)


def batches(count: int, samples: int = 4) -> list[dict[str, Array]]:
    rng = np.random.default_rng(3)
    return [{"x": rng.standard_normal((samples, 3, 6, 6)).astype(np.float32)} for _ in range(count)]


def exact(model: ir.Model, feeds: list[dict[str, Array]], names: list[str]) -> dict[str, Array]:
    """Value name → H of the mean loss, [size, size], float64."""
    found = vjp(model, names, feeds[0])
    session = make_session(found.model)
    curvatures: dict[str, Array] = {}
    for feed in feeds:
        logits = run(model, feed)["y"].astype(np.float64)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        for sample, row in enumerate(p):
            slopes: dict[str, list[Array]] = {name: [] for name in names}
            for c in range(CLASSES):
                d = np.zeros(logits.shape, np.float32)
                d[sample, c] = 1
                results = session.run({**feed, found.cotangents["y"]: d})
                for name in names:
                    flat = results[found.gradients[name]].reshape(-1).astype(np.float64)
                    slopes[name].append(flat)
            for name in names:
                j = np.stack(slopes[name])
                part = j.T @ (np.diag(row) - np.outer(row, row)) @ j / (len(p) * len(feeds))
                curvatures[name] = curvatures.get(name, 0) + part
    return curvatures
