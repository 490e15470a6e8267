"""What storing weights in few bits changes: Δ = Ŵ - W of every layer and width, each layer alone.

Weights that will be rounded by what comes out of their layers (``onnxq.numerics.rounded``) are
rounded so here as well, for the inputs of the float model: nearest codes would overrate the layers
that such rounding helps most. A bias that makes up for the means is part of the change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnxq.graph.on_disk import kept
from onnxq.graph.query import weight_of
from onnxq.graph.weight_rows import from_rows, to_rows
from onnxq.numerics.rounded import Wanted, rounded
from onnxq.plan.channels import read_factors
from onnxq.plan.quant_plan import Use
from onnxq.plan.spec import PerAxis
from onnxq.plan.weight_codes import code_limits
from onnxq.plan.weight_error import weight_error
from onnxq.runtime.segments import LayerInputs, uncut
from onnxq.search.coded_layer import CodedLayer, coded_layer
from onnxq.search.layer_moments import layer_moments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan, ValuePlan
    from onnxq.plan.spec import QuantSpec
    from onnxq.runtime.session import Feed

    Array = npt.NDArray[Any]

__all__ = ["nearest_changes", "rounded_changes"]


def nearest_changes(
    layers: Mapping[str, ir.Node], plans: Mapping[int, QuantPlan]
) -> dict[str, dict[int, dict[str, Array]]]:
    """Returns what the codes of plans change.

    Args:
        layers: Name of a weight → a layer that reads it.
        plans: Bits → a plan in which these weights have so many, with params.

    Returns:
        Name of the weight → bits → value name → Δ, float32 of the value's shape.
    """
    return {
        name: {bits: {name: _nearest(node, plan)} for bits, plan in plans.items()}
        for name, node in layers.items()
    }


def rounded_changes(  # noqa: PLR0913 (the last two have defaults and are named at the call)
    model: ir.Model,
    layers: Mapping[str, ir.Node],
    plans: Mapping[int, QuantPlan],
    feeds: Sequence[Feed],
    method: str,
    *,
    codebook: Callable[[QuantSpec], bool] = lambda _: False,
    threads: int = 1,
) -> dict[str, dict[int, dict[str, Array]]]:
    """Returns what rounding by the layers' outputs changes; layers that cannot be are left out.

    Args:
        model: The float model.
        layers: Name of a weight → a layer that reads it.
        plans: Bits → a plan in which these weights have so many.
        feeds: Samples to round by.
        method: One of ``onnxq.numerics.rounded.METHODS``.
        codebook: Says whether codes of a spec may come from a codebook.
        threads: Threads inside an operator.

    Returns:
        As :func:`nearest_changes`, the bias included.
    """
    if not plans or uncut(model) is not None:
        return {}
    some = next(iter(plans.values()))
    coded = {}
    for node in layers.values():
        layer = coded_layer(node, some)
        if isinstance(layer, CodedLayer):
            coded[str(node.name)] = layer
    found = {}
    run = LayerInputs(model, coded, feeds, threads=threads)
    for number, (node, inputs) in enumerate(run):
        layer = coded[str(node.name)]
        alone = _Alone.of(layer, some, inputs, number)
        name = str(node.inputs[1].name)  # type: ignore[union-attr]
        own = {bits: layer.weight_in(plan) for bits, plan in plans.items()}
        found[name] = {
            bits: alone.change(planned, method, codebook=codebook(planned.spec))
            for bits, planned in own.items()
        }
    return found


class _Alone(NamedTuple):
    """A layer, and what it reads in the float model.

    Attributes:
        layer: The layer.
        bias: Name of its bias, None if it has none.
        factor: float32 [G, 1, K], what the weight's columns are multiplied by before rounding.
        wanted: The weight times ``factor``, as the input over it asks for.
        mean: float64 [G, K, 1], of the input over ``factor``.
    """

    layer: CodedLayer
    bias: str | None
    factor: npt.NDArray[np.float32]
    wanted: Wanted
    mean: npt.NDArray[np.float64]

    @classmethod
    def of(cls, layer: CodedLayer, plan: QuantPlan, inputs: list[Array], seed: int) -> _Alone:
        """Takes the moments, and solves for what the weight should be."""
        node = layer.node
        factors = read_factors(node, layer.read_by(plan))
        every = np.ones(layer.weight.shape, np.float32)
        rows = to_rows(node, every if factors is None else every * factors)
        factor = rows[:, :1]
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        name = None if bias is None or weight_of(bias) is None else str(bias.name)
        alone = name is not None and len(list(bias.uses())) == 1  # type: ignore[union-attr]
        moments = layer_moments(layer, inputs, inputs, seed, np.asarray(1 / factor, np.float32))
        weight = to_rows(node, layer.weight) * factor
        wanted = Wanted.of(weight, weight, moments, centred=alone)
        return cls(
            layer, name if alone else None, factor, wanted, moments.means[0][..., np.newaxis]
        )

    def change(self, plan: ValuePlan, method: str, *, codebook: bool) -> dict[str, Array]:
        """Returns Δ of the weight, and of the bias where there is one."""
        node, weight = self.layer.node, self.layer.weight
        found = rounded(
            self.wanted,
            code_limits(plan.spec),
            per_row=isinstance(plan.spec.granularity, PerAxis),
            method=method,
            codebook=codebook,
        )
        error = found.codes * found.scale - self.wanted.anchor
        name = str(node.inputs[1].name)  # type: ignore[union-attr]
        change = from_rows(node, (error / self.factor).astype(np.float32), weight.shape)
        changes: dict[str, Array] = {name: kept(change)}
        if self.bias is not None:
            changes[self.bias] = -(error @ self.mean).reshape(-1).astype(np.float32)
        return changes


def _nearest(node: ir.Node, plan: QuantPlan) -> Array:
    value, use = node.inputs[1], Use(str(node.name), 1)
    weight = weight_of(value)
    assert value is not None
    assert weight is not None
    planned = plan.of(str(value.name), use)
    assert planned is not None, "only planned weights change"
    x = plan.of(str(node.inputs[0].name), Use(use.node, 0))  # type: ignore[union-attr]
    stored = str(node.name) in plan.float_nodes
    factors = None if stored else read_factors(node, x)
    real = np.asarray(weight, np.float32)
    if factors is None:
        return kept(weight_error(real, planned))
    return kept(np.asarray(weight_error(real * factors, planned) / factors, np.float32))
