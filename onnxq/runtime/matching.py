"""The values that a model and one made from it have in common, and the layers between them.

1. A value of the float model is looked for by its name in the other one. Where QuantizeLinear reads
   it there, what DequantizeLinear makes of the codes counts: that is what its readers see.
   ``<name>_dequantized`` counts, too, for where the value itself was absorbed.
2. Only values that are floating point and of one shape in both models on a probe are common.
3. A layer ends at a common value that is quantized there, that a heavy node produces, or that the
   model returns. A heavy node's raw output whose only reader, a light one, ends a layer itself
   belongs to that.
4. A layer's node is the last heavy one between its end and the ends before it; without a heavy one,
   the last that computes anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.runtime.expose import produced_values
from onnxq.runtime.pieces import PieceFinder
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.runtime.pieces import Piece
    from onnxq.runtime.session import Feed

__all__ = ["MatchedLayer", "comparable", "forms_of", "match_layers"]

_HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_INTEGER_HEAVY = ("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger")
_FORMAL = ("QuantizeLinear", "DequantizeLinear", "Cast", "Identity")


@dataclass(frozen=True, eq=False)
class MatchedLayer:
    """A layer of the second model that ends at a value of both.

    Attributes:
        value: Name of its end in the float model.
        found: Name of what counts for it in the second model.
        forms: Names of all forms in which the second model's nodes read it.
        node: Name of its node in the second model.
        op: That node's operator.
        piece: The part of the second model that computes it from the layers before.
        sources: Input name of the piece → name of the value in the float model.
    """

    value: str
    found: str
    forms: tuple[str, ...]
    node: str
    op: str
    piece: Piece
    sources: Mapping[str, str] = field(default_factory=dict)


def match_layers(
    real: ir.Model, second: ir.Model, probe: Feed, *, threads: int = 1
) -> list[MatchedLayer]:
    """Returns the layers at whose ends both models can be compared, in the second one's order.

    Args:
        real: The float model, topologically sorted.
        second: The other one, likewise, with the same inputs.
        probe: One sample.
        threads: Threads inside an operator.

    Raises:
        ModelError: onnxruntime refuses a model or the sample.
    """
    forms = _common(real, second, probe, threads)
    values = produced_values(second)
    order = {name: number for number, name in enumerate(values)}
    ends = sorted(_ends(second, values, forms), key=lambda name: order[forms[name][0]])
    stops = {form: name for name in ends for form in forms[name]}
    finder = PieceFinder(second)
    return [_layer(finder, name, forms[name], stops) for name in ends]


def _common(
    real: ir.Model, second: ir.Model, probe: Feed, threads: int
) -> dict[str, tuple[str, ...]]:
    """Rules 1 and 2: returns name → forms in the second model, the one that counts first."""
    values = produced_values(second)
    found = {name: forms_of(values, name) for name in produced_values(real)}
    found = {name: forms for name, forms in found.items() if forms}
    first = make_session(real, optimize=False, threads=threads, outputs=list(found)).run(probe)
    names = [forms[0] for forms in found.values()]
    other = make_session(second, optimize=False, threads=threads, outputs=names).run(probe)
    return {
        name: forms
        for name, forms in found.items()
        if comparable(first.get(name), other.get(forms[0]))
    }


def comparable(wanted: npt.NDArray[Any] | None, found: npt.NDArray[Any] | None) -> bool:
    """Rule 2, on a run of both models: floats of one shape, whose difference means something."""
    if not isinstance(wanted, np.ndarray) or not isinstance(found, np.ndarray):
        return False
    return wanted.dtype.kind == found.dtype.kind == "f" and wanted.shape == found.shape


def forms_of(values: Mapping[str, ir.Value], name: str) -> tuple[str, ...]:
    """Rule 1: returns the names by which a model knows a value of the float one.

    Args:
        values: All values that the model's nodes produce, by name.
        name: The value in the float model.

    Returns:
        The names, the one that counts first; none if the model does not know it.
    """
    value = values.get(name)
    absorbed = values.get(f"{name}_dequantized")
    forms: list[str] = []
    raw = False
    if value is not None:
        for reader in value.consumers():
            if reader.op_type == "QuantizeLinear":
                forms += [str(real.name) for real in _dequantized(reader.outputs[0])]
            else:
                raw = True
    if not forms and absorbed is not None and _is_real(absorbed):
        forms.append(str(absorbed.name))
    if value is not None and (raw or value.is_graph_output() or not forms):
        forms.append(name)
    return tuple(dict.fromkeys(forms))


def _dequantized(codes: ir.Value) -> Iterator[ir.Value]:
    for reader in codes.consumers():
        if reader.op_type == "DequantizeLinear":
            yield reader.outputs[0]
        elif reader.op_type == "Clip":
            yield from _dequantized(reader.outputs[0])


def _is_real(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _ends(
    second: ir.Model, values: Mapping[str, ir.Value], forms: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Rule 3."""
    quantized = {name for name, found in forms.items() if _is_real(values[found[0]])}
    returned = {str(value.name) for value in second.graph.outputs}
    sure = {name for name, found in forms.items() if name in quantized or returned & {*found}}
    ends = set(sure)
    for name, found in forms.items():
        producer = values[found[0]].producer()
        if producer is None or producer.op_type not in _HEAVY:
            continue
        readers = list(values[found[0]].consumers())
        inside = (
            len(readers) == 1
            and readers[0].op_type not in _HEAVY
            and str(readers[0].outputs[0].name) in sure
        )
        if not inside:
            ends.add(name)
    return list(ends)


def _layer(
    finder: PieceFinder, name: str, forms: tuple[str, ...], stops: Mapping[str, str]
) -> MatchedLayer:
    piece = finder.find(forms[:1], {form for form, end in stops.items() if end != name})
    heavy = [n for n in piece.nodes if n.op_type in _HEAVY or n.op_type in _INTEGER_HEAVY]
    computing = [n for n in piece.nodes if n.op_type not in _FORMAL]
    node = (heavy or computing or list(piece.nodes))[-1]
    sources = {source: stops.get(source, source) for source in piece.inputs}
    label = str(node.name or node.outputs[0].name)
    return MatchedLayer(name, forms[0], forms, label, node.op_type, piece, sources)
