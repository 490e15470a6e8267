"""Measures what it brings to quantize outlier channels apart (``split-outliers``).

    python tools/cluster_split.py                   # 4 of 256 channels 60 times as large
    python tools/cluster_split.py --factor 20 --outliers 8

A layer reads a value in which some channels are much larger than the others. What writes the value
cannot take factors over: it is a graph input, HardSwish, SiLU or Clip. The layer's weight has
columns that are as small as these channels are large, or columns like all others. Each case is
optimized with one scale for all channels and with clusters, and measured on samples that were not
calibrated on: SQNR at the output, the share of multiply-accumulates in integer kernels, and the
time of one run, all models in turns.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from onnx import numpy_helper

import onnxq
from onnxq.registry import known_passes
from onnxq.runtime.benchmark import interleaved_times
from onnxq.runtime.compare import Reference
from onnxq.runtime.kernels import integer_share

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from onnxq.runtime.session import Feed

CHANNELS = 256
SAMPLES = 32
BUDGET_S = 3.0
SPLIT = "split-outliers"
# It would keep the layer float instead, and measure that.
LEFT_OUT = "keep-signal"
LAYERS = {
    "conv": ("1,256,28,28", "256,256,3,3", "y = Conv <pads = [1, 1, 1, 1]> (a, w, b)"),
    "matmul": ("1,197,256", "256,256", "m = MatMul (a, w)  y = Add (m, b)"),
}
WRITERS = {
    "input": "a = Identity (x)",
    "hardswish": "a = HardSwish (x)",
    "silu": "s = Sigmoid (x)  a = Mul (x, s)",
    "clip": "a = Clip (x, low, high)",
}


class Case(NamedTuple):
    """One model.

    Attributes:
        layer: Key of :data:`LAYERS`.
        writer: Key of :data:`WRITERS`.
        small: Whether the columns are as small as the channels are large.
    """

    layer: str
    writer: str
    small: bool

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.layer}, {self.writer}, {'small' if self.small else 'equal'} columns"


class Row(NamedTuple):
    """What was measured of one model.

    Attributes:
        sqnr: Of the output, in dB.
        share: Of the multiply-accumulates that ran in integer kernels.
        kernels: Number of each kernel that multiplies.
        milliseconds: Of one run.
    """

    sqnr: float
    share: float
    kernels: Counter[str]
    milliseconds: float


def channel_factors(outliers: int, factor: float) -> npt.NDArray[np.float32]:
    """Returns the size of each channel, float32 [channels]; the outliers lie anywhere."""
    sizes = np.ones(CHANNELS, np.float32)
    places = np.random.default_rng(0).choice(CHANNELS, outliers, replace=False)
    sizes[places] = factor
    return sizes


def make_model(case: Case, sizes: npt.NDArray[np.float32]) -> onnx.ModelProto:
    """Returns the model of one case."""
    shape, weight_shape, layer = LAYERS[case.layer]
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 21]>
        f (float[{shape}] x) => (float[{shape}] y) {{ {WRITERS[case.writer]}  {layer} }}"""
    )
    rng = np.random.default_rng(1)
    weight = rng.standard_normal([int(size) for size in weight_shape.split(",")])
    weight /= np.sqrt(weight.size / CHANNELS)
    if case.small:
        weight /= sizes.reshape((1, -1, 1, 1) if case.layer == "conv" else (-1, 1))
    arrays = {
        "w": weight,
        "b": rng.standard_normal(CHANNELS) / 4,
        "low": np.asarray(-2 * sizes.max()),
        "high": np.asarray(2 * sizes.max()),
    }
    read = {name for node in model.graph.node for name in node.input}
    for name in sorted(read & set(arrays)):
        tensor = numpy_helper.from_array(np.asarray(arrays[name], np.float32), name)
        model.graph.initializer.append(tensor)
    return model


def samples(case: Case, sizes: npt.NDArray[np.float32], seed: int) -> Iterator[Feed]:
    """Yields normal samples whose channels have these sizes."""
    shape = [int(size) for size in LAYERS[case.layer][0].split(",")]
    rng = np.random.default_rng(seed)
    along = sizes.reshape(-1, 1, 1) if case.layer == "conv" else sizes
    for _ in range(SAMPLES):
        yield {"x": np.asarray(rng.standard_normal(shape) * along, np.float32)}


def measure(case: Case, sizes: npt.NDArray[np.float32]) -> tuple[Row, Row, float]:
    """Returns the rows of one scale and of clusters, and the milliseconds of the float model."""
    model = make_model(case, sizes)
    rows = [row for row in known_passes() if row.kind in ("rewrite", "plan")]
    plain = tuple(row.name for row in rows if not row.on_request and row.name != LEFT_OUT)
    data = np.concatenate([feed["x"] for feed in samples(case, sizes, 2)])
    made = [
        onnxq.optimize(model, {"x": data}, passes=passes, samples=SAMPLES, threads=1).model
        for passes in (plain, (*plain, SPLIT))
    ]
    fresh = list(samples(case, sizes, 3))
    real = ir.from_proto(model)
    reference = Reference(real, fresh)
    times = interleaved_times([real, *made], [fresh[0]] * 3, budget_s=BUDGET_S)
    found = []
    for number, one in enumerate(made, 1):
        share = integer_share(one, fresh[0])
        kernels = Counter(node.op for node in share.nodes)
        milliseconds, _, _ = times.milliseconds(number)
        found.append(Row(reference.sqnr(one)["y"], share.share, kernels, milliseconds))
    return found[0], found[1], times.milliseconds(0)[0]


def cases() -> list[Case]:
    """Returns all cases."""
    return [Case(k, w, small) for k in LAYERS for w in WRITERS for small in (True, False)]


def main() -> None:
    """Prints one block per case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outliers", type=int, default=4)
    parser.add_argument("--factor", type=float, default=60.0)
    options = parser.parse_args()
    sizes = channel_factors(options.outliers, options.factor)
    print(f"{options.outliers} of {CHANNELS} channels, {options.factor:g} times as large")
    for case in cases():
        one, apart, real = measure(case, sizes)
        print(f"\n{case.name}: float {real:.3f} ms")
        for name, row in (("one scale", one), ("clusters", apart)):
            kernels = ", ".join(f"{count} {kernel}" for kernel, count in row.kernels.items())
            print(
                f"  {name:10} {row.sqnr:5.1f} dB  {row.milliseconds:.3f} ms"
                f"  {row.share:4.0%} integer  {kernels}"
            )
        print(f"  gain       {apart.sqnr - one.sqnr:+5.1f} dB", flush=True)


if __name__ == "__main__":
    main()
