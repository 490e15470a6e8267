"""How long each kernel takes, as onnxruntime's profile tells it."""

from __future__ import annotations

import json
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxq.runtime.session import CPU, Trace, make_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from onnxq.runtime.session import Feed, ModelLike

    Event = dict[str, Any]

__all__ = [
    "KERNEL_SUFFIX",
    "KernelTime",
    "OperatorTime",
    "kernel_times",
    "kernels_of",
    "operator_times",
    "profiled",
    "times_in",
]

KERNEL_SUFFIX = "_kernel_time"
"""What a profile appends to the name of a node."""


@dataclass(frozen=True, slots=True)
class KernelTime:
    """How long one node of the optimized graph takes.

    Attributes:
        name: The node.
        op: Kernel that ran.
        microseconds: Of one run, median over the runs, wall time. What the nodes of its subgraphs
            take is theirs, and nodes in a loop count as often as they run.
    """

    name: str
    op: str
    microseconds: float


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """How long all kernels of one operator take.

    Attributes:
        op: The operator.
        kernels: Number of nodes of the optimized graph.
        milliseconds: Of one run.
        share: Part of the time that all kernels take, in [0, 1].
    """

    op: str
    kernels: int
    milliseconds: float
    share: float


def kernel_times(
    model: ModelLike, feeds: Feed, *, runs: int = 10, threads: int = 1, provider: str = CPU
) -> list[KernelTime]:
    """Returns the time of every kernel that runs in ``model``, with all optimizations.

    Args:
        model: As for :func:`onnxq.runtime.session.make_session`.
        feeds: Input name → array.
        runs: How often to run, at least 2; the first run does not count.
        threads: Threads inside an operator.
        provider: Execution provider.

    Raises:
        ModelError: onnxruntime refuses the model or the feeds.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        session = make_session(model, trace=Trace(Path(folder)), threads=threads, provider=provider)
        for _ in range(runs):
            session.run(feeds)
        return times_in(_read(session.end_profiling()))


def operator_times(kernels: Iterable[KernelTime]) -> list[OperatorTime]:
    """Sums the times of kernels by operator, the longest first."""
    spent: dict[str, list[float]] = {}
    for kernel in kernels:
        spent.setdefault(kernel.op, []).append(kernel.microseconds)
    total = sum(map(sum, spent.values()))
    rows = [
        OperatorTime(op, len(times), sum(times) / 1000, sum(times) / total if total else 0.0)
        for op, times in spent.items()
    ]
    return sorted(rows, key=lambda row: (-row.milliseconds, row.op))


def times_in(events: Sequence[Event]) -> list[KernelTime]:
    """Returns the times in a profile of at least two runs; the first run does not count."""
    spans = sorted(
        (event["ts"], event["ts"] + event["dur"])
        for event in events
        if event.get("name") == "model_run"
    )
    kernels = kernels_of(events)
    spent: dict[tuple[str, str], list[float]] = {}
    for run, (start, end) in enumerate(spans):
        inside = [event for event in kernels if start <= event["ts"] <= end]
        for event, own in _own_times(inside):
            key = (event["name"].removesuffix(KERNEL_SUFFIX), event["args"]["op_name"])
            spent.setdefault(key, [0.0] * len(spans))[run] += own
    return [
        KernelTime(name, op, statistics.median(times[1:])) for (name, op), times in spent.items()
    ]


def profiled(model: ModelLike, feeds: Feed, trace: Trace) -> list[Event]:
    """Runs ``model`` once, with all optimizations, and returns the events of its profile.

    Args:
        model: As for :func:`onnxq.runtime.session.make_session`.
        feeds: Input name → array.
        trace: Where the profile goes.

    Raises:
        ModelError: onnxruntime refuses the model or the feeds.
    """
    session = make_session(model, trace=trace)
    session.run(feeds)
    return _read(session.end_profiling())


def kernels_of(events: Iterable[Event]) -> list[Event]:
    """Returns the events that are runs of a kernel."""
    return [
        event
        for event in events
        if event.get("name", "").endswith(KERNEL_SUFFIX) and "op_name" in event.get("args", {})
    ]


def _read(path: Path) -> list[Event]:
    events: list[Event] = json.loads(path.read_text(encoding="utf-8"))
    return events


def _own_times(events: list[Event]) -> Iterator[tuple[Event, float]]:
    """Yields kernels' events and their durations without those of the kernels inside them."""
    own = [float(event["dur"]) for event in events]
    ends = [event["ts"] + event["dur"] for event in events]
    around: list[int] = []
    for i in sorted(range(len(events)), key=lambda i: (events[i]["ts"], -events[i]["dur"])):
        while around and ends[i] > ends[around[-1]]:
            around.pop()
        if around:
            own[around[-1]] -= events[i]["dur"]
        around.append(i)
    yield from ((event, max(0.0, rest)) for event, rest in zip(events, own, strict=True))
