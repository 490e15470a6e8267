"""Builds test graphs with weights, and runs one rewrite on them under its whole contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from onnxq.contract import structural_fault
from onnxq.plan.note import NoteKind
from tests.support import assert_same_function, feeds_for, model

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from onnxq.passbase import RewritePass

__all__ = ["Outcome", "build", "ops", "rewritten", "rng_weight"]


class Outcome(NamedTuple):
    modified: bool
    ops: list[str]
    reasons: list[str]


def rng_weight(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def build(text: str, **weights: npt.ArrayLike) -> ir.Model:
    """Parses ``text``; inputs named in ``weights`` become initializers; names and types filled in.

    A float that is given as a Python number becomes float32.
    """
    parsed = model(text)
    for name, data in weights.items():
        array = np.asarray(data)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        value = next(v for v in parsed.graph.inputs if v.name == name)
        parsed.graph.inputs.remove(value)
        value.const_value = ir.tensor(array, name=name)
        value.shape = ir.Shape(array.shape)
        parsed.graph.register_initializer(value)
    for node in parsed.graph:
        node.name = node.name or f"node_{node.outputs[0].name}"
    ShapeInferencePass()(parsed)
    return parsed


def ops(source: ir.Model) -> list[str]:
    return [node.op_type for node in source.graph]


def rewritten(
    rewrite: RewritePass,
    source: ir.Model,
    feeds: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Outcome:
    """Runs ``rewrite`` and asserts: same function, legal graph, a second run does nothing."""
    before = source.clone()
    modified = rewrite(source).modified
    notes = rewrite.take_notes()
    assert any(note.kind is NoteKind.FIRED for note in notes) == modified
    assert structural_fault(before, source) is None
    feeds = feeds_for(before) if feeds is None else feeds
    assert_same_function(before, source, feeds)
    assert not rewrite(source).modified
    rewrite.take_notes()
    refused = [note.text for note in notes if note.kind is NoteKind.REFUSED]
    return Outcome(modified, ops(source), refused)
