"""Which features can carry a factor of their own while the model computes the same.

The features of a transformer's value lie along its last axis, which MatMul and Gemm read and write,
and which heads cut in two: [batch, length, heads · size] becomes [batch, heads, length, size]. A
positive factor on a feature is free where these write it:

    a linear layer      takes it into its weight's column and its bias
    LayerNormalization  takes it into its scale and bias
    Mul by a constant   takes it into the constant, as in RMSNorm

and linear layers read it, which take the inverse into their weight's row. In between it passes what
is homogeneous, what moves, cuts, reduces or joins values away from the features, sums whose parts
carry the same factors, the values of an attention, softmax(…) · V, and products with what carries
none. Whatever else reads a value binds its features to the factor 1.

Channels of convolutions, on axis 1, are the matter of :mod:`onnxq.graph.channel_factors`.

Source: Xiao et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
Language Models", section 4, from LayerNorm to whatever else can take a factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from onnxq.graph.affine import affine_input
from onnxq.graph.channel_factors import FactoredLayer
from onnxq.graph.factored_constant import FactoredConstant
from onnxq.graph.feature_tags import compact, moved_tags
from onnxq.graph.linear import LinearLayer, linear_layer
from onnxq.graph.query import is_op, read_values, scalar_of, shape_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    import onnx_ir as ir

    Indices = npt.NDArray[np.int64]

__all__ = ["FeatureFactors", "feature_factors"]

_HOMOGENEOUS = ("Identity", "Relu", "LeakyRelu", "Neg", "Abs")


@dataclass(frozen=True, eq=False)
class FeatureFactors:
    """The factors that a graph leaves free on its features.

    Attributes:
        count: How many there are.
        layers: The linear layers that a factor touches.
        constants: The constants that a factor touches.
        carries: Value → number of each feature's factor, -1 for none; int64, of the value's rank.
        bound: Linear layer → why no factor reaches it.
    """

    count: int
    layers: tuple[FactoredLayer, ...]
    constants: tuple[FactoredConstant, ...]
    carries: dict[ir.Value, Indices]
    bound: dict[ir.Node, str]


def feature_factors(graph: ir.Graph) -> FeatureFactors:
    """Returns the factors of ``graph``; those that nothing writes, or none reads, are left out.

    Args:
        graph: The main graph, sorted, with known ranks.
    """
    reader = _Reader()
    for node in graph:
        reader.read(node)
    reader.bind(graph.outputs, "it is a graph output")
    return reader.factors()


class _Reader:
    """Tags the features of all values, from 1; the tag 0 is bound to the factor 1."""

    def __init__(self) -> None:
        self._tags: dict[ir.Value, Indices] = {}
        self._next = 1
        self._pairs: list[tuple[Indices, Indices]] = []
        self._binds: list[tuple[Indices, str]] = []
        self._layers: list[tuple[LinearLayer, Indices, Indices]] = []
        self._constants: list[tuple[ir.Node, int, Indices]] = []
        self._written: list[Indices] = []

    def factors(self) -> FeatureFactors:
        """Returns what has been read."""
        component = self._components()
        bound = {0: "what computes its input takes no factors"}
        for tags, reason in self._binds:
            for number in np.unique(component[tags]).tolist():
                bound.setdefault(number, f"its input carries no factors: {reason}")
        free, read = (np.zeros(self._next, np.bool_) for _ in range(2))
        for tags in self._written:
            free[component[tags]] = True
        for _, tags, _ in self._layers:
            read[component[tags]] = True
        free &= read
        free[list(bound)] = False
        numbers = np.where(free, np.cumsum(free) - 1, -1)[component]
        layers = [FactoredLayer(e, numbers[reads], numbers[w]) for e, reads, w in self._layers]
        constants = [FactoredConstant(n, at, numbers[tags]) for n, at, tags in self._constants]
        return FeatureFactors(
            int(free.sum()),
            tuple(e for e in layers if max(e.reads.max(), e.writes.max()) >= 0),
            tuple(e for e in constants if e.carries.max() >= 0),
            {value: numbers[tags] for value, tags in self._tags.items()},
            {
                layer.node: bound.get(int(component[reads[0]]), bound[0])
                for layer, reads, _ in self._layers
                if numbers[reads].max() < 0
            },
        )

    def _components(self) -> Indices:
        """Returns the least tag of those that have to carry the same factor, for each tag."""
        none = np.zeros(0, np.int64)
        ends = [np.concatenate(side) for side in zip(*self._pairs, (none, none), strict=True)]
        edges = coo_array((np.ones(ends[0].size), (ends[0], ends[1])), shape=(self._next,) * 2)
        _, found = connected_components(edges, directed=False)
        _, first, which = np.unique(found, return_index=True, return_inverse=True)
        return np.asarray(first[which], np.int64)

    def tags(self, value: ir.Value | None) -> Indices | None:
        """Returns the tags of ``value``; zeros unless a node gave it some, None without a rank."""
        shape = shape_of(value)
        if value is None or shape is None:
            return None
        return self._tags.get(value, np.zeros((1,) * len(shape), np.int64))

    def bind(self, values: Iterable[ir.Value], reason: str) -> None:
        """Binds all features of ``values``."""
        self._binds += [(self._tags[value], reason) for value in values if value in self._tags]

    def _fresh(self, rank: int, size: int) -> Indices:
        tags = np.arange(self._next, self._next + size).reshape(*[1] * (rank - 1), size)
        self._next += size
        return tags

    def _joined(self, first: Indices, second: Indices) -> Indices:
        """Gives both the same factors; returns their tags after broadcasting."""
        a, b = np.broadcast_arrays(first, second)
        self._pairs.append((a.reshape(-1), b.reshape(-1)))
        return compact(np.array(a))

    def read(self, node: ir.Node) -> None:
        """Enters what ``node`` does to factors."""
        found = self._understood(node)
        if found is None:
            self.bind(read_values(node), f"{node.op_type} reads it as well")
            return
        for value, tags in zip(node.outputs, found, strict=False):
            shape = shape_of(value)
            if shape is not None and len(shape) == tags.ndim:
                self._tags[value] = tags
            else:
                self._binds.append((tags, f"the shape of '{value.name}' is not known"))

    def _understood(self, node: ir.Node) -> list[Indices] | None:  # noqa: PLR0911 (one per kind)
        x = self.tags(node.inputs[0]) if node.inputs else None
        if is_op(node, "Gemm", "MatMul") and weight_of(node.inputs[1]) is not None:
            return self._read_layer(node)
        if is_op(node, "MatMul"):
            return self._read_product(node)
        if is_op(node, "LayerNormalization"):
            return self._read_norm(node)
        if is_op(node, *_HOMOGENEOUS):
            return None if x is None else [x]
        if is_op(node, "Add", "Sub", "Mul", "Div") and affine_input(node) is not None:
            return self._read_affine(node)
        if is_op(node, "Add", "Sub"):
            return self._read_sum(node)
        if is_op(node, "Mul"):
            return self._read_gate(node)
        return None if x is None else moved_tags(node, x)

    def _read_layer(self, node: ir.Node) -> list[Indices] | None:
        layer, x = linear_layer(node), self.tags(node.inputs[0])
        if isinstance(layer, str) or x is None or x.ndim < 2 or _is_shared(node.inputs[1]):
            return None
        if x.shape[-1] not in (1, layer.in_channels):
            return None
        rows = np.broadcast_to(x, (*x.shape[:-1], layer.in_channels)).reshape(-1, layer.in_channels)
        for other in rows[1:]:
            self._pairs.append((rows[0], other))
        written = self._fresh(x.ndim, layer.out_channels)
        self._layers.append((layer, np.array(rows[0]), written.reshape(-1)))
        self._written.append(written)
        return [written]

    def _read_product(self, node: ir.Node) -> list[Indices] | None:
        """Attention · values: a factor of the values' features is one of the result's."""
        a, b = self.tags(node.inputs[0]), self.tags(node.inputs[1])
        if a is None or b is None or a.ndim != b.ndim or b.ndim < 2 or b.shape[-2] > 1:
            return None
        self._binds.append((a, "it weighs what it is multiplied by"))
        return [b]

    def _read_norm(self, node: ir.Node) -> list[Indices] | None:
        x, scale = shape_of(node.inputs[0]), weight_of(node.inputs[1])
        axis = node.attributes.get_int("axis", -1)
        if x is None or scale is None or axis not in (-1, len(x) - 1) or scale.ndim != 1:
            return None
        shift = node.inputs[2] if len(node.inputs) > 2 else None
        if shift is not None and weight_of(shift) is None:
            return None
        self.bind(read_values(node), "LayerNormalization reads it as well")
        written = self._fresh(len(x), scale.size)
        self._written.append(written)
        positions = (1,) if shift is None else (1, 2)
        self._constants += [(node, position, written.reshape(-1)) for position in positions]
        return [written]

    def _read_affine(self, node: ir.Node) -> list[Indices] | None:
        value = affine_input(node)
        x, at = self.tags(value), 1 if node.inputs[0] is value else 0
        constant = weight_of(node.inputs[at])
        if x is None or constant is None or constant.dtype.kind != "f" or constant.ndim > x.ndim:
            return None
        if is_op(node, "Mul", "Div"):
            if is_op(node, "Div") and at == 0:
                return None
            return self._read_gain(node, at, x) if is_op(node, "Mul") else [x]
        carries = x.reshape(x.shape[next((i for i, n in enumerate(x.shape) if n > 1), x.ndim) :])
        self._constants.append((node, at, carries))
        return [x]

    def _read_gain(self, node: ir.Node, at: int, x: Indices) -> list[Indices]:
        """A factor passes Mul by one number, and begins at Mul by a number for each feature."""
        shape, constant = shape_of(node.outputs[0]), weight_of(node.inputs[at])
        assert constant is not None
        if scalar_of(node.inputs[at]) is not None or not shape or constant.shape[-1] != shape[-1]:
            return [x]
        self._binds.append((x, "Mul reads it as well"))
        written = self._fresh(len(shape), constant.shape[-1])
        self._written.append(written)
        self._constants.append((node, at, written.reshape(-1)))
        return [written]

    def _read_sum(self, node: ir.Node) -> list[Indices] | None:
        a, b = self.tags(node.inputs[0]), self.tags(node.inputs[1])
        if a is None or b is None:
            return None
        return [self._joined(a, b)]

    def _read_gate(self, node: ir.Node) -> list[Indices] | None:
        """Lets the factors of one side of a product pass where the other carries none."""
        a, b = self.tags(node.inputs[0]), self.tags(node.inputs[1])
        if a is None or b is None:
            return None
        component = self._components()
        bound = {0, *(t for tags, _ in self._binds for t in component[tags].reshape(-1).tolist())}
        loose = [t for t in (a, b) if not bound.issuperset(component[t].reshape(-1).tolist())]
        if len(loose) > 1:
            return None
        chosen = loose[0] if loose else np.zeros(1, np.int64)
        return [chosen.reshape((*[1] * (max(a.ndim, b.ndim) - chosen.ndim), *chosen.shape))]


def _is_shared(value: ir.Value | None) -> bool:
    return value is None or len(value.uses()) > 1
