from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from onnxq.errors import PlanError
from onnxq.plan.plan_file import load_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Spoil = Callable[[dict[str, Any]], object]


def document() -> dict[str, Any]:
    return {
        "format": 1,
        "values": {
            "x": {
                "dtype": "int8",
                "symmetric": True,
                "granularity": {"axis": 0},
                "scale": [0.5, 0.25],
                "zero_point": [0, 0],
                "method": "minmax",
                "p": 2,
                "error": 0.1,
                "codes": {"shape": [2, 1], "dtype": "int8", "data": "eNpjZAIAAAYABA=="},
            }
        },
        "uses": {"n:0": {"dtype": "uint8", "symmetric": False, "granularity": "tensor"}},
        "groups": [["x"]],
        "bias_shift": {"n": [1]},
        "float_nodes": {"m": "why"},
        "notes": [{"kind": "info", "source": "s", "where": "w", "text": "t"}],
    }


def put(*path: object) -> Spoil:
    """Puts the last item where the others lead."""
    *keys, last, content = path

    def spoil(found: Any) -> None:  # noqa: ANN401 - parts of a JSON document
        for key in keys:
            found = found[key]
        found[last] = content

    return spoil


def drop(*path: str) -> Spoil:
    *keys, last = path

    def spoil(found: dict[str, Any]) -> None:
        for key in keys:
            found = found[key]
        del found[last]

    return spoil


X = ("values", "x")
CODES = (*X, "codes")
USE = document()["uses"]["n:0"]

MALFORMED: list[tuple[str, Spoil, str]] = [
    ("format", put("format", 2), "format: is 2, but this version reads 1"),
    ("no format", drop("format"), "the key 'format' is missing"),
    ("no values", drop("values"), "the key 'values' is missing"),
    ("section", put("valeus", {}), "unknown key 'valeus'; did you mean 'values'?"),
    ("values list", put("values", []), "values: must be an object {…}, not a list"),
    ("entry", put("values", "x", 3), "values['x']: must be an object {…}, not 3"),
    ("key", put(*X, "scales", 1), "values['x']: unknown key 'scales'; did you mean 'scale'?"),
    ("far key", put(*X, "?", 1), "values['x']: unknown key '?'; there are dtype, symmetric"),
    ("no dtype", drop(*X, "dtype"), "values['x']: the key 'dtype' is missing"),
    ("dtype", put(*X, "dtype", "float8"), "values['x'].dtype: 'float8' is no integer type"),
    ("dtype number", put(*X, "dtype", 8), "values['x'].dtype: must be a text, not 8"),
    ("symmetric", put(*X, "symmetric", 1), "symmetric: must be true or false, not 1"),
    ("granularity", put(*X, "granularity", "channel"), 'granularity: must be "tensor"'),
    ("axis", put(*X, "granularity", "axis", -1), "axis: must be an integer of at least 0, not -1"),
    ("axis text", put(*X, "granularity", "axis", True), "at least 0, not true"),
    ("block", put(*X, "granularity", "block", 0), "block: must be an integer of at least 1"),
    ("blocks", put(*X, "granularity", {"block": 2}), "granularity: the key 'axis' is missing"),
    ("rank", put(*X, "scale", 1), "scale: must be a list of numbers for this granularity"),
    ("one", put(*X, "granularity", "tensor"), "scale: must be one number for this granularity"),
    ("nested", put(*X, "granularity", {"axis": 1, "block": 2}), "scale: must be lists nested"),
    ("negative", put(*X, "scale", [1, -2]), "scale: must be positive in float32, not -2"),
    ("tiny", put(*X, "scale", [1, 1e-60]), "scale: must be positive in float32, not 0"),
    ("huge", put(*X, "scale", [1, 1e60]), "scale: holds a number that is too large"),
    ("endless", put(*X, "scale", [1, 10**400]), "scale: must hold numbers alone, not 1000"),
    ("text", put(*X, "scale", [1, "2"]), "scale: must hold numbers alone, not '2'"),
    ("ragged", put(*X, "scale", [[1], [1, 2]]), "scale: its inner lists differ in length"),
    ("no zero point", drop(*X, "zero_point"), "has a scale but no 'zero_point'"),
    ("shape", put(*X, "zero_point", [0] * 3), "zero_point: has shape [3] beside a scale of shape"),
    ("half", put(*X, "zero_point", 0.5), "zero_point: must hold integers of at most 32 bits"),
    ("wide", put(*X, "zero_point", 2**31), "zero_point: must hold integers of at most 32 bits"),
    ("no scale", drop(*X, "scale"), "values['x']: has 'zero_point' but no 'scale'"),
    ("p", put(*X, "p", "two"), "p: must be a number, not 'two'"),
    ("error", put(*X, "error", None), "error: must be a number, not null"),
    ("method", put(*X, "method", []), "method: must be a text, not a list"),
    ("codes key", drop(*CODES, "shape"), "codes: the key 'shape' is missing"),
    ("codes dtype", put(*CODES, "dtype", "int4"), "codes.dtype: must be one of int8, uint8"),
    ("codes shape", put(*CODES, "shape", [2, 2]), "codes.data: holds less than the 4 codes"),
    ("codes many", put(*CODES, "shape", [1]), "codes.data: holds more than the 1 codes"),
    ("codes dim", put(*CODES, "shape", [-1]), "codes.shape[0]: must be an integer of at least 0"),
    ("codes text", put(*CODES, "data", "é"), "codes.data: is damaged; remove 'codes'"),
    ("codes cut", put(*CODES, "data", "eNpjZAIAAA=="), "codes.data: is cut short; remove 'codes'"),
    ("codes zlib", put(*CODES, "data", "AAAA"), "codes.data: is damaged; remove 'codes'"),
    ("use", put("uses", "n", USE), "uses['n']: the key must be the node's name, a colon"),
    ("position", put("uses", "n:one", USE), "uses['n:one']: the key must be the node's name"),
    ("twice", put("uses", "n:00", USE), "uses['n:00']: the same use stands there twice"),
    ("groups", put("groups", 0, "x"), "groups[0]: must be a list, not 'x'"),
    ("no group", put("groups", 0, []), "groups[0]: must hold names of values, each once"),
    ("group twice", put("groups", 0, ["x", "x"]), "groups[0]: must hold names of values, each"),
    ("shift", put("bias_shift", "n", 1), "bias_shift['n']: must be a list with one number per"),
    ("reason", put("float_nodes", "m", 1), "float_nodes['m']: must be a text, not 1"),
    ("kind", put("notes", 0, "kind", "hint"), "notes[0].kind: must be one of fired, refused, info"),
    ("note", put("notes", 0, "x", ""), "notes[0]: unknown key 'x'"),
]


def test_the_document_itself_is_well_formed(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document()))
    codes = load_plan(path).values["x"].codes
    assert codes is not None
    assert codes.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("spoil", "words"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED]
)
def test_malformed_entries_are_named(tmp_path: Path, spoil: Spoil, words: str) -> None:
    path = tmp_path / "plan.json"
    content = document()
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(PlanError) as caught:
        load_plan(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "\n" not in message
