"""The quantization plan: every decision as data in one frozen object, keyed by value name.

A value that is absent from :attr:`QuantPlan.values` stays float. A node runs on integers when all
its data inputs and outputs are planned; the bias of such a node is stored as int32 with scale
x_scale · w_scale and needs no entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    import numpy.typing as npt

    from onnxq.plan.clusters import ClusterSplit
    from onnxq.plan.note import Note
    from onnxq.plan.spec import QParams, QuantSpec

__all__ = ["QuantPlan", "Use", "ValuePlan"]


class Use(NamedTuple):
    """One input of one node: (node name, input position)."""

    node: str
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class ValuePlan:
    """How one value, or one use of it, is quantized.

    Attributes:
        spec: The wish.
        params: Scale and zero point; None until a range-fitting pass has run.
        codes: Integers already chosen (GPTQ, AdaRound …), the weight's shape; None = round to
            nearest at lowering.
        levels: Codebook of a weight: the only codes there are, int32, rising, at least two. What is
            stored of a code is its place among them. None = all codes of the type.
    """

    spec: QuantSpec
    params: QParams | None = None
    codes: npt.NDArray[np.int32] | None = None
    levels: npt.NDArray[np.int32] | None = None

    @property
    def bits(self) -> int:
        """Bits that tell the codes apart."""
        levels = self.levels
        return self.spec.dtype.bits if levels is None else max(2, (levels.size - 1).bit_length())


K = TypeVar("K")
V = TypeVar("V")


def _frozen(mapping: Mapping[K, V]) -> Mapping[K, V]:
    return MappingProxyType(dict(mapping))


@dataclass(frozen=True, eq=False)
class QuantPlan:
    """Everything that quantization decides.

    Attributes:
        values: Value name → its plan; absent = float.
        uses: Use → a plan for that edge alone. The value itself stays what ``values`` says for
            all other uses.
        clusters: Value name → channels of it that are quantized apart; the value's own entry holds
            for the others.
        groups: Sets of value names that share one scale and zero point.
        bias_shift: Name of a node with a bias → float32 [channels] added to the bias; on integers,
            before it is quantized.
        float_nodes: Name of a node that stays float → the reason, for the report.
        kept_float: Names of those that must not be fused into an integer kernel either: somebody
            asked for it, or the signal needs it.
        half: Names of nodes that compute in half precision; they read and write no codes.
        bit_costs: Name of a layer → bits → what its weight in so many was expected to cost at the
            outputs, where bits were chosen by that; for the report.
        choices: What rewrites chose by samples in the model that the plan is of, as
            ``onnxq.graph.choices`` tells it; empty = it is not known.
        notes: What was decided where and why, in order.
    """

    values: Mapping[str, ValuePlan] = field(default_factory=dict)
    uses: Mapping[Use, ValuePlan] = field(default_factory=dict)
    clusters: Mapping[str, ClusterSplit] = field(default_factory=dict)
    groups: tuple[frozenset[str], ...] = ()
    bias_shift: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    float_nodes: Mapping[str, str] = field(default_factory=dict)
    kept_float: frozenset[str] = frozenset()
    half: frozenset[str] = frozenset()
    bit_costs: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    choices: str = ""
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        for name in ("values", "uses", "clusters", "bias_shift", "float_nodes", "bit_costs"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))

    def of(self, value: str, use: Use | None = None) -> ValuePlan | None:
        """Returns the plan that ``use`` of ``value`` sees, None if it is float there."""
        if use is not None and use in self.uses:
            return self.uses[use]
        return self.values.get(value)

    def with_values(self, changed: Mapping[str, ValuePlan]) -> Self:
        """Returns a plan in which ``changed`` values are added or replaced."""
        return replace(self, values={**self.values, **changed})

    def without(self, names: Iterable[str]) -> Self:
        """Returns a plan in which the values ``names`` are float."""
        gone = set(names)
        return replace(
            self,
            values={k: v for k, v in self.values.items() if k not in gone},
            clusters={k: v for k, v in self.clusters.items() if k not in gone},
        )

    def with_notes(self, notes: Iterable[Note]) -> Self:
        """Returns a plan with ``notes`` appended."""
        return replace(self, notes=(*self.notes, *notes))

    def group_of(self, name: str) -> frozenset[str]:
        """Returns the names that share params with ``name``, itself included."""
        return next((group for group in self.groups if name in group), frozenset({name}))
