"""The report for a browser: one file that needs nothing from outside.

The frame is ``template.html`` beside this file. Everything that comes from a model or a user is
escaped; the page allows no script at all.
"""

from __future__ import annotations

import json
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from onnxq.report.ranges import HEADS, cells, quant_ranges
from onnxq.report.summary import facts, float_groups
from onnxq.report.units import count_text, percent_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnxq.report.result import HeavyLayer, Result, TraceRow

__all__ = ["html_report"]


def html_report(result: Result) -> str:
    """Returns the report as one HTML document."""
    frame = resources.files("onnxq.report").joinpath("template.html").read_text("utf-8")
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items()))
    return Template(frame).substitute(
        title=escape(result.source),
        subtitle=escape("not written" if result.path is None else f"written to {result.path}"),
        facts=_facts(result),
        warnings=_warnings(result),
        layers=_layers(result),
        stayed_float=_stayed_float(result),
        ranges=_folded("Ranges", HEADS, _ranges(result)),
        passes=_folded("Passes", ("pass", "kind", "s", "did", "refused", ""), _passes(result)),
        notes=_folded("Notes", ("", "pass", "where", "what"), _notes(result)),
        options=_folded("Options", ("option", "value"), _options(result)),
        versions=escape(versions),
    )


def _cell(text: str, kind: str = "") -> str:
    """One table cell; ``text`` is escaped here and nowhere else."""
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _table(heads: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of ready cells; it needs no head row if no column has a name."""
    names = "".join(f"<th>{escape(text)}</th>" for text in heads)
    head = f"<thead><tr>{names}</tr></thead>\n" if any(heads) else ""
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f'<div class="scroll"><table>\n{head}<tbody>\n{body}\n</tbody>\n</table></div>'


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>"


def _folded(title: str, heads: Sequence[str], rows: Sequence[Iterable[str]]) -> str:
    if not rows:
        return ""
    heading = escape(f"{title} ({len(rows)})")
    return f"<details>\n<summary>{heading}</summary>\n{_table(heads, rows)}\n</details>"


def _facts(result: Result) -> str:
    rows = [
        (_cell(fact.label), _cell(fact.value, "number"), _cell(fact.detail, fact.tone))
        for fact in facts(result)
    ]
    return _table(("", "", ""), rows)


def _warnings(result: Result) -> str:
    if not result.warnings:
        return ""
    lines = "\n".join(f"<p>{escape(text)}</p>" for text in result.warnings)
    return f'<section class="panel warning">\n{lines}\n</section>'


def _layers(result: Result) -> str:
    if not result.heavy:
        return ""
    total = sum(layer.macs for layer in result.heavy) or 1
    most = max(layer.macs for layer in result.heavy) or 1
    reasons = {node.node: node.reason for node in result.stayed_float}
    bits = {weight.node: str(weight.bits) for weight in result.weights}
    rows = [
        (*_layer(layer, total, most, reasons), _cell(bits.get(layer.node, ""), "number"))
        for layer in result.heavy
    ]
    heads = ("node", "op", "MACs", "share", "", "runs as", "weight bits")
    return _section("Heavy layers", _table(heads, rows))


def _layer(layer: HeavyLayer, total: int, most: int, reasons: dict[str, str]) -> tuple[str, ...]:
    kind = "" if layer.integer else ' class="float"'
    runs_as = "integer" if layer.integer else f"float: {reasons.get(layer.node, 'no reason given')}"
    return (
        _cell(layer.node, "name"),
        _cell(layer.op),
        _cell(count_text(layer.macs), "number"),
        _cell(percent_text(layer.macs / total), "number"),
        f'<td class="bar"><i{kind} style="width:{100 * layer.macs / most:.1f}%"></i></td>',
        _cell(runs_as),
    )


def _stayed_float(result: Result) -> str:
    rows = [
        (
            _cell(group.what, "name"),
            _cell(count_text(group.macs) if group.macs else "", "number"),
            _cell(group.reason),
        )
        for group in float_groups(result.stayed_float)
    ]
    return _section("Stayed float", _table(("node", "MACs", "reason"), rows)) if rows else ""


def _ranges(result: Result) -> list[tuple[str, ...]]:
    return [
        (_cell(name, "name"), *map(_cell, others))
        for name, *others in map(cells, quant_ranges(result.plan))
    ]


def _passes(result: Result) -> list[tuple[str, ...]]:
    return [_pass(row) for row in result.trace]


def _pass(row: TraceRow) -> tuple[str, ...]:
    undone = f"rolled back: {row.rolled_back}" if row.rolled_back else ""
    return (
        _cell(row.name, "name"),
        _cell(row.kind),
        _cell(f"{row.seconds:.2f}", "number"),
        _cell(str(row.fired), "number"),
        _cell(str(row.refused), "number"),
        _cell(undone, "bad"),
    )


def _notes(result: Result) -> list[tuple[str, ...]]:
    return [
        (_cell(n.kind.value), _cell(n.source, "name"), _cell(n.where, "name"), _cell(n.text))
        for n in result.notes
    ]


def _options(result: Result) -> list[tuple[str, ...]]:
    return [
        (_cell(name.replace("_", "-"), "name"), _cell(json.dumps(value, ensure_ascii=False)))
        for name, value in result.options.items()
    ]
