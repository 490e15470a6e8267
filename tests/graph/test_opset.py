from __future__ import annotations

import onnx.helper  # noqa: TID251 (the standard's own table, as the reference)
import pytest

from onnxq.graph.opset import NEWEST_IR, NEWEST_OPSET, minimal_ir_version


@pytest.mark.parametrize("opset", range(1, NEWEST_OPSET + 1))
def test_agrees_with_the_standard(opset: int) -> None:
    table = onnx.helper.VERSION_TABLE  # noqa: TID251
    lowest = min(row[1] for row in table if row[2] >= opset)
    assert minimal_ir_version(opset) == lowest


def test_newest() -> None:
    assert minimal_ir_version(NEWEST_OPSET) == NEWEST_IR
