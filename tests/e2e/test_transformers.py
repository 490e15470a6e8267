"""Encoders go to integers by one rule: the inputs of products with weights, and nothing else."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

import onnxq
from onnxq.graph.query import is_op, weight_of
from onnxq.graph.spec import violations_qdq
from tests.e2e.transformers import MASKS, encoder, sentences
from tests.support import run

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.report.result import Result

PICKS = "row = Gather<axis=1>(last, first) y = Tanh(row)"


class Made(NamedTuple):
    source: ir.Model
    result: Result


@cache
def made(mask: str = "add", *, picks: bool = False) -> Made:
    source = encoder(mask, PICKS, "N,128") if picks else encoder(mask)
    return Made(source, onnxq.optimize(source, sentences(16), threads=1, check=True))


def readers(model: ir.Model, op_type: str) -> set[str]:
    """Which operators read what nodes of one type write, through those that only move values."""
    found: set[str] = set()
    pending = [out for node in model.graph if node.op_type == op_type for out in node.outputs]
    while pending:
        for node in pending.pop().consumers():
            if is_op(node, "Reshape", "Transpose"):
                pending += node.outputs
            else:
                found.add(node.op_type)
    return found


def is_dequantized(value: ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    while is_op(node, "Reshape", "Transpose"):
        assert node is not None
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    return is_op(node, "DequantizeLinear")


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("length", [96, 9])
@pytest.mark.parametrize("level", ["off", "all"])
def test_the_result_is_the_float_models(mask: str, length: int, level: str) -> None:
    source, result = made(mask)
    feeds = sentences(3, length, seed=1)
    wanted, found = run(source, feeds)["y"], run(result.model, feeds, level)["y"]  # type: ignore[arg-type]
    assert found.shape == wanted.shape
    noise = np.square(wanted - found, dtype=np.float64).mean()
    assert 10 * np.log10(np.square(wanted, dtype=np.float64).mean() / noise) > 30


@pytest.mark.parametrize("mask", MASKS)
def test_only_products_with_weights_read_codes(mask: str) -> None:
    result = made(mask).result
    assert violations_qdq(result.model) == []
    assert not [row for row in result.trace if row.rolled_back]
    assert readers(result.model, "DequantizeLinear") == {"MatMul", "Add"}
    products = [node for node in result.model.graph if is_op(node, "MatMul")]
    coded = {node.name for node in products if all(map(is_dequantized, node.inputs))}
    assert coded >= {f"node_{name}_product" for name in ("q", "k", "v", "up", "down")}
    assert not coded & {"node_scores", "node_mixed"}
    assert len(products) == 8


def test_residuals_are_float_and_what_is_dequantized_for_an_addition_is_a_bias() -> None:
    for node in made().result.model.graph:
        if not is_op(node, "Add"):
            continue
        bias = [v for v in node.inputs if v and is_op(v.producer(), "DequantizeLinear")]
        if bias:
            assert weight_of(bias[0].producer().inputs[0]) is not None  # type: ignore[union-attr]
            assert any(is_op(v.producer(), "MatMul") for v in node.inputs if v)


def test_normalizations_softmax_and_gelu_are_recognized_and_float() -> None:
    result = made().result
    count = [node.op_type for node in result.model.graph]
    assert count.count("LayerNormalization") == 3
    assert count.count("Gelu") == count.count("Softmax") == 1
    stayed = {row.node: row.reason for row in result.stayed_float}
    assert stayed["node_weights"] == "cpu has no integer kernel for Softmax"
    assert stayed["node_scores"] == "its second operand is no constant weight"


def test_most_of_the_work_runs_on_integers() -> None:
    assert made().result.integer_share > 0.8


@pytest.mark.parametrize("level", ["off", "all"])
def test_one_token_that_is_read_is_the_only_one_computed(level: str) -> None:
    source, result = made(picks=True)
    assert any(row.name == "select-early" and row.modified for row in result.trace)
    feeds = sentences(3, seed=1)
    wanted, found = run(source, feeds)["y"], run(result.model, feeds, level)["y"]  # type: ignore[arg-type]
    assert np.abs(wanted - found).max() < 0.1
    assert (np.abs(wanted) > 0.5).any()
