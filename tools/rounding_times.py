"""Measures what rounding of weights takes, on random networks as large as well-known ones.

    python -m tools.rounding_times                            # both networks, the default rounding
    python -m tools.rounding_times mobilenetv2 --rounding adaround --size 224

A row per network: its weights, seconds of ``round-weights`` alone by the clock, CPU seconds of the
whole command beyond those with ``--rounding nearest``, and peak memory of the command. Weights are
normal, of the variance that keeps signals alike from layer to layer; samples are smooth noise.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper, parser

_SAMPLES = 64
# Expansion, channels, repeats and stride of each stage (Sandler et al. 2018, table 2).
_MOBILENETV2 = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip


@dataclass
class Builder:
    """Writes a network layer by layer.

    Attributes:
        lines: ONNX text of the nodes.
        weights: Name → array.
    """

    lines: list[str] = field(default_factory=list)
    weights: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def node(self, call: str) -> str:
        """Adds a node and returns the name of its output."""
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {call}")
        return name

    def weight(self, *shape: int) -> str:
        """Adds a weight of variance 2 over what an output reads."""
        name = f"w{len(self.weights)}"
        deviation = np.sqrt(2 / np.prod(shape[1:]))
        self.weights[name] = (self.rng.standard_normal(shape) * deviation).astype(np.float32)
        return name

    def conv(
        self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1, group: int = 1
    ) -> str:
        """Adds a convolution with a bias."""
        weight = self.weight(outputs, inputs // group, kernel, kernel)
        bias = f"b{len(self.weights)}"
        self.weights[bias] = (0.1 * self.rng.standard_normal(outputs)).astype(np.float32)
        pads = [kernel // 2] * 4
        attributes = f"pads = {pads}, strides = [{stride}, {stride}], group = {group}"
        return self.node(f"Conv <{attributes}> ({x}, {weight}, {bias})")

    def head(self, x: str, channels: int) -> str:
        """Adds what classifies into a thousand classes."""
        pooled = self.node(f"Flatten({self.node(f'GlobalAveragePool({x})')})")
        return self.node(f"Gemm <transB = 1> ({pooled}, {self.weight(1000, channels)})")

    def model(self, size: int) -> onnx.ModelProto:
        """Returns the model, of pictures of ``size`` × ``size``."""
        body = "\n".join(self.lines)
        last = self.lines[-1].split(" = ")[0]
        text = f"net (float[1,3,{size},{size}] x) => (float[1,1000] {last}) {{ {body} }}"
        found = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}')
        found.graph.initializer.extend(
            numpy_helper.from_array(array, name) for name, array in self.weights.items()
        )
        return found


def resnet18(size: int) -> onnx.ModelProto:
    """He et al. 2016, table 1: 11.7 million weights."""
    net = Builder()
    x = net.node(f"Relu({net.conv('x', 3, 64, 7, 2)})")
    x = net.node(f"MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> ({x})")
    channels = 64
    for outputs in (64, 64, 128, 128, 256, 256, 512, 512):
        stride = 2 if outputs > channels else 1
        skip = x if stride == 1 else net.conv(x, channels, outputs, 1, stride)
        inner = net.node(f"Relu({net.conv(x, channels, outputs, 3, stride)})")
        y = net.conv(inner, outputs, outputs, 3)
        x, channels = net.node(f"Relu({net.node(f'Add({y}, {skip})')})"), outputs
    net.head(x, channels)
    return net.model(size)


def mobilenetv2(size: int) -> onnx.ModelProto:
    """Sandler et al. 2018, table 2: 3.5 million weights."""
    net = Builder()
    net.weights |= {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}

    def clipped(x: str) -> str:
        return net.node(f"Clip({x}, low, high)")

    x, channels = clipped(net.conv("x", 3, 32, 3, 2)), 32
    for expansion, outputs, repeats, first in _MOBILENETV2:
        for repeat in range(repeats):
            stride, inner = first if repeat == 0 else 1, channels * expansion
            y = x if expansion == 1 else clipped(net.conv(x, channels, inner, 1))
            y = clipped(net.conv(y, inner, inner, 3, stride, group=inner))
            y = net.conv(y, inner, outputs, 1)
            x = net.node(f"Add({y}, {x})") if stride == 1 and channels == outputs else y
            channels = outputs
    x = clipped(net.conv(x, channels, 1280, 1))
    net.head(x, 1280)
    return net.model(size)


NETWORKS = {"resnet18": resnet18, "mobilenetv2": mobilenetv2}


def samples(size: int, count: int = _SAMPLES) -> npt.NDArray[np.float32]:
    """Returns pictures of smooth noise, [count, 3, size, size]."""
    rng = np.random.default_rng(1)
    coarse = rng.standard_normal((count, 3, size // 8 + 1, size // 8 + 1))
    fine = np.kron(coarse, np.ones((8, 8)))[:, :, :size, :size]
    return (fine + 0.2 * rng.standard_normal(fine.shape)).astype(np.float32)


class Run(NamedTuple):
    """What one command took.

    Attributes:
        seconds: Of ``round-weights``, by the clock.
        cpu: CPU seconds of the command.
        mib: Its peak memory.
    """

    seconds: float
    cpu: float
    mib: float


def measure(folder: Path, rounding: str, threads: int) -> Run:
    """Rounds ``net.onnx`` of the folder.

    Raises:
        RuntimeError: The command failed.
    """
    words = ["optimize", "net.onnx", "--data", "data.npz", "-o", "out.onnx", "--json", "out.json"]
    options = ["--weights", "4", "--rounding", rounding, "--threads", str(threads), "--quiet"]
    command = [sys.executable, "-m", "onnxq", *words, *options]
    with (folder / "log").open("w+b") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(log.read().decode(errors="replace").strip())
    passes = json.loads((folder / "out.json").read_text("utf-8"))["timings"]["passes"]
    seconds = sum(row["seconds"] for row in passes if row["name"] == "round-weights")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument(
        "networks", nargs="*", default=list(NETWORKS), metavar="|".join(NETWORKS)
    )
    arguments.add_argument("--rounding", default="gptq+cd")
    arguments.add_argument("--size", type=int, default=112, help="of the pictures")
    arguments.add_argument("--threads", type=int, default=2)
    given = arguments.parse_args()
    print("| network | weights | rounding | round-weights, s | CPU s beyond nearest | peak, MiB |")
    print("|---|---|---|---|---|---|")
    for name in given.networks:
        model = NETWORKS[name](given.size)
        count = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
        with tempfile.TemporaryDirectory() as path:
            folder = Path(path)
            onnx.save(model, folder / "net.onnx")
            np.savez(folder / "data.npz", x=samples(given.size))
            plain = measure(folder, "nearest", given.threads)
            found = measure(folder, given.rounding, given.threads)
        times = f"{found.seconds:.1f} | {found.cpu - plain.cpu:.1f} | {found.mib:.0f}"
        print(f"| {name} | {count / 1e6:.1f} M | {given.rounding} | {times} |", flush=True)


if __name__ == "__main__":
    main()
