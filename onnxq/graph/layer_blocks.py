"""Blocks of layers: what lies between places where few values cross, at best a single one.

Between two layers the graph is cut where fewest values are alive: between residual blocks that is
one. Block-wise methods (Li et al. 2021, "BRECQ: Pushing the Limit of Post-Training Quantization by
Block Reconstruction", section 3.2) take a block as small as single cuts allow.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from onnxq.graph.query import read_values

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import onnx_ir as ir

__all__ = ["LayerBlock", "layer_blocks"]

# A layer alone has nothing to make up for with; so many are taken where no single value crosses.
_FEWEST, _MOST = 2, 8


class LayerBlock(NamedTuple):
    """Consecutive nodes.

    Attributes:
        starts: Names of the values that nodes before it compute, and it or later nodes read.
        ends: Names of the values that it computes for later nodes, or for the outside.
        layers: Names of its layers.
    """

    starts: tuple[str, ...]
    ends: tuple[str, ...]
    layers: tuple[str, ...]


class _Gap(NamedTuple):
    """The best place to cut in front of a layer: behind node ``at``, where ``alive`` cross."""

    at: int
    alive: int


def layer_blocks(
    nodes: Sequence[ir.Node],
    outputs: Collection[str],
    layers: Collection[str],
    crossable: Callable[[ir.Value], bool],
) -> list[LayerBlock]:
    """Returns all blocks that hold layers, in order; one starts where the one before ends.

    Args:
        nodes: In an order in which they can run; none computes what depends on weights alone.
        outputs: Names of the values that count in the end.
        layers: Names of the nodes that are layers.
        crossable: Whether a value may cross a cut.
    """
    spans = _Spans(nodes, outputs)
    places = [at for at, node in enumerate(nodes) if node.name in layers]
    bad = {value for value in spans.born if not crossable(value)}
    gaps = [spans.gap(first, last, bad) for first, last in pairwise(places)]
    cuts = [*_chosen(gaps), len(nodes) - 1]
    blocks, before = [], -1
    for cut in cuts:
        inside = tuple(str(nodes[at].name) for at in places if before < at <= cut)
        names = tuple(str(value.name) for value in spans.alive(before))
        leaving = [value for value in spans.alive(cut) if spans.born[value] > before]
        leaving += [value for value in spans.ending(before, cut) if value not in leaving]
        if inside:
            blocks.append(LayerBlock(names, tuple(str(v.name) for v in leaving), inside))
        before = cut
    return blocks


def _chosen(gaps: Sequence[_Gap | None]) -> list[int]:
    """Returns the nodes to cut behind: at single values, or where a block would grow too large."""
    cuts, start, number = [], 0, 0
    while number < len(gaps):
        gap, held = gaps[number], number - start + 1
        if gap is not None and gap.alive == 1 and held >= _FEWEST:
            cuts.append(gap.at)
            start = number + 1
        elif held >= _MOST:
            near = [(g.alive, -n) for n, g in enumerate(gaps[start + 1 : number + 1]) if g]
            if near:
                number = start + 1 - min(near)[1]
                cuts.append(gaps[number].at)  # type: ignore[union-attr]
                start = number + 1
        number += 1
    return cuts


class _Spans:
    """From where to where values live.

    Attributes:
        born: Value → number of the node that computes it.
    """

    def __init__(self, nodes: Sequence[ir.Node], outputs: Collection[str]) -> None:
        self.born = {value: at for at, node in enumerate(nodes) for value in node.outputs}
        self._last = {value: at for at, node in enumerate(nodes) for value in read_values(node)}
        self._outputs = [value for value in self.born if value.name in outputs]

    def alive(self, at: int) -> list[ir.Value]:
        """Returns what is computed up to node ``at`` and read behind it."""
        return [v for v, born in self.born.items() if born <= at < self._last.get(v, -1)]

    def ending(self, before: int, at: int) -> list[ir.Value]:
        """Returns the outputs that are computed behind ``before`` and up to ``at``."""
        return [value for value in self._outputs if before < self.born[value] <= at]

    def gap(self, first: int, last: int, bad: Collection[ir.Value]) -> _Gap | None:
        """Returns the best place behind a layer and in front of the next, None if there is none."""
        best = None
        for at in range(first, last):
            alive = self.alive(at)
            if any(value in bad for value in alive):
                continue
            if best is None or len(alive) <= best.alive:
                best = _Gap(at, len(alive))
        return best
