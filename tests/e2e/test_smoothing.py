"""Activation-aware equalization through the whole pipeline: outlier features behind a norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import onnxq
from onnxq.graph.choices import Choices, told_choices
from onnxq.graph.io import load, to_bytes
from tests.passes.rewrite.building import build, rng_weight
from tests.planted import damage_codes
from tools.models.testset import MODELS, pictures_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.report.result import Result

VIT, PICTURES = MODELS / "digits_vit.onnx", pictures_of("digits_vit") / "calibration"
RECIPE = str(MODELS / "digits_vit.toml")
WIDTH, LENGTH = 128, 64
OUTLIERS = [3, 40, 77, 110]


def block() -> ir.Model:
    """A norm and two layers; four features are sixty times as large, and read by small weights."""
    gain, offset = np.ones(WIDTH), rng_weight(WIDTH, seed=1) * 0.1
    first, second = rng_weight(WIDTH, 512, seed=2) / 11, rng_weight(512, WIDTH, seed=3) / 22
    gain[OUTLIERS] *= 60
    offset[OUTLIERS] *= 60
    first[OUTLIERS] /= 60
    return build(
        f"""f (float[N,{LENGTH},{WIDTH}] x, float[{WIDTH}] g, float[{WIDTH}] o,
               float[{WIDTH},512] w, float[512] b, float[512,{WIDTH}] v)
            => (float[N,{LENGTH},{WIDTH}] y) {{
            n = LayerNormalization(x, g, o)
            p = MatMul(n, w)
            q = Add(p, b)
            r = Gelu(q)
            y = MatMul(r, v) }}""",
        g=gain,
        o=offset,
        w=first,
        b=rng_weight(512, seed=4) * 0.1,
        v=second,
    )


@pytest.fixture(scope="module")
def result() -> Result:
    """Of the shipped transformer, by default."""
    made = onnxq.optimize(load(VIT), PICTURES, preprocess=RECIPE, threads=1)
    assert Choices(told_choices(made.model)).passes == ("smooth-activations",)
    return made


def samples() -> dict[str, npt.NDArray[np.float32]]:
    return {"x": rng_weight(24, LENGTH, WIDTH, seed=5)}


def optimized(granularity: str, *skip: str, weights: int = 8) -> Result:
    return onnxq.optimize(
        block(),
        samples(),
        threads=1,
        check=True,
        skip=skip,
        weight_granularity=granularity,
        weights=weights,
    )


def damaged(result: Result, node: str) -> onnxq.CompareResult:
    """Compares the block with what was made of it, some codes of one weight being wrong."""
    return onnxq.compare(block(), damage_codes(result.model, node), samples(), threads=1)


def sqnr(result: Result) -> float:
    found = result.metric("sqnr")
    assert found is not None
    return found


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_outlier_features_no_longer_cost_the_others_their_bits(granularity: str) -> None:
    before = optimized(granularity, "keep-signal", "smooth-activations")
    after = optimized(granularity, "keep-signal")
    assert before.metric("integer") == after.metric("integer") == 1
    assert sqnr(after) > sqnr(before) + 10
    assert all(e.rolled_back is None for e in after.trace)


def test_what_would_drown_stays_on_integers() -> None:
    before, after = optimized("channel", "smooth-activations"), optimized("channel")
    assert before.metric("integer") == pytest.approx(0.5)
    assert after.metric("integer") == 1
    assert sqnr(after) > 30


def test_a_plan_makes_the_same_of_other_samples(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    made = onnxq.optimize(block(), samples(), threads=1, save_plan=file)
    assert "smooth-activations" in file.read_text()
    other = {"x": 3 * samples()["x"][::-1, :, ::-1]}
    again = onnxq.optimize(block(), other, threads=1, plan=file)
    assert to_bytes(again.model) == to_bytes(made.model)


def test_factors_are_judged_at_the_bits_that_weights_will_have() -> None:
    many, few = (
        Choices(told_choices(optimized("channel", weights=bits).model)).take("smooth-activations")[
            "n"
        ]
        for bits in (8, 3)
    )
    assert np.abs(np.log(few / many)).max() > 0.1


def test_layers_of_a_smoothed_block_are_compared_in_the_terms_that_it_has() -> None:
    found = onnxq.compare(block(), optimized("channel").model, samples(), threads=1)
    assert min(layer.own for layer in found.layers) > 30
    assert found.guilty is None


@pytest.mark.parametrize("node", ["node_p", "node_y"])
def test_a_layer_with_wrong_codes_is_named_behind_smoothed_features(node: str) -> None:
    found = damaged(optimized("channel"), node)
    assert found.guilty is not None
    assert found.guilty.node == node


@pytest.mark.slow
@pytest.mark.parametrize("part", ["0/attention/qkv", "1/mlp/mlp.0", "2/attention/qkv"])
def test_a_layer_of_the_transformer_with_wrong_codes_is_named(result: Result, part: str) -> None:
    """By default, where what the layer reads has been smoothed."""
    node = f"/blocks/blocks.{part}/MatMul"
    broken = damage_codes(result.model, node, share=0.5)
    found = onnxq.compare(VIT, broken, PICTURES, preprocess=RECIPE)
    assert found.guilty is not None
    assert found.guilty.node == node


@pytest.mark.slow
def test_the_layers_of_the_transformer_are_compared_in_its_terms(result: Result) -> None:
    found = onnxq.compare(VIT, result.model, PICTURES, preprocess=RECIPE)
    assert min(layer.own for layer in found.layers) > 28
