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
    from onnxq.config import Config
    from onnxq.data import DataLike
    from onnxq.errors import OnnxqError
    from onnxq.graph.io import ModelSource
    from onnxq.manager import Progress
    from onnxq.report.result import Result

    __version__: str

__all__ = ["Config", "OnnxqError", "Result", "__version__", "optimize"]

logging.getLogger(__name__).addHandler(logging.NullHandler())

_HOMES = {
    "Config": "onnxq.config",
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
            changed. A model given as a path is written to ``MODEL.int8.onnx`` beside it unless
            ``output`` says otherwise; any other is written only where ``output`` says.
        data: Calibration samples: a .npz or .npy file, a folder of them or of images (then
            ``preprocess`` says how they become inputs), arrays by input name with samples along the
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
