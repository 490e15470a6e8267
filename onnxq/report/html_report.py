"""The report for a browser: one file that needs nothing from outside.

The data of its sections come from :mod:`onnxq.report.page`, their form from the templates there.
jinja2 escapes all that comes from a model or a user; data for the script are JSON in which ``<``
does not occur. The page forbids itself everything but its own style and its own script, which it
knows by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from onnxq.report.front import HEADS as FRONT_HEADS
from onnxq.report.front import front_rows, front_svg
from onnxq.report.page.depth import depth
from onnxq.report.page.flow import flow
from onnxq.report.page.kernels import operator_bars
from onnxq.report.page.refusals import refusals
from onnxq.report.page.rows import node_rows
from onnxq.report.page.sensitivity import sensitivity
from onnxq.report.page.story import cards, lead, steps
from onnxq.report.page.values import histograms, weight_ranges
from onnxq.report.ranges import HEADS, cells, quant_ranges
from onnxq.report.summary import facts
from onnxq.report.units import bytes_text, count_text, percent_text

if TYPE_CHECKING:
    from onnxq.report.page.rows import NodeRow
    from onnxq.report.result import Result

__all__ = ["html_report"]

_HOME = "onnxq.report.page"


def html_report(result: Result) -> str:
    """Returns the report as one HTML document.

    Without ``result.evidence`` it holds what the other reports hold: summary, layers, passes,
    refusals, options.
    """
    rows = node_rows(result)
    found = _evidence(result, rows)
    script = _text("report.js")
    return (
        _environment()
        .get_template("report.html")
        .render(
            result=result,
            facts=facts(result),
            cards=cards(result),
            lead=lead(result),
            steps=steps(result),
            rows=rows,
            total_macs=sum(layer.macs for layer in result.heavy),
            refusals=refusals(result),
            picture=Markup(front_svg(result.front)),  # noqa: S704 (numbers alone)
            front_heads=FRONT_HEADS,
            front_rows=front_rows(result.front),
            range_heads=HEADS,
            ranges=[cells(one) for one in quant_ranges(result.plan)],
            sections=_sections(result, found),
            style=Markup(_text("report.css")),  # noqa: S704 (the package's own)
            script=Markup(script),  # noqa: S704 (the package's own)
            script_hash=_hash(script),
            **found,
        )
    )


def _sections(result: Result, found: dict[str, Any]) -> dict[str, str]:
    """Returns id → template of the sections that have something to show, in their order."""
    data = found["data"] or {"values": [], "weights": []}
    shown = {
        "summary": True,
        "done": result.trace,
        "depth": found["depth"],
        "front": result.front,
        "sensitivity": found["costs"],
        "layers": result.heavy or found["flow"],
        "values": data["values"] or quant_ranges(result.plan),
        "weights": data["weights"],
        "time": found["bars"],
        "detections": found["drawings"],
        "graph": found["flow"],
        "refusals": refusals(result),
        "lint": result.findings,
        "reproduce": True,
    }
    return {name: f"{name}.html" for name, content in shown.items() if content}


def _evidence(result: Result, rows: list[NodeRow]) -> dict[str, Any]:
    """Returns what the sections show that only ``--report`` collects."""
    found = result.evidence
    if found is None:
        return dict.fromkeys(("data", "depth", "costs", "flow", "bars", "drawings"))
    values = [] if found.stats is None else histograms(found.stats, result.plan)
    times = found.float_times, found.integer_times
    return {
        "data": {"values": values, "weights": weight_ranges(found.weights)},
        "depth": depth(rows),
        "costs": sensitivity(result.plan, rows),
        "flow": flow(found.model, rows, frozenset(result.plan.values)),
        "bars": operator_bars(*times) if any(times) else [],
        "drawings": found.drawings,
    }


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["infinity"] = math.inf
    environment.filters.update(
        bytes=bytes_text,
        count=count_text,
        percent=percent_text,
        picture=_picture,
        data=_data,
        plain=lambda value: json.dumps(value, ensure_ascii=False),
    )
    return environment


def _text(name: str) -> str:
    return resources.files(_HOME).joinpath("templates", name).read_text("utf-8")


def _hash(script: str) -> str:
    """Returns the name by which a page may allow one script alone."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _picture(content: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def _data(value: object) -> Markup:
    """Returns JSON for a script element: a name with ``</script>`` must not end it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 (escaped for its place)
