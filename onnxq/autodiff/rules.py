"""The table of rules: operator → how a cotangent of its output becomes cotangents of its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.autodiff import (
    activations,
    arithmetic,
    convolution,
    indexing,
    linear,
    normalisation,
    pooling,
    quantization,
    reduction,
    resampling,
    shape,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxq.autodiff.site import Rule

__all__ = ["FLAT", "MANY_OUTPUTS", "RULES"]

RULES: Mapping[str, Rule] = {
    **activations.RULES,
    **arithmetic.RULES,
    **convolution.RULES,
    **indexing.RULES,
    **linear.RULES,
    **normalisation.RULES,
    **pooling.RULES,
    **quantization.RULES,
    **reduction.RULES,
    **resampling.RULES,
    **shape.RULES,
}
"""Rules of standard operators, by name."""

FLAT = frozenset((
    "ArgMax", "ArgMin", "Bernoulli", "Ceil", "ConstantOfShape", "Equal", "EyeLike", "Floor",
    "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Multinomial",
    "NonZero", "Not", "OneHot", "RandomNormalLike", "RandomUniformLike", "Shape", "Sign", "Size",
))  # fmt: skip
"""Operators that no gradient goes through: they are constant almost everywhere."""

MANY_OUTPUTS = frozenset(("Split",))
"""Operators whose rules read the cotangents of all outputs."""
