"""Weights of few bits, stored packed: the types that ONNX has for them, and how kernels read them.

ONNX has types of 4 bits since opset 21, of 2 bits since opset 25; codes of 3 bits go into 4.
onnxruntime's integer kernels take 8-bit weights alone, and DequantizeLinear on narrower ones in
front of a convolution leaves it float. So the codes pass through a Cast to 8 bits, which
onnxruntime computes once, as it loads the model: the file is small, the kernel is that of 8 bits.

What is packed need not be the codes. With a codebook it is the place of each among a few levels,
without a sign; a Gather looks the codes up, once as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import weight_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.graph.qdq import GraphEditor

__all__ = ["constant_codes", "looked_up", "packed_codes", "stored_bits", "widened_codes"]

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
    editor: GraphEditor,
    stem: str,
    codes: npt.NDArray[np.integer],
    bits: int,
    levels: npt.NDArray[np.integer] | None = None,
) -> ir.Value:
    """Returns ``codes`` as integer kernels read them: stored packed, cast at the graph's start.

    Args:
        editor: Of the graph.
        stem: Start of its name.
        codes: Of any shape, of the type of 8 bits that is wanted.
        bits: Of what is stored of each.
        levels: Codebook that they are from.
    """
    wide = ir.DataType.from_numpy(codes.dtype)
    if levels is not None and stored_bits(bits, editor.graph.opset_imports[""]) < _WIDE:
        return looked_up(editor, stem, codes, bits, levels.astype(codes.dtype))
    constant = packed_codes(editor, stem, codes, bits)
    if constant.dtype == wide:
        return constant
    return editor.cast(constant, wide, stem=f"{stem}_widened")


def looked_up(  # noqa: PLR0913 (the last has a default)
    editor: GraphEditor,
    stem: str,
    codes: npt.NDArray[np.integer],
    bits: int,
    levels: npt.NDArray[np.generic],
    before: ir.Node | None = None,
) -> ir.Value:
    """Returns what stands at the place of each code among ``levels``: Gather(levels, places).

    Args:
        editor: Of the graph.
        stem: Start of its name.
        codes: Integers of any shape, all of them among the levels.
        bits: Of a place.
        levels: Rising numbers, of the type that is wanted.
        before: A node that reads them; None = at the graph's start.
    """
    places = np.searchsorted(levels, codes.astype(levels.dtype)).astype(np.uint8)
    narrow = packed_codes(editor, f"{stem}_places", places, bits)
    table, shape = editor.constant(f"{stem}_levels", levels), ir.Shape(codes.shape)
    wide = editor.node(
        "Cast",
        [narrow],
        stem=f"{stem}_widened",
        dtype=ir.DataType.INT32,
        shape=shape,
        attributes={"to": int(ir.DataType.INT32)},
        before=before,
    )
    return editor.node(
        "Gather",
        [table, wide],
        stem=stem,
        dtype=ir.DataType.from_numpy(levels.dtype),
        shape=shape,
        before=before,
        after=None if before is not None else wide.producer(),
    )


def constant_codes(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """Returns codes that are constant, also behind what this module adds; None if they are not."""
    known = weight_of(value)
    node = None if value is None else value.producer()
    if known is not None or node is None or node.domain != "":
        return known
    if node.op_type == "Cast":
        return weight_of(node.inputs[0])
    if node.op_type == "Gather" and len(node.inputs) > 1:
        levels, places = weight_of(node.inputs[0]), constant_codes(node.inputs[1])
        if levels is not None and places is not None and levels.ndim == 1:
            return np.asarray(levels[places.astype(np.int64)])
    return None
