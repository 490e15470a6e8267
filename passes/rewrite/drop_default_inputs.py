"""Takes weights out of the list of graph inputs."""

from __future__ import annotations

import onnx_ir as ir

from onnxq.passbase import RewritePass

__all__ = ["DropDefaultInputs"]

_UNLISTED_SINCE = 4


class DropDefaultInputs(RewritePass):
    """Makes every initializer of the main graph a constant.

    Before IR version 4 each initializer had to be listed among the graph inputs; since then a
    listed one is a default that a caller may override. Quantization needs constants, and at least
    that IR version: onnxruntime refuses unlisted initializers in an older one.
    """

    name = "drop-default-inputs"

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Keeps the real inputs, in their order."""
        inputs = list(model.graph.inputs)
        defaults = [value for value in inputs if value.is_initializer()]
        if defaults:
            model.graph.inputs.clear()
            model.graph.inputs.extend(value for value in inputs if not value.is_initializer())
        for value in defaults:
            self.fired(value, "weight is no longer a graph input")
        raised = model.ir_version < _UNLISTED_SINCE
        if raised:
            self.fired(model.graph.name or "graph", f"IR version {model.ir_version} raised")
            model.ir_version = _UNLISTED_SINCE
        return ir.passes.PassResult(model, bool(defaults) or raised)
