"""Targets: what an execution provider really runs, as data read from ``targets/*.toml``."""

from __future__ import annotations

import enum
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from onnxq.errors import TargetError
from onnxq.plan.cost import CostTable
from onnxq.plan.spec import IntType

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OpKind", "OpRule", "Target", "known_targets", "load_target"]


class OpKind(enum.Enum):
    """How an operator takes part in an integer region."""

    HEAVY = "heavy"
    """Multiplies by a weight: Conv, Gemm, MatMul."""
    RESCALES = "rescales"
    """Has an integer kernel with own params at every input and output: Add, Sigmoid …"""
    SAME_PARAMS = "same-params"
    """Moves codes about, or picks among them: inputs and outputs share params."""
    ABSORBED = "absorbed"
    """Vanishes into the quantization of its output: Relu, Clip."""


@dataclass(frozen=True, slots=True)
class OpRule:
    """What a target does with one operator type.

    Attributes:
        kind: How it takes part.
        inputs: Positions of the data inputs; None = all of them.
        needs_output: Whether the integer kernel exists only with a quantized output.
        when: Attribute name → the value that it must have.
    """

    kind: OpKind
    inputs: tuple[int, ...] | None
    needs_output: bool
    when: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """An execution provider's abilities.

    Attributes:
        name: How ``--target`` calls it.
        activation: Integer type of activations.
        activation_bits: Widths of activations that its kernels take as they are, or clipped while
            stored wider.
        weight: Integer type of weights; symmetric.
        weight_bits: Widths of weights that its kernels take as they are, or widened as the model is
            loaded.
        opset: Least opset that it needs.
        pair_bound: Greatest |x₀w₀ + x₁w₁| of two neighbouring products that every machine of this
            target adds up without saturation; None = no such limit.
        ops: Operator type → its rule; absent = float.
        costs: Kernel and conversion times.
    """

    name: str
    activation: IntType
    activation_bits: tuple[int, ...]
    weight: IntType
    weight_bits: tuple[int, ...]
    opset: int
    pair_bound: int | None
    ops: Mapping[str, OpRule]
    costs: CostTable

    def activation_type(self, bits: int) -> IntType:
        """Returns the type of activations of ``bits`` bits; raises TargetError if it has none."""
        if bits not in self.activation_bits:
            known = ", ".join(map(str, self.activation_bits))
            raise TargetError(f"{self.name} has no activations of {bits} bits; give one of {known}")
        return IntType(bits, self.activation.signed)

    def weight_type(self, bits: int) -> IntType:
        """Returns the type of weights of ``bits`` bits; raises TargetError if it has none."""
        if bits not in self.weight_bits:
            known = ", ".join(map(str, self.weight_bits))
            raise TargetError(f"{self.name} has no weights of {bits} bits; give one of {known}")
        return IntType(bits, self.weight.signed)


def known_targets() -> list[str]:
    """Returns the names of the targets that come with the package."""
    folder = resources.files("onnxq.plan") / "targets"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def _rule(op_type: str, entry: Mapping[str, Any]) -> OpRule:
    try:
        kind = OpKind(entry["kind"])
    except (KeyError, ValueError):
        kinds = ", ".join(k.value for k in OpKind)
        raise TargetError(f"target: [ops.{op_type}] needs kind = one of {kinds}") from None
    inputs = entry.get("inputs")
    return OpRule(
        kind=kind,
        inputs=None if inputs == "all" else tuple(inputs or (0,)),
        needs_output=bool(entry.get("needs_output", True)),
        when=dict(entry.get("when", {})),
    )


@cache
def load_target(name: str) -> Target:
    """Returns the target called ``name``; raises TargetError if there is none such."""
    if name not in known_targets():
        raise TargetError(f"no target '{name}'; there are: {', '.join(known_targets())}")
    text = (resources.files("onnxq.plan") / "targets" / f"{name}.toml").read_text("utf-8")
    data = tomllib.loads(text)
    return Target(
        name=name,
        activation=(activation := IntType.parse(data["activation"])),
        activation_bits=tuple(data.get("activation_bits", (activation.bits,))),
        weight=(weight := IntType.parse(data["weight"])),
        weight_bits=tuple(data.get("weight_bits", (weight.bits,))),
        opset=data["opset"],
        pair_bound=data.get("pair_bound"),
        ops={op: _rule(op, entry) for op, entry in data["ops"].items()},
        costs=CostTable.parse(data["costs"]),
    )
