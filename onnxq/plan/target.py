"""Targets: what an execution provider really runs, as data read from ``targets/*.toml``."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxq.errors import TargetError
from onnxq.plan.cost import CostTable
from onnxq.plan.spec import IntType
from onnxq.plan.target_file import merged, read_table, types_of, validated

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OpKind", "OpRule", "Source", "Target", "known_targets", "load_target"]

_SUFFIX = ".toml"


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
    FUSED = "fused"
    """Stays between a layer and the quantization of its output, and runs in the layer's kernel."""


@dataclass(frozen=True, slots=True)
class OpRule:
    """What a target does with one operator type.

    Attributes:
        kind: How it takes part.
        inputs: Positions of the data inputs; None = all of them.
        needs_output: Whether the integer kernel exists only with a quantized output.
        when: Attribute name → the value that it must have, or a list of those that it may have.
        tail: Whether it runs on integers even where nothing heavy follows.
        constants: Whether some of its inputs may be constants, which need no codes.
        values: Whether what a heavy operator multiplies by may be a value instead of a weight.
    """

    kind: OpKind
    inputs: tuple[int, ...] | None
    needs_output: bool
    when: Mapping[str, Any]
    tail: bool = False
    constants: bool = False
    values: bool = False

    @property
    def vanishes(self) -> bool:
        """Whether no quantization stands between the operator and the layer in front of it."""
        return self.kind in (OpKind.ABSORBED, OpKind.FUSED)


@dataclass(frozen=True, slots=True)
class Source:
    """What a rule of a target rests on.

    Attributes:
        stands: "run" = seen in what the provider ran, "documents" = read.
        where: Name and section of the document, or what was run.
    """

    stands: str
    where: str


@dataclass(frozen=True, slots=True)
class Target:
    """An execution provider's abilities.

    Attributes:
        name: How ``--target`` calls it.
        summary: What it is, in one line.
        provider: onnxruntime's name for the execution provider.
        formats: Forms of model that it runs, as ``--format`` calls them.
        activation: Integer type of activations that :func:`onnxq.optimize` writes.
        activation_bits: Widths of activations that its kernels take as they are, or clipped while
            stored wider.
        activation_types: Integer types of activations that its kernels take in any file.
        symmetric: Whether the zero point of an activation must be the middle of its codes.
        channel_activations: Whether an activation may have a scale per channel.
        weight: Integer type of weights; symmetric.
        weight_bits: Widths of weights that its kernels take as they are, or widened as the model is
            loaded.
        weight_types: Integer types of weights that its kernels take in any file.
        axes: Operator → axis of a scale per channel of its weight; None = that of its output
            channels. An operator that is missing there has one scale per weight.
        integer_bias: Whether a layer's bias is int32 with scale x_scale · w_scale; else float.
        onnxruntime_kernels: Whether onnxruntime's own integer kernels run it: they quantize float
            layers between quantized values silently, unless these are shielded, and do arithmetic
            on codes.
        static_shapes: Whether all shapes must be known from the file.
        refuses: Whether it refuses a model for what it does not take, rather than leave that to
            another provider.
        opset: Least opset that it needs.
        pair_bound: Greatest |x₀w₀ + x₁w₁| of two neighbouring products that every machine of this
            target adds up without saturation; None = no such limit.
        ops: Operator type → its rule; absent = float.
        costs: Kernel and conversion times; None = not known, and all that can runs on integers.
        sources: Rule → what it rests on.
        whole: Whether all that can run on integers does, whatever it costs, with nothing float in
            between.
    """

    name: str
    summary: str
    provider: str
    formats: tuple[str, ...]
    activation: IntType
    activation_bits: tuple[int, ...]
    activation_types: tuple[IntType, ...]
    symmetric: bool
    channel_activations: bool
    weight: IntType
    weight_bits: tuple[int, ...]
    weight_types: tuple[IntType, ...]
    axes: Mapping[str, int | None]
    integer_bias: bool
    onnxruntime_kernels: bool
    static_shapes: bool
    refuses: bool
    opset: int
    pair_bound: int | None
    ops: Mapping[str, OpRule]
    costs: CostTable | None
    sources: Mapping[str, Source]
    whole: bool = False

    @property
    def multiplies(self) -> bool:
        """Whether any layer runs on integers."""
        return any(rule.kind is OpKind.HEAVY for rule in self.ops.values())

    @property
    def measured(self) -> bool:
        """Whether its operators were run, and do not stand on documents."""
        source = self.sources.get("operators")
        return source is not None and source.stands == "run"

    def weight_axis(self, op_type: str, output_axis: int) -> int | None:
        """Returns the axis of a scale per channel; None where a weight has one scale.

        Args:
            op_type: The operator.
            output_axis: The axis of its output channels.
        """
        if op_type not in self.axes:
            return None
        axis = self.axes[op_type]
        return output_axis if axis is None else axis

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
    names = (file.name for file in folder.iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))


def load_target(name: str) -> Target:
    """Returns the target called ``name``, or the one that the TOML file ``name`` describes.

    Raises:
        TargetError: There is none such, or the file is malformed; the message names file and key.
    """
    if not name.endswith(_SUFFIX):
        return _packaged(name)
    path = Path(name)
    return _made(path.stem, name, _whole(read_table(name, _text(path)), name))


@cache
def _packaged(name: str) -> Target:
    return _made(name, f"{name}{_SUFFIX}", _packaged_table(name))


def _packaged_table(name: str) -> dict[str, Any]:
    if name not in known_targets():
        raise TargetError(
            f"no target '{name}'; there are: {', '.join(known_targets())}; a file of your own ends"
            f" in {_SUFFIX}"
        )
    where = f"{name}{_SUFFIX}"
    text = (resources.files("onnxq.plan") / "targets" / where).read_text("utf-8")
    return _whole(read_table(where, text), where)


def _whole(table: dict[str, Any], where: str) -> dict[str, Any]:
    """Returns the table with that of the target which it extends below it."""
    base = table.pop("extends", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise TargetError(f"{where}: extends must be the name of a target; mend it")
    return merged(_packaged_table(base), table)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TargetError(f"cannot read {path}: {reason}; check the path") from None
    except UnicodeDecodeError:
        raise TargetError(f"{path} is no UTF-8 text; save it as such") from None


def _made(name: str, where: str, table: Mapping[str, Any]) -> Target:
    data = validated(where, table, kinds=[kind.value for kind in OpKind])
    activation, weight = IntType.parse(data["activation"]), IntType.parse(data["weight"])
    return Target(
        name=name,
        summary=data["summary"],
        provider=data["provider"],
        formats=tuple(data["formats"]),
        activation=activation,
        activation_bits=tuple(data.get("activation_bits", (activation.bits,))),
        activation_types=types_of(data, "activation_types", activation),
        symmetric=data.get("symmetric", False),
        channel_activations=data.get("channel_activations", False),
        weight=weight,
        weight_bits=tuple(data.get("weight_bits", (weight.bits,))),
        weight_types=types_of(data, "weight_types", weight),
        axes={op: None if axis == "output" else axis for op, axis in data["axes"].items()},
        integer_bias=data["bias"] == "int32",
        onnxruntime_kernels=data.get("onnxruntime_kernels", False),
        static_shapes=data.get("static_shapes", False),
        refuses=data.get("refuses", False),
        opset=data["opset"],
        pair_bound=data.get("pair_bound") or None,
        ops={op: _rule(entry) for op, entry in data["ops"].items() if entry["kind"] != "float"},
        costs=CostTable.parse(data["costs"]) if "costs" in data else None,
        sources={rule: Source(**entry) for rule, entry in data.get("sources", {}).items()},
        whole=data.get("whole", False),
    )


def _rule(entry: Mapping[str, Any]) -> OpRule:
    inputs = entry.get("inputs")
    return OpRule(
        kind=OpKind(entry["kind"]),
        inputs=None if inputs == "all" else tuple(inputs or (0,)),
        needs_output=bool(entry.get("needs_output", True)),
        when=dict(entry.get("when", {})),
        tail=bool(entry.get("tail", False)),
        constants=bool(entry.get("constants", False)),
        values=bool(entry.get("values", False)),
    )
