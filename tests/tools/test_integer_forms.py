"""The forms that are timed compute the same."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from tools.integer_forms import LAYERS, Layer, Run, convolutions, rescalings, table, timed


def result(run: Run) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        run.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": run.feed})[0])


@pytest.mark.parametrize("layer", [LAYERS[1], LAYERS[4], Layer("depthwise", 16, 16, 8, 3, 16)])
def test_all_forms_of_a_layer_give_its_sums(layer: Layer) -> None:
    sums = {name: result(run) for name, run in convolutions(layer).items()}
    wanted = sums["ConvInteger u8 · u8"]
    for name, found in sums.items():
        if name.startswith(("float", "QLinear")):
            continue
        same = found.transpose(0, 3, 1, 2) if name.startswith("rows") else found
        np.testing.assert_array_equal(same, wanted, err_msg=name)


@pytest.mark.parametrize("last", [False, True])
def test_forms_of_rescaling_differ_by_rounding_alone(last: bool) -> None:
    codes = {name: result(run).astype(int) for name, run in rescalings(8, 6, last=last).items()}
    wanted = codes["int64, clip behind"]
    for name in ("int32, clip before", "float pair"):
        assert np.abs(codes[name] - wanted).max() <= 1


def test_times_stand_in_a_table() -> None:
    rows = {"a": timed({"one": rescalings(8, 6, last=False)["float pair"]}, rounds=1), "b": {}}
    assert table(rows).splitlines()[0] == "| µs | one |"
    assert table(rows).splitlines()[-1] == "| b |  |"
