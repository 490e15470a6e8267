"""Shows that the command's memory does not grow with the number of samples.

    python tools/memory.py model.onnx                 # 64 and 512 samples
    python tools/memory.py model.onnx --samples 16 64

Prints the peak resident memory of ``onnxq optimize`` on random samples, beside that
of a process which does no more than run the float model over the same file in onnxruntime.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx

_PLAIN = """
import sys
from pathlib import Path
import onnxruntime as ort
from onnxq.data.npz_stream import npz_rows
options = ort.SessionOptions()
options.intra_op_num_threads = int(sys.argv[3])
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
names = [value.name for value in session.get_inputs()]
files = npz_rows(Path(sys.argv[2]))
streams = [files[name].rows(range(files[name].shape[0])) for name in names]
for rows in zip(*streams):
    session.run(None, {name: row[None] for name, row in zip(names, rows)})
"""


def peak_mib(words: list[str]) -> float:
    """Runs a command and returns the peak resident memory of its process in MiB.

    Raises:
        RuntimeError: It failed.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
        # no smaller than this process was when it started the other, which is little
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(log.read().decode(errors="replace").strip())
    return usage.ru_maxrss / 1024


def write_samples(model: Path, path: Path, samples: int) -> None:
    """Writes an .npz of standard normal samples for every input of ``model``, row by row."""
    graph = onnx.load(model, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for value in graph.input:
            if value.name in weights:
                continue
            dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim[1:]]
            header = {"descr": "<f4", "fortran_order": False, "shape": (samples, *dims)}
            with archive.open(f"{value.name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, header)
                for _ in range(samples):
                    member.write(rng.standard_normal(dims).astype("<f4").tobytes())


def row(model: Path, samples: int, threads: int) -> str:
    """Measures one number of samples and returns its line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = f"{folder}/data.npz", f"{folder}/out.onnx"
        write_samples(model, Path(data), samples)
        plain = peak_mib([sys.executable, "-c", _PLAIN, str(model), data, str(threads)])
        options = ["--samples", str(samples), "--threads", str(threads), "--quiet", "-o", out]
        command = [sys.executable, "-m", "onnxq", "optimize", str(model), "--data", data]
        ours = peak_mib([*command, *options])
    return f"| {model.stem} | {samples} | {plain:.0f} | {ours:.0f} | {ours - plain:+.0f} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--samples", nargs="+", type=int, default=[64, 512])
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    print("| model | samples | float session, MiB | onnxq optimize, MiB | difference |")
    print("|---|---|---|---|---|")
    for model in given.models:
        for samples in given.samples:
            print(row(model, samples, given.threads), flush=True)


if __name__ == "__main__":
    main()
