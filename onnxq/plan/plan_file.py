"""Plans as files that a person can read, edit and replay.

A plan file is JSON with one line per entry::

    {
     "format": 1,
     "values": {
      "x": {"dtype": "uint8", "symmetric": false, "granularity": "tensor", "scale": 0.02, …},
      "w": {"dtype": "int8", "symmetric": true, "granularity": {"axis": 0}, "scale": [0.1, …], …}
     },
     "uses": {"node:0": {…}},
     "clusters": {"x": {"parts": [{"channels": [3, 7], "value": {…}, "weights": {"node": {…}}}],
                        "sums": {"node": {…}}}},
     "groups": [["a", "b"]],
     "bias_shift": {"node": [0.5, …]},
     "float_nodes": {"node": "reason"},
     "kept_float": ["node"],
     "half": ["node"],
     "choices": [["smooth-activations", {"x": ["bfloat16", "base64 of an array"]}]],
     "notes": [{"kind": "info", "source": "fit-weights", "where": "node", "text": "…"}]
    }

A value without an entry stays float; a ``zero_point`` of one number stands for as many as there are
scales; only ``format`` and ``values`` must be there. Unknown keys are refused, lest a typo be
overlooked.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from onnxq.atomic import pending_file
from onnxq.errors import PlanError
from onnxq.plan.clusters_json import read_split, split_object
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.plan_entry import Entry
from onnxq.plan.plan_json import float32_list, read_value, value_object
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

__all__ = ["load_plan", "plan_text", "save_plan"]

_FORMAT = 1
_SECTIONS = (
    "uses",
    "clusters",
    "groups",
    "bias_shift",
    "float_nodes",
    "kept_float",
    "half",
    "choices",
    "notes",
)


def save_plan(plan: QuantPlan, path: str | os.PathLike[str]) -> None:
    """Writes ``plan`` to ``path``, all or nothing; equal plans give equal bytes.

    Raises:
        OutputError: The file cannot be written.
    """
    with pending_file(path, "plan") as pending:
        pending.write_text(plan_text(plan), "utf-8", newline="\n")


def plan_text(plan: QuantPlan) -> str:
    """Returns the content of a plan file; equal plans give equal texts."""
    return _layout(_document(plan))


def load_plan(path: str | os.PathLike[str]) -> QuantPlan:
    """Returns the plan in ``path``.

    Whether it fits a model is another question: see :func:`onnxq.plan.check.check_plan`.

    Raises:
        PlanError: The file cannot be read, or an entry is malformed.
    """
    name = os.fspath(path)
    parts = Entry(name, "", _parse(name)).members(("format", "values"), _SECTIONS)
    if parts["format"].data != _FORMAT:
        parts["format"].fail(
            f"is {parts['format'].data}, but this version reads {_FORMAT}; write the plan anew"
        )
    return QuantPlan(
        values={name: read_value(entry) for name, entry in parts["values"].items()},
        uses=_read_uses(parts["uses"]) if "uses" in parts else {},
        clusters={name: read_split(entry) for name, entry in parts["clusters"].items()}
        if "clusters" in parts
        else {},
        groups=_read_groups(parts["groups"]) if "groups" in parts else (),
        bias_shift=_read_shifts(parts["bias_shift"]) if "bias_shift" in parts else {},
        float_nodes={name: entry.text() for name, entry in parts["float_nodes"].items()}
        if "float_nodes" in parts
        else {},
        kept_float=_read_names(parts.get("kept_float")),
        half=_read_names(parts.get("half")),
        choices=_read_choices(parts["choices"]) if "choices" in parts else "",
        notes=tuple(_read_note(entry) for entry in parts["notes"].elements())
        if "notes" in parts
        else (),
    )


def _document(plan: QuantPlan) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "values": {name: value_object(value) for name, value in plan.values.items()},
        "uses": {f"{u.node}:{u.position}": value_object(v) for u, v in plan.uses.items()},
        "clusters": {name: split_object(split) for name, split in plan.clusters.items()},
        "groups": [sorted(group) for group in plan.groups],
        "bias_shift": {name: float32_list(shift) for name, shift in plan.bias_shift.items()},
        "float_nodes": dict(plan.float_nodes),
        "kept_float": sorted(plan.kept_float),
        "half": sorted(plan.half),
        **({"choices": json.loads(plan.choices)} if plan.choices else {}),
        "notes": [
            {"kind": n.kind.value, "source": n.source, "where": n.where, "text": n.text}
            for n in plan.notes
        ],
    }


def _layout(document: Mapping[str, Any]) -> str:
    """Returns JSON with one line per entry of each section."""
    sections = []
    for name, content in document.items():
        if isinstance(content, dict):
            lines, brackets = (
                [f"{_dump(key)}: {_dump(part)}" for key, part in content.items()],
                "{}",
            )
        elif isinstance(content, list):
            lines, brackets = [_dump(part) for part in content], "[]"
        else:
            sections.append(f" {_dump(name)}: {_dump(content)}")
            continue
        body = "\n  " + ",\n  ".join(lines) + "\n " if lines else ""
        sections.append(f" {_dump(name)}: {brackets[0]}{body}{brackets[1]}")
    return "{\n" + ",\n".join(sections) + "\n}\n"


def _dump(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _parse(name: str) -> object:
    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        members: dict[str, object] = {}
        for key, content in found:
            if key in members:
                raise PlanError(f"{name}: the key '{key}' stands twice in one object; keep one")
            members[key] = content
        return members

    def constant(text: str) -> NoReturn:
        raise PlanError(f"{name}: {text} is no JSON number; give a finite one")

    try:
        text = Path(name).read_text("utf-8-sig")
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except OSError as error:
        raise PlanError(
            f"{name}: the plan cannot be read: {error.strerror}; give a file of --save-plan"
        ) from None
    except json.JSONDecodeError as error:
        raise PlanError(
            f"{name}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}; "
            "correct it, or write the plan anew with --save-plan"
        ) from None
    except (ValueError, RecursionError):
        raise PlanError(f"{name}: is no plan file; give a file of --save-plan") from None


def _read_names(section: Entry | None) -> frozenset[str]:
    return frozenset() if section is None else frozenset(e.text() for e in section.elements())


def _read_uses(section: Entry) -> dict[Use, ValuePlan]:
    uses: dict[Use, ValuePlan] = {}
    # uses with one and the same plan share one copy in the quantized model
    alike: dict[str, ValuePlan] = {}
    for key, entry in section.items():
        node, colon, position = key.rpartition(":")
        if not (colon and node and position.isascii() and position.isdigit()):
            entry.fail("the key must be the node's name, a colon and the input's position")
        plan = alike.setdefault(json.dumps(entry.data, sort_keys=True), read_value(entry))
        if (use := Use(node, int(position))) in uses:
            entry.fail("the same use stands there twice; keep one")
        uses[use] = plan
    return uses


def _read_groups(section: Entry) -> tuple[frozenset[str], ...]:
    groups = []
    for entry in section.elements():
        names = [part.text() for part in entry.elements()]
        if len(set(names)) < max(1, len(names)):
            entry.fail("must hold names of values, each once")
        groups.append(frozenset(names))
    return tuple(groups)


def _read_shifts(section: Entry) -> dict[str, npt.NDArray[np.float32]]:
    shifts = {}
    for name, entry in section.items():
        shift = entry.floats()
        if shift.ndim != 1:
            entry.fail("must be a list with one number per output channel")
        shifts[name] = shift
    return shifts


def _read_choices(section: Entry) -> str:
    return json.dumps([entry.data for entry in section.elements()], separators=(",", ":"))


def _read_note(entry: Entry) -> Note:
    parts = entry.members(("kind", "source", "where", "text"))
    texts = {key: part.text() for key, part in parts.items()}
    if texts["kind"] not in {kind.value for kind in NoteKind}:
        kinds = ", ".join(kind.value for kind in NoteKind)
        parts["kind"].fail(f"must be one of {kinds}, not '{texts['kind']}'")
    return Note(NoteKind(texts["kind"]), texts["source"], texts["where"], texts["text"])
