"""Brings a model to another opset without changing what it computes.

The version converter of the onnx package does the work. Measured on every operator that changed
between opsets 7 and 21, it fails silently on a few, which are mended or refused here:

* ``Upsample`` (7, 9) and ``Resize`` (10) sample at ``x_original = x_resized / scale`` and round
  down (up where nearest ``Resize`` shrinks), as onnxruntime computes them. The converter leaves
  the defaults of ``Resize`` 11, which centre the pixels.
* ``GroupNormalization`` (18 to 20) has one scale and bias per group, since opset 21 per channel.
* ``Hardmax`` before opset 13 and ``Scan`` before opset 9 keep their old meaning.

Downwards, which the newest opset needs, the converter is strict: it refuses what it cannot say.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from onnxq.errors import ModelError
from onnxq.graph.opset import NEWEST_INTEGER_OPSET, OLDEST_OPSET, minimal_ir_version
from onnxq.graph.stripped import put_back_weights, strip_weights
from onnxq.passbase import RewritePass, node_label

__all__ = ["ConvertOpset"]


class ConvertOpset(RewritePass):
    """Converts the model to an opset, or leaves it if it has that one or a newer one.

    1. Inputs, outputs, names and weights stay.
    2. The IR version becomes the lowest that fits the opset.
    3. A model so new that onnxruntime cannot quantize in its opset is converted to the newest one
       in which it can.

    Needs unique names. Shapes should be inferred: some conversions depend on ranks.

    Attributes:
        opset: Version of the default operator set to reach.

    Raises:
        ModelError: An operator cannot be converted.
    """

    name = "convert-opset"

    def __init__(self, opset: int) -> None:
        super().__init__()
        self.opset = opset

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Converts a copy without weights, then takes its graph over."""
        old = model.graph.opset_imports.get("")
        modified = False
        if old is None:
            # Nothing of the default operator set is used; the version is free.
            model.graph.opset_imports[""] = self.opset
            modified = True
        elif not self.opset <= old <= NEWEST_INTEGER_OPSET:
            new = min(max(old, self.opset), NEWEST_INTEGER_OPSET)
            _convert(model, old, new)
            modified = self.fired(model.graph.name or "graph", f"opset {old} to {new}")
        lowest = minimal_ir_version(model.graph.opset_imports[""])
        if model.ir_version != lowest:
            model.ir_version = lowest
            modified = True
        return ir.passes.PassResult(model, modified)


def _convert(model: ir.Model, old: int, new: int) -> None:
    _refuse_unconvertible(model, old)
    pixels = _pixel_conventions(model, old)
    proto, weights = strip_weights(model)
    proto.ir_version = max(proto.ir_version, 4)
    try:
        converted = ir.from_proto(onnx.version_converter.convert_version(proto, new))
    except Exception as error:
        raise ModelError(
            f"opset {old} cannot be converted to {new}: {_reason(error)}; "
            f"export the model with opset {new}"
        ) from error
    put_back_weights(converted, weights)
    _keep_annotations(model, converted)
    for node in ir.traversal.RecursiveGraphIterator(converted.graph):
        if node.op_type == "Resize":
            for attribute in pixels.get(node.outputs[0].name, []):
                node.attributes.add(attribute)
        if node.op_type == "GroupNormalization" and 18 <= old < 21 <= new:
            _widen_group_parameters(node)
    model.graph = converted.graph


def _reason(error: Exception) -> str:
    """Shortens the converter's message, which starts with a place in its own source."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line.rsplit("failed: ", 1)[-1].rstrip(".;")


def _refuse_unconvertible(model: ir.Model, old: int) -> None:
    if old < OLDEST_OPSET:
        raise ModelError(
            f"opset {old} is older than {OLDEST_OPSET}, the oldest supported; "
            f"export the model with opset {OLDEST_OPSET} or newer"
        )
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain != "":
            continue
        scan = node.op_type == "Scan" and old < 9
        hardmax = node.op_type == "Hardmax" and old < 13 and not _reads_last_axis(node)
        if scan or hardmax:
            raise ModelError(
                f"{node.op_type} '{node_label(node)}' of opset {old} cannot be converted; "
                "export the model with opset 13 or newer"
            )


def _reads_last_axis(node: ir.Node) -> bool:
    value = node.inputs[0]
    if value is None or value.shape is None:
        return False
    return node.attributes.get_int("axis", 1) in (-1, len(value.shape) - 1)


def _pixel_conventions(model: ir.Model, old: int) -> dict[str | None, list[ir.Attr]]:
    """Returns the attributes that keep each old resizing node's meaning, by its output's name.

    The converter keeps the names of values, not those of the nodes that it replaces.
    """
    if old > 10:
        return {}
    found: dict[str | None, list[ir.Attr]] = {}
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain == "" and node.op_type in ("Upsample", "Resize"):
            found[node.outputs[0].name] = [
                ir.AttrString("coordinate_transformation_mode", "asymmetric"),
                ir.AttrString("nearest_mode", _nearest_mode(node)),
            ]
    return found


def _nearest_mode(node: ir.Node) -> str:
    if node.op_type == "Upsample" or node.attributes.get_string("mode", "nearest") != "nearest":
        return "floor"
    scales = None if node.inputs[1] is None else ir.convenience.get_const_tensor(node.inputs[1])
    if scales is None:
        raise ModelError(
            f"Resize '{node_label(node)}' of opset 10 has computed scales, whose rounding cannot "
            "be known; export the model with opset 11 or newer"
        )
    factors = scales.numpy()
    if (factors < 1).any() and (factors > 1).any():
        raise ModelError(
            f"Resize '{node_label(node)}' of opset 10 both shrinks and enlarges, which no newer "
            "Resize does; export the model with opset 11 or newer"
        )
    return "ceil" if (factors < 1).any() else "floor"


def _widen_group_parameters(node: ir.Node) -> None:
    """Repeats the scale and bias of each group for each of its channels."""
    source = node.inputs[0]
    channels = source.shape[1] if source is not None and source.shape is not None else None
    groups = node.attributes.get_int("num_groups")
    graph = node.graph
    assert graph is not None
    for index in (1, 2):
        value = node.inputs[index]
        constant = None if value is None else ir.convenience.get_const_tensor(value)
        if constant is None or not isinstance(channels, int) or groups is None:
            raise ModelError(
                f"GroupNormalization '{node_label(node)}' cannot be converted: its parameters or "
                "its number of channels are not constant; export the model with opset 21"
            )
        array = np.repeat(constant.numpy(), channels // groups)
        name = f"{node_label(node)}_{'scale' if index == 1 else 'bias'}_per_channel"
        tensor = ir.tensor(array, name=name)
        weight = ir.Value(
            name=name,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(array.shape),
            const_value=tensor,
        )
        graph.register_initializer(weight)
        node.replace_input_with(index, weight)


def _keep_annotations(old: ir.Model, new: ir.Model) -> None:
    """Carries over what the converter drops: notes, and shapes of values it kept."""
    new.graph.name = old.graph.name
    new.graph.doc_string = old.graph.doc_string
    new.graph.metadata_props.update(old.graph.metadata_props)
    nodes = {node.name: node for node in ir.traversal.RecursiveGraphIterator(old.graph)}
    values = {value.name: value for node in nodes.values() for value in node.outputs}
    values |= {value.name: value for value in old.graph.initializers.values()}
    values |= {value.name: value for value in old.graph.inputs}
    for node in ir.traversal.RecursiveGraphIterator(new.graph):
        if node.name in nodes:
            node.doc_string = nodes[node.name].doc_string
            node.metadata_props.update(nodes[node.name].metadata_props)
    for graph in new.graphs():
        kept = [*graph.inputs, *graph.initializers.values()]
        for value in [*kept, *(output for node in graph for output in node.outputs)]:
            if value.name in values:
                _keep_value(values[value.name], value)
    for before, after in zip(old.graph.outputs, new.graph.outputs, strict=True):
        # the converter infers shapes anew, but what the model promised its callers stays
        after.type, after.shape = before.type, before.shape


def _keep_value(old: ir.Value, new: ir.Value) -> None:
    new.doc_string = old.doc_string
    new.metadata_props.update(old.metadata_props)
    if new.type is None:
        new.type = old.type
    if new.shape is None:
        new.shape = old.shape
