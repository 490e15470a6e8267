"""What rewrites know of values follows the model through the manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.manager import PassManager
from onnxq.passbase import RewritePass
from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnxq.graph.prior import Prior

KNOWN = np.ones(4, np.float32), np.ones(4, np.float32)


class _Scaling(RewritePass):
    """Says that it doubled what is known, and does something to the model."""

    name = "scaling"

    def __init__(self, prior: Prior, action: Callable[[ir.Model], bool]) -> None:
        super().__init__()
        self.prior = prior
        self.action = action

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        for name, (mean, deviation) in list(self.prior.items()):
            self.prior[name] = (mean * 2, deviation * 2)
        return ir.passes.PassResult(model, self.action(model))


def source() -> ir.Model:
    return build("f (float[2,4] x) => (float[2,4] y) { a = Relu(x) y = Neg(a) }")


def left(action: Callable[[ir.Model], bool], judged: tuple[str, ...] = ()) -> Prior:
    prior: Prior = {"a": KNOWN, "x": KNOWN}
    manager = PassManager(judged=judged)
    manager.rewrite(source(), [_Scaling(prior, action)], prior=prior)
    return prior


def _raise(_model: ir.Model) -> bool:
    raise RuntimeError("no")


def _rename(model: ir.Model) -> bool:
    model.graph.node("node_a").outputs[0].name = "b"
    return True


def _rename_nodes(model: ir.Model) -> bool:
    for node in model.graph:
        node.name = f"other_{node.name}"
    return True


def test_what_a_rewrite_writes_down_stays() -> None:
    np.testing.assert_array_equal(left(lambda _: False)["a"][0], np.full(4, 2.0))


def test_what_is_rolled_back_is_forgotten() -> None:
    prior = left(_raise)
    assert set(prior) == {"a", "x"}
    np.testing.assert_array_equal(prior["a"][0], KNOWN[0])


def test_values_that_are_gone_leave_no_entry() -> None:
    assert set(left(_rename)) == {"x"}


def test_behind_a_pass_of_others_nothing_is_known() -> None:
    assert left(_rename_nodes)
    assert not left(_rename_nodes, ("scaling",))


def test_a_pass_of_others_that_changes_nothing_leaves_what_is_known() -> None:
    assert left(lambda _: False, ("scaling",))
