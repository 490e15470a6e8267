"""Times the forms in which integers alone can compute a layer and rescale its sums.

    python -m tools.integer_forms                 # both tables as Markdown
    python -m tools.integer_forms --rounds 21

A row is a layer, a column a form of it; all give the same sums. Forms are run in turn on one
thread, and the median over the rounds is shown, in µs of the thread's own time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from onnx import NodeProto

    Array = npt.NDArray[np.generic]

_ZERO, _MIDDLE = np.uint8(10), np.uint8(128)
_SLICE_S = 0.01
_TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.uint8): TensorProto.UINT8,
          np.dtype(np.int8): TensorProto.INT8, np.dtype(np.int32): TensorProto.INT32}  # fmt: skip


class Layer(NamedTuple):
    """A convolution of [1, inputs, size, size], with padding that keeps the size."""

    name: str
    inputs: int
    outputs: int
    size: int
    kernel: int
    group: int = 1

    @property
    def attributes(self) -> dict[str, Any]:
        """Of Conv and its kin."""
        pad = self.kernel // 2
        return {"kernel_shape": [self.kernel] * 2, "pads": [pad] * 4, "group": self.group}


LAYERS = (
    Layer("3×3, 64 → 64, 56²", 64, 64, 56, 3),
    Layer("3×3, 16 → 16, 32²", 16, 16, 32, 3),
    Layer("3×3, 64 → 64, 8²", 64, 64, 8, 3),
    Layer("1×1, 16 → 64, 56²", 16, 64, 56, 1),
    Layer("1×1, 64 → 16, 56²", 64, 16, 56, 1),
    Layer("1×1, 256 → 256, 14²", 256, 256, 14, 1),
    Layer("depthwise 3×3, 96, 56²", 96, 96, 56, 3, 96),
    Layer("depthwise 3×3, 384, 14²", 384, 384, 14, 3, 384),
)


class Run(NamedTuple):
    """A model and what to feed it."""

    model: ModelProto
    feed: Array


def built(
    nodes: Sequence[NodeProto], weights: Mapping[str, Any], x: Array, kind: int = TensorProto.INT32
) -> ModelProto:
    """Returns a model from x to y, which is of type ``kind``."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", _TYPES[x.dtype], x.shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def convolutions(layer: Layer) -> dict[str, Run]:
    """Returns the layer's sums by form."""
    rng = np.random.default_rng(0)
    shape = (1, layer.inputs, layer.size, layer.size)
    x = rng.integers(0, 256, shape).astype(np.uint8)
    kernel = (layer.kernel, layer.kernel)
    w = rng.integers(-60, 61, (layer.outputs, layer.inputs // layer.group, *kernel))
    own = layer.attributes

    def node(op: str, *inputs: str) -> list[NodeProto]:
        return [helper.make_node(op, ["x", *inputs], ["y"], **own)]

    real = {"w": w.astype(np.float32), "b": np.zeros(layer.outputs, np.float32)}
    quantized = {"w": w.astype(np.int8), "s": np.float32(0.01), "z": _ZERO, "n": np.int8(0)}
    signed = {"w": w.astype(np.int8), "z": _ZERO}
    unsigned = {"w": (w + 128).astype(np.uint8), "z": _ZERO, "m": _MIDDLE}
    linear = node("QLinearConv", "s", "z", "w", "s", "n", "s", "z")
    reals = x.astype(np.float32)
    floats = built(node("Conv", "w", "b"), real, reals, TensorProto.FLOAT)
    runs = {
        "float Conv": Run(floats, reals),
        "QLinearConv (rescales too)": Run(built(linear, quantized, x, TensorProto.UINT8), x),
        "ConvInteger u8 · u8": Run(built(node("ConvInteger", "w", "z", "m"), unsigned, x), x),
        "ConvInteger u8 · s8": Run(built(node("ConvInteger", "w", "z"), signed, x), x),
    }
    if layer.group == 1:
        for name in ("s8", "u8"):
            form = f"rows, MatMulInteger u8 · {name}"
            runs[form] = _rows(layer, x, w, signed=name == "s8")
    else:
        runs["taps, Mul and Add of int32"] = _taps(layer, x, w)
        runs["blocks of 8, ConvInteger u8 · u8"] = _blocks(layer, x, w, 8)
    return runs


def _rows(layer: Layer, x: Array, w: npt.NDArray[np.int64], *, signed: bool) -> Run:
    """[1, H, W, C]: rows of taps by Slice and Concat, times a matrix."""
    given = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    rows = w.transpose(2, 3, 1, 0).reshape(-1, layer.outputs)
    matrix = rows.astype(np.int8) if signed else (rows + 128).astype(np.uint8)
    weights: dict[str, Any] = {"w": matrix, "z": np.asarray(_ZERO), "m": np.asarray(_MIDDLE)}
    nodes, value = [], "x"
    if layer.kernel > 1:
        weights["pads"] = np.array([0, 1, 1, 0, 0, 1, 1, 0])
        nodes.append(helper.make_node("Pad", ["x", "pads", "z"], ["padded"]))
        value = "padded"
        for axis in (2, 1):
            value = _along(layer, nodes, weights, value, axis)
    zeros = ["z"] if signed else ["z", "m"]
    nodes.append(helper.make_node("MatMulInteger", [value, "w", *zeros], ["y"]))
    return Run(built(nodes, weights, given), given)


def _along(
    layer: Layer, nodes: list[NodeProto], weights: dict[str, Any], value: str, axis: int
) -> str:
    weights[f"axis{axis}"] = np.array([axis])
    taps = []
    for tap in range(layer.kernel):
        weights[f"start{tap}"], weights[f"end{tap}"] = np.array([tap]), np.array([tap + layer.size])
        taps.append(f"tap{axis}{tap}")
        ends = [f"start{tap}", f"end{tap}", f"axis{axis}"]
        nodes.append(helper.make_node("Slice", [value, *ends], taps[-1:]))
    nodes.append(helper.make_node("Concat", taps, [f"rows{axis}"], axis=3))
    return f"rows{axis}"


def _taps(layer: Layer, x: Array, w: npt.NDArray[np.int64]) -> Run:
    """Depthwise: the sum over taps of shifted inputs times a number per channel."""
    weights: dict[str, Any] = {
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "z": _ZERO,
        "zero": np.int32(_ZERO),
        "axes": np.array([2, 3]),
    }
    nodes = [
        helper.make_node("Pad", ["x", "pads", "z"], ["padded"]),
        helper.make_node("Cast", ["padded"], ["codes"], to=TensorProto.INT32),
        helper.make_node("Sub", ["codes", "zero"], ["wide"]),
    ]
    parts = []
    for row, column in np.ndindex(layer.kernel, layer.kernel):
        tap = f"{row}{column}"
        weights[f"start{tap}"] = np.array([row, column])
        weights[f"end{tap}"] = np.array([row + layer.size, column + layer.size])
        weights[f"w{tap}"] = w[:, 0, row, column].astype(np.int32).reshape(-1, 1, 1)
        ends = [f"start{tap}", f"end{tap}", "axes"]
        nodes.append(helper.make_node("Slice", ["wide", *ends], [f"tap{tap}"]))
        nodes.append(helper.make_node("Mul", [f"tap{tap}", f"w{tap}"], [f"part{tap}"]))
        parts.append(f"part{tap}")
    total = parts[0]
    for number, part in enumerate(parts[1:]):
        last = number == len(parts) - 2
        nodes.append(helper.make_node("Add", [total, part], ["y" if last else f"sum{number}"]))
        total = f"sum{number}"
    return Run(built(nodes, weights, x), x)


def _blocks(layer: Layer, x: Array, w: npt.NDArray[np.int64], size: int) -> Run:
    """Depthwise as groups of ``size`` channels, with weights of 0 between different channels."""
    dense = np.full((layer.outputs, size, *w.shape[2:]), _MIDDLE, np.uint8)
    for channel in range(layer.outputs):
        dense[channel, channel % size] = w[channel, 0] + 128
    weights = {"w": dense, "z": np.asarray(_ZERO), "m": np.asarray(_MIDDLE)}
    own = {**layer.attributes, "group": layer.outputs // size}
    nodes = [helper.make_node("ConvInteger", ["x", "w", "z", "m"], ["y"], **own)]
    return Run(built(nodes, weights, x), x)


def rescalings(channels: int, size: int, *, last: bool) -> dict[str, Run]:
    """Returns forms that bring int32 sums to uint8."""
    rng = np.random.default_rng(0)
    shape = (1, size, size, channels) if last else (1, channels, size, size)
    along = (channels,) if last else (channels, 1, 1)
    x = rng.integers(-200_000, 200_000, shape).astype(np.int32)
    factor = rng.uniform(0.0005, 0.002, channels)

    def form(bits: int, shift: int, *, before: bool) -> Run:
        signed = TensorProto.INT32 if bits == 32 else TensorProto.INT64
        unsigned = TensorProto.UINT32 if bits == 32 else TensorProto.UINT64
        kind, wide = (np.int32, np.uint32) if bits == 32 else (np.int64, np.uint64)
        multiplier = np.rint(factor * 2.0**shift).astype(np.int64)
        steps: list[tuple[str, list[str], dict[str, Any]]] = [
            ("Mul", ["m"], {}),
            ("Add", ["a"], {}),
        ]
        if before:
            steps = [("Max", ["least"], {}), ("Min", ["most"], {}), *steps]
        else:
            steps.append(("Clip", ["low", "high"], {}))
        if bits == 64:
            steps.insert(0, ("Cast", [], {"to": signed}))
        steps += [
            ("Cast", [], {"to": unsigned}),
            ("BitShift", ["shift"], {"direction": "RIGHT"}),
            ("Cast", [], {"to": TensorProto.UINT8}),
        ]
        weights = {
            "m": multiplier.astype(kind).reshape(along),
            "a": np.full(along, 1 << (shift - 1), kind),
            "least": (-((1 << (shift - 1)) // multiplier)).astype(kind).reshape(along),
            "most": ((255 << shift) // multiplier).astype(kind).reshape(along),
            "low": kind(0),
            "high": kind((256 << shift) - 1),
            "shift": wide(shift),
        }
        nodes, value = [], "x"
        for number, (op, inputs, attributes) in enumerate(steps):
            out = "y" if number == len(steps) - 1 else f"v{number}"
            nodes.append(helper.make_node(op, [value, *inputs], [out], **attributes))
            value = out
        used = {name for node in nodes for name in node.input}
        kept = {name: array for name, array in weights.items() if name in used}
        return Run(built(nodes, kept, x, TensorProto.UINT8), x)

    pairs = [
        helper.make_node("DequantizeLinear", ["x", "s"], ["real"], axis=3 if last else 1),
        helper.make_node("QuantizeLinear", ["real", "t", "z"], ["y"]),
    ]
    weights = {"s": factor.astype(np.float32), "t": np.float32(1), "z": np.uint8(0)}
    return {
        "float pair": Run(built(pairs, weights, x, TensorProto.UINT8), x),
        "int64, clip behind": form(64, 31, before=False),
        "int32, clip behind": form(32, 14, before=False),
        "int32, clip before": form(32, 22, before=True),
    }


def timed(runs: Mapping[str, Run], rounds: int) -> dict[str, float]:
    """Returns the median µs of each run, taken in turn."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    sessions = {
        name: ort.InferenceSession(
            run.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for name, run in runs.items()
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, session in sessions.items():
            start, count = time.thread_time(), 0
            while time.thread_time() - start < _SLICE_S:
                session.run(None, {"x": runs[name].feed})
                count += 1
            times[name].append((time.thread_time() - start) / count * 1e6)
    return {name: statistics.median(found) for name, found in times.items()}


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Returns a Markdown table of µs."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [f"| µs | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for label, row in rows.items():
        cells = (f"{row[name]:.0f}" if name in row else "" for name in columns)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    print(table({layer.name: timed(convolutions(layer), rounds) for layer in LAYERS}))
    print()
    rows = {}
    for channels, size in ((64, 56), (64, 8), (16, 32)):
        for last in (False, True):
            name = f"{channels} channels {'last' if last else 'second'}, {size}²"
            rows[name] = timed(rescalings(channels, size, last=last), rounds)
    print(table(rows))


if __name__ == "__main__":
    main()
