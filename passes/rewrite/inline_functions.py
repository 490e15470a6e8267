"""Replaces calls of the model's own functions by their bodies."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from onnxq.errors import ModelError
from onnxq.passbase import RewritePass

__all__ = ["InlineFunctions"]


class InlineFunctions(RewritePass):
    """Inlines all functions; onnx-ir does the work.

    Raises:
        ModelError: A function calls itself, or uses another version of an operator set than the
            model does.
    """

    name = "inline-functions"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Inlines at every call, also in subgraphs; functions that nothing calls go as well."""
        names = [function.name for function in model.functions.values()]
        if not names:
            return ir.passes.PassResult(model, modified=False)
        try:
            InlinePass()(model)
        except (ValueError, ir.passes.PassError, ir.passes.InvariantError) as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise ModelError(
                f"the model's functions cannot be inlined: {reason}; export it without functions"
            ) from error
        model.functions.clear()
        for name in names:
            self.fired(name, "inlined")
        return ir.passes.PassResult(model, modified=True)
