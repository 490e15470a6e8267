"""HardSwish on codes: Clip(q, z - k, z + k) · q, exact and without a float operator.

With scale 3/k the knees of HardSwish(x) = x · clip(x / 6 + 1/2, 0, 1) at ±3 lie on codes z ± k, and
clip(x / 6 + 1/2, 0, 1) is the clipped code read with scale 1/(2k) and zero point z - k.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxq.graph.qdq import Affine, GraphEditor

__all__ = ["hard_swish_on_codes"]

_KNEE = 3.0
_TOLERANCE = 1e-5


def hard_swish_on_codes(editor: GraphEditor, node: ir.Node) -> bool:
    """Replaces a HardSwish whose input is a DequantizeLinear; returns whether it could.

    It cannot where the scale is no 3/k, or the codes do not reach z ± k: then ``node`` stays.

    Args:
        editor: Of the graph that ``node`` is in.
        node: A HardSwish.
    """
    real = node.inputs[0]
    dequantize = real.producer() if real is not None else None
    if real is None or dequantize is None or dequantize.op_type != "DequantizeLinear":
        return False
    codes, constants = dequantize.inputs[0], dequantize.inputs[1:]
    if codes is None or len(constants) < len(("scale", "zero point")):
        return False
    scale, zero_point = (value.const_value.numpy() for value in constants)  # type: ignore[union-attr]
    if scale.ndim:
        return False
    zero, steps = int(zero_point), round(_KNEE / float(scale))
    info = np.iinfo(zero_point.dtype)
    fits = info.min <= zero - steps and zero + steps <= info.max
    if abs(float(scale) * steps - _KNEE) > _TOLERANCE or not fits:
        return False
    bounds = [
        editor.constant("code_bound", np.asarray(bound, zero_point.dtype))
        for bound in (zero - steps, zero + steps)
    ]
    clipped = editor.node(
        "Clip",
        [codes, *bounds],
        stem=f"{codes.name}_gate",
        dtype=ir.DataType.from_numpy(zero_point.dtype),
        shape=real.shape,
        before=node,
    )
    gate = Affine(np.asarray(scale / 6, np.float32), np.asarray(zero - steps, zero_point.dtype))
    factor = editor.dequantize(clipped, gate, stem=f"{codes.name}_gate", before=node)
    old = node.outputs[0]
    product = editor.node(
        "Mul",
        [real, factor],
        stem=f"{old.name}_product",
        dtype=ir.DataType.FLOAT,
        shape=old.shape,
        before=node,
    )
    old.replace_all_uses_with(product)
    editor.graph.remove(node, safe=True)
    return True
