"""What lint finds: a rule that is broken, where, why, and how to mend it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["RULES", "Finding", "Severity"]


class Severity(enum.Enum):
    """How much a finding matters; greater values matter more."""

    NOTE = 1
    """It costs time, as decided, or is worth knowing."""
    WARNING = 2
    """What was quantized runs in float, or slower than it could."""
    ERROR = 3
    """The target refuses the model, or computes something else."""

    @property
    def word(self) -> str:
        """How reports and options call it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule at one place.

    Attributes:
        rule: Which one; a key of :data:`RULES`.
        severity: How much it matters.
        node: Name of the node, or of a value where no node is to blame.
        op: Its operator; "" for a value.
        text: What is wrong and what comes of it, in one line.
        mend: What to do about it, in one line.
    """

    rule: str
    severity: Severity
    node: str
    op: str
    text: str
    mend: str


RULES = {
    "activation-channels": "an activation has one scale",
    "activation-type": "activations have a type that the target's kernels take",
    "asymmetric-activation": "zero points of activations are 0 where the target asks for it",
    "asymmetric-weight": "weights are symmetric",
    "attribute": "a layer's attributes are those of the integer kernel",
    "bias-scale": "the scale of an int32 bias is that of the input times that of the weight",
    "bias-trap": "what is added to a matrix product of codes is stored as int32",
    "bias-type": "biases have the type that the target takes",
    "computed-scale": "scales and zero points are constants",
    "double-pair": "values are quantized once",
    "dynamic-layer": "convolutions are quantized ahead of time",
    "dynamic-shape": "shapes are known where the target needs them",
    "float-island": "few operators between quantized values compute in float",
    "float-layer": "layers with weights run on integers",
    "half-overflow": "numbers in half precision are within its range",
    "half-scale": "scales are float32",
    "half-underflow": "numbers in half precision are more than zero",
    "half-quantized": "all operands of an operator are quantized",
    "moved-params": "operators that move codes about have equal scales before and behind",
    "no-kernels": "the target has integer kernels",
    "no-output-pair": "a layer's output is quantized where its kernel writes codes",
    "operator-form": "the model has the form that the target takes",
    "opset": "the operator set knows the types and granularities",
    "packed-weight": "weights of few bits reach a layer as 8-bit codes",
    "pair-before-function": "no quantization stands between a layer and its Relu or Clip",
    "pair-form": "each QuantizeLinear and DequantizeLinear is legal",
    "pair-mismatch": "codes are read with the scale that they were written with",
    "saturating-function": "Relu and Clip end where the codes do",
    "saturation": "sums of two products fit 16 bits",
    "several-readers": "codes of a layer's output are all that is read of it",
    "signed-activation": "a signed activation has one reader",
    "silent-weight": "weights of layers between codes are stored as codes",
    "unfolded-weight": "weights are stored as codes, not quantized at each run",
    "wasted-pair": "values are quantized for an integer kernel",
    "weight-axis": "scales of a weight run along its output channels",
    "weight-channels": "a weight has a scale per channel only where the target takes that",
    "weight-only-layer": "weights of float layers are dequantized once",
    "weight-type": "weights have a type that the target's kernels take",
}
"""Rule → what holds where it is kept."""
