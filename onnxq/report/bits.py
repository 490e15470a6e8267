"""How many bits the values of a plan hold."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxq.plan.quant_plan import QuantPlan

__all__ = ["activation_bits", "narrow_text"]


def activation_bits(plan: QuantPlan) -> dict[str, int]:
    """Returns the bits of every quantized activation, which has no symmetric type, by its name."""
    return {
        name: planned.spec.dtype.bits
        for name, planned in plan.values.items()
        if not planned.spec.symmetric
    }


def narrow_text(plan: QuantPlan) -> tuple[str, str] | None:
    """Returns the least number of bits, and how many activations have how many.

    Returns:
        Such as ("4 bits", "13 of 34 quantized activations, 21 with 8"); None if all have the same.
    """
    counts = Counter(activation_bits(plan).values())
    if len(counts) < 2:
        return None
    least, *others = sorted(counts)
    rest = ", ".join(f"{counts[bits]} with {bits}" for bits in others)
    return f"{least} bits", f"{counts[least]} of {counts.total()} quantized activations, {rest}"
