"""The largest of a window: MaxPool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.reference.geometry import output_sizes, taps, window
from onnxq.reference.integers import is_integer, limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxq.reference.call import Call, Kernel
    from onnxq.reference.integers import Array

__all__ = ["KERNELS"]


def _max_pool(call: Call) -> Array:
    if len(call.node.outputs) > 1:
        raise call.unsupported("it returns where its maxima are, which the reference does not do")
    x, kernel = call.x(), call.numbers("kernel_shape")
    if kernel is None:
        raise call.refusal("it has no kernel_shape")
    look = window(call, kernel, x.shape[2:])
    outputs = output_sizes(look, x.shape[2:], ceil=call.number("ceil_mode") == 1)
    least = limits(x.dtype)[0] if is_integer(x.dtype) else -np.inf
    best: Array | None = None
    for _, read in taps(x, look, outputs, least):
        best = read.copy() if best is None else np.maximum(best, read, out=best)
    assert best is not None, "a kernel has a tap"
    return best


KERNELS: Mapping[str, Kernel] = {"MaxPool": _max_pool}
