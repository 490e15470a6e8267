"""Times a model, and the model with the gradients of its weights, in onnxruntime on this machine.

    python tools/gradient_times.py models/digits_mobilenetv2.onnx
    python tools/gradient_times.py model.onnx --threads 2 --slowest 8

One row per model: ms of the forward pass, of forward and backward by the input, and by all weights
of layers; the least of the repeats, taken in turn. ``--slowest`` adds the operators that take most
of the last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.autodiff.vjp import vjp
from onnxq.graph.io import load
from onnxq.graph.query import heavy, shape_of
from onnxq.manager import PassManager
from onnxq.passes.rewrite.normalize import normalize_passes, repair_passes
from onnxq.runtime.probe import probe_feed
from onnxq.runtime.session import Session, Trace, make_session

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.autodiff.vjp import Differentiated

    Arrays = dict[str, npt.NDArray[Any]]


def read(path: Path) -> ir.Model:
    """Returns the model in the form that differentiation knows."""
    model = load(path)
    for rewrite in repair_passes():
        rewrite(model)
    return PassManager().rewrite(model, normalize_passes())


def cotangents(found: Differentiated) -> Arrays:
    """Returns standard normal cotangents by input name."""
    rng = np.random.default_rng(0)
    given = set(found.cotangents.values())
    return {
        str(value.name): rng.standard_normal([n or 1 for n in shape_of(value) or ()]).astype("f")
        for value in found.model.graph.inputs
        if value.name in given
    }


def least_ms(runs: dict[str, tuple[Session, Arrays]], repeats: int) -> dict[str, float]:
    """Returns the least time of each session, taken in turn."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats + 1):
        for name, (session, feeds) in runs.items():
            start = time.perf_counter()
            session.run(feeds)
            best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


def slowest(found: Differentiated, feeds: Arrays, threads: int, count: int) -> list[str]:
    """Returns the operators that take most of one run, with their share."""
    with tempfile.TemporaryDirectory() as folder:
        session = make_session(found.model, threads=threads, trace=Trace(Path(folder)))
        session.run(feeds)
        session.run(feeds)
        events = json.loads(session.end_profiling().read_text("utf-8"))
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("name", "").endswith("_kernel_time"):
            part = "backward" if "_grad" in event["name"] else "forward"
            spent[f"{event['args']['op_name']} ({part})"] += event["dur"]
    total = sum(spent.values())
    return [f"    {spent[name] / total:6.1%}  {name}" for name, _ in spent.most_common(count)]


def main() -> None:
    """Prints a row per model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--slowest", type=int, default=0)
    options = parser.parse_args()
    print(f"{'model':32} {'forward':>8} {'+ input':>8} {'+ weights':>9}  ms, and ratios")
    for path in options.models:
        model = read(path)
        feed = probe_feed(model)
        layers = [node.inputs[1] for node in model.graph if heavy(node)]
        weights = [str(value.name) for value in dict.fromkeys(layers) if value is not None]
        by_input, by_weights = vjp(model, list(feed), feed), vjp(model, weights, feed)
        runs = {
            "forward": (make_session(model, threads=options.threads), feed),
            **{
                name: (
                    make_session(found.model, threads=options.threads),
                    {**feed, **cotangents(found)},
                )
                for name, found in (("input", by_input), ("weights", by_weights))
            },
        }
        ms = least_ms(runs, options.repeats)
        ratios = f"{ms['input'] / ms['forward']:.1f}x {ms['weights'] / ms['forward']:.1f}x"
        times = f"{ms['forward']:8.1f} {ms['input']:8.1f} {ms['weights']:9.1f}"
        print(f"{path.stem:32} {times}  {ratios}", flush=True)
        if options.slowest:
            print(
                *slowest(by_weights, runs["weights"][1], options.threads, options.slowest), sep="\n"
            )


if __name__ == "__main__":
    main()
