from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq import reference
from onnxq.errors import ModelError
from onnxq.graph.io import save, to_bytes
from onnxq.runtime.expose import produced_values
from onnxq.runtime.session import run_model
from tests.support import model, run

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

# A convolution whose sums are scaled by an integer and a shift, as integer graphs have it.
LAYER = model(
    """f (uint8[1, 3, 8, 8] x) => (uint8[1, 4, 4, 4] y)
<uint8[4, 3, 3, 3] w = {RANDOM}, uint8 xz = {7}, uint8 wz = {128},
 int64[1, 4, 1, 1] m = {11000000, 12000000, 13000000, 20000000},
 int64[1, 4, 1, 1] c = {1000000000, -2000000000, 30000000000, 400000000000},
 int64 low = {0}, int64 high = {1095216660479}, uint64 by = {32}> {
    sums = ConvInteger <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w, xz, wz)
    wide = Cast <to = 7> (sums)
    scaled = Mul (wide, m)
    moved = Add (scaled, c)
    cut = Clip (moved, low, high)
    bits = Cast <to = 13> (cut)
    shifted = BitShift <direction = "RIGHT"> (bits, by)
    y = Cast <to = 2> (shifted)
}""".replace("RANDOM", ", ".join(map(str, np.random.default_rng(1).integers(0, 256, 108))))
)
X = np.random.default_rng(2).integers(0, 256, (1, 3, 8, 8)).astype(np.uint8)


def test_every_value_of_an_integer_layer_is_that_of_onnxruntime() -> None:
    names = list(produced_values(LAYER))

    found = reference.run(LAYER, {"x": X}, every_value=True)

    wanted = run_model(LAYER, {"x": X}, names)
    assert list(found) == names
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert len(np.unique(found["y"])) > 10


def test_the_outputs_are_those_of_every_level_of_optimization() -> None:
    (found,) = reference.run(LAYER, {"x": X}).values()

    for level in ("off", "basic", "extended", "all"):
        np.testing.assert_array_equal(found, run(LAYER, {"x": X}, level)["y"])


def test_named_values_in_the_order_asked_for() -> None:
    found = reference.run(LAYER, {"x": X}, outputs=["wide", "sums", "x", "m"])

    assert list(found) == ["wide", "sums", "x", "m"]
    assert found["x"] is X
    assert found["m"].tolist()[0][3] == [[20000000]]


def test_outputs_come_in_the_order_of_the_model() -> None:
    graph = model("f (int32[1] x) => (int32[1] b, int32[1] a) { a = Add (x, x) b = Add (a, x) }")

    assert list(reference.run(graph, {"x": np.ones(1, np.int32)})) == ["b", "a"]
    assert reference.run(graph, {"x": np.ones(1, np.int32)}, outputs=[]) == {}


def test_what_nobody_needs_is_not_run() -> None:
    graph = model("""f (float[2] x) => (float[2] y, float[2] z) {
        y = Exp (x)
        z = Add (x, x)
    }""")
    feeds = {"x": np.array([1, 2], np.float32)}

    assert reference.run(graph, feeds, outputs=["z"])["z"].tolist() == [2, 4]
    with pytest.raises(ModelError, match=r"\(Exp\): the reference does not know this operator"):
        reference.run(graph, feeds)


def test_what_is_refused_is_left_out_with_what_comes_of_it() -> None:
    graph = model("""f (float[2] x) => (float[2] z) {
        a = Add (x, x)
        [n] b = Exp (a)
        c = Add (a, b)
        z = Add (a, a)
    }""")
    told: list[str] = []

    found = reference.evaluate(
        graph, {"x": np.ones(2, np.float32)}, refused=lambda error: told.append(str(error))
    )

    assert [value.name for value, _ in found] == ["a", "z"]
    assert told == ["node 'n' (Exp): the reference does not know this operator"]


def test_a_wrong_model_is_not_left_out() -> None:
    graph = model("f (uint8[2] x) => (uint8[2] y) { [n] y = Add (x, x) }")

    with pytest.raises(ModelError, match="does not fit uint8"):
        list(reference.evaluate(graph, {"x": np.full(2, 200, np.uint8)}, refused=print))


def test_a_model_of_any_kind(tmp_path: Path) -> None:
    save(LAYER, tmp_path / "net.onnx")
    wanted = reference.run(LAYER, {"x": X})["y"]

    for source in (tmp_path / "net.onnx", to_bytes(LAYER)):
        np.testing.assert_array_equal(reference.run(source, {"x": X})["y"], wanted)


def test_values_come_one_by_one() -> None:
    names = [value.name for value, _ in reference.evaluate(LAYER, {"x": X})]

    assert names == list(produced_values(LAYER))
    assert [value.name for value, _ in reference.evaluate(LAYER, {"x": X}, ["cut"])] == ["cut"]


def test_an_input_with_a_default() -> None:
    graph = model("f (int32[2] x, int32 d) => (int32[2] y) <int32 d = {5}> { y = Add (x, d) }")
    x = np.array([1, 2], np.int32)

    assert reference.run(graph, {"x": x})["y"].tolist() == [6, 7]
    assert reference.run(graph, {"x": x, "d": np.array(1, np.int32)})["y"].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("feeds", "reason"),
    [
        ({}, "input 'x' is not fed"),
        ({"x": X, "z": X}, "no input 'z'; feed x"),
        ({"x": X.astype(np.int32)}, "'x' is uint8, and int32 was fed"),
        ({"x": X[:, :2]}, r"'x' is \[1,3,8,8\], and \[1, 2, 8, 8\] was fed"),
    ],
)
def test_feeds_that_do_not_fit(feeds: dict[str, npt.NDArray[np.generic]], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        reference.run(LAYER, feeds)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="no value 'nothing'"):
        reference.run(LAYER, {"x": X}, outputs=["nothing"])


def test_an_operator_of_another_domain_is_unknown() -> None:
    graph = model("""<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]>
    f (uint8[2] x) => (uint8[2] y) { [n] y = com.microsoft.Add (x, x) }""")

    with pytest.raises(ModelError, match=r"'n' \(com.microsoft:Add\): .* does not know"):
        reference.run(graph, {"x": np.zeros(2, np.uint8)})


def test_a_missing_input_is_named() -> None:
    graph = model("f (uint8[2] x) => (uint8[2] y) { [n] y = Add (x) }")

    with pytest.raises(ModelError, match=r"'n' .*input 1 is missing"):
        reference.run(graph, {"x": np.zeros(2, np.uint8)})
