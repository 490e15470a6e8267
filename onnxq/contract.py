"""What a rewrite promises, and the proof of it on probe inputs.

Outputs are compared with onnxruntime's optimizations off. Two arrays agree if they have the same
shape and dtype, are finite at the same places, and differ by at most 1e-5 of the reference's
largest magnitude; integers and booleans must be equal. A half precision output of the model, which
is rounded last, may fall to the neighbouring number instead: 2**-10 (bfloat16: 2**-7) of it.

Nodes that choose among numbers (TopK, NonMaxSuppression, ArgMax …) turn a rounding difference into
another choice. Behind such a node, outputs may differ if what goes into it agrees and the nodes
from there on are the same as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxq.graph.query import descendants, read_values, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from onnxq.passbase import RunModel

    Arrays = Mapping[str, npt.NDArray[Any]]

__all__ = ["Reference", "difference", "find_violation", "structural_fault"]

TOLERANCE = 1e-5
# One step between neighbouring numbers, relative to a number.
_STEPS = {ir.DataType.FLOAT16: 2.0**-10, ir.DataType.BFLOAT16: 2.0**-7}

_CHOOSERS = frozenset(
    ("TopK", "NonMaxSuppression", "ArgMax", "ArgMin", "NonZero", "Unique", "Greater", "Less",
     "GreaterOrEqual", "LessOrEqual", "Equal", "Round", "Floor", "Ceil", "Sign")
)  # fmt: skip


class Reference(NamedTuple):
    """A model whose function is to be kept, and its outputs on the probes."""

    model: ir.Model
    outputs: tuple[Arrays, ...]


def difference(
    expected: npt.NDArray[Any], actual: npt.NDArray[Any], tolerance: float = TOLERANCE
) -> str | None:
    """Says in what two arrays disagree by more than ``tolerance``; None if they agree."""
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        was, now = (f"{a.dtype}{list(a.shape)}" for a in (expected, actual))
        return f"{now} instead of {was}"
    if not np.issubdtype(expected.dtype, np.floating):
        count = int(np.count_nonzero(expected != actual))
        return f"{count} of {expected.size} elements differ" if count else None
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(actual)):
        return "not finite at the same places"
    if not finite.any():
        return None
    a, b = expected[finite].astype(np.float64), actual[finite].astype(np.float64)
    error, size = float(np.abs(a - b).max()), float(np.abs(a).max())
    if error <= tolerance * size:
        return None
    return f"largest error {error:.3g}, where the largest magnitude is {size:.3g}"


def structural_fault(before: ir.Model, after: ir.Model) -> str | None:
    """Says what is illegal in ``after``; None if nothing is.

    Checked: inputs and outputs keep names, dtypes and shapes (weights that are listed as inputs do
    not count); names of values are unique, as are those of nodes; every value that is read exists
    before it is read; operator sets are imported. A fault of the last two kinds that ``before``
    has already is not held against ``after``.
    """
    for kind in ("inputs", "outputs"):
        was, now = (
            [_signature(v) for v in getattr(model.graph, kind) if not v.is_initializer()]
            for model in (before, after)
        )
        if was != now:
            return f"the graph's {kind} were {', '.join(was)} and are {', '.join(now)}"
    faults = ((check(before.graph), check(after.graph)) for check in (_name_fault, _order_fault))
    return next((now for was, now in faults if now is not None and was is None), None)


def _name_fault(graph: ir.Graph) -> str | None:
    sources = dict.fromkeys([*graph.inputs, *graph.initializers.values()])
    computed = [value for node in graph for value in node.outputs]
    for kind, names in (
        ("values", [value.name for value in (*sources, *computed)]),
        ("nodes", [node.name for node in graph]),
    ):
        seen: set[str] = set()
        for name in filter(None, names):
            if name in seen:
                return f"two {kind} are called '{name}'"
            seen.add(name)
    return None


def _order_fault(graph: ir.Graph) -> str | None:
    known = {*graph.inputs, *graph.initializers.values()}
    for node in graph:
        if node.domain not in graph.opset_imports:
            return f"node '{node.name}' is of domain '{node.domain}', which is not imported"
        for value in read_values(node):
            if value not in known:
                return f"node '{node.name}' reads '{value.name}' before it exists"
        known.update(node.outputs)
    missing = [value.name for value in graph.outputs if value not in known]
    return f"output '{missing[0]}' is computed by nothing" if missing else None


def find_violation(
    reference: Reference,
    after: ir.Model,
    outputs: Sequence[Arrays],
    probes: Sequence[Arrays],
    run_model: RunModel,
) -> str | None:
    """Says where ``after`` computes something else than the reference; None if nowhere.

    Args:
        reference: The model before, and its outputs.
        after: The model to judge.
        outputs: Its outputs on the probes.
        probes: The inputs.
        run_model: Runs a model on feeds and returns named values.

    Returns:
        The first value in topological order, of those present before and after, that differs, and
        by how much.
    """
    allowed = _tolerances(reference.model)
    for feeds, expected, actual in zip(probes, reference.outputs, outputs, strict=True):
        wrong = dict(_differences(expected, actual, allowed))
        if not wrong:
            continue
        names = _common_values(reference.model, after)
        inner_before = run_model(reference.model, feeds, names)
        inner_after = run_model(after, feeds, names)
        excused = _excused(reference.model, after, inner_before, inner_after)
        wrong = {name: reason for name, reason in wrong.items() if name not in excused}
        if not wrong:
            continue
        inner = _differences({n: inner_before[n] for n in names}, inner_after, allowed)
        first = next((pair for pair in inner if pair[0] not in excused), None)
        name, reason = first or next(iter(wrong.items()))
        return f"value '{name}' differs: {reason}"
    return None


def _tolerances(model: ir.Model) -> dict[str, float]:
    """Returns output name → tolerance of those outputs that are rounded coarsely."""
    return {
        str(value.name): _STEPS[value.dtype]
        for value in model.graph.outputs
        if value.dtype is not None and value.dtype in _STEPS
    }


def _differences(
    expected: Arrays, actual: Arrays, allowed: Mapping[str, float]
) -> Iterator[tuple[str, str]]:
    for name, array in expected.items():
        tolerance = allowed.get(name, TOLERANCE)
        reason = difference(array, actual[name], tolerance) if name in actual else "is missing"
        if reason is not None:
            yield name, reason


def _common_values(before: ir.Model, after: ir.Model) -> list[str]:
    """Names of values that both models compute, in the order of the model before."""
    names = {value.name for node in after.graph for value in node.outputs if _is_array(value)}
    return [
        value.name
        for node in before.graph
        for value in node.outputs
        if value.name and value.name in names and _is_array(value)
    ]


def _excused(
    before: ir.Model, after: ir.Model, inner_before: Arrays, inner_after: Arrays
) -> set[str]:
    """Names of values behind an unchanged chooser whose inputs agree (module docstring)."""
    excused: set[str] = set()
    nodes_after = {node.outputs[0].name: node for node in after.graph if node.outputs}
    for node in before.graph:
        twin = nodes_after.get(node.outputs[0].name) if node.op_type in _CHOOSERS else None
        if twin is None or not _agree(node, inner_before, inner_after, excused):
            continue
        behind, behind_twin = _from(node), _from(twin)
        if [_spelled(n) for n in behind] == [_spelled(n) for n in behind_twin]:
            excused.update(v.name for n in behind for v in n.outputs if v.name)
    return excused


def _agree(node: ir.Node, before: Arrays, after: Arrays, excused: set[str]) -> bool:
    for value in read_values(node):
        if value.name in excused or value.is_graph_input() or weight_of(value) is not None:
            continue
        name = value.name or ""
        if name not in before or difference(before[name], after[name]) is not None:
            return False
    return True


def _from(node: ir.Node) -> list[ir.Node]:
    """``node`` and all that depends on it, in the graph's order."""
    behind = {node, *descendants(node.outputs)}
    return [item for item in node.graph or () if item in behind]


def _spelled(node: ir.Node) -> tuple[object, ...]:
    """All that decides what ``node`` computes from its inputs, and the names of those."""
    weights = [weight_of(value) for value in node.inputs]
    return (
        *node.op_identifier(),
        [str(attribute) for _, attribute in sorted(node.attributes.items())],
        [value.name if value is not None else None for value in node.inputs],
        [value.name for value in node.outputs],
        [None if weight is None else weight.tobytes() for weight in weights],
    )


def _is_array(value: ir.Value) -> bool:
    return value.type is None or isinstance(value.type, ir.TensorType)


def _signature(value: ir.Value) -> str:
    return f"{value.name}: {value.dtype}{value.shape}"
