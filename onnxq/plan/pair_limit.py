"""How large two neighbouring weights may be together on a target that adds in 16 bits first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.graph.roles import conv_kind

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.plan.target import Target

__all__ = ["pair_limit"]


def pair_limit(node: ir.Node, target: Target) -> int | None:
    """Returns the greatest sum of two codes of equal sign; None where no limit holds.

    Depthwise kernels add in 32 bits (``onnxq.numerics.pairs``).

    Args:
        node: A layer on integers.
        target: Whose kernels run it.
    """
    bound = target.pair_bound
    if bound is None or (node.op_type == "Conv" and conv_kind(node) == "depthwise"):
        return None
    return bound // target.activation.qmax
