import math

import numpy as np
import onnx_ir as ir

from onnxq.runtime.kernels import integer_share

FLOAT = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[1, 4, 8, 8] x) => (float[1, 6] y)
{
    c = Conv <pads = [1, 1, 1, 1]> (x, w1)
    p = GlobalAveragePool (c)
    f = Flatten (p)
    y = Gemm (f, w2)
}
"""
WEIGHTS = {"w1": (8, 4, 3, 3), "w2": (8, 6)}
QDQ = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[1, 4, 8, 8] x) => (float[1, 8, 8, 8] y)
<float s = {0.02}, uint8 z = {128}, float ws = {0.01}, int8 wz = {0}, int64[4] shape = {8, 4, 3, 3}>
{
    xq = QuantizeLinear (x, s, z)
    xd = DequantizeLinear (xq, s, z)
    wq = ConstantOfShape <value = int8[1] {3}> (shape)
    w = DequantizeLinear (wq, ws, wz)
    c = Conv <pads = [1, 1, 1, 1]> (xd, w)
    cq = QuantizeLinear (c, s, z)
    y = DequantizeLinear (cq, s, z)
}
"""
FEEDS = {"x": np.ones((1, 4, 8, 8), np.float32)}


def float_model(old: str = "", new: str = "", line: str = "") -> ir.Model:
    """Returns a model whose 8 channels onnxruntime pads to 16 where the CPU has AVX512.

    Args:
        old: To replace in the model.
        new: By what.
        line: To put behind the convolution.
    """
    weights = [
        f"float[{', '.join(map(str, shape))}] {name} = {{{', '.join(['0.1'] * math.prod(shape))}}}"
        for name, shape in WEIGHTS.items()
    ]
    text = FLOAT.replace("y)\n{", f"y)\n<{', '.join(weights)}>\n{{")
    text = text.replace(old, new).replace("(x, w1)\n", f"(x, w1)\n    {line}\n")
    return ir.from_onnx_text(text)


def test_macs_of_float_kernels_are_counted() -> None:
    found = integer_share(float_model(), FEEDS)
    assert [node.macs for node in found.nodes] == [8 * 8 * 8 * 4 * 9, 8 * 6]
    assert (found.share, found.integer_macs) == (0.0, 0)


def test_a_convolution_with_its_activation_is_called_and_counted_as_in_the_model() -> None:
    model = float_model("GlobalAveragePool (c)", "GlobalAveragePool (r)", "r = LeakyRelu (c)")
    model.graph[0].name = "the_convolution"
    found = integer_share(model, FEEDS)
    first = found.nodes[0]
    assert (first.name, first.macs) == ("the_convolution", 8 * 8 * 8 * 4 * 9)


def test_an_integer_convolution_is_seen_as_one() -> None:
    found = integer_share(ir.from_onnx_text(QDQ), FEEDS)
    assert [node.op for node in found.nodes] == ["QLinearConv"]
    assert found.share == 1.0
    assert found.integer_macs == 8 * 8 * 8 * 4 * 9


def test_a_kernel_is_called_as_the_model_calls_its_node() -> None:
    model = ir.from_onnx_text(QDQ)
    for node in model.graph:
        node.name = f"the_{node.outputs[0].name}"

    found = integer_share(model, FEEDS)

    # onnxruntime names the QLinearConv that it puts there the_c_token_N
    assert [node.name for node in found.nodes] == ["the_c"]


def test_a_convolution_without_q_behind_it_is_float() -> None:
    text = QDQ.replace("cq = QuantizeLinear (c, s, z)", "y = Neg (c)").replace(
        "y = DequantizeLinear (cq, s, z)", ""
    )
    assert integer_share(ir.from_onnx_text(text), FEEDS).share == 0.0


def test_a_model_without_heavy_nodes_has_share_zero() -> None:
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N] x) => (float[N] y) { y = Exp (x) }'
    )
    found = integer_share(model, {"x": np.ones(3, np.float32)})
    assert (found.nodes, found.share) == ((), 0.0)
