"""Proofs about a model as it is, for ``onnxq verify``."""

from __future__ import annotations

from onnxq.errors import ConfigError, ModelError
from onnxq.graph.io import load
from onnxq.graph.spec_integer import prove_integer
from onnxq.report.assemble import label

__all__ = ["verify"]

_SHOWN = 10


def verify(source: str, *, integer: bool) -> str:
    """Returns in words what was proven of a model.

    Args:
        source: The model's file.
        integer: Whether to prove that it is integer-only (``onnxq.graph.spec_integer``).

    Raises:
        ConfigError: Nothing is asked for.
        ModelError: It cannot be read, or the proof fails; the message names the nodes.
    """
    if not integer:
        raise ConfigError("say what to verify: --integer")
    model = load(source)
    proof = prove_integer(model)
    if proof.violations:
        more = len(proof.violations) - _SHOWN
        shown = [*proof.violations[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        raise ModelError(f"{label(source)} is not integer-only: {'; '.join(shown)}")
    return (
        f"{label(source)} is integer-only: {proof.nodes} nodes between {len(proof.quantize)}"
        f" QuantizeLinear and {len(proof.dequantize)} DequantizeLinear, no number beyond"
        f" ±{proof.largest}"
    )
