"""Preprocessing as one ONNX graph: what runs on calibration images is what can be embedded.

The graph takes an upright RGB image, uint8 [height, width, 3], and does, in this order: gray
levels if asked for, resize rule, channel order, (x · scale - mean) / std in float32, layout, a
batch axis, the input's element type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.data.graph_ops import GraphOps
from onnxq.data.resize_graph import crop, letterbox, stretch

if TYPE_CHECKING:
    from onnxq.data.preprocess import Preprocess

__all__ = ["IMAGE", "INPUT", "add_preprocess", "preprocess_model"]

IMAGE, INPUT = "image", "input"
_OPSET, _IR_VERSION = 21, 10
# Pillow's weights of red, green and blue, in 65536ths (ITU-R 601-2).
_LUMA = np.array([19595, 38470, 7471], np.int32).reshape(1, 3, 1, 1)


def preprocess_model(preprocess: Preprocess, dtype: ir.DataType) -> ir.Model:
    """Returns a model from :data:`IMAGE`, uint8 [height, width, 3], to :data:`INPUT`.

    Args:
        preprocess: Bound to the model that the input is for.
        dtype: Element type of that input.
    """
    image = ir.val(IMAGE, ir.DataType.UINT8, ["height", "width", 3])
    last = ir.node("Identity", [image], name="preprocess_end")
    graph = ir.Graph([image], [], nodes=[last], opset_imports={"": _OPSET}, name="preprocess")
    made = add_preprocess(GraphOps(graph, last), image, preprocess, dtype)
    last.replace_input_with(0, made)
    result = last.outputs[0]
    result.name, result.type, result.shape = INPUT, ir.TensorType(dtype), ir.Shape([None] * 4)
    graph.outputs.append(result)
    return ir.Model(graph, ir_version=_IR_VERSION)


def add_preprocess(
    ops: GraphOps, image: ir.Value, preprocess: Preprocess, dtype: ir.DataType
) -> ir.Value:
    """Adds the nodes that make a model's input of ``image``.

    Args:
        ops: Adds them.
        image: uint8 [height, width, 3], RGB.
        preprocess: Bound to the model.
        dtype: Element type of the input.

    Returns:
        The input: ``dtype`` [1, C, H, W] or [1, H, W, C] by the layout.
    """
    planes = ops("Unsqueeze", ops.transpose(image, (2, 0, 1)), np.asarray([0], np.int64))
    if preprocess.channels == "gray":
        planes = _gray(ops, planes)
    planes = _resized(ops, planes, preprocess)
    if preprocess.channels == "bgr":
        planes = ops("Gather", planes, np.array([2, 1, 0]), axis=1)
    levels = _normalised(ops, ops.cast(planes, ir.DataType.FLOAT), preprocess)
    if preprocess.layout == "nhwc":
        levels = ops.transpose(levels, (0, 2, 3, 1))
    if dtype.is_integer():
        levels = ops("Round", levels)
    return ops.cast(levels, dtype)


def _gray(ops: GraphOps, planes: ir.Value) -> ir.Value:
    weighted = ops("Mul", ops.cast(planes, ir.DataType.INT32), _LUMA)
    total = ops("ReduceSum", weighted, np.asarray([1], np.int64), keepdims=1)
    rounded = ops("Add", total, np.asarray(1 << 15, np.int32))
    return ops.cast(ops("Div", rounded, np.asarray(1 << 16, np.int32)), ir.DataType.UINT8)


def _resized(ops: GraphOps, planes: ir.Value, preprocess: Preprocess) -> ir.Value:
    if preprocess.resize == "none":
        return planes
    size, filter_ = preprocess.size, preprocess.filter
    assert size is not None, "binding to the model's input settles the size"
    if preprocess.resize == "crop":
        return crop(ops, planes, size, preprocess.shorter_side, filter_)
    if preprocess.resize == "letterbox":
        return letterbox(ops, planes, size, preprocess.fill, filter_)
    return stretch(ops, planes, size, filter_)


def _normalised(ops: GraphOps, levels: ir.Value, preprocess: Preprocess) -> ir.Value:
    """Steps that change nothing are left out."""
    mean, std = (
        np.asarray(values, np.float32).reshape(1, -1, 1, 1)
        for values in (preprocess.mean, preprocess.std)
    )
    if preprocess.scale != 1:
        levels = ops("Mul", levels, np.asarray(preprocess.scale, np.float32))
    if mean.any():
        levels = ops("Sub", levels, mean)
    return ops("Div", levels, std) if (std != 1).any() else levels
