"""Float to float: edits of the model that keep its function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.numerics.migration import Bits
from onnxq.passes.rewrite.absorb_biases import AbsorbBiasesPass
from onnxq.passes.rewrite.equalize_layers import EqualizeLayersPass
from onnxq.passes.rewrite.flatten_shape import FlattenShapePass
from onnxq.passes.rewrite.fold_affine import FoldAffinePass
from onnxq.passes.rewrite.fold_affine_into_batchnorm import FoldAffineIntoBatchnormPass
from onnxq.passes.rewrite.fold_batchnorm import FoldBatchnormPass
from onnxq.passes.rewrite.fold_dimensions import FoldDimensionsPass
from onnxq.passes.rewrite.fold_pad import FoldPadPass
from onnxq.passes.rewrite.fold_space_to_depth import FoldSpaceToDepthPass
from onnxq.passes.rewrite.global_pool import GlobalPoolPass
from onnxq.passes.rewrite.infer_shapes import InferShapes
from onnxq.passes.rewrite.merge_branches import MergeBranchesPass
from onnxq.passes.rewrite.merge_siblings import MergeSiblingsPass
from onnxq.passes.rewrite.move_transposes import MoveTransposesPass
from onnxq.passes.rewrite.recognize_activations import RecognizeActivationsPass
from onnxq.passes.rewrite.recognize_layernorm import RecognizeLayernormPass
from onnxq.passes.rewrite.reduce_mean_to_pool import ReduceMeanToPoolPass
from onnxq.passes.rewrite.reorder_channels import ReorderChannelsPass
from onnxq.passes.rewrite.select_early import SelectEarlyPass
from onnxq.passes.rewrite.smooth_activations import SmoothActivationsPass
from onnxq.passes.rewrite.sum_to_add import SumToAddPass
from onnxq.passes.rewrite.unshuffle_channels import UnshuffleChannelsPass

if TYPE_CHECKING:
    from onnxq.config import Config
    from onnxq.graph.choices import Choices
    from onnxq.graph.prior import Prior
    from onnxq.passbase import RewritePass
    from onnxq.runtime.survey import Survey

__all__ = ["float_rewrites"]

_EIGHT = 8
# Weights rounded by what comes out of their layers err as little as the nearest codes of more bits.
_BITS_OF_ROUNDING = 2


def float_rewrites(
    prior: Prior | None = None,
    *,
    survey: Survey | None = None,
    choices: Choices | None = None,
    integer: bool = True,
    config: Config | None = None,
) -> list[RewritePass]:
    """Returns the rewrites that prepare any model, in their order, to be run to a fixpoint.

    Functions that are spelled out are recognized before anything is folded, lest a part of one is
    folded away and the rest becomes unrecognizable. Convolutions are merged when all that belongs
    to one has been folded into it.

    Args:
        prior: Filled with what BatchNormalization tells of values.
        survey: Calibration samples for rewrites that decide by data; None = there are none.
        choices: What these decided for a model that was made from this one, to be repeated.
        integer: Whether convolutions are to run on integers, where other forms are fast.
        config: The options, which tell how weights will be stored; None = in 8 bits, with a scale
            per output channel.
    """
    per_channel = config is None or config.weight_granularity == "channel"
    bits = None if config is None else Bits(_weight_bits(config), config.activations)
    return [
        FoldDimensionsPass(),
        FlattenShapePass(),
        InferShapes(),
        SumToAddPass(),
        RecognizeLayernormPass(),
        RecognizeActivationsPass(),
        MoveTransposesPass(),
        FoldAffineIntoBatchnormPass(prior),
        FoldBatchnormPass(prior),
        FoldAffinePass(prior),
        FoldPadPass(),
        FoldSpaceToDepthPass(integer=integer),
        MergeBranchesPass(),
        MergeSiblingsPass(prior),
        ReduceMeanToPoolPass(),
        GlobalPoolPass(),
        SelectEarlyPass(),
        UnshuffleChannelsPass(prior),
        EqualizeLayersPass(prior, survey, choices),
        SmoothActivationsPass(prior, survey, choices, per_channel=per_channel, bits=bits),
        AbsorbBiasesPass(prior, survey, choices),
        ReorderChannelsPass(prior, survey, choices),
    ]


def _weight_bits(config: Config) -> int:
    """Returns how many bits weights are as good as, with the nearest codes."""
    gain = 0 if config.rounding == "nearest" else _BITS_OF_ROUNDING
    return min(config.weights + gain, _EIGHT)
