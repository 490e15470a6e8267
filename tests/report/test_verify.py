from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.errors import ConfigError
from onnxq.report.verify import fidelity, heavy_layers, latency, recognized_task
from onnxq.tasks.base import Overrides
from tests.passes.rewrite.building import build, rng_weight
from tests.support import feeds_for

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.report.result import Fidelity


def scaled(factor: float, shape: str = "N,4", body: str = "y = Mul(x, k)") -> ir.Model:
    text = f"f (float[{shape}] x, float k) => (float[{shape}] y) {{ {body} }}"
    return build(text, k=float(factor))


def rows(*numbers: float) -> list[dict[str, npt.NDArray[np.float32]]]:
    return [{"x": np.array([numbers], np.float32)}]


def judged(
    real: ir.Model, quantized: ir.Model, feeds: list[dict[str, npt.NDArray[np.float32]]]
) -> Fidelity:
    task = recognized_task(real, feeds, Overrides())
    return fidelity(real, quantized, feeds, task=task)


def test_sqnr_is_signal_over_noise_in_db_over_all_samples() -> None:
    feeds = rows(1, 2, 3, 4) + rows(-5, 0, 0, 100)
    found = judged(scaled(1), scaled(1.1), feeds)
    assert found.sqnr["y"] == pytest.approx(20, abs=1e-4)
    assert found.samples == 2


def test_equal_models_have_no_noise() -> None:
    assert judged(scaled(1), scaled(1), rows(1, 2, 3, 4)).sqnr == {"y": np.inf}


def test_noise_without_signal_is_the_worst() -> None:
    silent, loud = scaled(0), scaled(1)
    assert judged(silent, loud, rows(1, 2, 3, 4)).sqnr == {"y": -np.inf}


def test_agreement_counts_equal_answers_of_every_row() -> None:
    feeds = [{"x": np.eye(4, dtype=np.float32) + np.float32(0.1)}]
    swapped = build(
        "f (float[N,4] x, float[4] k) => (float[N,4] y) { y = Mul(x, k) }", k=[1.0, 1.0, 1.0, -1.0]
    )
    agreement = judged(scaled(1), swapped, feeds).agreement
    assert agreement is not None
    assert (agreement.value, agreement.n) == (0.75, 4)
    assert agreement.low < 0.75 < agreement.high


@pytest.mark.parametrize(
    ("shape", "expected"),
    [("1,4", True), ("1,4,1,1", True), ("1,1", False), ("1,4,2", False), ("4", False)],
)
def test_agreement_is_for_scores_of_classes_alone(shape: str, expected: bool) -> None:
    source = scaled(1, shape)
    assert (judged(source, source, [feeds_for(source)]).agreement is not None) is expected


def test_several_outputs_have_no_agreement() -> None:
    source = build(
        """f (float[N,4] x) => (float[N,4] y, int64[N] z) {
            y = Neg(x)
            z = ArgMax<axis=1, keepdims=0>(x) }"""
    )
    found = judged(source, source, rows(1, 2, 3, 4))
    assert found.agreement is None
    assert set(found.sqnr) == {"y"}


def test_no_samples_are_no_proof() -> None:
    found = judged(scaled(1), scaled(2), [])
    assert (dict(found.sqnr), found.agreement, found.samples) == ({}, None, 0)


def test_progress_counts_samples() -> None:
    told: list[int] = []
    source = scaled(1)
    task = recognized_task(source, [], Overrides())
    fidelity(source, source, rows(1, 2, 3, 4) * 3, task=task, progress=told.append)
    assert told == [1, 2, 3]


def layers(channels: int = 8) -> ir.Model:
    return build(
        f"""f (float[1,4,8,8] x, float[{channels},4,3,3] w, float[{channels},5] m)
            => (float[1,5] y) {{
            c = Conv(x, w)
            g = GlobalAveragePool(c)
            f = Flatten(g)
            y = MatMul(f, m) }}""",
        w=rng_weight(channels, 4, 3, 3),
        m=rng_weight(channels, 5),
    )


@pytest.mark.parametrize("channels", [8, 6], ids=["whole_vectors", "padded"])
def test_heavy_layers_are_those_that_ran_in_their_order(channels: int) -> None:
    """Channels that onnxruntime adds to fill its vectors are no work of the model."""
    source = layers(channels)
    found = heavy_layers(source, feeds_for(source))
    assert [(one.macs, one.integer) for one in found] == [
        (channels * 36 * 36, False),
        (channels * 5, False),
    ]


def test_latency_compares_two_models() -> None:
    source = layers()
    found = latency(source, source, feeds_for(source))
    assert min(found.float_ms, found.int_ms) > 0
    assert found.low <= found.speedup <= found.high
    assert 0.2 < found.speedup < 5


def test_the_task_is_named_with_what_was_recognized() -> None:
    found = judged(scaled(1), scaled(1), rows(1, 2, 3, 4))

    assert found.task == "classification"
    assert "y" in found.recognized


def test_outputs_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="'z' is no output; choose one of y"):
        recognized_task(scaled(1), [], Overrides(boxes=("z",)))
