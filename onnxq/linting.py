"""Holds a saved model to the rules of a target: the one place that knows what is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.conformance.check import broken_rules
from onnxq.graph.io import load
from onnxq.passes.rewrite.infer_shapes import InferShapes
from onnxq.passes.rewrite.inline_functions import InlineFunctions
from onnxq.passes.rewrite.lift_constants import LiftConstants
from onnxq.plan.target import load_target
from onnxq.report.assemble import label
from onnxq.report.lint_result import Linted

if TYPE_CHECKING:
    from onnxq.graph.io import ModelSource

__all__ = ["lint"]


def lint(source: ModelSource, target: str = "cpu") -> Linted:
    """Finds what keeps a model from running on integers on a target, and what goes wrong there.

    Args:
        source: Any ONNX model, quantized or not; never changed.
        target: Name of a target, or its TOML file.

    Returns:
        What was found.

    Raises:
        OnnxqError: Model or target cannot be read.
    """
    wanted = load_target(target)
    model = load(source)
    for rewrite in (InlineFunctions(), LiftConstants(), InferShapes()):
        rewrite(model)
    stands = "run" if wanted.measured else "documents"
    return Linted(label(source), wanted.name, wanted.summary, stands, broken_rules(model, wanted))
