from __future__ import annotations

import pytest

from onnxq.calibration_method import CALIBRATION_METHODS, CalibrationMethod
from onnxq.errors import ConfigError


def test_what_is_listed_can_be_read() -> None:
    for word in CALIBRATION_METHODS.replace(" or ", ", ").split(", "):
        text = word.replace("[:PERCENT]", ":99").replace(":P", ":2.5")
        assert CalibrationMethod.parse(text).name == text.partition(":")[0]


@pytest.mark.parametrize(
    "text", ["", "lp", "lp:", "lp:0", "lp:5", "mse:2", "kl:", "percentile:100.1"]
)
def test_anything_else_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CalibrationMethod.parse(text)
    assert str(caught.value) == (
        f"--calibration '{text}' is unknown; choose {CALIBRATION_METHODS}, PERCENT above 50 and up "
        "to 100, P from 1 to 4; or adaptive-lp, pd or auto"
    )


def test_only_errors_have_an_exponent() -> None:
    assert CalibrationMethod.parse("mse").p == 2
    assert CalibrationMethod.parse("lp:1.5").p == 1.5
    assert CalibrationMethod.parse("kl").p is None
    assert CalibrationMethod.parse("adaptive-lp") == ("adaptive-lp", 99.99, 2.0)
    assert CalibrationMethod.parse("percentile").p is None


def test_searches_are_passes_of_their_own() -> None:
    fits, searches = ["mse", "minmax", "kl", "percentile", "lp:3"], ["adaptive-lp", "pd", "auto"]

    assert [m for m in fits + searches if CalibrationMethod.parse(m).searches] == searches
