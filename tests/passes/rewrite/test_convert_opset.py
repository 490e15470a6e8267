"""Each operator that changed between opsets 7 and 21 keeps its function."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxq.errors import ModelError
from onnxq.graph.opset import NEWEST_INTEGER_OPSET
from onnxq.graph.spec import violations_float
from onnxq.passes.rewrite.convert_opset import ConvertOpset
from onnxq.passes.rewrite.infer_shapes import InferShapes
from onnxq.passes.rewrite.unique_names import UniqueNames
from tests.support import assert_same_function, model, run


def parsed(opset: int, text: str, ir_version: int = 4) -> ir.Model:
    header = f'<ir_version: {ir_version}, opset_import: ["": {opset}, "com.microsoft": 1]>'
    return model(header + text)


def converted(source: ir.Model, opset: int = 21, wanted: int | None = None) -> ir.Model:
    result = source.clone()
    UniqueNames()(result)
    InferShapes()(result)
    assert ConvertOpset(wanted or opset)(result).modified
    assert result.graph.opset_imports[""] == opset
    return result


IMAGE = "f (float[2,4,8,8] x) => (float[2,4,{0},{0}] y)"
REDUCED = "f (float[2,3,8,8] x) => (float[2,3,1,1] y)"
NORM = """f (float[2,2,4] x) => (float[2,2,4] y)
    <float[2] a={1,2}, float[2] b={3,4}, float[2] c={0.1,0.2}, float[2] d={1,0.5}>"""
UP = "<float[4] s={1,1,2,2}>"
DEPTH = "f (float[1,4,8,8] x) => (float[1,16,4,4] y)"
ROI = """f (float[1,2,9,9] x) => (float[1,2,2,2] y) <float[1,4] r={0,0,7,7}, int64[1] b={0}>"""
GRID = """f (float[1,2,4,4] x) => (float[1,2,2,2] y)
    <float[1,2,2,2] g={-1,-1,0,-0.7,1,-1,0.3,0}>"""

CASES = {
    "clip": (7, IMAGE.format(8) + "{ y = Clip<min=-0.5,max=0.5>(x) }"),
    "clip without bounds": (7, IMAGE.format(8) + "{ y = Clip(x) }"),
    "clip one bound": (10, IMAGE.format(8) + "{ y = Clip<max=0.5>(x) }"),
    "pad": (7, IMAGE.format(10) + "{ y = Pad<pads=[0,0,1,1,0,0,1,1],value=2.0>(x) }"),
    "pad reflect": (7, IMAGE.format(10) + '{ y = Pad<mode="reflect",pads=[0,0,1,1,0,0,1,1]>(x) }'),
    "slice": (
        9,
        "f (float[2,3,8,8] x) => (float[2,3,3,8] y) { y = Slice<axes=[2],starts=[1],ends=[4]>(x) }",
    ),
    "slice without axes": (
        7,
        "f (float[2,3] x) => (float[1,2] y) { y = Slice<starts=[0,1],ends=[1,3]>(x) }",
    ),
    "softmax of a matrix": (7, "f (float[2,3] x) => (float[2,3] y) { y = Softmax<axis=1>(x) }"),
    "softmax default axis": (7, IMAGE.format(8) + "{ y = Softmax(x) }"),
    "softmax inner axis": (12, IMAGE.format(8) + "{ y = Softmax<axis=2>(x) }"),
    "softmax dynamic batch": (
        11,
        "f (float[N,3,8] x) => (float[N,3,8] y) { t = Abs(x) y = Softmax<axis=1>(t) }",
    ),
    "log softmax": (11, IMAGE.format(8) + "{ y = LogSoftmax<axis=2>(x) }"),
    "hardmax last axis": (11, "f (float[2,3] x) => (float[2,3] y) { y = Hardmax(x) }"),
    "squeeze": (11, "f (float[2,3,1,1] x) => (float[2,3] y) { y = Squeeze<axes=[2,3]>(x) }"),
    "unsqueeze": (11, "f (float[2,3] x) => (float[2,3,1,1] y) { y = Unsqueeze<axes=[2,3]>(x) }"),
    "reduce mean": (
        11,
        "f (float[2,3,8,8] x) => (float[2,3] y) { y = ReduceMean<axes=[2,3],keepdims=0>(x) }",
    ),
    "reduce all": (11, "f (float[2,3] x) => (float y) { y = ReduceMean<keepdims=0>(x) }"),
    "reduce sum": (11, REDUCED + "{ y = ReduceSum<axes=[2,3]>(x) }"),
    "reduce max": (13, REDUCED + "{ y = ReduceMax<axes=[-1,-2]>(x) }"),
    "reduce l2": (11, REDUCED + "{ y = ReduceL2<axes=[2,3]>(x) }"),
    "split": (
        11,
        "f (float[2,4] x) => (float[2,1] y, float[2,3] z) { y, z = Split<axis=1,split=[1,3]>(x) }",
    ),
    "split evenly": (
        13,
        "f (float[2,4] x) => (float[2,2] y, float[2,2] z) { y, z = Split<axis=1>(x) }",
    ),
    "upsample 7 nearest": (
        7,
        IMAGE.format(16) + '{ y = Upsample<mode="nearest",scales=[1.0,1.0,2.0,2.0]>(x) }',
    ),
    "upsample 7 linear": (
        7,
        IMAGE.format(16) + '{ y = Upsample<mode="linear",scales=[1.0,1.0,2.0,2.0]>(x) }',
    ),
    "upsample 9 nearest": (9, IMAGE.format(16) + UP + '{ y = Upsample<mode="nearest">(x, s) }'),
    "upsample 9 linear": (9, IMAGE.format(16) + UP + '{ y = Upsample<mode="linear">(x, s) }'),
    "upsample 9 fraction": (
        9,
        IMAGE.format(12) + "<float[4] s={1,1,1.6,1.5}>" + "{ y = Upsample(x, s) }",
    ),
    "resize 10 nearest": (10, IMAGE.format(16) + UP + '{ y = Resize<mode="nearest">(x, s) }'),
    "resize 10 linear": (10, IMAGE.format(16) + UP + '{ y = Resize<mode="linear">(x, s) }'),
    "resize 10 smaller": (
        10,
        IMAGE.format(5) + "<float[4] s={1,1,0.7,0.7}>" + '{ y = Resize<mode="nearest">(x, s) }',
    ),
    "resize 10 smaller linear": (
        10,
        IMAGE.format(5) + "<float[4] s={1,1,0.7,0.7}>" + '{ y = Resize<mode="linear">(x, s) }',
    ),
    "resize 11": (
        11,
        IMAGE.format(16)
        + UP[:-1]
        + ', float[0] r={}> { y = Resize<mode="linear",coordinate_transformation_mode="asymmetric">'
        "(x, r, s) }",
    ),
    "resize 11 sizes": (
        11,
        IMAGE.format(16)
        + '<float[0] e={}, int64[4] s={2,4,16,16}> { y = Resize<mode="cubic">(x, e, e, s) }',
    ),
    "dropout": (7, "f (float[2,4] x) => (float[2,4] y) { t = Abs(x) y = Dropout<ratio=0.3>(t) }"),
    "batch normalization 7": (
        7,
        NORM + "{ y = BatchNormalization<epsilon=0.01,momentum=0.8,spatial=1>(x, a, b, c, d) }",
    ),
    "batch normalization 9": (9, NORM + "{ y = BatchNormalization(x, a, b, c, d) }"),
    "group normalization": (
        18,
        (
            "f (float[1,4,3,3] x) => (float[1,4,3,3] y) <float[2] s={1,2}, float[2] b={3,4}> "
            "{ y = GroupNormalization<num_groups=2>(x, s, b) }"
        ),
    ),
    "top k": (
        7,
        "f (float[2,9] x) => (float[2,3] y, int64[2,3] i) { y, i = TopK<k=3,axis=1>(x) }",
    ),
    "average pool": (
        7,
        (
            "f (float[2,4,8,8] x) => (float[2,4,5,5] y) { y = AveragePool<kernel_shape=[2,2],"
            "strides=[2,2],pads=[1,1,1,1],count_include_pad=1>(x) }"
        ),
    ),
    "average pool ceil": (
        11,
        (
            "f (float[2,4,8,8] x) => (float[2,4,5,5] y) { y = AveragePool<kernel_shape=[3,3],"
            "strides=[2,2],pads=[1,1,1,1],ceil_mode=1,count_include_pad=1>(x) }"
        ),
    ),
    "scatter": (
        9,
        (
            "f (float[3,3] x) => (float[3,3] y) <int64[1,3] i={1,0,2}, float[1,3] u={1,2,3}> "
            "{ y = Scatter(x, i, u) }"
        ),
    ),
    "roi align": (10, ROI + "{ y = RoiAlign<output_height=2,output_width=2>(x, r, b) }"),
    "grid sample": (16, GRID + '{ y = GridSample<mode="bicubic">(x, g) }'),
    "dft": (17, "f (float[1,4,1] x) => (float[1,4,2] y) { y = DFT<axis=1>(x) }"),
    "lstm": (
        7,
        (
            "f (float[3,1,2] x) => (float[3,1,1,1] y) <float[1,4,2] w={1,2,3,4,5,6,7,8}, "
            "float[1,4,1] r={0.1,0.2,0.3,0.4}> { y = LSTM<hidden_size=1>(x, w, r) }"
        ),
    ),
    "if": (
        11,
        (
            "f (float[2,3] x, bool c) => (float[2,3] y) { y = If(c) <"
            "then_branch = t () => (float[2,3] a) { a = Clip(x) },"
            "else_branch = e () => (float[2,3] b) "
            "{ q = Unsqueeze<axes=[0]>(x) b = Squeeze<axes=[0]>(q) }> }"
        ),
    ),
    "loop": (
        11,
        (
            "f (float[2,3] x) => (float[2,3] y) <int64 n={3}, bool c={1}> { y = Loop(n, c, x) <"
            "body = t (int64 i, bool ci, float[2,3] v) => (bool co, float[2,3] a) "
            "{ co = Identity(ci) q = Unsqueeze<axes=[0]>(v) r = Squeeze<axes=[0]>(q) "
            "a = Add(r, r) }>}"
        ),
    ),
    "contributed operator": (
        11,
        "f (float[2,3] x) => (float[2,3] y) { t = com.microsoft.Gelu(x) y = Clip(t) }",
    ),
    "sequence": (
        11,
        (
            "f (float[2,3] x) => (float[2,3] y) <int64 i={0}> "
            "{ s = SequenceConstruct(x) y = SequenceAt(s, i) }"
        ),
    ),
    "weight given out": (
        11,
        "f (float[2,3] x) => (float[2,3] y, float[1] w) <float[1] w={1}> { y = Add(x, w) }",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_same_function(case: str) -> None:
    source = parsed(*CASES[case])
    result = converted(source)
    UniqueNames()(result)
    assert violations_float(result) == []
    assert_same_function(source, result)


@pytest.mark.parametrize(("opset", "ir_version"), [(21, 10), (25, 13)])
def test_lowest_ir_version(opset: int, ir_version: int) -> None:
    assert converted(parsed(*CASES["clip"]), opset).ir_version == ir_version


def test_old_ir_version_with_weights_as_constants() -> None:
    source = parsed(*CASES["batch normalization 9"], ir_version=3)
    assert_same_function(source, converted(source))


def test_newer_opset_stays() -> None:
    source = parsed(22, "f (float[2] x) => (float[2] y) { y = Relu(x) }", ir_version=10)
    assert not ConvertOpset(21)(source).modified


def test_the_newest_opset_becomes_one_with_integer_kernels() -> None:
    source = parsed(28, DEPTH + "{ t = Celu(x) y = SpaceToDepth<blocksize=2>(t) }", ir_version=14)
    result = converted(source, NEWEST_INTEGER_OPSET, wanted=21)
    assert result.ir_version == 13
    assert_same_function(source, result)


def test_what_only_the_newest_opset_can_say_is_refused() -> None:
    source = parsed(28, DEPTH + '{ y = SpaceToDepth<blocksize=2,mode="CRD">(x) }', ir_version=14)
    with pytest.raises(ModelError, match=r"opset 28 cannot be converted to 27: .*mode must have"):
        ConvertOpset(21)(source)


def test_codes_run_in_the_newest_integer_opset() -> None:
    source = model(
        f"""<ir_version: 13, opset_import: ["": {NEWEST_INTEGER_OPSET}]>
        f (float[4] x) => (float[4] y) <float s = {{0.5}}, uint8 z = {{3}}>
        {{ q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }}"""
    )
    assert run(source, {"x": np.array([0.1, 0.4, 1, -9], np.float32)})["y"].tolist() == [
        0,
        0.5,
        1,
        -1.5,
    ]


def test_idempotent() -> None:
    assert not ConvertOpset(21)(converted(parsed(*CASES["clip"]))).modified


def test_model_without_standard_operators() -> None:
    source = model(
        '<ir_version: 10, opset_import: ["com.microsoft": 1]> '
        "f (float[2] x) => (float[2] y) { y = com.microsoft.Gelu(x) }"
    )
    assert_same_function(source, converted(source))


@pytest.mark.parametrize(
    ("opset", "text", "words"),
    [
        (6, "f (float[2] x) => (float[2] y) { y = Relu(x) }", "opset 6 is older than 7"),
        (
            11,
            "f (float[2,3,4] x) => (float[2,3,4] y) { [h] y = Hardmax<axis=1>(x) }",
            "Hardmax 'h'",
        ),
        (
            10,
            "f (float[1,1,8,8] x, float[4] s) => (float[A,B,C,D] y) { [r] y = Resize(x, s) }",
            "Resize 'r' of opset 10 has computed scales",
        ),
        (
            10,
            IMAGE.format(4) + "<float[4] s={1,1,2,0.5}> { [r] y = Resize(x, s) }",
            "both shrinks and enlarges",
        ),
        (
            9,
            NORM + "{ y, m, v, sm, sv = BatchNormalization(x, a, b, c, d) }",
            "opset 9 cannot be converted to 21: BatchNormalization",
        ),
        (7, "f (float[2,3] x) => (float[2,3] y) { y = NoSuchOperator(x) }", "cannot be converted"),
        (
            18,
            (
                "f (float[1,C,3] x, float[2] s, float[2] b) => (float[1,C,3] y) "
                "{ [g] y = GroupNormalization<num_groups=2>(x, s, b) }"
            ),
            "GroupNormalization 'g'",
        ),
    ],
    ids=["opset", "hardmax", "scales", "both ways", "training", "unknown", "group"],
)
def test_refusals(opset: int, text: str, words: str) -> None:
    source = parsed(opset, text)
    UniqueNames()(source)
    with pytest.raises(ModelError) as caught:
        ConvertOpset(21)(source)
    assert words in str(caught.value)
    assert "export the model with opset" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert source.graph.opset_imports[""] == opset


def test_large_weights_pass_by_the_converter() -> None:
    source = parsed(
        9, "f (float[2,64] x, float[64,64] w) => (float[2,64] y) { t = MatMul(x, w) y = Clip(t) }"
    )
    x, w = source.graph.inputs
    tensor = ir.tensor(np.random.default_rng(0).standard_normal((64, 64), np.float32), name="w")
    w.const_value = tensor
    source.graph.inputs.clear()
    source.graph.inputs.append(x)
    source.graph.register_initializer(w)
    result = converted(source)
    assert result.graph.initializers["w"].const_value is tensor
    assert [value.name for value in result.graph.inputs] == ["x"]
    assert_same_function(source, result)


def test_large_weight_of_a_subgraph() -> None:
    numbers = ",".join(str(i) for i in range(600))
    source = parsed(
        11,
        "f (float[600] x, bool c) => (float[600] y) { y = If(c) <"
        f"then_branch = t () => (float[600] a) <float[600] w={{{numbers}}}> {{ a = Add(x, w) }},"
        "else_branch = e () => (float[600] b) { b = Clip(x) }> }",
    )
    assert_same_function(source, converted(source))


def test_annotations_are_kept() -> None:
    source = parsed(11, "f (float[2] x) => (float[2] y) { [n] t = Clip(x) [m] y = Abs(t) }")
    source.graph.node(0).metadata_props["k"] = "node"
    source.graph.node(0).outputs[0].metadata_props["k"] = "value"
    source.graph.node(0).doc_string = "text"
    source.graph.metadata_props["k"] = "graph"
    source.metadata_props["k"] = "model"
    ConvertOpset(21)(source)
    node = next(node for node in source.graph if node.name == "n")
    assert node.metadata_props["k"] == "node"
    assert node.doc_string == "text"
    assert node.outputs[0].metadata_props["k"] == "value"
    assert source.graph.metadata_props["k"] == "graph"
    assert source.metadata_props["k"] == "model"


def test_dynamic_batch_stays_dynamic() -> None:
    source = parsed(11, "f (float[batch,3] x) => (float[batch,3] y) { y = Clip(x) }")
    result = converted(source)
    assert str(result.graph.inputs[0].shape) == "[batch,3]"
    assert str(result.graph.outputs[0].shape) == "[batch,3]"


def test_promised_output_shape_stays() -> None:
    source = parsed(11, "f (float[1,3] x) => (float[n,m] y) { y = Clip(x) }")
    assert str(converted(source).graph.outputs[0].shape) == "[n,m]"
