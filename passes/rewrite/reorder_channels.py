"""Puts channels of similar size side by side, at compile time.

A layer that sums over channels takes them in any order, if the columns of its weight are permuted
with the rows of the layer that writes them. So in every set of channels that may change places
(:mod:`onnxq.graph.channel_cells`), all are put into the order that blocks and clusters of channels
are served by best (:mod:`onnxq.numerics.channel_order`). Nothing is left of it at run time.

Sources: Yuan et al. 2023, "RPTQ: Reorder-based Post-training Quantization for Large Language
Models"; Trukhanov and Soloveychik 2024, "Accurate Block Quantization in LLMs with Outliers".
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.channel_permute import permute_channels, places
from onnxq.graph.channel_trace import trace_channels
from onnxq.graph.choices import note_choice
from onnxq.graph.query import weight_of
from onnxq.graph.trace_book import along
from onnxq.graph.trace_layers import weight_axes
from onnxq.numerics.channel_order import channel_order
from onnxq.pass_options import number, whole
from onnxq.passbase import RewritePass

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from onnxq.graph.choices import Choices
    from onnxq.graph.prior import Prior
    from onnxq.graph.trace_book import Indices, LabelledLayer, TraceBook
    from onnxq.runtime.survey import Survey

    Array = npt.NDArray[np.float64]

__all__ = ["ReorderChannelsPass"]


class ReorderChannelsPass(RewritePass):
    """Puts channels of similar size side by side, where that costs nothing at run time.

    1. Only channels that a layer with a weight writes, or a constant begins, move, and only if a
       layer with a weight sums over them: nothing else is served by their order.
    2. Inputs and outputs of the graph keep their order, and so does what an operator reads that
       knows channels by their place, or that is not known.
    3. What is added, multiplied or joined number by number moves together; a value that it meets
       and that keeps its order keeps it in place.
    4. Channels stay in the group of a grouped convolution, in the part that Split or Slice takes,
       and in their attention head.
    5. A layer whose weight others read as well keeps its channels in place.
    6. Channels that are in order already, but for rounding errors, stay.
    7. Numbers are only moved. Sums over channels are taken in another order.
    8. The orders are written down in the model (:mod:`onnxq.graph.choices`). Where choices are
       given, the orders are these.

    Args:
        prior: Value name → (mean, standard deviation), float32 [channels] each, which are moved
            along.
        survey: Calibration samples, which tell channels that reach far; None = only weights count.
        choices: Those of a model that was made from this one; None = choose.

    Attributes:
        clusters: Greatest number of clusters of channels that reach about as far.
        least_gain: In dB of noise, for which channels are put into clusters.
    """

    name = "reorder-channels"
    options = MappingProxyType(
        {
            "clusters": whole("a whole number, 1 or more", lambda count: count >= 1),
            "least_gain": number("dB, 0 or more", lambda gain: gain >= 0),
        }
    )
    on_request = True

    def __init__(
        self,
        prior: Prior | None = None,
        survey: Survey | None = None,
        choices: Choices | None = None,
    ) -> None:
        super().__init__()
        self.prior = prior
        self.survey = survey
        self.choices = choices
        self.clusters = 2
        self.least_gain = 6.0

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Treats all channels of the main graph at once."""
        book = trace_channels(model.graph)
        found = book.cells.interchange()
        energy = _energies(book)
        groups = [group for group in found.groups if energy[group].any()]
        width = self._widths(model, book, groups)
        orders = None if self.choices is None else self.choices.take(self.name)
        sources, chosen = np.arange(energy.size), {}
        for group, (value, key) in zip(groups, _places(book, groups), strict=True):
            order = self._order(group, energy, width) if orders is None else orders.get(key)
            if order is not None and order.size == len(group):
                sources[group] = group[order]
                chosen[key] = order
                self.fired(value, f"{len(group)} channels sorted, with what moves with them")
        moving = {int(atom) for group in groups for atom in group.reshape(-1)}
        for layer in book.layers:
            stays = [int(atom) for atom in layer.writes if int(atom) not in moving]
            reason = next((found.pinned[atom] for atom in stays if atom in found.pinned), None)
            if reason is not None:
                self.refuse(layer.node, reason)
        modified = bool((sources != np.arange(sources.size)).any())
        if modified:
            permute_channels(book, sources)
            self._move_prior(book, sources)
            note_choice(model, self.name, chosen)
        return ir.passes.PassResult(model, modified)

    def _order(self, group: Indices, energy: Array, width: Array | None) -> Indices | None:
        """Rule 6: returns the order of one group of cells; None if it stays."""
        reach = None if width is None else width[group].max(axis=1)
        if reach is not None and not reach.any():
            reach = None
        return channel_order(energy[group].sum(axis=1), reach, self.clusters, self.least_gain)

    def _widths(self, model: ir.Model, book: TraceBook, groups: list[Indices]) -> Array | None:
        """Returns how far each atom reaches, in terms of its value; 0 where it is unknown."""
        if self.survey is None or not groups:
            return None
        moving = np.unique(np.concatenate([group.reshape(-1) for group in groups]))
        layers = [
            layer
            for layer in book.layers
            if layer.reads is not None and np.isin(layer.reads, moving).any()
        ]
        names = list(dict.fromkeys(str(layer.node.inputs[0].name) for layer in layers))  # type: ignore[union-attr]
        stats = self.survey.observe(model, names)
        width = np.zeros(book.cells.count)
        for layer in layers:
            name = str(layer.node.inputs[0].name)  # type: ignore[union-attr]
            channels = stats[name].channels if name in stats else None
            if channels is None or layer.reads is None or channels.minimum.size != layer.reads.size:
                continue
            spans = np.maximum(channels.maximum, 0.0) - np.minimum(channels.minimum, 0.0)
            np.maximum.at(width, layer.reads, spans / max(float(spans.max()), 1e-300))
        return width

    def _move_prior(self, book: TraceBook, sources: Indices) -> None:
        for value, labels in book.labels.items():
            known = self.prior.get(value.name) if self.prior and value.name else None
            channels = along(labels, 1)
            if known is not None and self.prior is not None and channels is not None:
                order = places(channels, sources)
                self.prior[str(value.name)] = (known[0][order], known[1][order])


def _places(book: TraceBook, groups: Sequence[Indices]) -> list[tuple[ir.Value, str]]:
    """Returns for each group the value that holds its first cell first, and a name for it."""
    holders: dict[int, tuple[int, ir.Value, int]] = {}
    for value, labels in book.labels.items():
        for position, atom in enumerate(labels.flat):
            holders.setdefault(int(atom), (len(holders), value, position))
    first = [min(holders[int(atom)] for atom in group[0]) for group in groups]
    return [(value, f"{value.name}:{position}") for _, value, position in first]


def _energies(book: TraceBook) -> Array:
    """Returns for each atom how strongly layers read it: ‖W_c‖², in terms of a layer's mean."""
    energy = np.zeros(book.cells.count)
    for layer in book.layers:
        columns = _column_energies(layer)
        if layer.reads is not None and columns is not None and columns.any():
            np.add.at(energy, layer.reads, columns / columns.mean())
    return energy


def _column_energies(layer: LabelledLayer) -> Array | None:
    """Returns ‖W_c‖² for each input channel c; None for a layer that sums over no channels."""
    weight = weight_of(layer.node.inputs[1])
    assert weight is not None
    in_axis, _ = weight_axes(layer.node)
    if layer.group > 1 and weight.shape[in_axis] == 1:
        return None
    squares = np.square(weight.astype(np.float64))
    grouped = np.moveaxis(squares, in_axis, 0)
    if layer.group > 1:
        parts = np.split(grouped, layer.group, axis=1)
        return np.concatenate([part.reshape(len(part), -1).sum(axis=1) for part in parts])
    return np.asarray(grouped.reshape(len(grouped), -1).sum(axis=1))
