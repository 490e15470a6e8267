"""Resize: a linear map along each axis, whose matrix the operator itself shows.

In every mode (nearest, linear, cubic, each way to place the pixels) Resize works axis by axis. Run
on an identity matrix, along one axis, it returns that axis' matrix; the gradient multiplies by its
transpose. Where elements are just repeated, as in the usual nearest upsampling by a whole factor,
sums over the repeats are quicker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxq.autodiff.separable import apply_adjoint, repeats
from onnxq.graph.opset import minimal_ir_version
from onnxq.runtime.session import run_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from onnxq.autodiff.site import Grads, Rule, Site

__all__ = ["RULES"]


def _resize(site: Site, dy: ir.Value) -> Grads:
    attributes = site.node.attributes
    if attributes.get_string("coordinate_transformation_mode", "half_pixel").startswith("tf_crop"):
        raise site.refusal("it crops (tf_crop_and_resize)")
    x, y = site.shape(site.x()), site.shape(site.y)
    sizes = list(y)
    for axis in reversed(range(len(x))):
        matrix = _matrix(site, axis)
        if matrix.shape[0] == matrix.shape[1] and (matrix == np.eye(len(matrix))).all():
            continue
        count = repeats(matrix)
        if count is not None:
            parts = (*sizes[:axis], x[axis], count, *sizes[axis + 1 :])
            dy = site.sum(site.reshape(dy, parts), [axis + 1])
        else:
            dy = apply_adjoint(site, dy, len(sizes), axis, matrix)
        sizes[axis] = x[axis]
    return {0: dy}


def _matrix(site: Site, axis: int) -> npt.NDArray[np.float32]:
    """Returns [out, in]: what the node does along ``axis``."""
    into, out = site.shape(site.x())[axis], site.shape(site.y)[axis]
    scale = _scale(site, axis)
    if scale is None and into == out:
        return np.eye(into, dtype=np.float32)
    attributes = {
        name: attribute.value
        for name, attribute in site.node.attributes.items()
        if name not in ("axes", "keep_aspect_ratio_policy")
    }
    x = ir.val("x", ir.DataType.FLOAT, (1, 1, into, into))
    y = ir.val("y", ir.DataType.FLOAT)
    if scale is None:
        last = ir.val(
            "sizes", const_value=ir.tensor(np.array([1, 1, into, out], np.int64), name="sizes")
        )
    else:
        factors = np.array([1, 1, 1, scale], np.float32)
        last = ir.val("scales", const_value=ir.tensor(factors, name="scales"))
    inputs = [x, None, last] if scale is not None else [x, None, None, last]
    node = ir.node("Resize", inputs, attributes, outputs=[y], name="resize")
    opset = site.node.graph.opset_imports[""] if isinstance(site.node.graph, ir.Graph) else 21
    graph = ir.Graph([x], [y], nodes=[node], initializers=[last], opset_imports={"": opset})
    model = ir.Model(graph, ir_version=minimal_ir_version(opset))
    eye = np.eye(into, dtype=np.float32).reshape(1, 1, into, into)
    rows: npt.NDArray[np.float32] = run_model(model, {"x": eye})["y"][0, 0]
    return np.ascontiguousarray(rows.T)


def _scale(site: Site, axis: int) -> float | None:
    """Returns the factor that the node states for ``axis``; None if it states sizes."""
    scales: npt.NDArray[Any] | None = site.weight(2, "scales")
    if scales is None or not scales.size:
        if site.node.attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise site.refusal("it keeps the aspect ratio of sizes")
        return None
    rank = len(site.shape(site.x()))
    axes = [a % rank for a in site.ints_attribute("axes") or range(rank)]
    return float(scales[axes.index(axis)]) if axis in axes else None


RULES: Mapping[str, Rule] = {"Resize": _resize}
