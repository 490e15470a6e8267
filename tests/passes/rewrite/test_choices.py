"""Rewrites that decide by samples do without them what they did before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.graph.choices import Choices, told_choices
from onnxq.graph.query import weight_of
from onnxq.passes.rewrite.absorb_biases import AbsorbBiasesPass
from onnxq.passes.rewrite.equalize_layers import EqualizeLayersPass
from onnxq.passes.rewrite.reorder_channels import ReorderChannelsPass
from onnxq.passes.rewrite.smooth_activations import SmoothActivationsPass
from tests.passes.rewrite import (
    test_absorb_biases,
    test_equalize_layers,
    test_reorder_channels,
)
from tests.passes.rewrite.building import build, rng_weight
from tests.passes.rewrite.test_smooth_activations import attention, survey, wide

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

    from onnxq.passbase import RewritePass


def clipped() -> ir.Model:
    """A Clip whose bound is far away: only samples tell that."""
    return test_equalize_layers.chain(
        "z = Constant<value_float=0.0>() d = Clip(c, z, k)", k=np.float32(1e4)
    )


def convolutions() -> ir.Model:
    return build(
        """f (float[2,4,6,6] x, float[12,4,1,1] w, float[3,12,1,1] v) => (float[2,3,6,6] y) {
            c = Conv(x, w)
            d = Relu(c)
            y = Conv(d, v) }""",
        w=wide(12, 4, 1, 1),
        v=rng_weight(3, 12, 1, 1),
    )


def halves() -> ir.Model:
    """Channels that change places within each half of a value."""
    return test_reorder_channels.chain(
        "h, i = Split<axis=1, num_outputs=2>(c) p = Relu(h) d = Concat<axis=1>(p, i)"
    )


def absorbable() -> ir.Model:
    return test_absorb_biases.chain("d = Relu(c)")


MADE: list[tuple[type[RewritePass], Callable[[], ir.Model], dict[str, object]]] = [
    (SmoothActivationsPass, lambda: attention().clone(), {}),
    (SmoothActivationsPass, convolutions, {"convolutions": True}),
    (EqualizeLayersPass, clipped, {}),
    (AbsorbBiasesPass, absorbable, {}),
    (ReorderChannelsPass, test_reorder_channels.chain, {}),
    (ReorderChannelsPass, halves, {}),
]


@pytest.mark.parametrize(("kind", "make", "options"), MADE)
def test_choices_are_repeated(
    kind: type[RewritePass], make: Callable[[], ir.Model], options: dict[str, object]
) -> None:
    source = make()
    first = make()
    chooser = kind(survey=survey(first, batch=2)).configured(options)  # type: ignore[call-arg]
    assert chooser(first).modified
    second = source.clone()
    assert kind(choices=Choices(told_choices(first)))(second).modified  # type: ignore[call-arg]
    assert second.metadata_props == first.metadata_props
    for name, weight in first.graph.initializers.items():
        found, wanted = weight_of(second.graph.initializers[name]), weight_of(weight)
        assert found is not None
        assert wanted is not None
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize(("kind", "make", "options"), MADE)
def test_where_nothing_was_chosen_nothing_is_done(
    kind: type[RewritePass], make: Callable[[], ir.Model], options: dict[str, object]
) -> None:
    source = make()
    repeating = kind(choices=Choices(told_choices(source))).configured(options)  # type: ignore[call-arg]
    assert not repeating(source).modified
