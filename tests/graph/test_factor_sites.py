from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.graph.channel_factors import channel_factors
from onnxq.graph.factor_sites import FactorSite, factor_sites
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import onnx_ir as ir


def sites(source: ir.Model) -> list[FactorSite]:
    found = channel_factors(source.graph)
    return factor_sites(found.layers, [shift.carries for shift in found.shifts], found.count)


def names(site: FactorSite) -> tuple[list[str], list[str]]:
    readers, writers = (
        [str(item.layer.target.name) for item in side] for side in (site.readers, site.writers)
    )
    return readers, writers


def test_a_chain_has_one_site_between_each_two_layers() -> None:
    source = build(
        """f (float[2,4] x, float[4,3] a, float[3,5] b, float[5,2] c) => (float[2,2] y) {
            p = MatMul(x, a)
            q = MatMul(p, b)
            y = MatMul(q, c) }""",
        a=rng_weight(4, 3),
        b=rng_weight(3, 5),
        c=rng_weight(5, 2),
    )
    found = sites(source)
    assert [names(site) for site in found] == [(["q"], ["p"]), (["y"], ["q"])]
    assert [site.numbers.size for site in found] == [3, 5]


def test_layers_that_read_the_same_channels_share_a_site() -> None:
    source = build(
        """f (float[2,4] x, float[4,3] a, float[3,5] b, float[3,5] c) => (float[2,5] y) {
            p = MatMul(x, a)
            q = MatMul(p, b)
            r = MatMul(p, c)
            y = Add(q, r) }""",
        a=rng_weight(4, 3),
        b=rng_weight(3, 5),
        c=rng_weight(3, 5),
    )
    (site,) = sites(source)
    assert names(site) == (["q", "r"], ["p"])


def test_local_numbers_leave_out_what_is_not_of_the_site() -> None:
    site = FactorSite(np.array([2, 5, 6]), (), ())
    assert site.local(np.array([6, -1, 2, 3, 9])).tolist() == [2, -1, 0, -1, -1]
