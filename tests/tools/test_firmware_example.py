"""The C program that runs what ``onnxq firmware`` writes: the same bits as the reference."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq import reference
from onnxq.export.firmware import export_firmware
from onnxq.export.raw import raw_bytes
from tests.reference.checking import integers
from tests.support import model
from tests.tools.firmware_program import NEEDS_GCC, built

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt
    import onnx_ir as ir

    Array = npt.NDArray[Any]

pytestmark = NEEDS_GCC


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("firmware"))


def assert_same_bits(
    program: Path, folder: Path, source: ir.Model, feeds: Mapping[str, Array]
) -> None:
    shapes = [f"{name}={'x'.join(map(str, x.shape))}" for name, x in feeds.items() if x.ndim]
    export_firmware(source, folder / "tables", shapes=shapes)
    wanted = reference.run(source, feeds)
    files = [folder / f"{name}.bin" for name in (*feeds, *wanted)]
    for file, array in zip(files, feeds.values(), strict=False):
        file.write_bytes(raw_bytes(array))
    subprocess.run([program, folder / "tables", *files], check=True)
    for file, array in zip(files[len(feeds) :], wanted.values(), strict=True):
        assert file.read_bytes() == raw_bytes(array), file.name


X = integers(np.random.default_rng(1), "uint8", (2, 4, 6, 7))

FOUR, FLAT = "uint8[A, B, C, D]", "uint8[A, B]"
MOVES = {
    "transpose": (FOUR, "y = Transpose <perm = [0, 2, 3, 1]> (x)"),
    "slice": (
        FOUR,
        """b = Constant <value_ints = [-1, 1]> ()
        e = Constant <value_ints = [-9, 5]> ()
        a = Constant <value_ints = [3, 1]> ()
        s = Constant <value_ints = [-2, 2]> ()
        y = Slice (x, b, e, a, s)""",
    ),
    "reshape": (FLAT, "s = Constant <value_ints = [0, -1]> () y = Reshape (x, s)"),
    "expand": (
        "uint8[A, B, C, D, E]",
        "s = Constant <value_ints = [3, 2, 4, 6, 7]> () y = Expand (x, s)",
    ),
    "split": (FOUR, "a, y = Split <axis = 1, num_outputs = 2> (x)"),
    "resize": (
        FOUR,
        """s = Constant <value_floats = [1.0, 1.0, 1.5, 2.0]> ()
        y = Resize <mode = "nearest"> (x, , s)""",
    ),
    "depth to space": (FOUR, "y = DepthToSpace <blocksize = 2> (x)"),
    "tile": (FOUR, "s = Constant <value_ints = [1, 1, 2, 3]> () y = Tile (x, s)"),
    "concat": (FOUR, "z = Transpose <perm = [0, 1, 2, 3]> (x) y = Concat <axis = -2> (x, z, x)"),
    "pad": (
        FOUR,
        """s = Constant <value_ints = [0, 1, 2, 0, 0, 0, 1, 3]> ()
        f = Constant <value = uint8 {9}> ()
        y = Pad (x, s, f)""",
    ),
    "pad by edges": (
        FOUR,
        """s = Constant <value_ints = [0, 1, 2, 0, 0, 0, 1, 3]> ()
        y = Pad <mode = "edge"> (x, s)""",
    ),
    "pad one axis": (
        FOUR,
        """s = Constant <value_ints = [1, 2]> ()
        a = Constant <value_ints = [-1]> ()
        y = Pad (x, s, , a)""",
    ),
    "gather": (FOUR, "i = Constant <value_ints = [-1, 0, 2]> () y = Gather <axis = 1> (x, i)"),
    "pick": ("uint8[A, B, C]", "i = Constant <value_int = 3> () y = Gather <axis = 2> (x, i)"),
    "max pool": (
        FOUR,
        """y = MaxPool <kernel_shape = [3, 2], strides = [2, 1], pads = [1, 0, 2, 1],
                        dilations = [1, 2]> (x)""",
    ),
    "max pool with a short end": (
        FOUR,
        "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (x)",
    ),
    "largest": (FOUR, "a = Constant <value_ints = [1, -1]> () y = ReduceMax (x, a)"),
    "smallest": ("uint8", "y = ReduceMin <keepdims = 0> (x)"),
}


@pytest.mark.parametrize("case", MOVES)
def test_what_moves_or_compares(program: Path, tmp_path: Path, case: str) -> None:
    output, nodes = MOVES[case]
    graph = model(f"f (uint8[2, 4, 6, 7] x) => ({output} y) {{ {nodes} }}")

    assert_same_bits(program, tmp_path, graph, {"x": X})


def test_a_table_is_looked_up_by_codes(program: Path, tmp_path: Path) -> None:
    table = ", ".join(map(str, range(255, -1, -1)))
    graph = model(f"""f (uint8[2, 4, 6, 7] x) => ({FOUR} y)
    <uint8[256] t = {{{table}}}> {{
        i = Cast <to = 6> (x)
        y = Gather (t, i)
    }}""")

    assert_same_bits(program, tmp_path, graph, {"x": X})


@pytest.mark.parametrize(
    "attributes",
    [
        "group = 1",
        "strides = [2, 1], pads = [1, 0, 2, 3]",
        'dilations = [2, 3], auto_pad = "SAME_UPPER"',
        "group = 2, strides = [1, 2]",
        "group = 4, pads = [1, 1, 1, 1]",
    ],
)
@pytest.mark.parametrize("zeros", ["", ", a", ", a, b", ", , many"])
def test_conv_integer(program: Path, tmp_path: Path, attributes: str, zeros: str) -> None:
    group = int(attributes[8]) if attributes.startswith("group") else 1
    weight = integers(np.random.default_rng(2), "uint8", (8, 4 // group, 3, 2))
    graph = model(f"""f (uint8[2, 4, 6, 7] x, uint8[8, {4 // group}, 3, 2] w)
        => (int32[A, B, C, D] y)
    <uint8 a = {{99}}, uint8 b = {{128}}, uint8[8] many = {{1, 2, 3, 4, 5, 6, 7, 8}}> {{
        y = ConvInteger <{attributes}> (x, w{zeros})
    }}""")

    assert_same_bits(program, tmp_path, graph, {"x": X, "w": weight})


@pytest.mark.parametrize("dims", [("3, 5", "5, 4"), ("2, 1, 3, 5", "6, 5, 4"), ("2, 3, 5", "5, 4")])
@pytest.mark.parametrize("zeros", ["", ", a", ", a, b", ", , many"])
def test_matmul_integer(program: Path, tmp_path: Path, dims: tuple[str, str], zeros: str) -> None:
    rng = np.random.default_rng(3)
    shapes = [tuple(map(int, text.split(","))) for text in dims]
    rank = max(map(len, shapes))
    graph = model(f"""f (uint8[{dims[0]}] x, int8[{dims[1]}] w)
        => (int32[{", ".join("ABCD"[:rank])}] y)
    <uint8 a = {{99}}, int8 b = {{-3}}, int8[4] many = {{1, -2, 3, -4}}> {{
        y = MatMulInteger (x, w{zeros})
    }}""")
    feeds = {"x": integers(rng, "uint8", shapes[0]), "w": integers(rng, "int8", shapes[1])}

    assert_same_bits(program, tmp_path, graph, feeds)


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_a_rescaled_sum(program: Path, tmp_path: Path, kind: str) -> None:
    """Every operator of a requantization: multiply, add, clip, shift, narrow."""
    rng = np.random.default_rng(4)
    to, unsigned = ("6", "12") if kind == "int32" else ("7", "13")
    graph = model(f"""f (int32[2, 3, 4] x, int32[4] z) => (uint8[2, 3, 4] y)
    <{kind}[3, 1] m = {{700, 801, 902}}, {kind} c = {{-1234}}, {kind} low = {{0}},
     {kind} high = {{1048575}}, u{kind} by = {{12}}, {kind}[4] least = {{-900, -50, 0, 3}},
     {kind} most = {{800}}, {kind} other = {{1000}}> {{
        d = Sub (x, z)
        wide = Cast <to = {to}> (d)
        a = Max (wide, least)
        b = Min (other, a, most)
        scaled = Mul (b, m)
        moved = Add (scaled, c)
        cut = Clip (moved, low, high)
        bits = Cast <to = {unsigned}> (cut)
        shifted = BitShift <direction = "RIGHT"> (bits, by)
        y = Cast <to = 2> (shifted)
    }}""")
    feeds = {"x": integers(rng, "int32", (2, 3, 4), at_most=1500)}
    feeds["z"] = integers(rng, "int32", (4,), at_most=9)

    assert_same_bits(program, tmp_path, graph, feeds)


def test_quotients_and_comparisons(program: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    graph = model("""f (int64[4, 5] x) => (int64[4, 5] q, int64[4, 5] y)
    <int64[5] z = {1, -2, 3, 1000000, -1000000}> {
        q = Div (x, z)
        larger = GreaterOrEqual (q, z)
        more = Cast <to = 7> (larger)
        y = Sub (q, more)
    }""")

    assert_same_bits(
        program, tmp_path, graph, {"x": integers(rng, "int64", (4, 5), at_most=10**12)}
    )


@pytest.mark.parametrize("codes", ["uint8", "int8", "int16"])
@pytest.mark.parametrize("axis", [None, 1, -1])
def test_borders(program: Path, tmp_path: Path, codes: str, axis: int | None) -> None:
    many = "" if axis is None else "[3]"
    attribute = "" if axis is None else f"<axis = {axis}>"
    numbers = ("0.25", "3") if axis is None else ("0.25, 0.5, 0.125", "3, 0, 7")
    graph = model(f"""f (float[2, 3, 3] x) => ({codes}[2, 3, 3] q, float[2, 3, 3] y)
    <float{many} s = {{{numbers[0]}}}, {codes}{many} z = {{{numbers[1]}}}> {{
        q = QuantizeLinear {attribute} (x, s, z)
        y = DequantizeLinear {attribute} (q, s, z)
    }}""")
    x = (np.random.default_rng(5).integers(-400, 400, (2, 3, 3)) / 8).astype(np.float32)

    assert_same_bits(program, tmp_path, graph, {"x": x})


def test_an_operator_that_it_does_not_know(program: Path, tmp_path: Path) -> None:
    graph = model("f (int32[2] x) => (int32[2] y) { y = Sign (x) }")
    export_firmware(graph, tmp_path / "tables")
    (tmp_path / "x.bin").write_bytes(bytes(8))
    words = [program, tmp_path / "tables", tmp_path / "x.bin", tmp_path / "y.bin"]

    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert 'unknown: "Sign"' in done.stderr
