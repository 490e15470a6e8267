"""What each option does to the result."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

import onnxq
from onnxq.data.calibration import CalibrationData
from onnxq.errors import ConfigError
from onnxq.graph.io import to_bytes
from onnxq.plan.spec import PerAxis, PerTensor
from onnxq.report.bits import activation_bits
from tests.e2e.networks import classifier, detector, float_heavy, images, integer_heavy

if TYPE_CHECKING:
    from pathlib import Path

    from onnxq.report.result import Result


@cache
def optimized(*, samples: int = 16, **options: object) -> Result:
    data = {"x": images(samples)}
    return onnxq.optimize(classifier(), data, threads=1, **options)  # type: ignore[arg-type]


# ---- nodes that stay float -----------------------------------------------------------------------


def test_a_node_that_is_kept_float_says_who_asked() -> None:
    data = {"x": images(8)}
    made = onnxq.optimize(detector(), data, threads=1, keep_float=("node_h[b]",))
    reasons = {node.node: node.reason for node in made.stayed_float}
    assert reasons["node_hb"] == "asked for by --keep-float"
    assert {"node_c1", "node_hb"} <= set(float_heavy(made.model))
    assert "node_hs" not in float_heavy(made.model)
    assert integer_heavy(made.model) >= 2


def test_keeping_everything_float_gives_the_float_model_back() -> None:
    made = optimized(keep_float="*")
    assert integer_heavy(made.model) == 0
    assert made.integer_share == 0
    assert made.fidelity.worst is not None
    assert made.fidelity.worst[1] > 100
    assert any("nothing runs on integers" in warning for warning in made.warnings)


# ---- data ----------------------------------------------------------------------------------------


def test_without_data_weights_alone_are_quantized() -> None:
    made = onnxq.optimize(classifier(), threads=1)
    assert made.latency is None
    assert made.fidelity.sqnr == {}
    assert made.fidelity.samples == 0
    assert made.heavy == ()
    assert [w.split(":")[0] for w in made.warnings] == ["no --data"]
    assert made.size_after < 0.35 * made.size_before
    assert set(made.plan.values) == {"w1", "w2"}
    assert "QuantizeLinear" not in {node.op_type for node in made.model.graph}


def test_one_sample_is_enough_and_its_use_is_told() -> None:
    made = optimized(samples=1)
    assert integer_heavy(made.model) == 2
    assert made.fidelity.samples == 1
    assert any("held out" in warning for warning in made.warnings)


@pytest.mark.parametrize(
    ("available", "asked", "judged"), [(16, 64, 4), (16, 8, 2), (16, 0, 4), (2, 64, 1)]
)
def test_a_quarter_of_the_samples_is_held_out(available: int, asked: int, judged: int) -> None:
    made = onnxq.optimize(classifier(), {"x": images(available)}, threads=1, samples=asked)
    assert made.fidelity.samples == judged
    assert made.warnings == ()


def test_held_out_samples_have_no_part_in_the_plan() -> None:
    x = images(16)
    held = CalibrationData.open({"x": x}, classifier(), onnxq.Config()).held_out
    spoilt = x.copy()
    spoilt[list(held)] *= 100
    first, second = (onnxq.optimize(classifier(), {"x": a}, threads=1) for a in (x, spoilt))
    assert to_bytes(first.model) == to_bytes(second.model)
    assert first.fidelity.sqnr["y"] > second.fidelity.sqnr["y"] + 10


def test_data_may_be_an_iterable_of_feeds_or_a_callable() -> None:
    rows = [{"x": row[None]} for row in images(16)]
    for data in (rows, lambda: iter(rows), images(16)):
        made = onnxq.optimize(classifier(), data, threads=1)
        assert to_bytes(made.model) == to_bytes(optimized().model)


# ---- how it is quantized -------------------------------------------------------------------------


def test_one_scale_for_a_whole_weight() -> None:
    coarse = optimized(weight_granularity="tensor").plan
    assert isinstance(optimized().plan.values["w2"].spec.granularity, PerAxis)
    assert isinstance(coarse.values["w2"].spec.granularity, PerTensor)


def test_layers_are_equalized_for_one_scale_per_weight_or_on_request() -> None:
    def ran(**options: object) -> bool:
        return "equalize-layers" in [entry.name for entry in optimized(**options).trace]

    assert ran(weight_granularity="tensor")
    assert not ran()
    assert not ran(weight_granularity="tensor", skip=("equalize-layers",))
    assert ran(passes=("equalize-layers",))


@pytest.mark.parametrize(
    "method", ["minmax", "percentile:99.9", "kl", "mse", "lp:3", "adaptive-lp", "pd", "auto"]
)
def test_every_calibration_method_leads_to_a_result(method: str) -> None:
    made = optimized(calibration=method)
    assert made.options["calibration"] == method
    assert made.fidelity.sqnr["y"] > 30


def test_auto_says_which_methods_it_tried_and_takes_one() -> None:
    made = optimized(calibration="auto")
    notes = [note for note in made.notes if note.source == "auto"]

    assert [note.where for note in notes][:4] == ["mse", "lp:1.5", "lp:3", "kl"]
    assert notes[-1].text.startswith("taken: ")
    assert [row.name for row in made.trace].count("fit-activations") == 1
    assert [note for note in optimized(calibration="auto", require="sqnr>=1").notes
            if note.source == "auto"][-1].text == "taken: it meets what is required"  # fmt: skip


def test_percentile_cuts_what_minmax_keeps() -> None:
    scales = []
    for method in ("percentile:90", "minmax"):
        params = optimized(calibration=method).plan.values["r2"].params
        assert params is not None
        scales.append(float(params.scale))
    assert scales[0] < 0.8 * scales[1]


def test_the_opset_is_the_one_asked_for() -> None:
    assert optimized(opset=23).model.graph.opset_imports[""] == 23


# ---- bits ----------------------------------------------------------------------------------------


def test_four_bit_activations_are_what_layers_multiply() -> None:
    made = optimized(activations=4)
    bits = activation_bits(made.plan)
    assert (bits["r1"], bits["f"]) == (4, 8)
    assert integer_heavy(made.model) == integer_heavy(optimized().model)
    assert made.integer_share == optimized().integer_share
    assert 8 < made.fidelity.sqnr["y"] < optimized().fidelity.sqnr["y"]


@pytest.mark.parametrize(
    ("options", "p"),
    [
        ({"activations": 8}, 2.0),
        ({"activations": 4}, 2.5),
        ({"activations": 4, "calibration": "mse"}, 2.0),
    ],
)
def test_four_bit_activations_have_an_exponent_of_their_own(
    options: dict[str, object], p: float
) -> None:
    params = optimized(**options).plan.values["r1"].params
    assert params is not None
    assert params.p == p


def test_a_plan_of_four_bits_can_be_replayed(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    made = optimized(activations=4, save_plan=file)
    assert '"dtype": "uint4"' in file.read_text()
    assert to_bytes(optimized(plan=file).model) == to_bytes(made.model)


def test_four_bits_cannot_be_had_without_the_pass_that_gives_them() -> None:
    with pytest.raises(ConfigError, match="--skip narrow-activations: nothing works without it"):
        optimized(activations=4, skip="narrow-activations")
    listed = [{"name": name} for name in ("leave-unseen", "fit-activations", "fit-weights")]
    with pytest.raises(ConfigError, match=r"\[\[plan\]\] lacks narrow-activations"):
        onnxq.optimize(classifier(), {"x": images(8)}, activations=4, pipeline={"plan": listed})


def test_a_pipeline_may_narrow_all_layers() -> None:
    plan = ["leave-unseen", "narrow-activations", "fit-activations", "fit-weights"]
    steps: list[dict[str, object]] = [{"name": name} for name in plan]
    steps[1] |= {"bits": 5, "edges": True}
    made = onnxq.optimize(classifier(), {"x": images(8)}, threads=1, pipeline={"plan": steps})
    bits = activation_bits(made.plan)
    assert (bits["r1"], bits["f"]) == (5, 5)


# ---- passes --------------------------------------------------------------------------------------


def test_a_pass_that_is_skipped_does_not_run() -> None:
    made = optimized(skip="correct-bias")
    assert "correct-bias" not in [row.name for row in made.trace]
    assert made.plan.bias_shift == {}
    assert optimized().plan.bias_shift != {}
    assert made.fidelity.sqnr["y"] < optimized().fidelity.sqnr["y"]


def test_rewrites_can_be_chosen() -> None:
    names = [row.name for row in optimized(passes="fold-batchnorm,fold-affine").trace]
    assert "fold-batchnorm" in names
    assert "fold-pad" not in names


@pytest.mark.parametrize("name", ["assign-integers", "fit-activations", "fit-weights"])
def test_a_pass_that_all_others_need_cannot_be_skipped(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        optimized(skip=name)


def test_the_plan_says_what_bias_correction_is_worth() -> None:
    shifts = optimized().plan.bias_shift
    assert set(shifts) <= {"node_c2", "node_y"}
    assert all(shift.dtype == np.float32 for shift in shifts.values())
