"""Looks at a model without data: the one place that knows what is asked in which order.

Facts come from the file as it is; shapes from running it once on an input made from its signature;
and what would be quantized from the stages that optimizing begins with, run on a copy.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir

from onnxq.config import Config
from onnxq.data.guess import guess_preprocess
from onnxq.data.model_inputs import input_specs
from onnxq.errors import ConfigError, ModelError, OnnxqError
from onnxq.graph.external import mapped_files, size_on_disk
from onnxq.graph.inventory import all_nodes, all_tensors, quantized_nodes, unknown_domains
from onnxq.graph.io import load
from onnxq.graph.layers import layer_kinds, layer_macs, reads_integers, uncounted
from onnxq.graph.liveness import live_peak
from onnxq.graph.query import heavy, macs
from onnxq.manager import PassManager
from onnxq.passes.plan import deciding_passes
from onnxq.passes.rewrite import float_rewrites
from onnxq.passes.rewrite.infer_shapes import InferShapes
from onnxq.passes.rewrite.normalize import repair_passes
from onnxq.plan.note import NoteKind
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.target import load_target
from onnxq.registry import chosen_foreign
from onnxq.report.assemble import label
from onnxq.report.inspect_result import Body, Forecast, Inspection, Quantized, Signature, Storage
from onnxq.report.result import FloatNode
from onnxq.report.units import array_text
from onnxq.report.verify import recognized_task
from onnxq.runtime.probe import check_shapes, parse_shapes, probe_feed
from onnxq.runtime.session import run_model
from onnxq.runtime.shapes import observed_shapes
from onnxq.stages import make_runnable, plan_context, rewritten, runs_widened
from onnxq.tasks.base import Overrides

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnxq.graph.io import ModelSource
    from onnxq.passbase import PlanContext
    from onnxq.runtime.session import Feed

    Shapes = Mapping[str, tuple[int, ...]]

__all__ = ["inspect"]


def inspect(source: ModelSource, *, shapes: Sequence[str] = ()) -> Inspection:
    """Finds out what a model is made of, what it costs, and what would be quantized.

    Args:
        source: The model, as for :func:`onnxq.optimize`; never changed.
        shapes: ``INPUT=1x3x224x224`` for inputs with symbolic dimensions, which are 1 otherwise.

    Returns:
        The facts. A model that can be read but not optimized has a refusal among them.

    Raises:
        ModelError: The model cannot be read.
        ConfigError: A shape does not fit.
    """
    model = load(source)
    wanted = parse_shapes(shapes)
    check_shapes([model], wanted)
    found = _described(model, source)
    runnable = model.clone()
    for repair in repair_passes():
        repair(runnable)
    feed, note = _fed(runnable, wanted)
    found = _measured(found, runnable, feed, note)
    if feed is not None and not found.fed and runs_widened(runnable):
        found = _measured(found, runnable, feed, note)
    found = replace(
        found,
        task=_task(runnable, feed) if feed is not None and found.fed else "",
        preprocessing=_preprocessing(model),
    )
    if found.quantized is not None:
        return replace(found, refusal="it is quantized already")
    try:
        make_runnable(runnable, found.name)
        return replace(found, forecast=_forecast(runnable, feed if found.fed else None))
    except (ConfigError, ModelError) as error:
        return replace(found, refusal=str(error).removeprefix(f"{found.name}: "))


# ---- what the file says --------------------------------------------------------------------------


def _described(model: ir.Model, source: ModelSource) -> Inspection:
    operators = Counter(_operator(node) for node in all_nodes(model))
    return Inspection(
        name=label(source),
        size=_size(model, source),
        ir_version=model.ir_version,
        opsets={domain or "ai.onnx": n for domain, n in sorted(model.opset_imports.items())},
        producer=f"{model.producer_name or ''} {model.producer_version or ''}".strip(),
        metadata=dict(model.metadata_props),
        inputs=tuple(_signature(v) for v in model.graph.inputs if v.const_value is None),
        outputs=tuple(_signature(value) for value in model.graph.outputs),
        operators=dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        bodies=tuple(_bodies(all_nodes(model))),
        functions=len(model.functions),
        unknown=tuple(_unknown(model)),
        storage=tuple(_storage(model)),
        external_files=tuple(sorted(path.name for path in mapped_files(model))),
        layers=(),
        uncounted=uncounted(model),
        activations=None,
    )


def _operator(node: ir.Node) -> str:
    return f"{node.domain}:{node.op_type}" if node.domain else node.op_type


def _size(model: ir.Model, source: ModelSource) -> int | None:
    if isinstance(source, str | os.PathLike):
        return size_on_disk(source, model)
    return len(source) if isinstance(source, bytes) else None


def _signature(value: ir.Value) -> Signature:
    dims = (
        None if value.shape is None else [d if isinstance(d, int) else d.value for d in value.shape]
    )
    shape = None if dims is None else tuple("?" if dim is None else dim for dim in dims)
    return Signature(str(value.name), "?" if value.dtype is None else value.dtype.name, shape)


def _bodies(nodes: Iterable[ir.Node]) -> Iterable[Body]:
    for node in nodes:
        for name, attribute in node.attributes.items():
            if attribute.is_ref():
                continue
            graphs: Sequence[ir.Graph] = ()
            if attribute.type == ir.AttributeType.GRAPH:
                graphs = [attribute.as_graph()]
            elif attribute.type == ir.AttributeType.GRAPHS:
                graphs = attribute.as_graphs()
            for graph in graphs:
                inside = sum(1 for _ in ir.traversal.RecursiveGraphIterator(graph))
                yield Body(str(node.name or node.outputs[0].name), node.op_type, name, inside)


def _unknown(model: ir.Model) -> Iterable[str]:
    """Yields operators of foreign domains, and standard ones that the model's opset lacks."""
    for domain, operators in unknown_domains(model).items():
        yield from (f"{domain}:{operator}" for operator in operators)
    opset = model.opset_imports.get("", 1)
    standard = {node.op_type for node in all_nodes(model) if not node.domain}
    yield from sorted(op for op in standard if not onnx.defs.has(op, opset, ""))


def _storage(model: ir.Model) -> list[Storage]:
    rows: dict[str, Storage] = {}
    for tensor in {id(tensor): tensor for tensor in all_tensors(model)}.values():
        name = tensor.dtype.name
        row = rows.get(name, Storage(name, 0, 0, 0, 0))
        external = tensor.nbytes if isinstance(tensor, ir.ExternalTensor) else 0
        rows[name] = Storage(
            name,
            row.arrays + 1,
            row.elements + tensor.size,
            row.bytes + tensor.nbytes,
            row.external + external,
        )
    return sorted(rows.values(), key=lambda row: (-row.bytes, row.dtype))


# ---- what running it shows -----------------------------------------------------------------------


def _fed(model: ir.Model, wanted: Shapes) -> tuple[Feed | None, str]:
    """Returns an input that fits the signature, or None and the reason."""
    try:
        return probe_feed(model, shapes=wanted), ""
    except ModelError as error:
        return None, str(error)


def _measured(found: Inspection, model: ir.Model, feed: Feed | None, note: str) -> Inspection:
    """Adds layers, activations and how far the model is quantized."""
    shapes: Shapes = {}
    if feed is not None:
        try:
            shapes = observed_shapes(model, feed)
        except ModelError as error:
            note = str(error)
    model = model.clone()
    InferShapes()(model)
    quantized = _quantized(model, shapes) if quantized_nodes(model) else None
    fed = {name: array_text(array) for name, array in (feed or {}).items()}
    if note:
        note = f"shapes are those in the file, since the model was not run: {note}"
    return replace(
        found,
        layers=tuple(layer_kinds(model, shapes)),
        activations=None if quantized is not None else live_peak(model.graph, shapes),
        quantized=quantized,
        fed=fed if not note else {},
        notes=(note,) if note else (),
    )


def _task(model: ir.Model, feed: Feed) -> str:
    return recognized_task(model, [feed], Overrides()).description


def _preprocessing(model: ir.Model) -> str:
    """Returns how images become the input, "" where the model does not tell or takes none."""
    try:
        guess = guess_preprocess(model)
        if guess is None:
            return ""
        (spec,) = input_specs(model)
        return f"{guess.preprocess.for_input(spec).describe()} ({guess.reason})"
    except OnnxqError:
        return ""


def _quantized(model: ir.Model, shapes: Shapes) -> Quantized:
    nodes = list(all_nodes(model))
    words = [name.rpartition("(")[2].rstrip(")") for name in quantized_nodes(model)]
    counts = [(node, layer_macs(node, shapes) or 0) for node in nodes]
    return Quantized(
        operators=dict(Counter(words).most_common()),
        nodes=len(nodes),
        integer_macs=sum(count for node, count in counts if reads_integers(node)),
        macs=sum(count for _, count in counts),
    )


# ---- what optimizing would do --------------------------------------------------------------------


def _forecast(model: ir.Model, feed: Feed | None) -> Forecast:
    config = Config()
    foreign = chosen_foreign(config)
    probes = [] if feed is None else [feed]
    manager = PassManager(judged=foreign.names, run_model=run_model, probes=probes)
    model = rewritten(model, manager, config, [*float_rewrites(), *foreign.rewrites])
    context = plan_context(
        model, load_target(config.target), probes, lambda count: probes[:count], config.cores
    )
    plan = manager.revise(context, deciding_passes(config, with_data=True), QuantPlan())
    telling = {rewrite.name for rewrite in (*float_rewrites(), *foreign.rewrites)}
    fired = Counter(
        note.source
        for note in manager.trace.notes
        if note.kind is NoteKind.FIRED and note.source in telling
    )
    return _counted(context, plan, dict(fired))


def _counted(context: PlanContext, plan: QuantPlan, fired: Mapping[str, int]) -> Forecast:
    nodes = [(node, macs(node, context.shapes) or 0) for node in context.model.graph]
    integer = [(node, count) for node, count in nodes if node.name not in plan.float_nodes]
    return Forecast(
        rewrites=fired,
        nodes=len(nodes),
        integer=tuple(str(node.name) for node, _ in integer),
        integer_layers=sum(heavy(node) for node, _ in integer),
        layers=sum(heavy(node) for node, _ in nodes),
        integer_macs=sum(count for _, count in integer),
        macs=sum(count for _, count in nodes),
        stayed_float=tuple(
            FloatNode(str(node.name), node.op_type, count, plan.float_nodes[str(node.name)])
            for node, count in nodes
            if node.name in plan.float_nodes
        ),
    )
