"""Proof of a result: its outputs against the float model's, its kernels, its speed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.report.result import Agreement, Fidelity, HeavyLayer, Latency
from onnxq.runtime.benchmark import interleaved_latency
from onnxq.runtime.compare import SqnrSum
from onnxq.runtime.kernels import integer_share
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    Feed = Mapping[str, npt.NDArray[Any]]

__all__ = ["fidelity", "heavy_layers", "latency"]

_BUDGET_S = 0.6


def _is_scores(output: npt.NDArray[Any]) -> bool:
    """Class scores: two or more along axis 1, and nothing else but the batch."""
    return output.ndim >= 2 and output.shape[1] >= 2 and math.prod(output.shape[2:]) == 1


def fidelity(
    real: ir.Model,
    quantized: ir.Model,
    feeds: Iterable[Feed],
    *,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Fidelity:
    """Compares the outputs on samples, both models with all of onnxruntime's optimizations.

    Args:
        real: The float model.
        quantized: The model made from it; inputs and outputs of the same names.
        feeds: Held-out samples.
        threads: Threads inside an operator.
        progress: Called with the number of samples done.

    Returns:
        SQNR of every float output, and top-1 agreement if the one output holds class scores.
    """
    first = make_session(real, threads=threads)
    second = make_session(quantized, threads=threads)
    noises: dict[str, SqnrSum] = {}
    samples = equal = answers = 0
    for feed in feeds:
        wanted, found = first.run(feed), second.run(feed)
        samples += 1
        for name, array in wanted.items():
            same_form = isinstance(array, np.ndarray) and array.shape == found[name].shape
            if same_form and array.dtype.kind == "f":
                noises.setdefault(name, SqnrSum()).add(array, found[name])
        scores = next(iter(wanted.values()))
        if len(wanted) == 1 and isinstance(scores, np.ndarray) and _is_scores(scores):
            tops = [a.reshape(a.shape[0], -1).argmax(axis=1) for a in (scores, *found.values())]
            equal += int((tops[0] == tops[1]).sum())
            answers += tops[0].size
        if progress is not None:
            progress(samples)
    agreement = Agreement.of(equal, answers) if answers else None
    return Fidelity({name: noise.decibels for name, noise in noises.items()}, agreement, samples)


def latency(real: ir.Model, quantized: ir.Model, feed: Feed) -> Latency:
    """Returns the times of both models on one thread, measured in turn."""
    found = interleaved_latency(real, quantized, feed, threads=1, budget_s=_BUDGET_S)
    return Latency(found.first_ms, found.second_ms, found.speedup, found.low, found.high)


def heavy_layers(quantized: ir.Model, feed: Feed) -> tuple[HeavyLayer, ...]:
    """Returns the heavy kernels that onnxruntime really ran on ``feed``, in their order."""
    nodes = integer_share(quantized, feed).nodes
    return tuple(HeavyLayer(n.name, n.op, n.macs, n.integer) for n in nodes)
