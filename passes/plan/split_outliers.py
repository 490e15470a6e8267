"""Takes the outlier channels out of values that one scale does not serve (``onnxq.plan.clusters``).

A value that convolutions write and read has scales per channel for nothing
(``onnxq.plan.channels``): it is no site. A multiplication per channel in front of QuantizeLinear
would serve where the weight's columns are small as the channels are large, but elsewhere it hands
the unevenness on to the weight; clusters serve in both cases. With 4 of 256 channels 60 times as
large, a 3×3 convolution keeps 5.5 dB whole, 33 dB with the multiplication and 32 dB with clusters
where the columns are small, and 23, 21 and 33 dB where they are not.

Partial sums of a MatMul or Gemm stay float. A convolution runs on integers only if it writes codes:
its partial sums get one common scale, which covers what was measured of each. In front of a Relu it
writes no scales per channel then: partial sums reach far below 0, in some channels very far in
terms of these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from onnxq.numerics.channel_clusters import cluster_channels
from onnxq.pass_options import number, whole
from onnxq.passbase import PlanContext, PlanPass
from onnxq.plan.channels import has_channels, writing_of
from onnxq.plan.cluster_cost import lost_kernel, part_time, reader_times
from onnxq.plan.cluster_noise import layer_noise
from onnxq.plan.cluster_params import (
    covering,
    sum_plan,
    with_channel_scales,
    with_one_scale,
)
from onnxq.plan.cluster_sites import float_chain, readers_fault, value_fault, written_value
from onnxq.plan.clusters import Cluster, ClusterSplit, input_axis
from onnxq.plan.cost import Work
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.spec import PerTensor, QParams
from onnxq.runtime.partial_sums import partial_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.numerics.moments import Moments
    from onnxq.numerics.statistics import Stats
    from onnxq.plan.quant_plan import QuantPlan, ValuePlan

__all__ = ["SplitOutliers"]

_REASON = "writes a value of which outlier channels are quantized apart"


class _Site(NamedTuple):
    """A value with its channels in clusters: labels [C], and the one that stays is ``rest``."""

    value: ir.Value
    readers: list[ir.Node]
    labels: npt.NDArray[np.int64]
    rest: int
    params: list[QParams]
    text: str

    def parts(self) -> list[tuple[npt.NDArray[np.int64], QParams]]:
        """The channels and params of each cluster beside the rest."""
        return [
            (np.flatnonzero(self.labels == label), params)
            for label, params in enumerate(self.params)
            if label != self.rest
        ]


@dataclass(frozen=True)
class SplitOutliers(PlanPass):
    """Quantizes outlier channels apart, where nothing cheaper serves them.

    A value is split if

    1. it has one scale of its own, of 8 bits, statistics per channel, and is no graph output;
    2. it is a graph input or written by a float node, or can be: by operators without weights that
       give up their integer kernels, and whose inputs nothing else reads; integer kernels could not
       write two scales. Convolutions in front of these write scales per channel;
    3. all its readers run on integers and add up over its channels alone: Conv of one group, Gemm
       or MatMul, with a weight of their own;
    4. with the best clusters, the SQNR expected behind the readers rises by :attr:`least_gain`, and
       without them it is below :attr:`enough`;
    5. by the target's times this costs less than its readers in float would.

    Attributes:
        clusters: Greatest number of clusters.
        enough: Expected SQNR in dB with which there is nothing to do.
        least_gain: In dB.
        samples: How many calibration samples partial sums are measured on.
    """

    name = "split-outliers"
    options = MappingProxyType(
        {
            "clusters": whole("a whole number, 2 or more", lambda count: count >= 2),
            "enough": number("dB, 0 or more", lambda sqnr: sqnr >= 0),
            "least_gain": number("dB, 0 or more", lambda gain: gain >= 0),
        }
    )
    after = frozenset({"fit-activations"})
    on_request = True

    clusters: int = 2
    enough: float = 30.0
    least_gain: float = 6.0
    samples: int = 16

    def revise(self, context: PlanContext, plan: QuantPlan) -> QuantPlan:
        """Returns ``plan`` with clusters, and the ranges of what stays of the values."""
        graph = context.model.graph
        sites = []
        for value in [*graph.inputs, *(out for node in graph for out in node.outputs)]:
            site = self._try_split(value, context, plan)
            if site is None:
                continue
            fired = not isinstance(site, str)
            kind = NoteKind.FIRED if fired else NoteKind.REFUSED
            text = site if isinstance(site, str) else site.text
            plan = plan.with_notes([Note(kind, self.name, str(value.name), text)])
            if not isinstance(site, str):
                plan = _with_float_chain(site, context, plan)
                sites.append(site)
        if not sites:
            return plan
        plan = plan.with_values(_single_scales(sites, context, plan))
        sums = self._sums(context, plan, sites)
        clusters = {str(site.value.name): _clusters(site, plan, sums) for site in sites}
        rests = {
            name: replace(plan.values[name], params=site.params[site.rest])
            for site in sites
            if (name := str(site.value.name))
        }
        return replace(plan.with_values(rests), clusters={**plan.clusters, **clusters})

    def _try_split(
        self, value: ir.Value, context: PlanContext, plan: QuantPlan
    ) -> _Site | str | None:
        """Returns the split, the reason why outliers stay, or None where there are none."""
        stats, name = context.stats, str(value.name)
        assert stats is not None, "the pipeline looks for outliers only where there is data"
        planned = plan.values.get(name)
        channels = stats[name].channels if name in stats else None
        readers = [node for node in value.consumers() if input_axis(node) is not None]
        if planned is None or planned.params is None or channels is None or not readers:
            return None
        last = len(context.shapes.get(name, ())) - 1
        axes = {1 if node.op_type == "Conv" else last for node in readers}
        one_scale = isinstance(planned.spec.granularity, PerTensor)
        if axes != {stats[name].channel_axis} or not one_scale or name in plan.clusters:
            return None
        site = self._best(value, readers, channels, stats, plan)
        if site is None:
            return None
        fault = value_fault(value, context.target, plan) or readers_fault(value, readers, plan)
        fault = fault or _unseen(value, context, plan) or _too_dear(site, context, plan)
        return f"outlier channels stay: {fault}" if fault else site

    def _best(
        self,
        value: ir.Value,
        readers: list[ir.Node],
        channels: Moments,
        stats: Stats,
        plan: QuantPlan,
    ) -> _Site | None:
        """Rule 4."""
        planned = plan.values[str(value.name)]
        layers = [layer_noise(n, _weight_qmax(n, plan), _step(n, stats, plan)) for n in readers]
        low, high = np.minimum(channels.minimum, 0.0), np.maximum(channels.maximum, 0.0)
        power = channels.second_moment
        signals = [max(layer.signal(power), 1e-300) for layer in layers]
        energy = np.sum(
            [layer.energy / signal for layer, signal in zip(layers, signals, strict=True)], axis=0
        )
        labels = cluster_channels(high - low, energy, self.clusters)
        count = int(labels.max()) + 1
        dtype = planned.spec.dtype
        params = [covering(low[labels == n], high[labels == n], dtype) for n in range(count)]
        common = float(covering(low, high, dtype).scale)
        steps = np.array([float(one.scale) for one in params])
        before = after = 0.0
        for node, layer, signal in zip(readers, layers, signals, strict=True):
            rounded = 2 * count - 2 if node.op_type == "Conv" else 0
            before += layer.noise(np.zeros_like(labels), np.array([common]), power) / signal
            after += layer.noise(labels, steps, power, rounded) / signal
        first, second = (
            -10 * math.log10(max(ratio / len(layers), 1e-30)) for ratio in (before, after)
        )
        if count == 1 or first >= self.enough or second < first + self.least_gain:
            return None
        rest = int(np.bincount(labels).argmax())
        taken = int((labels != rest).sum())
        text = f"{taken} of {labels.size} channels apart: {first:.1f} → {second:.1f} dB expected"
        return _Site(value, readers, labels, rest, params, text)

    def _sums(
        self, context: PlanContext, plan: QuantPlan, sites: list[_Site]
    ) -> dict[str, ValuePlan]:
        """Returns how the partial sums of the convolutions are quantized, by node."""
        parts = {
            str(node.name): [channels for channels, _ in site.parts()]
            for site in sites
            for node in site.readers
            if node.op_type == "Conv"
        }
        if not parts:
            return {}
        feeds = context.samples(self.samples)
        ranges = partial_ranges(context.model, parts, feeds, threads=context.threads)
        dtype = context.target.activation
        nodes = {str(node.name): node for site in sites for node in site.readers}
        return {
            name: sum_plan(sums, writing_of(nodes[name], plan), dtype)
            for name, sums in ranges.items()
        }


def _with_float_chain(site: _Site, context: PlanContext, plan: QuantPlan) -> QuantPlan:
    """Rule 2: what writes the value gives up its integer kernels."""
    stats = context.stats
    assert stats is not None
    chain = float_chain(site.value, context.target, plan)
    assert not isinstance(chain, str), "this was asked before"
    reasons = {str(node.name): _REASON for node in chain.nodes}
    inner = [str(value.name) for value in chain.inner]
    plan = replace(plan.without(inner), float_nodes={**plan.float_nodes, **reasons})
    return plan.with_values(
        {
            name: with_channel_scales(plan.values[name], stats[name])
            for name in (str(value.name) for value in chain.written)
        }
    )


def _single_scales(
    sites: Iterable[_Site], context: PlanContext, plan: QuantPlan
) -> dict[str, ValuePlan]:
    """Returns plans with one scale for what a Relu or Clip behind a convolution writes."""
    assert context.stats is not None
    found = {}
    for node in (node for site in sites for node in site.readers):
        name = str(written_value(node, plan).name)
        planned = plan.values.get(name)
        if planned is not None and has_channels(planned) and name != node.outputs[0].name:
            found[name] = with_one_scale(planned, context.stats[name])
    return found


def _clusters(site: _Site, plan: QuantPlan, sums: dict[str, ValuePlan]) -> ClusterSplit:
    planned = plan.values[str(site.value.name)]
    weights = {
        str(node.name): replace(plan.values[str(node.inputs[1].name)], params=None, codes=None)  # type: ignore[union-attr]
        for node in site.readers
    }
    parts = [
        Cluster(channels, replace(planned, params=params), weights)
        for channels, params in site.parts()
    ]
    own = {str(n.name): sums[str(n.name)] for n in site.readers if str(n.name) in sums}
    return ClusterSplit(tuple(parts), own)


def _weight_qmax(node: ir.Node, plan: QuantPlan) -> int:
    planned = plan.values.get(str(node.inputs[1].name))  # type: ignore[union-attr]
    return 127 if planned is None else planned.spec.dtype.qmax


def _step(node: ir.Node, stats: Stats, plan: QuantPlan) -> float:
    """Returns the scale that one range for all channels gives what ``node`` writes; 0 for float."""
    name = str(written_value(node, plan).name)
    if name not in plan.values or name not in stats:
        return 0.0
    dtype = plan.values[name].spec.dtype
    span = max(stats[name].maximum, 0.0) - min(stats[name].minimum, 0.0)
    return span / (dtype.qmax - dtype.qmin)


def _unseen(value: ir.Value, context: PlanContext, plan: QuantPlan) -> str | None:
    """Whether a scale per channel cannot be told of what convolutions in front write."""
    assert context.stats is not None
    chain = float_chain(value, context.target, plan)
    assert not isinstance(chain, str), "this was asked before"
    for name in (str(written.name) for written in chain.written):
        if name not in context.stats or context.stats[name].channel_axis != 1:
            return f"'{name}' has no statistics per channel"
    return None


def _too_dear(site: _Site, context: PlanContext, plan: QuantPlan) -> str | None:
    """Rule 5."""
    costs, shapes = context.target.costs, context.shapes
    if costs is None:
        return None
    chain = float_chain(site.value, context.target, plan)
    assert not isinstance(chain, str), "this was asked before"
    extra = sum(lost_kernel(node, costs, shapes) for node in chain.nodes)
    for value in chain.written:
        read = Work(outputs=math.prod(shapes.get(str(value.name), (0,))))
        extra += costs.dequantize.microseconds(read)
    saved = 0.0
    for node in site.readers:
        for channels, _ in site.parts():
            extra += part_time(node, channels.size, site.labels.size, costs, shapes)
        integer, real = reader_times(node, costs, shapes)
        saved += real - integer
    if extra < saved:
        return None
    return f"that costs {extra:.0f} µs, its readers in float {saved:.0f} µs"
