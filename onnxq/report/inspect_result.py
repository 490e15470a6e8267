"""What :func:`onnxq.inspect` returns: what a model is made of, costs, and would become."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxq.graph.layers import LayerKind
    from onnxq.graph.liveness import LivePeak
    from onnxq.report.result import FloatNode

__all__ = ["Body", "Forecast", "Inspection", "Quantized", "Signature", "Storage"]


@dataclass(frozen=True, slots=True)
class Signature:
    """An input or output.

    Attributes:
        name: Its name.
        dtype: Its element type, in the words of ONNX; "?" where the model does not state it.
        shape: Sizes; a name where the size is symbolic, "?" where it is open; None = no rank.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True, slots=True)
class Storage:
    """The stored arrays of one element type.

    Attributes:
        dtype: The element type.
        arrays: How many arrays.
        elements: How many numbers they hold.
        bytes: Their size.
        external: Bytes of it in files of their own.
    """

    dtype: str
    arrays: int
    elements: int
    bytes: int
    external: int


@dataclass(frozen=True, slots=True)
class Body:
    """A subgraph, such as a loop's body.

    Attributes:
        node: The node that runs it.
        op: Its operator.
        attribute: Which of its subgraphs.
        nodes: Number of nodes inside, deeper ones included.
    """

    node: str
    op: str
    attribute: str
    nodes: int


@dataclass(frozen=True, slots=True)
class Quantized:
    """How far a model is quantized already.

    Attributes:
        operators: Quantizing, dequantizing and integer operator → number of nodes.
        nodes: Number of all nodes.
        integer_macs: Multiply-accumulates of layers that read integers, or dequantized ones on both
            sides.
        macs: Multiply-accumulates of all layers.
    """

    operators: Mapping[str, int]
    nodes: int
    integer_macs: int
    macs: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What optimizing would make of a model, as far as that can be told without data.

    Attributes:
        rewrites: Rewrite → number of places where it fires; those left out that only bring the
            model into a common form.
        nodes: Nodes after the rewrites.
        integer: Names of those that would run on integers.
        integer_layers: Layers with constant weights among these.
        layers: All layers with constant weights.
        integer_macs: Multiply-accumulates on integers.
        macs: All multiply-accumulates.
        stayed_float: The other nodes, with reasons.
    """

    rewrites: Mapping[str, int]
    nodes: int
    integer: tuple[str, ...]
    integer_layers: int
    layers: int
    integer_macs: int
    macs: int
    stayed_float: tuple[FloatNode, ...]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What is known about a model without data.

    Attributes:
        name: What the report calls it.
        size: Bytes of the file or files; None = it came from memory.
        ir_version: Of the file.
        opsets: Domain → version; the standard domain is "ai.onnx".
        producer: Who wrote it, with version.
        metadata: Key → value, as the producer left them.
        inputs: Inputs without default.
        outputs: Outputs.
        operators: Operator → number of nodes, the most frequent first, with the domain where it is
            not the standard one.
        bodies: Subgraphs.
        functions: Number of functions of its own.
        unknown: Operators that nothing defines.
        storage: Stored arrays by element type, the largest first.
        external_files: Names of files that hold arrays.
        layers: Layers that multiply and add, by kind, the most work first.
        uncounted: Operator → number of nodes whose multiply-accumulates are not counted.
        activations: Where float values take most memory; None for a quantized model, whose float
            values a runtime does not keep.
        fed: Input name → dtype and shape for which all numbers hold; empty = from shapes in the
            file.
        task: What its outputs are, as its answer to that input shows; empty = it was not run.
        preprocessing: How images become its input, if it tells; empty = it does not.
        quantized: Set where the model is quantized already.
        forecast: What optimizing would do; None = it would not, or not without ``refusal``.
        refusal: Why optimizing would refuse the model; empty = it would not.
        notes: What else to know, one line each.
    """

    name: str
    size: int | None
    ir_version: int
    opsets: Mapping[str, int]
    producer: str
    metadata: Mapping[str, str]
    inputs: tuple[Signature, ...]
    outputs: tuple[Signature, ...]
    operators: Mapping[str, int]
    bodies: tuple[Body, ...]
    functions: int
    unknown: tuple[str, ...]
    storage: tuple[Storage, ...]
    external_files: tuple[str, ...]
    layers: tuple[LayerKind, ...]
    uncounted: Mapping[str, int]
    activations: LivePeak | None
    fed: Mapping[str, str] = field(default_factory=dict)
    task: str = ""
    preprocessing: str = ""
    quantized: Quantized | None = None
    forecast: Forecast | None = None
    refusal: str = ""
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of stored numbers."""
        return sum(row.elements for row in self.storage)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run, as far as shapes are known."""
        return sum(row.macs for row in self.layers)
