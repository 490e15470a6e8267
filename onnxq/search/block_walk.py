"""The float and the quantized model side by side, block by block, over all samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnxq.errors import ModelError
from onnxq.runtime.pieces import PieceFinder
from onnxq.search.block_fit import BlockSamples
from onnxq.search.block_graph import block_model, forward

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.graph.layer_blocks import LayerBlock
    from onnxq.runtime.pieces import Piece
    from onnxq.runtime.session import Feed

    State = dict[str, list[npt.NDArray[Any]]]

__all__ = ["BlockSite", "BlockWalk"]

_BATCH = 32
_BUDGET_BYTES = 1 << 28


class BlockSite(NamedTuple):
    """A block of both models.

    Attributes:
        block: Where it is.
        real: As the float model has it.
        coded: As the quantized model has it.
        feeds: What both read, a pair for each sample.
        samples: What it reads, and what it should give; None if samples differ in their shapes.
    """

    block: LayerBlock
    real: Piece
    coded: Piece
    feeds: Sequence[tuple[Feed, Feed]]
    samples: BlockSamples | None


class BlockWalk:
    """Shows one block after the other; weights of the quantized one may be changed meanwhile.

    Args:
        real: The float model.
        coded: The quantized model.
        blocks: Of the float model.
        names: Value that crosses from block to block, or leaves → its name in the quantized model.
        feeds: The samples, at least one.
        shapes: Of the float model's values, in one sample.
        threads: Threads inside an operator.
    """

    def __init__(  # noqa: PLR0913 (two models, how they are cut, and what to run)
        self,
        real: ir.Model,
        coded: ir.Model,
        blocks: Sequence[LayerBlock],
        names: Mapping[str, str],
        feeds: Sequence[Feed],
        shapes: Mapping[str, tuple[int, ...]],
        *,
        threads: int,
    ) -> None:
        self._shapes = shapes
        self._finders = PieceFinder(real), PieceFinder(coded)
        self._blocks, self._names, self._threads = blocks, names, threads
        given = {name: [feed[name] for feed in feeds] for name in feeds[0]}
        self._states: tuple[State, State] = dict(given), dict(given)
        self._inputs, self._count = tuple(given), len(feeds)

    def __iter__(self) -> Iterator[BlockSite]:
        """Yields the blocks in order."""
        for number, block in enumerate(self._blocks):
            real, coded = self._states
            own = self._finders[0].find(block.ends, block.starts)
            names = [self._names[name] for name in block.ends]
            piece = self._finders[1].find(names, [self._names[name] for name in block.starts])
            wanted = self._forward(own, real)
            feeds = list(zip(self._feeds(own, real), self._feeds(piece, coded), strict=True))
            yield BlockSite(block, own, piece, feeds, self._samples(own, piece, wanted))
            coded |= self._forward(piece, coded)
            real |= wanted
            later = {name for after in self._blocks[number + 1 :] for name in after.starts}
            for state, known in ((real, later), (coded, {self._names[name] for name in later})):
                for name in state.keys() - known - {*self._inputs}:
                    del state[name]

    def _forward(self, piece: Piece, state: State) -> State:
        session = forward(block_model(piece), threads=self._threads)
        made: State = {name: [] for name in piece.outputs}
        for feed in self._feeds(piece, state):
            found = session.run(feed)
            for name, array in found.items():
                made[name].append(array)
        return made

    def _feeds(self, piece: Piece, state: State) -> list[Feed]:
        numbers = range(self._count)
        return [{name: state[name][number] for name in piece.inputs} for number in numbers]

    def _samples(self, own: Piece, piece: Piece, wanted: State) -> BlockSamples | None:
        real, coded = self._states
        origin = {name: value for value, name in self._names.items()}
        arrays = [*(coded[name] for name in piece.inputs), *wanted.values()]
        if any(array.shape != found[0].shape for found in arrays for array in found):
            return None
        return BlockSamples(
            {name: real[origin.get(name, name)] for name in piece.inputs},
            {name: coded[name] for name in piece.inputs},
            {self._names[name]: found for name, found in wanted.items()},
            self._batch(own, real, wanted),
        )

    def _batch(self, own: Piece, real: State, wanted: State) -> int:
        """Returns how many samples run together: as many as memory allows, if the block can."""
        sizes = (self._shapes.get(str(v.name), ()) for node in own.nodes for v in node.outputs)
        most = _BUDGET_BYTES // max(4 * sum(math.prod(shape) for shape in sizes), 1)
        size = max(1, min(_BATCH, most, self._count // 2))
        if size == 1:
            return 1
        feed = {name: real[name][:2] for name in own.inputs}
        try:
            session = forward(block_model(own), threads=self._threads)
            found = session.run({name: np.concatenate(pair) for name, pair in feed.items()})
            pairs = [(found[name], np.concatenate(wanted[name][:2])) for name in own.outputs]
        except (ModelError, ValueError):
            return 1
        alike = all(
            one.shape == two.shape and np.allclose(one, two, 1e-3, 1e-3) for one, two in pairs
        )
        return size if alike else 1
