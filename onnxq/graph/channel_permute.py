"""Gives channels other places: weights and constants are permuted, and nothing else changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.graph.edit import replace_weight
from onnxq.graph.query import weight_of
from onnxq.graph.trace_layers import weight_axes

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.graph.trace_book import Indices, LabelledLayer, LabelledParameter, TraceBook

__all__ = ["permute_channels", "places"]


def places(labels: Indices, sources: Indices) -> Indices:
    """Returns where what is to be at each place is now.

    Args:
        labels: Atoms by place, int64 [n].
        sources: For each atom of the graph, the atom whose numbers are to take its place; a
            permutation that maps ``labels`` onto themselves.

    Returns:
        int64 [n], a permutation.
    """
    found = np.empty_like(labels)
    found[np.argsort(sources[labels], kind="stable")] = np.argsort(labels, kind="stable")
    return found


def permute_channels(book: TraceBook, sources: Indices) -> None:
    """Puts a permutation of atoms into effect in the graph that ``book`` is of.

    Args:
        book: What :func:`onnxq.graph.channel_trace.trace_channels` returned for the graph as it is.
        sources: For each atom, the atom whose numbers are to take its place, int64 [atoms]; atoms
            change places only with the cells of one of the book's groups, all in the same way.
    """
    for layer in book.layers:
        _permute_layer(layer, sources)
    for parameter in book.parameters:
        _permute_parameter(parameter, sources)


def _permute_layer(layer: LabelledLayer, sources: Indices) -> None:
    weight = weight_of(layer.node.inputs[1])
    assert weight is not None
    in_axis, out_axis = weight_axes(layer.node)
    made = weight.take(places(layer.writes, sources), out_axis)
    if layer.reads is not None and layer.group == 1:
        made = made.take(places(layer.reads, sources), in_axis)
    elif layer.reads is not None and weight.shape[in_axis] > 1:
        size = weight.shape[in_axis]
        columns = places(layer.reads, sources).reshape(layer.group, size) % size
        parts = np.split(made, layer.group)
        made = np.concatenate([part[:, at] for part, at in zip(parts, columns, strict=True)])
    if not np.array_equal(made, weight):
        replace_weight(layer.node, 1, made)


def _permute_parameter(parameter: LabelledParameter, sources: Indices) -> None:
    node, position, labels = parameter
    weight = weight_of(node.inputs[position])
    assert weight is not None
    made = _permuted(weight, labels, places(labels.reshape(-1), sources))
    if made is not None:
        replace_weight(node, position, made)


def _permuted(weight: npt.NDArray[Any], labels: Indices, order: Indices) -> npt.NDArray[Any] | None:
    """Returns the constant with its numbers at their new places; None if nothing moves."""
    rank = max(weight.ndim, labels.ndim)
    sizes = [*[1] * (rank - labels.ndim), *labels.shape]
    full = weight.reshape([1] * (rank - weight.ndim) + list(weight.shape))
    bound = [axis for axis, size in enumerate(sizes) if size > 1]
    if all(full.shape[axis] == 1 for axis in bound):
        return None
    spread = [size if size > 1 else own for size, own in zip(sizes, full.shape, strict=True)]
    whole = np.moveaxis(np.broadcast_to(full, spread), bound, range(len(bound)))
    made = whole.reshape(order.size, -1)[order].reshape(whole.shape)
    result = np.moveaxis(made, range(len(bound)), bound)
    if np.array_equal(result, np.broadcast_to(full, spread)):
        return None
    extra = rank - weight.ndim
    return result.reshape(result.shape[extra:]) if set(result.shape[:extra]) <= {1} else result
