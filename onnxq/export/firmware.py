"""A model as plain tables that a program of a few hundred lines can run: no ONNX, no protobuf.

``graph.json`` lists values and nodes in the order in which to run them, one per line, and
``constants.bin`` holds weights, multipliers, shifts and tables, little-endian, each at a multiple
of 16 bytes. Shapes are those of one run, so symbolic dimensions are fixed here. What depends on
constants alone is computed, and what nodes say is spelled out (:mod:`onnxq.export.flat_nodes`).
What computes floats, such as the tail of a detector, is left out and listed
(:mod:`onnxq.export.integer_part`); the values that it would read are outputs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.atomic import pending_folder
from onnxq.export.flat_nodes import flat_nodes
from onnxq.export.integer_part import integer_part
from onnxq.export.raw import description, raw_bytes
from onnxq.export.roles import role
from onnxq.export.scales import scales
from onnxq.graph.io import fingerprint, load
from onnxq.report.assemble import label
from onnxq.runtime.probe import check_shapes, parse_shapes, probe_feed

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.export.flat_node import FlatNode
    from onnxq.graph.io import ModelSource

    Array = npt.NDArray[Any]

__all__ = ["CONSTANTS", "GRAPH", "Firmware", "export_firmware"]

GRAPH, CONSTANTS = "graph.json", "constants.bin"
_ALIGNMENT = 16
_ABSENT = -1


@dataclass(frozen=True)
class Firmware:
    """What was written.

    Attributes:
        folder: Where.
        nodes: Number of nodes.
        size: Bytes of constants.
        operators: Names of the operators that a program has to know.
        left_out: Why nodes of the model were left out.
    """

    folder: Path
    nodes: int
    size: int
    operators: tuple[str, ...]
    left_out: tuple[str, ...]


def export_firmware(
    source: ModelSource, folder: str | os.PathLike[str], *, shapes: Sequence[str] = ()
) -> Firmware:
    """Writes a model as a table of nodes and a file of constants.

    Args:
        source: The model; never changed.
        folder: To make; all of it, or nothing.
        shapes: ``INPUT=1x3x224x224`` for inputs with symbolic dimensions, which are 1 otherwise.

    Raises:
        ModelError: The model cannot be read, it has no integer part, or an integer overflows.
        ConfigError: A shape does not fit.
        OutputError: The folder is there already, or cannot be written.
    """
    model = load(source)
    wanted = parse_shapes(shapes)
    check_shapes([model], wanted)
    tables = _tables(model, probe_feed(model, shapes=wanted))
    header = {"model": label(source), "fingerprint": fingerprint(model), "byte_order": "little"}
    with pending_folder(folder, "firmware tables") as pending:
        (pending / CONSTANTS).write_bytes(tables.constants)
        text = _text({**header, **tables.index()})
        (pending / GRAPH).write_text(text, "utf-8", newline="\n")
    operators = sorted({node["operator"] for node in tables.nodes})
    return Firmware(
        Path(folder),
        len(tables.nodes),
        len(tables.constants),
        tuple(operators),
        tuple(tables.left_out),
    )


def _tables(model: ir.Model, feed: Mapping[str, Array]) -> _Tables:
    """Writes down what of a model is run."""
    part = integer_part(model, feed)
    tables = _Tables(part.arrays, scales(model), part.left_out)
    tables.inputs = [tables.number(value) for value in part.inputs]
    for node in part.nodes:
        for flat in flat_nodes(node, part.arrays):
            tables.add(flat, str(node.name))
    tables.outputs = [tables.number(value) for value in part.outputs]
    return tables


class _Tables:
    """The lists that the files are made of; values are known by their place in one.

    Attributes:
        nodes: In the order in which to run them.
        values: All values, constants among them.
        constants: The content of the file of constants.
        inputs: What is fed.
        outputs: What is to be given out.
        left_out: Why nodes are not among them.
    """

    def __init__(
        self,
        arrays: Mapping[ir.Value, Array],
        known_scales: Mapping[str, Mapping[str, Any]],
        left_out: list[str],
    ) -> None:
        self._arrays, self._scales = arrays, known_scales
        self._numbers: dict[ir.Value, int] = {}
        self.nodes: list[dict[str, Any]] = []
        self.values: list[dict[str, Any]] = []
        self.constants = bytearray()
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.left_out = left_out

    def number(self, value: ir.Value) -> int:
        """Returns the number of a value that is fed or computed, which it gets if it is new."""
        if value not in self._numbers:
            self._numbers[value] = len(self.values)
            name = str(value.name)
            known = self._scales.get(name, {})
            self.values.append({"name": name, **self._described(value), **known})
        return self._numbers[value]

    def _described(self, value: ir.Value) -> dict[str, Any]:
        if value in self._arrays:
            return description(self._arrays[value])
        assert value.dtype is not None, "new values have a type"
        assert value.shape is not None, "new values have a shape"
        return {"dtype": str(value.dtype.numpy()), "shape": list(value.shape.numpy())}

    def add(self, flat: FlatNode, name: str) -> None:
        """Adds a node, and those of its inputs that are constant."""
        inputs = [
            self._input(given, role(flat.operator, position))
            for position, given in enumerate(flat.inputs)
        ]
        self.nodes.append(
            {
                "name": name,
                "operator": flat.operator,
                "inputs": inputs,
                "outputs": [self.number(value) for value in flat.outputs],
                "attributes": dict(flat.attributes),
            }
        )

    def _input(self, given: ir.Value | Array | None, what: str) -> int:
        if given is None:
            return _ABSENT
        if isinstance(given, np.ndarray):
            return self._constant("", given, what)
        if given not in self._numbers:
            # What was not computed before is constant.
            self._numbers[given] = self._constant(str(given.name), self._arrays[given], what)
        return self._numbers[given]

    def _constant(self, name: str, array: Array, what: str) -> int:
        content = raw_bytes(array)
        place = {"role": what, "offset": len(self.constants), "bytes": len(content)}
        self.constants += content + bytes(-len(content) % _ALIGNMENT)
        known = self._scales.get(name, {})
        self.values.append({"name": name, **description(array), **known, **place})
        return len(self.values) - 1

    def index(self) -> dict[str, Any]:
        """Returns all but the constants' content."""
        return {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "values": self.values,
            "nodes": self.nodes,
            "left_out": self.left_out,
        }


def _text(index: Mapping[str, Any]) -> str:
    """Returns JSON with a line for every entry of a list."""
    lines = []
    for key, value in index.items():
        text = _listed(value) if isinstance(value, list) else _line(value)
        lines.append(f"{_line(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _listed(entries: Iterable[Any]) -> str:
    return "[\n" + ",\n".join(map(_line, entries)) + "\n]"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
