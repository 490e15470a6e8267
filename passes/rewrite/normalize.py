"""The passes that bring any export into the one form that all later passes know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.passes.rewrite.convert_opset import ConvertOpset
from onnxq.passes.rewrite.drop_default_inputs import DropDefaultInputs
from onnxq.passes.rewrite.eliminate_dropout import EliminateDropout
from onnxq.passes.rewrite.eliminate_identity import EliminateIdentity
from onnxq.passes.rewrite.fill_constants import FillConstants
from onnxq.passes.rewrite.fold_constants import FoldConstants
from onnxq.passes.rewrite.infer_shapes import InferShapes
from onnxq.passes.rewrite.inline_functions import InlineFunctions
from onnxq.passes.rewrite.lift_constants import LiftConstants
from onnxq.passes.rewrite.remove_unused import RemoveUnused
from onnxq.passes.rewrite.sort_nodes import SortNodes
from onnxq.passes.rewrite.unique_names import UniqueNames
from onnxq.passes.rewrite.widen_half import WidenHalf

if TYPE_CHECKING:
    from onnxq.passbase import RewritePass

__all__ = ["normalize_passes", "precision_passes", "repair_passes"]


def repair_passes() -> list[RewritePass]:
    """Returns the passes that make any readable model one that can be run and compared.

    They come before all others, and outside the pass manager's checks: before them a model may have
    nodes of one name, which onnxruntime refuses, and they take weights out of its inputs.
    """
    return [InlineFunctions(), DropDefaultInputs(), SortNodes(), UniqueNames()]


def precision_passes() -> list[RewritePass]:
    """Returns the passes that give a model the one precision that all later passes know.

    They come after :func:`repair_passes` and outside the pass manager's checks as well: they change
    rounding by more than those allow. What the others are held to is the model that they leave.
    """
    return [WidenHalf()]


def normalize_passes(opset: int = 21) -> list[RewritePass]:
    """Returns the passes of normalization, in the order they run, after :func:`precision_passes`.

    After them the model has no Constant nodes, opset ``opset`` or newer with the lowest IR version
    that fits, a unique name on every node and value, known shapes where they can be known, and
    nothing that does nothing. The names, types and shapes of its inputs and outputs stay.

    Args:
        opset: A model of an older opset is converted to this one.
    """
    return [
        LiftConstants(),
        FillConstants(),
        EliminateDropout(),
        InferShapes(),
        ConvertOpset(opset),
        FoldConstants(),
        FillConstants(),
        FoldConstants(),
        LiftConstants(),
        EliminateIdentity(),
        RemoveUnused(),
        UniqueNames(),
        InferShapes(),
    ]
