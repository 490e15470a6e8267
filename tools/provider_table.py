"""Measures float and quantized models on several execution providers, side by side.

    python tools/provider_table.py make work/                    # models and samples, with onnxq
    python tools/provider_table.py measure work/ cpu openvino    # with any onnxruntime
    python tools/provider_table.py table work/                   # Markdown

``measure`` needs this file, numpy and an onnxruntime, nothing else: it runs where there is a GPU.
Each shipped model is measured in float and in the forms that are made for a provider. Outputs are
held against those of the float model on the CPU, on held-out samples; float and quantized run in
turns, one sample at a time, on one thread. Times are of the processor, which other programs cannot
stretch, but for GPUs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

MODELS = {
    "digits_mobilenetv2": ("digits_mobilenetv2", "models/digits_mobilenetv2.toml"),
    "digits_vit": ("digits_mobilenetv2", "models/digits_vit.toml"),
    "digits_yolo": ("digits_yolo", "yolo"),
}
FORMS = {
    "int8-cpu": ("cpu", "qdq"),
    "int8-cpu-vnni": ("cpu-vnni", "qdq"),
    "int8-openvino": ("openvino", "qdq"),
    "int8-tensorrt": ("tensorrt", "qdq"),
    "int8+fp16-tensorrt": ("tensorrt", "qdq+fp16"),
    "fp16": ("cuda", "fp16"),
}
"""Form → target and ``--format``."""
PROVIDERS = {
    "cpu": ("CPUExecutionProvider", ("int8-cpu", "int8-cpu-vnni")),
    "openvino": ("OpenVINOExecutionProvider", ("int8-openvino", "int8-cpu", "fp16")),
    "cuda": ("CUDAExecutionProvider", ("fp16", "int8-cpu")),
    "tensorrt": (
        "TensorrtExecutionProvider",
        ("int8-tensorrt", "int8+fp16-tensorrt", "fp16"),
    ),
}
"""What ``measure`` calls a provider → its name, and the forms that are measured on it."""
SETTINGS = {
    "OpenVINOExecutionProvider": {"device_type": "CPU", "num_of_threads": "1"},
    "TensorrtExecutionProvider": {"trt_fp16_enable": "1", "trt_int8_enable": "1"},
}
JUDGES, ROUNDS, ROUND_S = 16, 41, 0.02
FLOAT = "float"
_SAME = 999.0
_GPUS = ("CUDA", "Tensorrt")


class Row(NamedTuple):
    """One model in one form on one provider.

    Attributes:
        model: The model.
        provider: The provider, in short.
        form: The form.
        ms: Least milliseconds of one run.
        speedup: Median over the rounds of float's time over this one's, on the same provider.
        low: Lower end of the speedup's 95 % interval.
        high: Upper end.
        sqnr: dB of the worst output, against float on the CPU.
        agreement: Share of samples with the same greatest class; None for detectors.
        runtime: onnxruntime's version.
        device: What it ran on.
    """

    model: str
    provider: str
    form: str
    ms: float
    speedup: float
    low: float
    high: float
    sqnr: float
    agreement: float | None
    runtime: str
    device: str


def make(folder: Path) -> None:
    """Writes every model in every form, and its held-out samples with float's answers."""
    import shutil

    import onnxq
    from onnxq.config import Config
    from onnxq.data.calibration import CalibrationData
    from onnxq.graph.io import load
    from onnxq.runtime.session import make_session

    folder.mkdir(parents=True, exist_ok=True)
    for name, (data, preprocess) in MODELS.items():
        source, samples = f"models/{name}.onnx", f"models/{data}/calibration"
        shutil.copyfile(source, folder / f"{name}.{FLOAT}.onnx")
        config = Config(preprocess=preprocess)
        opened = CalibrationData.open(samples, load(source), config)
        feeds = list(opened.feeds(opened.judges()[:JUDGES]))
        session = make_session(load(source))
        answers = [session.run(feed) for feed in feeds]
        arrays = {f"in:{i}:{k}": v for i, feed in enumerate(feeds) for k, v in feed.items()}
        arrays |= {f"out:{i}:{k}": v for i, found in enumerate(answers) for k, v in found.items()}
        np.savez(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]
        for form, (target, kind) in FORMS.items():
            onnxq.optimize(
                source,
                samples,
                preprocess=preprocess,
                target=target,
                format=kind,
                output=folder / f"{name}.{form}.onnx",
                threads=1,
            )
            print(f"{name}: {form}", flush=True)


def measure(folder: Path, providers: list[str]) -> None:
    """Runs all that is there on each provider and writes ``rows.PROVIDER.json``."""
    import onnxruntime as ort

    for short in providers:
        provider, forms = PROVIDERS[short]
        if provider not in ort.get_available_providers():
            print(f"{short}: this onnxruntime has no {provider}")
            continue
        rows = [row for name in MODELS for row in _measured(folder, name, short, provider, forms)]
        text = json.dumps([row._asdict() for row in rows], indent=1)
        (folder / f"rows.{short}.json").write_text(text + "\n", "utf-8")


def _measured(
    folder: Path, name: str, short: str, provider: str, forms: tuple[str, ...]
) -> Iterator[Row]:
    feeds, answers = _samples(folder / f"{name}.npz")
    real = _session(folder / f"{name}.{FLOAT}.onnx", provider)
    for form in (FLOAT, *forms):
        path = folder / f"{name}.{form}.onnx"
        try:
            session = _session(path, provider)
            found = [_run(session, feed) for feed in feeds]
        except Exception as error:
            print(f"{name} on {short}: {form} fails: {str(error)[:300]}", flush=True)
            continue
        clock = time.perf_counter if provider.startswith(_GPUS) else time.process_time
        first, other = _in_turns(real, session, feeds[0], clock)
        ratios = sorted(a / b for a, b in zip(first, other, strict=True))
        margin = round(len(ratios) / 2 - 0.98 * len(ratios) ** 0.5)
        row = Row(
            name,
            short,
            form,
            1000 * min(other),
            statistics.median(ratios),
            ratios[margin],
            ratios[-1 - margin],
            min(_sqnr([a[k] for a in answers], [f[k] for f in found]) for k in answers[0]),
            _agreement(answers, found),
            _version(),
            _device(provider),
        )
        print(row, flush=True)
        yield row


def _session(path: Path, provider: str) -> Any:  # noqa: ANN401 (onnxruntime has no types)
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    chain: list[Any] = [(provider, SETTINGS.get(provider, {}))]
    if provider == "TensorrtExecutionProvider":
        chain.append("CUDAExecutionProvider")
    if provider != "CPUExecutionProvider":
        chain.append("CPUExecutionProvider")
    session = ort.InferenceSession(str(path), options, providers=chain)
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"{provider} does not start here")
    return session


def _run(session: Any, feed: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:  # noqa: ANN401
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def _samples(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    found: dict[str, dict[int, dict[str, Any]]] = {"in": {}, "out": {}}
    with np.load(path) as arrays:
        for key in arrays.files:
            side, number, name = key.split(":", 2)
            found[side].setdefault(int(number), {})[name] = arrays[key]
    return tuple([part[i] for i in sorted(part)] for part in found.values())  # type: ignore[return-value]


def _in_turns(
    first: Any,  # noqa: ANN401
    second: Any,  # noqa: ANN401
    feed: dict[str, Any],
    clock: Callable[[], float],
) -> tuple[list[float], list[float]]:
    """Returns seconds of one run of each, by round; both have run before."""
    for session in (first, second):
        _run(session, feed)
    start = clock()
    _run(first, feed)
    repeats = max(1, int(ROUND_S / max(clock() - start, 1e-6)))
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for session, times in zip((first, second), spent, strict=True):
            start = clock()
            for _ in range(repeats):
                session.run(None, feed)
            times.append((clock() - start) / repeats)
    return spent


def _sqnr(wanted: list[npt.NDArray[Any]], found: list[npt.NDArray[Any]]) -> float:
    signal = sum(float(np.square(w.astype(np.float64)).sum()) for w in wanted)
    pairs = zip(wanted, found, strict=True)
    noise = sum(float(np.square(w.astype(np.float64) - f).sum()) for w, f in pairs)
    return _SAME if noise == 0 else float(10 * np.log10(signal / noise))


def _agreement(wanted: list[dict[str, Any]], found: list[dict[str, Any]]) -> float | None:
    (name, *others) = wanted[0]
    if others or wanted[0][name].ndim != 2:
        return None
    same = [w[name].argmax() == f[name].argmax() for w, f in zip(wanted, found, strict=True)]
    return float(np.mean(same))


def _version() -> str:
    import onnxruntime as ort

    return str(ort.__version__)


def _device(provider: str) -> str:
    """Returns the processor's model, or the GPU's."""
    if provider.startswith(_GPUS):
        import subprocess

        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return "x86-64 with VNNI" if "vnni" in flags else "x86-64"


def table(folder: Path) -> None:
    """Prints all rows that were measured as Markdown."""
    files = [folder / f"rows.{short}.json" for short in PROVIDERS]
    rows = [Row(**row) for f in files if f.exists() for row in json.loads(f.read_text("utf-8"))]
    print("| model | provider | form | ms | speed-up | SQNR dB | agreement |")
    print("|---|---|---|---|---|---|---|")
    for name in MODELS:
        for row in (row for row in rows if row.model == name):
            speed = "" if row.form == FLOAT else f"{row.speedup:.2f} ({row.low:.2f}–{row.high:.2f})"
            same = "" if row.agreement is None else f"{100 * row.agreement:.0f} %"
            noise = "same" if row.sqnr >= _SAME else f"{row.sqnr:.1f}"
            cells = [name, row.provider, row.form, f"{row.ms:.3f}", speed, noise, same]
            print(f"| {' | '.join(cells)} |")
    for told in sorted({(row.provider, row.runtime, row.device) for row in rows}):
        print("{}: onnxruntime {}, {}".format(*told))


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("step", choices=("make", "measure", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("providers", nargs="*", choices=[*PROVIDERS, []])
    given = parser.parse_args()
    if given.step == "make":
        make(given.folder)
    elif given.step == "measure":
        measure(given.folder, given.providers or ["cpu"])
    else:
        table(given.folder)


if __name__ == "__main__":
    main()
