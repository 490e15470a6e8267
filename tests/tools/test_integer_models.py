import onnx
import pytest

from tools.integer_models import cut_at_borders, measure
from tools.study.cases import cases_of

MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[1, 4] x) => (float[1, 4] y)
<float s = {0.1}, uint8 z = {3}, int8[4] wq = {1, 2, 3, 4}>
{
    xq = QuantizeLinear (x, s, z)
    c = Max (xq, z)
    d = DequantizeLinear (c, s, z)
    w = DequantizeLinear (wq, s)
    y = Mul (d, w)
}
"""


def test_a_model_ends_in_the_codes_at_its_borders() -> None:
    cut = cut_at_borders(onnx.parser.parse_model(MODEL))
    assert [value.name for value in cut.graph.output] == ["c"]
    assert [node.op_type for node in cut.graph.node] == ["QuantizeLinear", "Max"]


@pytest.mark.slow
def test_both_forms_of_a_plan_agree_and_bits_are_the_same_everywhere() -> None:
    (case,) = cases_of(None, ["digits_mobilenetv2"], limit=50)
    row = measure(case, samples=8, images=2)
    assert row.nodes > 100
    assert (row.codes, row.different, row.wrong) == (2 * 10, 0, 0)
    assert row.agreement >= 96
    assert row.sqnr > 20
