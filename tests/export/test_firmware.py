from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq import cli
from onnxq.errors import ConfigError, ModelError, OutputError
from onnxq.export.firmware import export_firmware
from onnxq.graph.io import save
from tests.support import model

if TYPE_CHECKING:
    from pathlib import Path

NET = """f (float[N, 3] x) => (float[N, 2] y)
<float s = {0.5}, uint8 z = {128}, int8[3, 2] w = {1, -2, 3, 4, 5, -6}, float t = {0.25},
 int32[2] c = {7, -7}, int32 m = {3}> {
    q = QuantizeLinear (x, s, z)
    sums = MatMulInteger (q, w, z)
    scaled = Mul (sums, m)
    [last] moved = Add (scaled, c)
    y = DequantizeLinear (moved, t)
}"""


def exported(text: str, folder: Path, *shapes: str) -> dict[str, Any]:
    export_firmware(model(text), folder, shapes=shapes)
    found: dict[str, Any] = json.loads((folder / "graph.json").read_text("utf-8"))
    return found


def test_nodes_stand_in_order_and_name_their_values(tmp_path: Path) -> None:
    index = exported(NET, tmp_path / "t")
    names = [value["name"] for value in index["values"]]

    assert [node["operator"] for node in index["nodes"]] == [
        "QuantizeLinear",
        "MatMulInteger",
        "Mul",
        "Add",
        "DequantizeLinear",
    ]
    add = index["nodes"][3]
    assert add["name"] == "last"
    assert [names[i] for i in (*add["inputs"], *add["outputs"])] == ["scaled", "c", "moved"]
    assert [names[i] for i in (*index["inputs"], *index["outputs"])] == ["x", "y"]


def test_constants_have_a_place_and_a_role(tmp_path: Path) -> None:
    index = exported(NET, tmp_path / "t")
    content = (tmp_path / "t" / "constants.bin").read_bytes()
    constants = {value["name"]: value for value in index["values"] if "role" in value}

    assert {name: value["role"] for name, value in constants.items()} == {
        "s": "scale",
        "z": "zero point",
        "w": "weight",
        "m": "multiplier",
        "c": "addend",
        "t": "scale",
    }
    w = constants["w"]
    assert w["offset"] % 16 == 0
    assert content[w["offset"] :][: w["bytes"]] == np.array([1, -2, 3, 4, 5, -6], "i1").tobytes()
    assert len(content) % 16 == 0


def test_values_have_type_shape_and_scale(tmp_path: Path) -> None:
    values = {value["name"]: value for value in exported(NET, tmp_path / "t", "x=7x3")["values"]}

    assert values["q"] == {
        "name": "q", "dtype": "uint8", "shape": [7, 3], "scale": 0.5, "zero_point": 128
    }  # fmt: skip


def test_lines_are_entries(tmp_path: Path) -> None:
    exported(NET, tmp_path / "t")

    lines = (tmp_path / "t" / "graph.json").read_text("utf-8").splitlines()

    assert sum('"operator"' in line for line in lines) == 5


def test_what_depends_on_constants_alone_is_computed(tmp_path: Path) -> None:
    index = exported(
        """f (int32[N, 2] x) => (int32[N, 2] y, int64[2] n) {
            a = Constant <value_ints = [2, 3]> ()
            b = Add (a, a)
            c = Cast <to = 6> (b)
            y = Mul (x, c)
            n = Shape (x)
        }""",
        tmp_path / "t",
    )

    assert [node["operator"] for node in index["nodes"]] == ["Mul"]
    assert np.fromfile(tmp_path / "t" / "constants.bin", "<i4")[:2].tolist() == [4, 6]
    assert len(index["outputs"]) == 1


def test_padding_is_a_node_of_its_own(tmp_path: Path) -> None:
    index = exported(
        """f (uint8[1, 1, 4, 4] x) => (int32[1, 1, 2, 2] y)
        <uint8[1, 1, 3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}, uint8 z = {5}> {
            y = ConvInteger <strides = [2, 2], pads = [1, 1, 0, 0]> (x, w, z)
        }""",
        tmp_path / "t",
    )
    pad, conv = index["nodes"]

    assert pad["attributes"] == {"offsets": [6], "y_over": [25, 25, 5, 1]}
    assert index["values"][pad["outputs"][0]] == {
        "name": "y_padded", "dtype": "uint8", "shape": [1, 1, 5, 5]
    }  # fmt: skip
    assert conv["inputs"][0] == pad["outputs"][0]
    assert conv["attributes"]["over"] == [1, 1, 1, 2, 2]
    assert conv["attributes"]["x_over"] == [25, 25, 0, 10, 2]
    assert conv["attributes"]["strides"] == [2, 2]


@pytest.mark.parametrize(
    ("types", "line", "attributes"),
    [
        (
            "int32[2, 4] x) => (int32[2, 2] y, int64[2, 2] i",
            "k = Constant <value_ints = [2]> () y, i = TopK <axis = -1> (x, k)",
            {"axis": -1},
        ),
        (
            "int8[6, 2] x) => (float[6, 2] y",
            "y = DequantizeLinear <axis = 0, block_size = 3> (x, blocks)",
            {"axis": 0, "block_size": 3},
        ),
        (
            "uint8[3] x) => (uint8[3] y",
            "p = Constant <value_ints = [-1, 1]> () y = Pad (x, p)",
            {},
        ),
        ("uint8[2, 2] x) => (int32[2, 2] y", "y = MatMulInteger (x, w, rows)", {}),
    ],
)
def test_what_has_no_simple_form_keeps_its_own(
    tmp_path: Path, types: str, line: str, attributes: dict[str, int]
) -> None:
    (node,) = exported(
        f"""f ({types}) <float[2, 2] blocks = {{0.5, 1, 2, 4}}, uint8[2, 2] w = {{1, 2, 3, 4}},
                          uint8[2] rows = {{5, 6}}> {{ {line} }}""",
        tmp_path / "t",
    )["nodes"]

    assert node["attributes"] == attributes
    assert len(node["inputs"]) >= 2


def test_a_float_tail_is_left_out_and_what_it_reads_is_given_out(tmp_path: Path) -> None:
    index = exported(
        """f (uint8[2] x) => (float[2] y, uint8[2] z) <float s = {0.5}> {
            r = DequantizeLinear (x, s)
            [tail] e = Exp (r)
            y = Add (e, r)
            z = BitwiseNot (x)
        }""",
        tmp_path / "t",
    )

    assert [index["values"][i]["name"] for i in index["outputs"]] == ["z", "r"]
    assert len(index["left_out"]) == 1
    assert "'tail' (Exp)" in index["left_out"][0]


def test_floats_are_moved_and_not_computed_with(tmp_path: Path) -> None:
    index = exported(
        """f (uint8[2, 3] x) => (float[3, 2] y, float[2, 3] z) <float s = {0.5}, float c = {2}> {
            r = DequantizeLinear (x, s)
            y = Transpose (r)
            [tail] m = Mul (r, c)
            z = Sub (m, c)
        }""",
        tmp_path / "t",
    )

    assert [node["operator"] for node in index["nodes"]] == ["DequantizeLinear", "Transpose"]
    assert [index["values"][i]["name"] for i in index["outputs"]] == ["y", "r"]
    assert index["left_out"] == ["node 'tail' (Mul): it computes floats"]


def test_moves_that_depend_on_the_data(tmp_path: Path) -> None:
    index = exported(
        """f (uint8[4] x, int64[1] k) => (uint8[N] y, uint8[4] z) {
            zero = Constant <value_ints = [0]> ()
            [cut] y = Slice (x, zero, k)
            z = BitwiseNot (x)
        }""",
        tmp_path / "t",
    )

    assert [node["operator"] for node in index["nodes"]] == ["BitwiseNot"]
    assert "'cut' (Slice): what it does with its input depends on the data" in index["left_out"][0]


def test_nothing_exact(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"it has no integer part: node 'n' \(Exp\)"):
        exported("f (float[2] x) => (float[2] y) { [n] y = Exp (x) }", tmp_path / "t")


def test_a_shape_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no input 'q'"):
        exported(NET, tmp_path / "t", "q=1x3")


def test_a_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("mine", "utf-8")

    with pytest.raises(OutputError, match="is there already"):
        exported(NET, tmp_path / "t")


def test_the_same_bytes_again(tmp_path: Path) -> None:
    for name in "ab":
        exported(NET, tmp_path / name)

    for file in ("graph.json", "constants.bin"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(model(NET), tmp_path / "net.onnx")
    words = ["firmware", str(tmp_path / "net.onnx"), "-o", str(tmp_path / "t")]

    assert cli.main([*words, "--shape", "x=2x3"]) == 0

    out = capsys.readouterr().out
    assert "graph.json: 5 nodes; Add, DequantizeLinear, MatMulInteger, Mul, QuantizeLinear" in out
    assert "constants.bin: 96 B" in out
    assert '"shape": [2, 3]' in (tmp_path / "t" / "graph.json").read_text("utf-8")
