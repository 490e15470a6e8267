"""Proof of a result: its outputs against the float model's, its kernels, its speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnxq.report.result import Fidelity, HeavyLayer, Latency
from onnxq.runtime.ahead import ahead
from onnxq.runtime.benchmark import interleaved_latency
from onnxq.runtime.kernels import integer_share
from onnxq.runtime.session import CPU, make_session
from onnxq.tasks.recognize import check_outputs, recognize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.tasks.base import Outputs, Overrides, Task

    Feed = Mapping[str, npt.NDArray[Any]]

__all__ = ["TASK_PROBES", "fidelity", "heavy_layers", "latency", "recognized_task"]

TASK_PROBES = 4
"""Samples on which the task is recognized."""

_BUDGET_S = 0.6


def recognized_task(
    real: ir.Model, feeds: Iterable[Feed], overrides: Overrides, *, threads: int = 1
) -> Task:
    """Returns the task of a model by its outputs on a few samples.

    Args:
        real: The float model.
        feeds: The samples; none leaves the shapes to judge by.
        overrides: What the user says.
        threads: Threads inside an operator.

    Raises:
        ConfigError: The outputs are not what the user says.
    """
    check_outputs(real, overrides)
    given = list(feeds)
    probes: list[Outputs] = []
    if given:
        session = make_session(real, threads=threads)
        probes = [session.run(feed) for feed in given]
    pictures = (array.shape for feed in given[:1] for array in feed.values() if array.ndim == 4)
    return recognize(real, probes, next(pictures, None), overrides)


def fidelity(  # noqa: PLR0913 (three of the six are named at the call)
    real: ir.Model,
    quantized: ir.Model,
    feeds: Iterable[Feed],
    *,
    task: Task,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
    provider: str = CPU,
) -> Fidelity:
    """Compares the outputs on samples, both models with all of onnxruntime's optimizations.

    The float model runs on the CPU whatever the provider, so that what a provider does wrong to
    both shows.

    Args:
        real: The float model.
        quantized: The model made from it; inputs and outputs of the same names.
        feeds: Held-out samples.
        task: What the outputs mean.
        threads: Threads inside an operator.
        progress: Called with the number of samples done.
        provider: Execution provider of the quantized model.

    Returns:
        SQNR of every float output, and what the task measures.
    """
    first = make_session(real, threads=threads, spin=False)
    second = make_session(quantized, threads=threads, spin=False, provider=provider)
    comparison, samples = task.comparison(), 0
    runs = ahead(lambda feed: (first.run(feed), second.run(feed)), feeds, progress=progress)
    for outputs in runs:
        comparison.add(*outputs)
        samples += 1
    return Fidelity.of(comparison.fidelity(), task, samples)


def latency(real: ir.Model, quantized: ir.Model, feed: Feed, provider: str = CPU) -> Latency:
    """Returns the times of both models on one thread, measured in turn on a provider."""
    found = interleaved_latency(
        real, quantized, feed, threads=1, budget_s=_BUDGET_S, provider=provider
    )
    return Latency(found.first_ms, found.second_ms, found.speedup, found.low, found.high)


def heavy_layers(quantized: ir.Model, feed: Feed) -> tuple[HeavyLayer, ...]:
    """Returns the heavy kernels that onnxruntime really ran on ``feed``, in their order."""
    nodes = integer_share(quantized, feed).nodes
    return tuple(HeavyLayer(n.name, n.op, n.macs, n.integer) for n in nodes)
