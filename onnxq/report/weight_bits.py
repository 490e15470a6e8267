"""How many bits the weights of a result have, and in how many they are stored."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxq.graph.packed import stored_bits
from onnxq.graph.query import heavy, weight_of
from onnxq.plan.quant_plan import Use

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_ir as ir

    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["LayerWeight", "layer_weights", "weights_text"]

_FLOAT_BITS = 32
_HALF_BITS = 16
_PLAIN_BITS = 8


@dataclass(frozen=True, slots=True)
class LayerWeight:
    """The constant weight of one layer.

    Attributes:
        node: The layer's name.
        op: Its operator.
        elements: Numbers in the weight.
        bits: Bits of a code; 32 = it is float, 16 = it is half precision.
        stored: Bits that a number takes in the file, scales not counted.
    """

    node: str
    op: str
    elements: int
    bits: int
    stored: int


def layer_weights(
    model: ir.Model, plan: QuantPlan, *, packed: bool = True
) -> tuple[LayerWeight, ...]:
    """Returns the weights of all heavy layers, in the order of the graph.

    Args:
        model: The float model as the plan knows it, with the opset of the result.
        plan: What was lowered.
        packed: Whether the form of the result packs codes of few bits.
    """
    found = []
    for node in model.graph:
        weight = weight_of(node.inputs[1]) if heavy(node) else None
        if weight is None:
            continue
        use = Use(str(node.name), 1)
        planned = plan.uses.get(use)
        if planned is None and use.node not in plan.float_nodes:
            planned = plan.values.get(str(node.inputs[1].name))  # type: ignore[union-attr]
        real = _HALF_BITS if use.node in plan.half else _FLOAT_BITS
        bits = real if planned is None else planned.bits
        opset = model.graph.opset_imports[""]
        narrow = bits if packed else max(bits, _PLAIN_BITS)
        stored = real if planned is None else stored_bits(narrow, opset)
        found.append(LayerWeight(use.node, node.op_type, weight.size, bits, stored))
    return tuple(found)


def weights_text(weights: Iterable[LayerWeight]) -> tuple[str, str] | None:
    """Returns the least number of bits, and what to know of it.

    Returns:
        Such as ("4 bits", "18 layers, 2 with 8, 1 float; 4.3 bits a weight in the file"); None if
        no weight has fewer than 8.
    """
    layers = list(weights)
    counts = Counter(layer.bits for layer in layers)
    least = min(counts, default=_PLAIN_BITS)
    if least >= _PLAIN_BITS:
        return None
    parts = [f"{counts[least]} layer{'' if counts[least] == 1 else 's'}"]
    parts += [
        f"{counts[bits]} float" if bits == _FLOAT_BITS else f"{counts[bits]} with {bits}"
        for bits in sorted(counts)
        if bits != least
    ]
    total = sum(layer.elements for layer in layers)
    mean = sum(layer.elements * layer.stored for layer in layers) / max(1, total)
    text = f"{', '.join(parts)}; {mean:.2g} bits a weight in the file"
    wider = next((n.stored for n in layers if n.bits == least and n.stored > least), None)
    return (
        f"{least} bits",
        text if wider is None else f"{text}, {least} in {wider}{_hint(least, wider)}",
    )


def _hint(bits: int, stored: int) -> str:
    """Says what helps where a newer opset has a narrower type, for codes that are packed."""
    helps = stored < _PLAIN_BITS and stored_bits(bits, 25) == bits
    return " (--opset 25 stores them as they are)" if helps else ""
