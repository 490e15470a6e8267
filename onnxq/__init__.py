"""onnxq: from an exported ONNX model to a small, fast and proven quantized one.

    import onnxq

    result = onnxq.optimize("model.onnx", data="calibration.npz")
    print(result.path, result.latency, result.fidelity)

Importing this package loads nothing heavy; the first use of a name does.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from onnxq.config import Config
    from onnxq.data import DataLike
    from onnxq.errors import OnnxqError
    from onnxq.graph.io import ModelSource
    from onnxq.manager import Progress
    from onnxq.report.bench_result import Bench
    from onnxq.report.compare_result import CompareResult
    from onnxq.report.inspect_result import Inspection
    from onnxq.report.lint_result import Linted
    from onnxq.report.result import Result

    __version__: str

__all__ = [
    "Bench",
    "CompareResult",
    "Config",
    "Inspection",
    "Linted",
    "OnnxqError",
    "Result",
    "__version__",
    "bench",
    "compare",
    "inspect",
    "lint",
    "optimize",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())

_HOMES = {
    "Bench": "onnxq.report.bench_result",
    "CompareResult": "onnxq.report.compare_result",
    "Config": "onnxq.config",
    "Inspection": "onnxq.report.inspect_result",
    "Linted": "onnxq.report.lint_result",
    "OnnxqError": "onnxq.errors",
    "Result": "onnxq.report.result",
}


def optimize(
    model: ModelSource,
    data: DataLike | None = None,
    *,
    progress: Progress | None = None,
    **options: object,
) -> Result:
    """Quantizes a model and proves what came out. Prints nothing.

    Args:
        model: A path, the bytes of a file, an ``onnx.ModelProto`` or an ``onnx_ir.Model``; never
            changed. A model given as a path is written to ``MODEL.int8.onnx`` (the number is that
            of ``weights``) beside it unless ``output`` says otherwise; any other is written only
            where ``output`` says.
        data: Calibration samples: a .npz or .npy file, a folder or data set's root of them or of
            images (then ``preprocess`` says how they become inputs, unless the model tells), a .txt
            list of files, ``package.module:callable``, arrays by input name with samples along the
            first axis, an iterable of feeds, or a callable that returns one. Without data, only
            weights are quantized.
        progress: Is told how far each stage has come.
        options: Fields of :class:`Config`.

    Returns:
        The model, where it was written, and what was measured on it.

    Raises:
        OnnxqError: The model, the data or an option is not usable, the output cannot be written, or
            the result misses what ``require`` asks for.
    """
    from onnxq.config import Config
    from onnxq.pipeline import optimize as run

    return run(model, data, Config.of(options), progress)


def bench(*models: str | os.PathLike[str], **options: object) -> Bench:
    """Measures latency and memory of models in turns. Prints nothing.

    Args:
        models: Files of one or more models; ratios are to the first.
        options: Fields of :class:`onnxq.benchmarking.BenchOptions`.

    Returns:
        What was measured, with the ratios' intervals.

    Raises:
        OnnxqError: A model, the data or an option is not usable.
    """
    from onnxq.benchmarking import BenchOptions
    from onnxq.benchmarking import bench as run

    return run(models, BenchOptions.of(options))


def compare(
    first: ModelSource,
    second: ModelSource,
    data: DataLike,
    *,
    progress: Progress | None = None,
    **options: object,
) -> CompareResult:
    """Finds out where a model departs from the float one, and which layer is to blame.

    Prints nothing.

    Args:
        first: The float model, as for :func:`optimize`.
        second: A model made from it: its inputs and outputs have the same names.
        data: Samples, as for :func:`optimize`.
        progress: Is told how far each stage has come.
        options: Fields of :class:`onnxq.comparing.CompareOptions`; ``draw="folder"`` writes both
            detectors' boxes side by side.

    Returns:
        Fidelity at the outputs, and SQNR layer by layer with inputs from either model.

    Raises:
        OnnxqError: A model, the data or an option is not usable, or the models have nothing in
            common.
    """
    from onnxq.comparing import CompareOptions
    from onnxq.comparing import compare as run

    return run(first, second, data, CompareOptions.of(options), progress)


def inspect(model: ModelSource, *, shapes: Sequence[str] = ()) -> Inspection:
    """Finds out what a model is made of, costs, and would become. Prints nothing.

    Args:
        model: As for :func:`optimize`.
        shapes: ``INPUT=1x3x224x224`` for inputs with symbolic dimensions, which are 1 otherwise.

    Raises:
        OnnxqError: The model cannot be read, or a shape does not fit.
    """
    from onnxq.inspection import inspect as run

    return run(model, shapes=shapes)


def lint(model: ModelSource, *, target: str = "cpu") -> Linted:
    """Finds what keeps a model from running on integers on a target. Prints nothing.

    Args:
        model: Any ONNX model, quantized or not, as for :func:`optimize`.
        target: Name of a target, or its TOML file.

    Raises:
        OnnxqError: Model or target cannot be read.
    """
    from onnxq.linting import lint as run

    return run(model, target)


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """The installed version; "0+unknown" in a source tree that was never installed."""
    from importlib import metadata

    try:
        return metadata.version("onnxq")
    except metadata.PackageNotFoundError:
        return "0+unknown"
