"""Runs integer graphs without onnxruntime, in plain numpy: what the right bits are, by definition.

    from onnxq import reference

    values = reference.run("net.integer.onnx", {"input": image}, every_value=True)

Arithmetic on integers is exact. A result that does not fit its type is an error that names the
node, not a wrapped number: so a model that runs here computes the same bits on any hardware that
follows the ONNX standard, and firmware can be held to it.
"""

from onnxq.reference.call import UnsupportedError
from onnxq.reference.interpreter import evaluate, run

__all__ = ["UnsupportedError", "evaluate", "run"]
