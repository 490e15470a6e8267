"""Gradients against central differences in double precision.

The emitted graph runs in onnxruntime in single precision, as it will be used. The reference runs
the original in onnx's reference evaluator in double precision, so that differences are exact to
about 1e-9: for cotangents d and a direction u, Σ d · (y(v + hu) - y(v - hu)) / 2h = Σ u · dL/dv.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxq.autodiff.vjp import vjp
from onnxq.graph.edit import replace_uses
from onnxq.graph.query import shape_of
from tests.autodiff.reference_ops import REFERENCE_OPS
from tests.support import feeds_for, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from onnxq.autodiff.vjp import Differentiated

    Arrays = dict[str, npt.NDArray[Any]]

__all__ = ["assert_gradients", "assert_second_gradients", "cotangents_for", "doubled", "gradients"]

STEP = 1e-6
TOLERANCE = 2e-5
_FLOAT, _DOUBLE = ir.DataType.FLOAT, ir.DataType.DOUBLE


def cotangents_for(found: Differentiated, seed: int = 1) -> Arrays:
    """Standard normal cotangents by input name."""
    rng = np.random.default_rng(seed)
    inputs = {value.name: value for value in found.model.graph.inputs}
    made: Arrays = {}
    for name in found.cotangents.values():
        dims = [n for n in shape_of(inputs[name]) or () if n is not None]
        made[name] = np.asarray(rng.standard_normal(dims), np.float32)
    return made


def gradients(found: Differentiated, feeds: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Runs the emitted graph; what was differentiated by → gradient."""
    results = run(found.model, feeds, level="all")
    return {name: results[output] for name, output in found.gradients.items()}


def assert_gradients(
    model: ir.Model,
    wrt: Sequence[str],
    feeds: Mapping[str, npt.NDArray[Any]] | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 1,
) -> Differentiated:
    """Asserts that every gradient is the central difference along a random direction."""
    feeds = feeds_for(model) if feeds is None else feeds
    found = vjp(model, wrt, feeds)
    given = cotangents_for(found, seed)
    got = gradients(found, {**feeds, **given})
    by_output = {output: given[name] for output, name in found.cotangents.items()}
    shifted = _Shifted(model, wrt)
    shifted.assert_computes(run(model, feeds), feeds)
    rng = np.random.default_rng(seed + 1)
    for name in wrt:
        gradient = got[name].astype(np.float64)
        direction = rng.standard_normal(gradient.shape)
        wanted = shifted.difference(feeds, name, direction, by_output)
        scale = float(np.abs(gradient * direction).sum()) + 1e-2
        actual = float((gradient * direction).sum())
        assert abs(actual - wanted) <= tolerance * scale, (name, actual, wanted, scale)
    return found


def assert_second_gradients(
    model: ir.Model,
    wrt: Sequence[str],
    feeds: Mapping[str, npt.NDArray[Any]] | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """Asserts the gradients of the gradients, by what is differentiated by and the cotangents."""
    feeds = feeds_for(model) if feeds is None else feeds
    first = vjp(model, wrt, feeds)
    given = {**feeds, **cotangents_for(first)}
    emitted = first.model.clone()
    wanted = set(first.gradients.values())
    emitted.graph.outputs[:] = [value for value in emitted.graph.outputs if value.name in wanted]
    RemoveUnusedNodesPass()(emitted)
    kept = [name for name in wrt if name in _values(emitted.graph)]
    assert_gradients(emitted, [*kept, *first.cotangents.values()], given, tolerance)


class _Shifted:
    """The model in double precision, with an input that is added to each of some values."""

    def __init__(self, model: ir.Model, names: Sequence[str]) -> None:
        double = doubled(model)
        values = _values(double.graph)
        outputs = [str(value.name) for value in double.graph.outputs]
        for name in names:
            _add_input(double.graph, values[name], f"{name}_shift")
        self._names = list(names)
        self._outputs = outputs
        self._evaluator = ReferenceEvaluator(ir.to_proto(double), new_ops=REFERENCE_OPS)

    def assert_computes(self, wanted: Arrays, feeds: Mapping[str, npt.NDArray[Any]]) -> None:
        """Asserts that the reference computes what onnxruntime does."""
        for name, array in self._run(feeds, {}).items():
            np.testing.assert_allclose(array, wanted[name], rtol=1e-3, atol=1e-4, err_msg=name)

    def difference(
        self,
        feeds: Mapping[str, npt.NDArray[Any]],
        name: str,
        direction: npt.NDArray[np.float64],
        cotangents: Mapping[str, npt.NDArray[Any]],
    ) -> float:
        """Σ d · dy along a direction of one value."""
        ahead = self._run(feeds, {f"{name}_shift": STEP * direction})
        behind = self._run(feeds, {f"{name}_shift": -STEP * direction})
        return sum(
            float((cotangents[out] * (ahead[out] - behind[out])).sum()) / (2 * STEP)
            for out in cotangents
        )

    def _run(
        self,
        feeds: Mapping[str, npt.NDArray[Any]],
        shifts: Mapping[str, npt.NDArray[Any]],
    ) -> Arrays:
        rest = {f"{name}_shift": np.zeros(()) for name in self._names}
        wide = {key: _wide(array) for key, array in feeds.items()}
        results = self._evaluator.run(None, {**wide, **rest, **shifts})
        return dict(zip(self._outputs, results, strict=True))


def doubled(model: ir.Model) -> ir.Model:
    """A copy of ``model`` in double precision."""
    copy = model.clone()
    for value in copy.graph.initializers.values():
        if value.dtype == _FLOAT and value.const_value is not None:
            value.const_value = ir.tensor(_wide(value.const_value.numpy()), name=value.name)
    for node in copy.graph:
        for name, attribute in list(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == _FLOAT:
                wide = ir.tensor(_wide(attribute.as_tensor().numpy()))
                node.attributes[name] = ir.Attr(name, ir.AttributeType.TENSOR, wide)
            elif node.op_type == "Cast" and name == "to" and attribute.as_int() == _FLOAT:
                node.attributes[name] = ir.AttrInt64(name, int(_DOUBLE))
    for value in _values(copy.graph).values():
        if value.dtype == _FLOAT:
            value.type = ir.TensorType(_DOUBLE)
    return copy


def _values(graph: ir.Graph) -> dict[str, ir.Value]:
    produced = [value for node in graph for value in node.outputs]
    return {
        str(value.name): value for value in (*graph.inputs, *graph.initializers.values(), *produced)
    }


def _wide(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def _add_input(graph: ir.Graph, value: ir.Value, name: str) -> None:
    shift = ir.val(name, _DOUBLE)
    graph.inputs.append(shift)
    uses = [(use.node, use.idx) for use in value.uses()]
    node = ir.node("Add", [value, shift], name=f"{name}_Add")
    node.outputs[0].name = f"{name}_sum"
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, node)
    else:
        graph.insert_before(graph[0], node)
    replace_uses(value, node.outputs[0], uses)
    graph.outputs[:] = [node.outputs[0] if out is value else out for out in graph.outputs]
