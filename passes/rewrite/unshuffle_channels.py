"""Takes channel shuffles out of the graph by giving the layers around them another channel order.

A shuffle (Zhang et al., "ShuffleNet", 2018, section 3.1; Ma et al., "ShuffleNet V2", 2018, section
3) is a fixed permutation of channels, written as Reshape, Transpose and Reshape, each of which
makes onnxruntime copy the value and leave its fast memory layout. Behind it, the channels are
mostly cut in halves, one of which a convolution reads, while the other waits to be joined with that
convolution's result. A convolution over all channels does not care about the order of its inputs,
and can give its outputs in any order: only rows, columns and biases change place. So for every
value an order is chosen (:mod:`onnxq.graph.channel_layout`) in which all that is read together lies
together. What remains is to cut values into contiguous ranges (Split) and to join them (Concat);
what only waits is not copied at all.

Example. Two halves A and B of four channels are joined and shuffled to A0 B0 A1 B1 A2 B2 A3 B3, and
Conv reads the second half. Now Conv reads A2 A3 B2 B3, which are two pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.graph.channel_classes import channel_classes
from onnxq.graph.channel_layout import choose_layout
from onnxq.graph.channel_routing import read_routing
from onnxq.graph.edit import add_initializer, new_node, remove_unread, replace_weight
from onnxq.graph.names import Names
from onnxq.graph.query import is_graph_output, weight_of
from onnxq.passbase import RewritePass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onnxq.graph.channel_classes import ChannelClass
    from onnxq.graph.channel_layout import Layout, Piece
    from onnxq.graph.channel_routing import Routing
    from onnxq.graph.prior import Prior

__all__ = ["UnshuffleChannelsPass"]

_FEW_PIECES = 16
_CHANNELS_PER_PIECE = 8


class UnshuffleChannelsPass(RewritePass):
    """Removes channel shuffles.

    1. A shuffle is a group of nodes that is proven to permute or select channels.
    2. Values that work channel by channel share one order. It stays where something goes by the
       place of a channel: an input or output of the graph, a grouped convolution, a weight that is
       shared, an operator that is not known to work channel by channel.
    3. A shuffle stays if what is read behind it would come in too many pieces: each of one channel,
       or more than sixteen with fewer than eight channels on average.
    4. Numbers are only moved. Sums over channels are taken in another order.

    Args:
        prior: What is known of values, which is moved along.
    """

    name = "unshuffle-channels"

    def __init__(self, prior: Prior | None = None) -> None:
        super().__init__()
        self.prior = prior

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the main graph until no shuffle of it can go any more."""
        modified = False
        while True:
            kept: dict[ir.Node, str] = {}
            if not self._try_remove_all(model.graph, kept):
                break
            modified = True
        for node, reason in kept.items():
            self.refuse(node, reason)
        return ir.passes.PassResult(model, modified)

    def _try_remove_all(self, graph: ir.Graph, kept: dict[ir.Node, str]) -> bool:
        """Removes all shuffles together but those that turn out to be in the way."""
        fixed: dict[ir.Value, str] = {}
        while (routing := read_routing(graph, kept)).shuffles:
            classes = channel_classes(graph, routing, fixed)
            layout = choose_layout(routing, classes)
            if not _give_up(routing, layout, classes, kept, fixed):
                return self._try_remove(graph, routing, layout)
        return False

    def _try_remove(self, graph: ir.Graph, routing: Routing, layout: Layout) -> bool:
        """Rule 4: puts the layout into effect."""
        if not layout.moved:
            return False
        for item, order in layout.orders.items():
            for node, position, axis in item.parameters:
                weight = weight_of(node.inputs[position])
                assert weight is not None
                replace_weight(node, position, weight.take(order, axis))
            self._move_prior(item, order)
        most = max(len(layout.pieces[value]) for value in layout.moved)
        for shuffle in routing.shuffles:
            self.fired(
                shuffle.node, f"left out; its readers join {most} ranges of channels or fewer"
            )
        nodes = [node for node in graph if node in routing.nodes]
        joiner = _Joiner(layout, Names(graph))
        for value in layout.moved:
            joiner.make(value)
        remove_unread(nodes)
        joiner.rename()
        return True

    def _move_prior(self, item: ChannelClass, order: tuple[int, ...]) -> None:
        for value in item.values:
            known = self.prior.get(value.name) if self.prior and value.name else None
            if known is not None and self.prior is not None:
                mean, deviation = (array[list(order)] for array in known)
                self.prior[str(value.name)] = (mean, deviation)


def _give_up(
    routing: Routing,
    layout: Layout,
    classes: Mapping[ir.Value, ChannelClass],
    kept: dict[ir.Node, str],
    fixed: dict[ir.Value, str],
) -> bool:
    """Rule 3: names the shuffles that have to stay, or the values whose order has to; if any."""
    found = False
    for value in layout.moved:
        pieces, size = layout.pieces[value], classes[value].size
        if len(pieces) <= min(size - 1, max(_FEW_PIECES, size // _CHANNELS_PER_PIECE)):
            continue
        found = True
        involved = [value, *dict.fromkeys(piece.value for piece in pieces)]
        reasons = [classes[item].pinned for item in involved]
        why = next((text for text in reasons if text), "too few channels")
        text = f"'{value.name}' would come in {len(pieces)} pieces: {why}"
        shuffles = routing.shuffles_of(value)
        kept.update((shuffle.node, text) for shuffle in shuffles)
        if not shuffles:
            fixed.update((item, text) for item in involved)
    return found


class _Joiner:
    """Makes routed values anew, from pieces of others."""

    def __init__(self, layout: Layout, names: Names) -> None:
        self._layout = layout
        self._names = names
        self._made: dict[ir.Value, ir.Value] = {}
        self._parts: dict[ir.Value, dict[int, ir.Value]] = {}
        self._cuts: dict[ir.Value, set[int]] = {}
        for value in layout.moved:
            for piece in layout.pieces[value]:
                self._cuts.setdefault(piece.value, set()).update((piece.start, piece.end))

    def make(self, value: ir.Value) -> None:
        """Lets the readers of ``value`` read a new value in the chosen order."""
        before = value.producer()
        assert before is not None
        inputs = [part for piece in self._layout.pieces[value] for part in self._cut(piece)]
        if len(inputs) > 1:
            new = new_node(before, "Concat", inputs, {"axis": 1}, names=self._names).outputs[0]
        elif is_graph_output(value):
            new = new_node(before, "Identity", inputs, names=self._names).outputs[0]
        else:
            new = inputs[0]
        if len(inputs) > 1 or is_graph_output(value):
            new.shape = value.shape
        ir.convenience.replace_all_uses_with(value, new, replace_graph_outputs=True)
        self._made[value] = new

    def rename(self) -> None:
        """Gives what stands for an old value its name, now that the old one is gone."""
        for old, new in self._made.items():
            producer = new.producer()
            if producer is not None and old.graph is None and producer.op_type in _JOINS:
                new.name = old.name

    def _cut(self, piece: Piece) -> Iterable[ir.Value]:
        """Returns the parts of ``piece``, or the whole value."""
        value = piece.value
        if value not in self._parts:
            self._parts[value] = self._split(value)
        return [part for at, part in self._parts[value].items() if piece.start <= at < piece.end]

    def _split(self, value: ir.Value) -> dict[int, ir.Value]:
        """Cuts a value wherever a piece begins or ends; returns the parts by their beginning."""
        source = self._made.get(value, value)
        assert source.shape is not None
        assert source.graph is not None
        size = source.shape[1]
        assert isinstance(size, int)
        bounds = sorted(self._cuts[value] | {0, size})
        if len(bounds) == 2:
            return {0: source}
        sizes = np.diff(bounds).astype(np.int64)
        graph = source.graph
        assert isinstance(graph, ir.Graph)
        name = self._names.fresh(f"{source.name}_Split")
        lengths = add_initializer(graph, f"{name}.sizes", sizes, names=self._names)
        node = ir.node("Split", [source, lengths], {"axis": 1}, num_outputs=len(sizes), name=name)
        producer = source.producer()
        if producer is None:
            graph.insert_before(graph[0], node)
        else:
            graph.insert_after(producer, node)
        for number, (part, length) in enumerate(zip(node.outputs, sizes, strict=True)):
            part.name = self._names.fresh(f"{name}_out_{number}")
            part.type = source.type
            part.shape = ir.Shape([source.shape[0], int(length), *source.shape[2:]])
        return dict(zip(bounds[:-1], node.outputs, strict=True))


_JOINS = ("Concat", "Identity")
