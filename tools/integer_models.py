"""Measures integer-only models: the proof, the same bits everywhere, agreement with the QDQ form.

    python -m tools.integer_models --tasks bench/tasks.py --table integer.md

Both forms come from one plan. Codes at the borders, where DequantizeLinear reads them, are compared
bit for bit: onnxruntime at its four levels of optimization, on one thread and on two, and numpy
(``onnxq.reference``). Agreement is of top-1, or F1 of boxes, on the labelled samples. How far the
QDQ form agrees with itself, run without optimizations, bounds what can be asked for there.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import onnx
import onnxruntime as ort

import onnxq
from onnxq import reference
from onnxq.graph.io import load
from onnxq.graph.spec_integer import prove_integer
from onnxq.numerics.sqnr import SqnrSum
from tools.models.evaluate import open_session
from tools.study.cases import cases_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from tools.study.case import Case

    Feeds = Sequence[dict[str, npt.NDArray[Any]]]

LEVELS = (
    ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
)
THREADS = (1, 2)


class Row(NamedTuple):
    """What was measured of one model.

    Attributes:
        case: The model.
        nodes: Number of nodes between the borders; negative if the proof fails.
        codes: Numbers at the borders that were compared, of all images.
        different: How many of them differ in any session from the first one.
        wrong: How many of them numpy computes otherwise.
        agreement: With the QDQ form on the labelled samples, in percent.
        own: That of the QDQ form with itself, unoptimized.
        sqnr: Of the worst output against the QDQ form, in dB.
        metrics: Percent of the float model, the QDQ form and the integer-only one.
    """

    case: str
    nodes: int
    codes: int
    different: int
    wrong: int
    agreement: float
    own: float
    sqnr: float
    metrics: tuple[float, float, float]

    def line(self) -> str:
        """Returns a line of the table."""
        metric = " / ".join(f"{value:.2f}" for value in self.metrics)
        return (
            f"| {self.case} | {self.nodes} | {self.codes} | {self.different} | {self.wrong} "
            f"| {self.agreement:.2f} % | {self.own:.2f} % | {self.sqnr:.1f} | {metric} |"
        )


HEAD = (
    "| model | nodes proven | codes compared | differ between sessions | differ from numpy "
    "| agreement with QDQ | of QDQ with itself | SQNR to QDQ, dB "
    "| metric: float / QDQ / integer |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def measure(case: Case, samples: int, images: int) -> Row:
    """Optimizes one model in both forms and compares them.

    Args:
        case: The model, with its data.
        samples: Calibration samples.
        images: How many samples to compare bits on.
    """
    data = case.calibration(0, samples)
    feeds = [{k: a[i : i + 1] for k, a in data.items()} for i in range(min(images, samples))]
    with tempfile.TemporaryDirectory() as folder:
        integer, qdq, plan = (Path(folder) / name for name in ("i.onnx", "q.onnx", "plan.json"))
        options: dict[str, Any] = {"threads": 1}
        onnxq.optimize(
            case.model, data, format="integer", save_plan=plan, output=integer, **options
        )
        onnxq.optimize(case.model, data, target="integer", plan=plan, output=qdq, **options)
        proof = prove_integer(load(integer))
        found, held = case.find(integer), case.find(qdq)
        return Row(
            case.name,
            -1 if proof.violations else proof.nodes,
            *_bits(integer, feeds),
            case.agreement(held, found),
            case.agreement(held, case.find(qdq, optimize=False)),
            _worst_sqnr(qdq, integer, feeds),
            (case.base.metric, held.metric, found.metric),
        )


def _bits(model: Path, feeds: Feeds) -> tuple[int, int, int]:
    """Returns how many codes there are at the borders, and how many differ, and from numpy."""
    cut = cut_at_borders(onnx.load(model))
    names = [value.name for value in cut.graph.output]
    first: list[npt.NDArray[Any]] | None = None
    different = wrong = 0
    for level, threads in itertools.product(LEVELS, THREADS):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = ort.InferenceSession(
            cut.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = [array for feed in feeds for array in session.run(names, feed)]
        if first is None:
            first = found
        different += _unequal(first, found)
    assert first is not None, "there are sessions"
    for i, feed in enumerate(feeds):
        exact = reference.run(cut, feed, outputs=names)
        part = first[i * len(names) : (i + 1) * len(names)]
        wrong += _unequal(part, [exact[name] for name in names])
    return sum(array.size for array in first), different, wrong


def cut_at_borders(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model that ends in the codes which DequantizeLinear reads."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    read = [n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"]
    names = [name for name in dict.fromkeys(read) if name not in weights]
    needed, kept = set(names), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:], graph.output[:]
    graph.node.extend(reversed(kept))
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return model


def _unequal(some: list[npt.NDArray[Any]], others: list[npt.NDArray[Any]]) -> int:
    return sum(int((a != b).sum()) for a, b in zip(some, others, strict=True))


def _worst_sqnr(wanted: Path, found: Path, feeds: Feeds) -> float:
    real, other = open_session(wanted), open_session(found)
    sums = [SqnrSum() for _ in real.get_outputs()]
    for feed in feeds:
        for each, a, b in zip(sums, real.run(None, feed), other.run(None, feed), strict=True):
            each.add(a, b)
    return min(each.decibels for each in sums)


def main() -> None:
    """Parses the command line, measures and writes the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=Path, help="Python file with more cases")
    parser.add_argument("--case", action="append", default=[], help="repeatable; default: all")
    parser.add_argument("--samples", type=int, default=64, help="calibration samples")
    parser.add_argument("--images", type=int, default=16, help="samples to compare bits on")
    parser.add_argument("--table", type=Path, help="Markdown table to write")
    given = parser.parse_args()
    lines = [HEAD]
    for case in cases_of(given.tasks, given.case):
        lines.append(measure(case, given.samples, given.images).line())
        sys.stdout.write(lines[-1] + "\n")
        sys.stdout.flush()
    if given.table is not None:
        given.table.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
