"""Style × opset × trait: one small network as an exporter writes it, with one thing about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import onnx

from onnxq.graph.opset import minimal_ir_version
from tests.e2e.dialect import Dialect
from tests.e2e.exports import export
from tests.e2e.styles import STYLES, WEIGHTS, Style, Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["OPSETS", "TRAITS", "fit_together", "write"]

OPSETS = (9, 11, 13, 17, 21, onnx.defs.onnx_opset_version())
TRAITS = (
    "inputs as initializers",
    "Constant weights",
    "shared weights",
    "If",
    "Loop",
    "float16",
    "dynamic shape",
    "suppression inside",
    "two outputs",
    "two inputs",
)
# One layer cannot be two things, and NonMaxSuppression takes float32.
_APART = (
    {"inputs as initializers", "Constant weights"},
    {"shared weights", "If", "Loop"},
    {"float16", "suppression inside"},
)
_BRANCH = "float[N,8,A,B]"


def fit_together(*traits: str) -> bool:
    """Says whether one network can have all of ``traits``."""
    return all(len(apart & set(traits)) < 2 for apart in _APART)


def write(style: str, opset: int, *traits: str) -> onnx.ModelProto:
    """Returns the network that ``style`` makes of one opset, with some of TRAITS."""
    writer, dialect = STYLES[style], Dialect(opset)
    wish = Wish(
        lambda y, x: _middle(dialect, traits, y, x),
        boxes="suppression inside" in traits,
        joined="two inputs" in traits,
    )
    draft = writer.write(dialect, wish)
    outputs = dict(draft.outputs)
    if "two outputs" in traits:
        outputs[draft.feature[0]] = draft.feature[1]
    inputs = {"x": f"float[{writer.image}]"}
    if "two inputs" in traits:
        inputs["x2"] = draft.second
    words = set(re.findall(r"\w+", draft.nodes))
    inputs |= {name: kind for name, kind in WEIGHTS.items() if name in words}
    inputs |= {name: kind for name, (kind, _) in dialect.given.items() if name in words}
    text = f"net ({_declared(inputs)}) => ({_declared(outputs)}) {{ {draft.nodes} }}"
    if "dynamic shape" not in traits:
        text = _sized(text)
    if "float16" in traits:
        # Resize takes its scales in float32 whatever it resizes
        text = re.sub(r"\bfloat\b(?!\S* scales\b)", "float16", text).replace("to=1>", "to=10>")
    given: dict[str, Any] = {name: data for name, (_, data) in dialect.given.items()}
    listed = "inputs as initializers" in traits
    proto = export(text, opset, minimal_ir_version(opset), listed=listed, **given)
    if "Constant weights" in traits:
        _as_constants(proto)
    _name(proto, writer)
    return proto


def _declared(values: dict[str, str]) -> str:
    return ", ".join(f"{kind} {name}" for name, kind in values.items())


def _sized(text: str) -> str:
    for name, size in (("N", 1), ("H", 16), ("W", 16), ("A", 8), ("B", 8), ("L", 64)):
        text = re.sub(rf"(?<=[\[,]){name}(?=[\],])", str(size), text)
    return text


def _middle(d: Dialect, traits: Collection[str], y: str, x: str) -> str:
    conv = "Conv<pads=[1,1,1,1]>"
    if "shared weights" in traits:
        return f"{y}_0 = {conv}({x}, w3, b3) {y}_1 = Relu({y}_0) {y} = {conv}({y}_1, w3, b3)"
    if "If" in traits:
        return f"""{d.reduce("most", "ReduceMax", x)} many = Greater(most, {d.real(0.5)})
            {y} = If (many) <then_branch = a () => ({_BRANCH} ta) {{ ta = {conv}({x}, w3, b3) }},
            else_branch = b () => ({_BRANCH} tb) {{ tb = Neg({x}) }}>"""
    if "Loop" in traits:
        d.given["go"] = ("bool", 1)
        return f"""{y} = Loop ({d.integer(2)}, go, {x}) <body = b (int64 i, bool on, {_BRANCH} v)
            => (bool off, {_BRANCH} o) {{ off = Identity(on) o = {conv}(v, w3, b3) }}>"""
    return f"{y} = {conv}({x}, w3, b3)"


def _as_constants(proto: onnx.ModelProto) -> None:
    """Every initializer becomes a node in front of all others."""
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    for tensor in proto.graph.initializer:
        node = proto.graph.node.add(op_type="Constant", output=[tensor.name])
        node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
        node.attribute[0].t.ClearField("name")
    del proto.graph.initializer[:]
    proto.graph.node.extend(nodes)


def _name(proto: onnx.ModelProto, style: Style) -> None:
    """Gives values and nodes the names that the exporter would."""

    def renamed(name: str) -> str:
        kept = not name or name in ("x", "x2", "y")
        return name if kept else style.value.format(name, name)

    _rename(proto.graph, renamed)
    for number, node in enumerate(proto.graph.node):
        node.name = style.node.format(node.op_type, number)


def _rename(graph: onnx.GraphProto, renamed: Callable[[str], str]) -> None:
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = renamed(value.name)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed(name) for name in names]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _rename(attribute.g, renamed)
