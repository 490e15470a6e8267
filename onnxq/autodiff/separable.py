"""Linear maps along one axis, and their adjoints as matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.autodiff.site import Site

    Matrix = npt.NDArray[np.floating[Any]]

__all__ = ["apply_adjoint", "repeats"]


def apply_adjoint(site: Site, dy: ir.Value, rank: int, axis: int, matrix: Matrix) -> ir.Value:
    """Emits matrixᵀ · dy along one axis.

    Args:
        site: The node.
        dy: Its size along ``axis`` is ``out``.
        rank: That of ``dy``.
        axis: Counted from the front.
        matrix: [out, in], what the map does along the axis.

    Returns:
        A value of size ``in`` along ``axis``.
    """
    if axis == rank - 1:
        return site.op("MatMul", dy, site.array(matrix))
    if axis == rank - 2:
        return site.op("MatMul", site.array(matrix.T), dy)
    order = [i for i in range(rank) if i != axis]
    last = site.transpose(dy, [*order, axis])
    product = site.op("MatMul", last, site.array(matrix))
    return site.transpose(product, [*range(axis), rank - 1, *range(axis, rank - 1)])


def repeats(matrix: Matrix) -> int | None:
    """Returns how often a map repeats each element in place; None if it does anything else."""
    out, into = matrix.shape
    if into == 0 or out % into:
        return None
    count = out // into
    return count if (matrix == np.repeat(np.eye(into), count, axis=0)).all() else None
