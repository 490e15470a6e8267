"""Blocks of a quantized model, each moved towards the outputs of the float one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxq.errors import ModelError
from onnxq.graph.edit import set_weight
from onnxq.graph.layer_blocks import layer_blocks
from onnxq.graph.query import read_values
from onnxq.plan.note import Note, NoteKind
from onnxq.runtime.pieces import PieceFinder
from onnxq.search.block_fit import descend
from onnxq.search.block_graph import BlockError, block_model
from onnxq.search.block_walk import BlockWalk
from onnxq.search.learned_layer import LearnedLayer
from onnxq.search.learned_scales import ScaleOfValues, learned_scales
from onnxq.search.written_layer import layer_floats, write_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx_ir as ir

    from onnxq.passbase import PlanContext
    from onnxq.plan.quant_plan import QuantPlan
    from onnxq.runtime.session import Feed
    from onnxq.search.block_walk import BlockSite
    from onnxq.search.coded_layer import CodedLayer
    from onnxq.search.simulation import Simulation
    from onnxq.search.written_layer import WrittenNames

    RoundLayers = Callable[
        [
            PlanContext,
            QuantPlan,
            tuple[ir.Model, ir.Model],
            Mapping[str, CodedLayer],
            Sequence[tuple[Feed, Feed]],
        ],
        QuantPlan,
    ]

__all__ = ["Reconstruction"]

# Share of the error by which a block has to gain: less is chance.
_MARGIN = 0.01


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What all blocks have in common.

    Attributes:
        name: Of the pass, for notes.
        context: Target, shapes, statistics and threads.
        model: The float model; its outputs are what counts.
        layers: Name → layer to move, with codes in the plan.
        method: How codes move (:mod:`onnxq.search.learned_layer`).
        steps: Of gradient descent, for each block.
        fit: Numbers of the samples to fit.
        judges: Numbers of the samples to judge by.
        rounding: Finds the codes that a block starts from.
    """

    name: str
    context: PlanContext
    model: ir.Model
    layers: Mapping[str, CodedLayer]
    method: str
    steps: int
    fit: Sequence[int]
    judges: Sequence[int]
    rounding: RoundLayers

    def run(self, plan: QuantPlan, simulation: Simulation, feeds: Sequence[Feed]) -> QuantPlan:
        """Returns ``plan`` with what was learned.

        Args:
            plan: To start from.
            simulation: The quantized model of it, which is used up.
            feeds: The samples.
        """
        coded = simulation.model
        copies = {str(node.name): node for node in coded.graph}
        written = {
            name: write_layer(copies[name], layer_floats(layer, plan))
            for name, layer in self.layers.items()
        }
        outputs = [str(value.name) for value in self.model.graph.outputs]
        coded_names = _coded_names(self.model, coded, plan)
        nodes = _computing(PieceFinder(self.model).find(outputs, ()).nodes)
        blocks = layer_blocks(nodes, outputs, self.layers, lambda v: str(v.name) in coded_names)
        walk = BlockWalk(
            self.model, coded, blocks, coded_names, feeds, self.context.shapes,
            threads=self.context.threads,
        )  # fmt: skip
        moved = False
        for number, site in enumerate(walk):
            self.context.progress(self.name, number, len(blocks))
            if moved:  # what is in front is no longer what these codes were made for
                plan = self._rounded(plan, site, coded, written)
            learned = self._learned(plan, site, simulation, written)
            found, note = self._descended(site, learned, number)
            if found:
                moved = True
                for item in learned:
                    plan = item.taken(plan)
                    for names, part in item.moving:
                        for name in names:
                            set_weight(coded.graph.initializers[name], part.value())
            plan = plan.with_notes([note])
        return plan

    def _rounded(
        self, plan: QuantPlan, site: BlockSite, coded: ir.Model, written: Mapping[str, WrittenNames]
    ) -> QuantPlan:
        """Returns ``plan`` with codes for what the block now reads; writes them."""
        layers = {name: self.layers[name] for name in site.block.layers}
        models = block_model(site.real), block_model(site.coded)
        rounded = self.rounding(self.context, plan, models, layers, site.feeds)
        plan = replace(rounded, notes=plan.notes)
        for name, layer in layers.items():
            floats = layer_floats(layer, plan)
            for own, array in zip(written[name], (floats.weight, floats.bias), strict=True):
                if own is not None and array is not None:
                    set_weight(coded.graph.initializers[own], array)
        return plan

    def _learned(
        self,
        plan: QuantPlan,
        site: BlockSite,
        simulation: Simulation,
        written: Mapping[str, WrittenNames],
    ) -> list[LearnedLayer | ScaleOfValues]:
        """Returns what of the block moves."""
        target, stats = self.context.target, self.context.stats
        layers = [
            LearnedLayer(self.layers[name], written[name], plan, target, stats, self.method)
            for name in site.block.layers
        ]
        nodes, params = site.coded.nodes, simulation.params
        return [*layers, *learned_scales(nodes, params, self.model, plan, stats)]

    def _descended(
        self, site: BlockSite, learned: Sequence[LearnedLayer | ScaleOfValues], seed: int
    ) -> tuple[bool, Note]:
        """Moves what is learned; says whether held-out samples gain by it."""
        where = site.block.layers[-1]
        if site.samples is None:
            reason = "samples differ in their shapes"
            return False, Note(NoteKind.REFUSED, self.name, where, reason)
        parts = [part for item in learned for part in item.moving]
        try:
            error = self._error(site, [name for names, _ in parts for name in names])
            found = descend(
                error, site.samples, parts, self.fit, self.judges, steps=self.steps, seed=seed
            )
        except ModelError as reason:
            return False, Note(NoteKind.REFUSED, self.name, where, str(reason))
        gain = 10 * math.log10(max(found.before, 1e-30) / max(found.after, 1e-30))
        text = f"error of {len(site.block.layers)} layers {-gain:+.2f} dB on held-out samples"
        if found.after < found.before * (1 - _MARGIN):
            return True, Note(NoteKind.FIRED, self.name, where, text)
        return False, Note(NoteKind.REFUSED, self.name, where, f"{text}: codes stay as they were")

    def _error(self, site: BlockSite, names: Sequence[str]) -> BlockError:
        samples = site.samples
        assert samples is not None
        weights = {
            name: 1 / max(sum(float(np.vdot(a, a)) for a in arrays) / len(arrays), 1e-30)
            for name, arrays in samples.wanted.items()
        }
        feed, wanted = samples.at(np.arange(samples.batch))
        return BlockError(
            block_model(site.coded),
            {name: weight / samples.batch for name, weight in weights.items()},
            names,
            feed,
            wanted,
            threads=self.context.threads,
        )


def _computing(nodes: Sequence[ir.Node]) -> list[ir.Node]:
    """Returns the nodes that do not depend on weights alone."""
    fixed: set[ir.Value] = set()
    found = []
    for node in nodes:
        if all(value.const_value is not None or value in fixed for value in read_values(node)):
            fixed.update(node.outputs)
        else:
            found.append(node)
    return found


def _coded_names(real: ir.Model, coded: ir.Model, plan: QuantPlan) -> dict[str, str]:
    """Returns value → what reads it reads in the quantized model, where all read the same reals."""
    copies = {str(node.name): node for node in coded.graph}
    found: dict[str, str] = {str(value.name): str(value.name) for value in real.graph.outputs}
    for node in real.graph:
        for value in node.outputs:
            planned = plan.values.get(str(value.name))
            apart = planned is not None and planned.spec.axis is not None
            if apart or value.name in plan.clusters or value.is_graph_output():
                continue
            read = {_read(copies.get(str(user.name)), at) for user, at in value.uses()}
            shared = read.pop() if len(read) == 1 else None
            if shared is not None:
                found[str(value.name)] = shared
    return found


def _read(node: ir.Node | None, at: int) -> str | None:
    value = None if node is None else node.inputs[at]
    return None if value is None else str(value.name)
