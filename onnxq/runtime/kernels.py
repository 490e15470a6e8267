"""What onnxruntime really runs: its kernels, and how much of their work is integer."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import onnx
import onnx_ir as ir

from onnxq.errors import ModelError
from onnxq.runtime.kernel_times import KERNEL_SUFFIX, kernels_of, profiled
from onnxq.runtime.session import Trace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from onnxq.runtime.session import Feed, ModelLike

__all__ = ["IntegerShare", "NodeWork", "integer_share"]

# Kernel → index of its weight input; None where the weight's packed shape says nothing.
_INTEGER: Mapping[str, int | None] = {
    "QLinearConv": 3,
    "QGemm": 3,
    "QLinearMatMul": 3,
    "MatMulIntegerToFloat": 1,
    "ConvInteger": 1,
    "MatMulInteger": 1,
    "DynamicQuantizeMatMul": 1,
    "MatMulNBits": None,
}
_FLOAT: Mapping[str, int] = {
    "Conv": 1,
    "FusedConv": 1,
    "Gemm": 1,
    "FusedGemm": 1,
    "MatMul": 1,
    "FusedMatMul": 1,
    "ConvTranspose": 1,
}
# What onnxruntime computes in the kernel of a blocked convolution in front.
_FUSED = ("Add", "Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh")
_BLOCKED = "_nchwc"
_REPLACED = "_token_"


@dataclass(frozen=True, slots=True)
class NodeWork:
    """The multiply-accumulates of one node of the optimized graph.

    Attributes:
        name: The node, as the model calls it; fusions keep the name of one of their nodes.
        op: Kernel that ran.
        integer: Whether it is an integer kernel.
        macs: Multiply-accumulates of one run.
    """

    name: str
    op: str
    integer: bool
    macs: int


@dataclass(frozen=True, slots=True)
class IntegerShare:
    """How much of a model's heavy work runs in integer kernels.

    Attributes:
        nodes: Every Conv, Gemm and MatMul that ran, in order.
    """

    nodes: tuple[NodeWork, ...]

    @property
    def integer_macs(self) -> int:
        """Multiply-accumulates in integer kernels."""
        return sum(node.macs for node in self.nodes if node.integer)

    @property
    def float_macs(self) -> int:
        """Multiply-accumulates in float kernels."""
        return sum(node.macs for node in self.nodes if not node.integer)

    @property
    def share(self) -> float:
        """Part of the multiply-accumulates that is integer, in [0, 1]; 0 where there are none."""
        return self.integer_macs / max(1, self.integer_macs + self.float_macs)


def integer_share(model: ModelLike, feeds: Feed) -> IntegerShare:
    """Runs ``model`` once, with all optimizations, and counts the work of the kernels that ran.

    Args:
        model: As for :func:`onnxq.runtime.session.make_session`.
        feeds: Input name → array.

    Returns:
        The work by node; nodes inside subgraphs count as often as they ran.

    Raises:
        ModelError: onnxruntime refuses the model or the feeds.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        trace = Trace(Path(folder))
        events = kernels_of(profiled(model, feeds, trace))
        weights = _weight_shapes(trace.graph)
    work, given, names = [], _convolutions(model), _names(model)
    for event in events:
        op = event["args"]["op_name"]
        if op not in _INTEGER and op not in _FLOAT:
            continue
        name = event["name"].removesuffix(KERNEL_SUFFIX)
        count = _macs(event["args"], weights.get(name))
        own = given.get(name.removesuffix(_BLOCKED)) if name.endswith(_BLOCKED) else None
        if own is not None:
            padded = math.prod(weights.get(name) or own.weight)
            name, count = own.name, count * math.prod(own.weight) // padded
        work.append(NodeWork(_own_name(name, names), op, op in _INTEGER, count))
    return IntegerShare(tuple(work))


class _Given(NamedTuple):
    """A convolution as it was given, before onnxruntime padded its channels to full blocks."""

    name: str
    weight: list[int]


def _convolutions(model: ModelLike) -> dict[str, _Given]:
    """Returns output name → convolution, by which blocked kernels are called.

    A kernel that computes an activation or a sum as well is called by what comes out of that.
    """
    if not isinstance(model, ir.Model):
        return {}
    found: dict[str, _Given] = {}
    shared: set[str] = set()
    for node in model.graph:
        shape = node.inputs[1].shape if node.op_type == "Conv" and node.inputs[1] else None
        if shape is None:
            continue
        given = _Given(str(node.name), [dim for dim in shape if isinstance(dim, int)])
        for name in _fused_names(node):
            shared.update([name] if name in found else [])
            found[name] = given
    return {name: given for name, given in found.items() if name not in shared}


def _fused_names(convolution: ir.Node) -> Iterator[str]:
    """Yields the names of what the kernel of a convolution may write."""
    value: ir.Value | None = convolution.outputs[0]
    while value is not None:
        yield str(value.name)
        readers = [node for node, _ in value.uses()]
        fuses = len(readers) == 1 and readers[0].op_type in _FUSED
        value = readers[0].outputs[0] if fuses else None


def _names(model: ModelLike) -> set[str]:
    return {str(node.name) for node in model.graph} if isinstance(model, ir.Model) else set()


def _own_name(name: str, names: Collection[str]) -> str:
    """Returns the name that people know: where onnxruntime replaces a node, it appends a number."""
    own, _, number = name.rpartition(_REPLACED)
    return own if own in names and number.isdecimal() and name not in names else name


def _weight_shapes(path: Path) -> dict[str, list[int]]:
    """Returns node name → shape of its constant weight in the optimized graph at ``path``.

    Profiles do not tell the shape of a weight that a kernel has packed.
    """
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:
        raise ModelError(f"cannot read the graph that onnxruntime optimized: {error}") from error
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        index = _INTEGER.get(node.op_type, _FLOAT.get(node.op_type))
        if index is not None and index < len(node.input) and node.input[index] in shapes:
            found[node.name] = shapes[node.input[index]]
    return found


def _macs(args: Mapping[str, Any], weight: list[int] | None) -> int:
    """Returns a kernel's multiply-accumulates.

    Args:
        args: Arguments of its profile event, with the shapes of inputs and outputs.
        weight: Shape of its constant weight, if known: [out, in / group, k, …] for Conv,
            [in, out / group, k, …] for ConvTranspose.
    """
    op = args["op_name"]
    shapes = [next(iter(shape.values())) for shape in args["input_type_shape"]]
    output = math.prod(next(iter(args["output_type_shape"][0].values())))
    if "Conv" not in op:
        return int(output * shapes[0][-1])
    if weight is None:
        index = _INTEGER[op] if op in _INTEGER else _FLOAT[op]
        weight = shapes[index or 0]
    positions = math.prod(shapes[0]) if op == "ConvTranspose" else output
    return int(positions * math.prod(weight[1:]))
