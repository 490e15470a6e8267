"""A model of 2.5 GB and the memory of a process that works on it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

__all__ = ["LARGEST", "Watched", "sessions", "watched", "write_model"]

_WIDE, _NARROW, _LAYERS = 8192, 4096, 19
LARGEST = _WIDE * _NARROW * 4
"""Bytes of each of the weights."""

# What onnxruntime takes for these models side by side.
_SESSIONS = """
import sys
import numpy as np
import onnxq, onnxq.pipeline
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
x = np.load(sys.argv[1])["x"][:1]
live = [ort.InferenceSession(path, options, ["CPUExecutionProvider"]) for path in sys.argv[3:]]
np.savez(sys.argv[2], *[session.run(None, {"x": x})[0] for session in live])
"""


class Watched(NamedTuple):
    """A process that has ended.

    Attributes:
        code: Its exit code.
        peak: Most bytes of memory that it had for itself at a time. Files that it had mapped do not
            count: the system takes their memory back when another process needs it.
        log: What it said.
    """

    code: int
    peak: int
    log: str


def write_model(folder: Path) -> Path:
    """Writes big.onnx (weights outside) and data.npz to ``folder``; returns the model's path.

    A chain of matrix products and Relus, [1, 4096] → [1, 8192] → [1, 4096] …, He-normal weights.
    """
    rng = np.random.default_rng(0)
    block = rng.standard_normal((_WIDE + _LAYERS) * _NARROW, np.float32)
    first = value = ir.val("x", ir.DataType.FLOAT, [1, _NARROW])
    nodes, weights = [], []
    with (folder / "big.data").open("wb") as file:
        for layer in range(_LAYERS):
            dims = (_NARROW, _WIDE) if layer % 2 == 0 else (_WIDE, _NARROW)
            start = layer * _NARROW
            part = block[start : start + _WIDE * _NARROW] * np.float32(np.sqrt(2 / dims[0]))
            file.write(part.data)
            weights.append(_weight(f"w{layer}", layer * LARGEST, dims))
            nodes.append(ir.node("MatMul", [value, weights[-1]], name=f"product{layer}"))
            nodes.append(ir.node("Relu", nodes[-1].outputs, name=f"relu{layer}"))
            value = nodes[-1].outputs[0]
    value.type, value.shape = first.type, ir.Shape([1, _WIDE])
    graph = ir.Graph(
        [first], [value], nodes=nodes, initializers=weights, opset_imports={"": 21}, name="large"
    )
    ir.save(ir.Model(graph, ir_version=10), folder / "big.onnx")
    np.savez(folder / "data.npz", x=rng.standard_normal((8, _NARROW), np.float32))
    return folder / "big.onnx"


def _weight(name: str, offset: int, dims: tuple[int, int]) -> ir.Value:
    kind = ir.DataType.FLOAT
    tensor = ir.ExternalTensor("big.data", offset, LARGEST, kind, shape=ir.Shape(dims), name=name)
    return ir.val(name, kind, dims, const_value=tensor)


def watched(words: list[str], log: Path) -> Watched:
    """Runs Python with ``words`` and watches its memory."""
    peak = 0
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, *words], stdout=file, stderr=file)
        while process.poll() is None:
            peak = max(peak, _anonymous(process.pid))
            time.sleep(0.02)
    return Watched(process.returncode, peak, log.read_text())


def sessions(models: list[Path], folder: Path) -> tuple[Watched, list[npt.NDArray[np.float32]]]:
    """Runs models in onnxruntime alone, all in one process; returns their outputs too."""
    outputs = folder / "outputs.npz"
    words = ["-c", _SESSIONS, str(folder / "data.npz"), str(outputs), *map(str, models)]
    found = watched(words, folder / "sessions.log")
    assert found.code == 0, found.log
    with np.load(outputs) as arrays:
        return found, [arrays[name] for name in arrays.files]


def _anonymous(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    sizes = [int(line.split()[1]) for line in lines if line.startswith("RssAnon:")]
    return sizes[0] * 1024 if sizes else 0
