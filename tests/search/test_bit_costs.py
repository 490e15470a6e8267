from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.errors import DataError
from onnxq.graph.query import weight_of
from onnxq.options import SENSITIVITIES
from onnxq.search.bit_costs import bit_costs
from tests.search.exact_curvature import LAYERS, LOSS, batches, exact, network

if TYPE_CHECKING:
    import numpy.typing as npt

    Changes = dict[str, dict[int, dict[str, npt.NDArray[Any]]]]

FEEDS = batches(4)
BITS = (4, 6, 8)


@cache
def changes() -> Changes:
    values = network().graph.initializers
    found: Changes = {}
    for name in LAYERS:
        weight = weight_of(values[name])
        assert weight is not None
        found[name] = {}
        for bits in BITS:
            step = np.abs(weight).max() / (2 ** (bits - 1) - 1)
            found[name][bits] = {name: np.round(weight / step) * step - weight}
    return found


@cache
def costs(method: str, seed: int = 0) -> dict[str, dict[int, float]]:
    return bit_costs(network(), LOSS, FEEDS, changes(), method, seed=seed)


@pytest.mark.parametrize("method", SENSITIVITIES[1:])
def test_fewer_bits_cost_more(method: str) -> None:
    for name in LAYERS:
        found = costs(method)[name]
        assert found[4] > found[6] > found[8] > 0


def test_the_quadratic_form_is_what_is_measured() -> None:
    for name in LAYERS:
        assert costs("quadratic")[name][6] == pytest.approx(costs("measured")[name][6], rel=0.6)


@pytest.mark.parametrize(("method", "share"), [("trace", np.trace), ("eigenvalue", "top")])
def test_hawq_weighs_squared_changes_by_the_curvature(method: str, share: Any) -> None:  # noqa: ANN401
    exactly = exact(network(), FEEDS, ["w0", "w4", "g"])
    for name, curvature in exactly.items():
        factor = np.linalg.eigvalsh(curvature)[-1] if share == "top" else share(curvature)
        wanted = factor / len(curvature) * np.sum(changes()[name][4][name] ** 2)
        assert costs(method)[name][4] == pytest.approx(wanted, rel=0.3)


def test_several_values_change_together() -> None:
    """A change that another undoes costs nothing."""
    name, doubled = "w0", changes()["w0"][4]["w0"]
    both = {name: {4: {name: doubled}, 8: {name: doubled, "w4": np.zeros((12, 1, 1, 1), "f")}}}

    for method in ("quadratic", "measured"):
        found = bit_costs(network(), LOSS, FEEDS, both, method)
        assert found[name][8] == pytest.approx(found[name][4], rel=1e-5)


def test_noise_makes_no_bits_dearer_than_fewer() -> None:
    change = changes()["w0"]
    turned = {"w0": {4: change[8], 8: change[4]}}

    found = bit_costs(network(), LOSS, FEEDS, turned, "measured")["w0"]

    assert found[8] == found[4]


def test_no_samples() -> None:
    with pytest.raises(DataError, match="no sample"):
        bit_costs(network(), LOSS, [], changes())
