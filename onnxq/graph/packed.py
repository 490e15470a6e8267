"""Weights of few bits, stored packed: the types that ONNX has for them, and how kernels read them.

ONNX has types of 4 bits since opset 21, of 2 bits since opset 25; codes of 3 bits go into 4.
onnxruntime's integer kernels take 8-bit weights alone, and DequantizeLinear on narrower ones in
front of a convolution leaves it float. So the codes pass through a Cast to 8 bits, which
onnxruntime computes once, as it loads the model: the file is small, the kernel is that of 8 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.graph.qdq import GraphEditor

__all__ = ["packed_codes", "stored_bits", "widened_codes"]

# Width of a packed type → the opset that brought it, signed and unsigned.
_SINCE = {2: 25, 4: 21}
_TYPES = {
    (2, True): ir.DataType.INT2,
    (2, False): ir.DataType.UINT2,
    (4, True): ir.DataType.INT4,
    (4, False): ir.DataType.UINT4,
}
_WIDE = 8


def stored_bits(bits: int, opset: int) -> int:
    """Returns the bits that a code of up to ``bits`` bits takes in a model of ``opset``."""
    for width, since in _SINCE.items():
        if bits <= width and opset >= since:
            return width
    return next(width for width in (_WIDE, 16, 32) if bits <= width)


def packed_codes(
    editor: GraphEditor, stem: str, codes: npt.NDArray[np.integer], bits: int
) -> ir.Value:
    """Returns a constant that holds ``codes`` in the narrowest type that the graph's opset has.

    Args:
        editor: Of the graph.
        stem: Start of its name.
        codes: Integers of any shape, of the type that arithmetic on them is done in.
        bits: Of a code.
    """
    width = stored_bits(bits, editor.graph.opset_imports[""])
    dtype = _TYPES.get((width, np.issubdtype(codes.dtype, np.signedinteger)))
    return editor.constant(stem, codes, dtype)


def widened_codes(
    editor: GraphEditor, stem: str, codes: npt.NDArray[np.integer], bits: int
) -> ir.Value:
    """Returns ``codes`` as integer kernels read them: stored packed, cast at the graph's start."""
    constant = packed_codes(editor, stem, codes, bits)
    wide = ir.DataType.from_numpy(codes.dtype)
    if constant.dtype == wide:
        return constant
    return editor.cast(constant, wide, stem=f"{stem}_widened")
