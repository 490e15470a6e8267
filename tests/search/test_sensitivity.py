"""Estimates of curvature against the exact one of a small network."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from onnxq.errors import DataError
from onnxq.graph.edit import set_weight
from onnxq.graph.query import weight_of
from onnxq.search.eigenvalue import top_eigenvalue
from onnxq.search.sensitivity import probe_curvature
from tests.search.exact_curvature import LAYERS, LOSS, batches, exact, network
from tests.support import run

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[Any]

FEEDS = batches(2)
NOTHING: dict[str, dict[str, Array]] = {name: {} for name in LAYERS}


@cache
def curvatures() -> dict[str, Array]:
    return exact(network(), FEEDS, LAYERS)


@cache
def wide_traces() -> list[float]:
    found = exact(network(64), batches(1, 64), LAYERS)
    return [float(np.trace(found[name])) for name in LAYERS]


def rounding_errors(bits: int) -> dict[str, Array]:
    """What rounding each weight to so many bits changes."""
    values = network().graph.initializers
    errors = {}
    for name in LAYERS:
        weight = weight_of(values[name])
        assert weight is not None
        step = np.abs(weight).max() / (2 ** (bits - 1) - 1)
        errors[name] = np.round(weight / step) * step - weight
    return errors


def costs(change: Array, curvature: Array) -> float:
    flat = change.reshape(-1).astype(np.float64)
    return float(flat @ curvature @ flat) / 2


@pytest.mark.parametrize("seed", range(3))
def test_traces_rank_layers_as_the_exact_ones_do_at_16_probes(seed: int) -> None:
    model, feeds = network(64), batches(1, 64)

    found = probe_curvature(model, LOSS, feeds, NOTHING, probes=16, seed=seed)

    estimated = [found.traces[name] for name in LAYERS]
    assert spearmanr(estimated, wide_traces()).statistic >= 0.97


def test_many_probes_come_near_the_exact_traces() -> None:
    found = probe_curvature(network(), LOSS, FEEDS, NOTHING, probes=300)

    for name in LAYERS:
        assert found.traces[name] == pytest.approx(np.trace(curvatures()[name]), rel=0.15)


def test_many_probes_come_near_the_exact_costs() -> None:
    changes = {name: {bits: rounding_errors(bits)[name] for bits in (3, 4, 8)} for name in LAYERS}

    found = probe_curvature(network(), LOSS, FEEDS, changes, probes=300)

    for name in LAYERS:
        for bits, change in changes[name].items():
            wanted = costs(change, curvatures()[name])
            assert found.costs[name][bits] == pytest.approx(wanted, rel=0.35), (name, bits)


def test_costs_are_what_the_loss_rises_by() -> None:
    changes = {name: {6: change} for name, change in rounding_errors(6).items()}
    found = probe_curvature(network(), LOSS, FEEDS, changes, probes=300)

    for name in LAYERS:
        changed = network()
        value = changed.graph.initializers[name]
        weight = weight_of(value)
        assert weight is not None
        rounded = network_with(name, weight + changes[name][6])
        risen = np.mean([LOSS.measure(run(changed, f), run(rounded, f)) for f in FEEDS])
        assert found.costs[name][6] == pytest.approx(risen, rel=0.5), name


def network_with(name: str, weight: Array) -> ir.Model:
    model = network()
    set_weight(model.graph.initializers[name], weight.astype(np.float32))
    return model


def test_an_activation_changes_by_what_it_holds() -> None:
    def to_a_tenth(held: Array) -> Array:
        return np.round(held * 10) / 10 - held

    found = probe_curvature(network(), LOSS, FEEDS, {"a3": {"tenths": to_a_tenth}}, probes=300)

    model = network()
    exact_costs = []
    for feed in FEEDS:
        outer = model.clone()
        outer.graph.outputs.append(
            next(n for n in outer.graph if n.outputs[0].name == "a3").outputs[0]
        )
        held = run(outer, feed)["a3"]
        exact_costs.append(costs(to_a_tenth(held), exact(model, [feed], ["a3"])["a3"]))
    assert found.costs["a3"]["tenths"] == pytest.approx(np.mean(exact_costs), rel=0.25)


def test_batches_of_other_shapes_join() -> None:
    model = network()
    model.graph.inputs[0].shape = None
    model.graph.outputs[0].shape = None
    for node in model.graph:
        node.outputs[0].shape = None
    feeds = [*batches(1, 2), *batches(1, 3)]

    found = probe_curvature(model, LOSS, feeds, {"g": {}}, probes=2)

    assert found.probes == 4


def test_the_seed_decides() -> None:
    def traces(seed: int) -> float:
        return probe_curvature(network(), LOSS, FEEDS, {"g": {}}, seed=seed).traces["g"]

    assert traces(1) == traces(1)
    assert traces(1) != traces(2)


def test_without_samples_there_is_a_reason() -> None:
    with pytest.raises(DataError, match="no sample"):
        probe_curvature(network(), LOSS, [], {"g": {}})


def test_the_mean_trace_weighs_the_squared_change() -> None:
    found = probe_curvature(network(), LOSS, FEEDS, {"g": {}}, probes=4)
    change = np.full((6, 5), 2.0)

    assert found.by_trace("g", change) == pytest.approx(found.traces["g"] / 30 * 120)


@pytest.mark.parametrize("name", ["w0", "w4", "g"])
def test_the_top_eigenvalue(name: str) -> None:
    wanted = float(np.linalg.eigvalsh(curvatures()[name]).max())

    found = top_eigenvalue(network(), LOSS, FEEDS, name, iterations=60, tolerance=1e-5)

    assert found == pytest.approx(wanted, rel=0.02)


def test_no_samples_no_eigenvalue() -> None:
    with pytest.raises(DataError, match="no sample"):
        top_eigenvalue(network(), LOSS, [], "g")
