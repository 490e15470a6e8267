"""The graph that onnxruntime makes of a model: its kernels, as a model of their own.

Run without further optimizations, it computes bit for bit what the model does at the level that
made it, wherever it is cut: no fusion depends any more on what stands around. It holds for the
machine that it was made on alone.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx_ir as ir

from onnxq.runtime.session import Trace, make_session

__all__ = ["optimized_model"]


def optimized_model(model: ir.Model) -> ir.Model:
    """Returns what onnxruntime makes of ``model`` with all its optimizations on the CPU.

    Constants keep their names, and equal ones stay apart: a name that is in ``model`` and in the
    result means the same in both.

    Args:
        model: Never changed.

    Raises:
        ModelError: onnxruntime refuses the model.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        trace = Trace(Path(folder))
        make_session(model, trace=trace, trial=True, share_constants=False)
        return ir.external_data.load_to_model(ir.load(trace.graph))
