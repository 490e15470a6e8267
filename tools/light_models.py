"""Optimizes the nine well-known networks that come with the onnx package, one table row each.

    python tools/light_models.py                        # all nine
    python tools/light_models.py resnet50 vgg19 --threads 2 --weights 4

Their weights are placeholders: every weight is one number repeated. By default they are filled
with seeded He-normal values, so that signals neither die nor explode on their way;
``--as-shipped`` keeps the placeholders, which shows that even a degenerate model goes through.
Either way only structure, size and speed mean something; the fidelity of random weights says
nothing about trained ones.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import onnx
from onnx import numpy_helper

import onnxq

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
_M = TypeVar("_M", onnx.TensorProto, onnx.ValueInfoProto, onnx.NodeProto)
SAMPLES = 8
SEED = 0
_SPREADING = {("BatchNormalization", 1), ("BatchNormalization", 4), ("Mul", 1)}
"""Uses (operator, input) of a vector that multiplies or divides the signal."""


def fill(model: onnx.ModelProto, seed: int = SEED) -> None:
    """Replaces placeholder weights by seeded random ones, in place.

    A matrix or filter gets He-normal values (standard deviation √(2 / fan-in)), a vector that
    scales the signal values in 0.5..1.5, any other vector values of standard deviation 0.1.

    Args:
        model: A model whose weights are ConstantOfShape nodes and initializers.
        seed: Of the random generator.
    """
    graph = model.graph
    rng = np.random.default_rng(seed)
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    scaling = _scaling(graph)
    filled: dict[str, npt.NDArray[np.float32]] = {}
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            shape = tuple(int(size) for size in known[node.input[0]])
            filled[node.output[0]] = _draw(rng, shape, node.output[0] in scaling)
    kept = [node for node in graph.node if node.output[0] not in filled]
    shapes = {node.input[0] for node in graph.node if node.op_type == "ConstantOfShape"}
    for name, array in known.items():
        if name not in shapes and array.dtype == np.float32:
            filled[name] = _draw(rng, array.shape, name in scaling)
    _store(graph, kept, filled, dropped=shapes)


def _scaling(graph: onnx.GraphProto) -> set[str]:
    """Names of values that scale the signal, directly or through an Unsqueeze."""
    names = {
        name
        for node in graph.node
        for position, name in enumerate(node.input)
        if (node.op_type, position) in _SPREADING
    }
    behind = {node.input[0] for node in graph.node if {*node.output} & names and node.input}
    return names | behind


def _draw(
    rng: np.random.Generator, shape: tuple[int, ...], scaling: bool
) -> npt.NDArray[np.float32]:
    if len(shape) > 1:
        values = rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    elif scaling:
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = rng.standard_normal(shape) * 0.1
    return values.astype(np.float32)


def _store(
    graph: onnx.GraphProto,
    nodes: list[onnx.NodeProto],
    filled: dict[str, npt.NDArray[np.float32]],
    dropped: set[str],
) -> None:
    """Puts initializers in the place of what made the placeholders."""
    kept = [_copied(tensor) for tensor in graph.initializer if tensor.name not in filled]
    inputs = [_copied(value) for value in graph.input if value.name not in dropped]
    nodes = [_copied(node) for node in nodes]
    tensors = [numpy_helper.from_array(array, name) for name, array in filled.items()]
    listed = {value.name for value in inputs}
    declared = [_declared(tensor) for tensor in tensors if tensor.name not in listed]
    for field, items in (
        ("node", nodes),
        ("initializer", [t for t in kept if t.name not in dropped] + tensors),
        ("input", inputs + declared),
    ):
        graph.ClearField(field)
        getattr(graph, field).extend(items)


def _declared(tensor: onnx.TensorProto) -> onnx.ValueInfoProto:
    """The graph input that a file of IR version 3 wants for every initializer."""
    value = onnx.ValueInfoProto(name=tensor.name)
    kind = value.type.tensor_type
    kind.elem_type = tensor.data_type
    kind.shape.SetInParent()
    for size in tensor.dims:
        kind.shape.dim.add().dim_value = size
    return value


def _copied(message: _M) -> _M:
    """Returns a copy that outlives the field which holds ``message``."""
    clone = type(message)()
    clone.CopyFrom(message)
    return clone


def samples(model: onnx.ModelProto, seed: int = SEED) -> dict[str, npt.NDArray[np.float32]]:
    """Returns standard normal samples for the inputs that have no initializer."""
    rng = np.random.default_rng(seed)
    weights = {tensor.name for tensor in model.graph.initializer}
    found = {}
    for value in model.graph.input:
        if value.name not in weights:
            shape = [max(1, dim.dim_value) for dim in value.type.tensor_type.shape.dim]
            found[value.name] = rng.standard_normal((SAMPLES, *shape[1:])).astype(np.float32)
    return found


def row(path: Path, *, as_shipped: bool, threads: int, weights: int) -> str:
    """Optimizes one model and returns its line of the table."""
    name = path.stem.removeprefix("light_")
    model = onnx.load(path)
    if not as_shipped:
        fill(model)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"{name}.onnx"
        onnx.save(model, source)
        np.savez(Path(folder) / "data.npz", **samples(model))  # type: ignore[arg-type]
        before = source.stat().st_size
        start = time.perf_counter()
        try:
            result = onnxq.optimize(
                source, data=f"{folder}/data.npz", threads=threads, weights=weights
            )
        except Exception as error:
            line = " ".join(str(error).split())
            return f"| {name} | | | | | {type(error).__name__}: {line} |"
        seconds = time.perf_counter() - start
        assert result.latency is not None
        worst = result.fidelity.worst
        return (
            f"| {name} | {result.integer_share:.3f} | {result.latency.speedup:.2f} "
            f"({result.latency.float_ms:.1f} → {result.latency.int_ms:.1f} ms) "
            f"| {result.size_after / before:.3f} | {seconds:.0f} "
            f"| {'' if worst is None else f'{worst[1]:.1f} dB'} |"
        )


def _paths(names: list[str]) -> Iterator[Path]:
    for name in names or sorted(p.stem.removeprefix("light_") for p in FOLDER.glob("*.onnx")):
        yield FOLDER / f"light_{name}.onnx"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="resnet50, vgg19 …; default: all")
    parser.add_argument("--as-shipped", action="store_true", help="keep the placeholder weights")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--weights", type=int, default=8, metavar="BITS", help="of a weight")
    given = parser.parse_args()
    print("| model | integer share | speedup | size ratio | wall s | worst SQNR, or the error |")
    print("|---|---|---|---|---|---|")
    for path in _paths(given.names):
        print(
            row(path, as_shipped=given.as_shipped, threads=given.threads, weights=given.weights),
            flush=True,
        )


if __name__ == "__main__":
    main()
