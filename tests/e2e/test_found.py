"""What the data decides: rows that are found, of which there may be none at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests.e2e.exports import assert_goes_through, export, samples_for, take_all_to_integers
from tests.e2e.networks import integer_heavy
from tests.support import run

# boxes, those that are kept, and a layer that looks at each of them, as in Faster R-CNN
TWO_STAGES = """net (float[1,3,16,16] x, float[8,3,3,3] w1, float[4,8,1,1] wb, float[2,8,1,1] wc,
    float[16,32] w2, float[16] b2, float[10,16] w3, int64[3] s4, int64[3] s2, int64[1] five,
    float iou, float least, int64[1] i0, int64[1] i1, int64[1] i2, int64[1] i3, int64[2] rows,
    int64[2] flat) => (float[found,10] y) {
    c = Conv<pads=[1,1,1,1]>(x, w1) r = Relu(c) b = Conv(r, wb) l = Conv(r, wc) p = Sigmoid(l)
    bf = Reshape(b, s4) boxes = Transpose<perm=[0,2,1]>(bf) scores = Reshape(p, s2)
    at = NonMaxSuppression(boxes, scores, five, iou, least)
    image = Slice(at, i0, i1, i1) images = Squeeze(image, i1)
    place = Slice(at, i2, i3, i1) places = Squeeze(place, i1)
    all = Reshape(boxes, rows) regions = Gather(all, places)
    a = RoiAlign<output_height=2, output_width=2, sampling_ratio=2>(r, regions, images)
    f = Reshape(a, flat) h = Gemm<transB=1>(f, w2, b2) k = Relu(h) y = Gemm<transB=1>(k, w3) }"""
GIVEN: dict[str, Any] = {
    "s4": [1, 4, -1], "s2": [1, 2, -1], "five": [5], "iou": 0.5, "least": 0.3, "i0": [0],
    "i1": [1], "i2": [2], "i3": [3], "rows": [-1, 4], "flat": [-1, 32],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _all_that_can_be_is_integer(monkeypatch: pytest.MonkeyPatch) -> None:
    take_all_to_integers(monkeypatch)


def test_a_second_stage_runs_on_integers() -> None:
    result = assert_goes_through(export(TWO_STAGES, **GIVEN))
    assert integer_heavy(result.model) == 5
    assert result.fidelity.task == "generic"


def test_a_second_stage_that_no_sample_reaches_stays_float() -> None:
    result = assert_goes_through(export(TWO_STAGES, **{**GIVEN, "least": 2.0}))
    assert integer_heavy(result.model) == 3
    reasons = {row.node: row.reason for row in result.stayed_float}
    unseen = [node for node, why in reasons.items() if why.startswith("no calibration sample")]
    assert {"Gemm", "Relu"} <= {node.split("_")[0] for node in unseen}


def test_a_pass_that_looks_at_rows_passes_over_what_no_sample_reaches() -> None:
    proto = export(TWO_STAGES, **{**GIVEN, "least": 2.0})
    result = assert_goes_through(proto, passes="+smooth-activations")
    assert integer_heavy(result.model) == 3


def test_rows_in_some_samples_alone() -> None:
    """The samples that nothing is found in have no say in ranges and biases."""
    proto = export(TWO_STAGES, **GIVEN)
    data = samples_for(proto)["x"]
    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    shown.graph.output.add(name="p")
    best = [float(run(shown.SerializeToString(), {"x": x[None]})["p"].max()) for x in data]
    result = assert_goes_through(export(TWO_STAGES, **{**GIVEN, "least": np.median(best)}))
    assert integer_heavy(result.model) == 5
