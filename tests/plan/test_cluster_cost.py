from __future__ import annotations

import pytest

from onnxq.plan.cluster_cost import lost_kernel, part_time, reader_times
from onnxq.plan.cost import CostTable, KernelCost
from tests.passes.rewrite.building import build, rng_weight

COSTS = CostTable(
    integer={"dense": KernelCost(mac_ns=1.0, call_us=5.0), "Add": KernelCost(call_us=3.0)},
    real={
        "dense": KernelCost(mac_ns=2.0),
        "Add": KernelCost(call_us=7.0),
        "Concat": KernelCost(output_ns=10.0),
        "HardSwish": KernelCost(call_us=4.0),
    },
    quantize=KernelCost(output_ns=1000.0),
    dequantize=KernelCost(),
)
SHAPES = {"x": (1, 8, 2, 2), "a": (1, 8, 2, 2), "y": (1, 5, 2, 2)}
NETWORK = build(
    """f (float[1,8,2,2] x, float[5,8,1,1] w) => (float[1,5,2,2] y) {
        a = HardSwish(x) y = Conv(a, w) }""",
    w=rng_weight(5, 8, 1, 1),
)


def test_a_part_costs_its_share_of_the_product_and_a_call_of_everything() -> None:
    node = NETWORK.graph.node("node_y")
    product, picked = 5 + 2 * 4 * 5 * 1e-3, 2 * 4
    wanted = product + 3 + picked * 10e-3 + picked * 1.0
    assert part_time(node, 2, 8, COSTS, SHAPES) == pytest.approx(wanted)


def test_a_reader_costs_what_the_table_says() -> None:
    macs = 8 * 5 * 4
    found = reader_times(NETWORK.graph.node("node_y"), COSTS, SHAPES)
    assert found == pytest.approx((5 + macs * 1e-3, macs * 2e-3))


def test_a_lost_kernel_is_paid_with_a_quantization() -> None:
    assert lost_kernel(NETWORK.graph.node("node_a"), COSTS, SHAPES) == pytest.approx(4 + 32)
