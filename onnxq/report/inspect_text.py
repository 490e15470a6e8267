"""An inspection on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onnxq.report.float_table import float_table
from onnxq.report.summary import float_groups
from onnxq.report.units import bytes_text, count_text, percent_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import RenderableType

    from onnxq.report.inspect_result import Forecast, Inspection, Signature

    Row = tuple[str, str]

__all__ = ["inspect_text"]

_METADATA_SHOWN = 8
_LONGEST = 100
_BODIES_SHOWN = 8
_IMAGE_RANK = 4


def inspect_text(found: Inspection) -> RenderableType:
    """Returns facts, layers, and what would be quantized or why not."""
    rows = (*_file(found), *_use(found), *_contents(found), *_cost(found))
    parts: list[RenderableType] = [_facts(rows)]
    if found.layers:
        parts += [Text(), Text("multiply-accumulates", "bold"), _layers(found)]
    parts += [Text(), Text("quantization", "bold"), *_quantization(found)]
    notes = [Text.assemble(("note: ", "yellow"), note) for note in found.notes]
    return Group(*parts, *([Text(), *notes] if notes else []))


def _file(found: Inspection) -> Iterator[Row]:
    size = "in memory" if found.size is None else bytes_text(found.size)
    yield "model", f"{found.name}, {size}"
    opsets = ", ".join(f"{domain} {version}" for domain, version in found.opsets.items())
    yield "format", f"IR version {found.ir_version}, opset {opsets}"
    if found.producer:
        yield "made by", found.producer
    for i, (key, value) in enumerate(found.metadata.items()):
        if i == _METADATA_SHOWN:
            yield "metadata", f"… and {len(found.metadata) - i} more, see --json"
            break
        yield "metadata", f"{key}: {_short(value)}"
    for kind, values in (("input", found.inputs), ("output", found.outputs)):
        yield from ((kind, _signature(value)) for value in values)


def _use(found: Inspection) -> Iterator[Row]:
    if found.task:
        yield "task", found.task
    if found.preprocessing:
        yield "preprocess", found.preprocessing
    elif any(value.shape is not None and len(value.shape) == _IMAGE_RANK for value in found.inputs):
        yield "preprocess", "not told by the model; images need --preprocess"


def _contents(found: Inspection) -> Iterator[Row]:
    yield "operators", f"{sum(found.operators.values())} nodes: {_counts(found.operators)}"
    if found.functions:
        yield "functions", str(found.functions)
    for body in found.bodies[:_BODIES_SHOWN]:
        yield "subgraph", f"{body.attribute} of {body.op} '{body.node}': {body.nodes} nodes"
    if len(found.bodies) > _BODIES_SHOWN:
        yield "subgraph", f"… and {len(found.bodies) - _BODIES_SHOWN} more, see --json"
    if found.unknown:
        yield "unknown", f"{', '.join(found.unknown)}: defined by neither ONNX nor onnxruntime"
    total = sum(row.bytes for row in found.storage)
    yield "parameters", f"{count_text(found.parameters)}, {bytes_text(total)}"
    for row in found.storage:
        arrays = "1 array" if row.arrays == 1 else f"{row.arrays} arrays"
        yield (
            "parameters",
            f"{row.dtype}: {count_text(row.elements)} in {arrays}, {bytes_text(row.bytes)}",
        )
    if found.external_files:
        external = sum(row.external for row in found.storage)
        yield "external", f"{bytes_text(external)} in {', '.join(found.external_files)}"


def _cost(found: Inspection) -> Iterator[Row]:
    peak = found.activations
    if peak is not None:
        unknown = f"; {peak.unknown} values of unknown size left out" if peak.unknown else ""
        at = f" at {peak.node}" if peak.node else ""
        yield "activations", f"{bytes_text(peak.bytes)} in {peak.values} float values{at}{unknown}"
    if found.fed:
        fed = ", ".join(f"{name} {form}" for name, form in found.fed.items())
        yield "numbers for", fed


def _layers(found: Inspection) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for row in found.layers:
        unknown = f"{row.unknown} of unknown shape" if row.unknown else ""
        share = row.macs / found.macs if found.macs else 0.0
        cells = (
            f"  {row.kind}",
            f"×{row.layers}",
            count_text(row.macs),
            percent_text(share),
            unknown,
        )
        table.add_row(*map(Text, cells))
    total = ("  all", f"×{sum(row.layers for row in found.layers)}", count_text(found.macs))
    table.add_row(*(Text(cell, "bold") for cell in total))
    if found.uncounted:
        table.add_row(Text(f"  not counted: {_counts(found.uncounted)}"))
    return table


def _quantization(found: Inspection) -> Iterator[RenderableType]:
    if found.quantized is not None:
        done = found.quantized
        share = percent_text(done.integer_macs / done.macs if done.macs else 0.0)
        count = sum(done.operators.values())
        yield Text(
            f"  quantized already: {count} of {done.nodes} nodes ({_counts(done.operators)})"
        )
        yield Text(f"  {share} of multiply-accumulates between quantized values")
    elif found.forecast is not None:
        yield from _forecast(found.forecast)
    else:
        yield Text.assemble("  optimize refuses it: ", (found.refusal, "bold red"))


def _forecast(would: Forecast) -> Iterator[RenderableType]:
    share = percent_text(would.integer_macs / would.macs if would.macs else 0.0)
    if would.rewrites:
        yield Text(f"  rewrites that apply: {_counts(would.rewrites)}")
    yield Text(
        f"  on integers: {len(would.integer)} of {would.nodes} nodes, {would.integer_layers} of "
        f"{would.layers} layers with weights, {share} of multiply-accumulates"
    )
    yield Text("  with data, more may stay float to keep the signal")
    groups = sorted(float_groups(would.stayed_float), key=lambda group: -group.macs)
    if not groups:
        return
    yield Text("  would stay float:")
    yield float_table(groups, indent="    ", more="see --json")


def _facts(rows: Iterable[Row]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    last = ""
    for name, text in rows:
        table.add_row(Text("" if name == last else name), Text(text))
        last = name
    return table


def _signature(value: Signature) -> str:
    shape = "of unknown rank" if value.shape is None else str(list(value.shape)).replace("'", "")
    return f"{value.name}: {value.dtype.lower()} {shape}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ×{n}" if n > 1 else name for name, n in counts.items())


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
