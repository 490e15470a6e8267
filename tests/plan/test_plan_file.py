from __future__ import annotations

import errno
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxq.errors import OutputError, PlanError
from onnxq.plan.note import Note, NoteKind
from onnxq.plan.plan_file import load_plan, save_plan
from onnxq.plan.plan_json import float32_list
from onnxq.plan.quant_plan import QuantPlan, Use, ValuePlan
from onnxq.plan.spec import IntType, PerAxis, PerBlock, PerTensor, QParams, QuantSpec

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from onnxq.plan.spec import Granularity


def spec(dtype: str, *, symmetric: bool, granularity: Granularity | None = None) -> QuantSpec:
    return QuantSpec(IntType.parse(dtype), symmetric, granularity or PerTensor())


def everything() -> QuantPlan:
    x = ValuePlan(
        spec("uint8", symmetric=False),
        QParams(np.float32(0.1), np.int32(3), "lp", p=2.5, error=1e-7, gain=0.125),  # type: ignore[arg-type]
    )
    w = ValuePlan(
        spec("int8", symmetric=True, granularity=PerAxis(0)),
        QParams(np.array([1 / 3, 1e-30], np.float32), np.array([0, 0])),
        np.array([[-127, 5, 0], [1, 2, 127]], np.int32),
    )
    blocks = ValuePlan(
        spec("int4", symmetric=True, granularity=PerBlock(1, 2)),
        QParams(np.array([[1, 2], [3, 4]], np.float32), np.zeros((2, 2), np.int32), "minmax"),
    )
    moved = ValuePlan(
        spec("uint8", symmetric=False, granularity=PerAxis(1)),
        QParams(np.array([1, 2], np.float32), np.array([0, 255])),
    )
    bare = ValuePlan(spec("uint8", symmetric=False))
    levels = np.array([-64, 0, 9, 64], np.int32)
    coded = replace(w, codes=np.array([[0, 9, 64]], np.int32), levels=levels)
    return QuantPlan(
        values={
            "x": x,
            "w": w,
            "coded": coded,
            "blocks": blocks,
            "moved": moved,
            "no params/µ": bare,
        },
        uses={Use("a:b", 0): bare, Use("c", 2): bare, Use("d", 1): x},
        groups=(frozenset({"x", "a", "q"}), frozenset({"c"})),
        bias_shift={"node": np.array([0.1, -3e-5], np.float32)},
        float_nodes={"head": "output tail: 5 µs"},
        choices='[["pass/part",{"x":["bfloat16","AAA="]}]]',
        notes=(Note(NoteKind.REFUSED, "pass", "head", "a\nreason"),),
    )


def saved(plan: QuantPlan, folder: Path) -> QuantPlan:
    save_plan(plan, folder / "plan.json")
    return load_plan(folder / "plan.json")


def assert_equal_values(one: ValuePlan, other: ValuePlan) -> None:
    assert one.spec == other.spec
    assert (one.params is None) == (other.params is None)
    if one.params is not None and other.params is not None:
        assert one.params.same_as(other.params)
        assert one.params.scale.dtype == other.params.scale.dtype
        assert (one.params.method, one.params.p) == (other.params.method, other.params.p)
        assert one.params.error == other.params.error
        assert one.params.gain == other.params.gain
    assert (one.codes is None) == (other.codes is None)
    if one.codes is not None and other.codes is not None:
        np.testing.assert_array_equal(one.codes, other.codes, strict=True)
    assert (one.levels is None) == (other.levels is None)
    if one.levels is not None and other.levels is not None:
        np.testing.assert_array_equal(one.levels, other.levels, strict=True)


def test_everything_comes_back(tmp_path: Path) -> None:
    plan = everything()
    back = saved(plan, tmp_path)
    for one, other in ((plan.values, back.values), (plan.uses, back.uses)):
        assert list(one) == list(other)
        for left, right in zip(one.values(), other.values(), strict=True):
            assert_equal_values(left, right)
    assert back.groups == plan.groups
    assert list(back.bias_shift) == ["node"]
    np.testing.assert_array_equal(back.bias_shift["node"], plan.bias_shift["node"], strict=True)
    assert back.float_nodes == plan.float_nodes
    assert back.choices == plan.choices
    assert back.notes == plan.notes


@pytest.mark.parametrize("choices", ["", "[]"])
def test_no_choices_are_told_from_unknown_ones(choices: str, tmp_path: Path) -> None:
    assert saved(QuantPlan(choices=choices), tmp_path).choices == choices


def test_an_empty_plan_comes_back(tmp_path: Path) -> None:
    assert not saved(QuantPlan(), tmp_path).values


def test_bytes_depend_on_the_plan_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    save_plan(everything(), first)
    save_plan(load_plan(first), second)
    assert first.read_bytes() == second.read_bytes()


def test_one_line_per_entry(tmp_path: Path) -> None:
    save_plan(everything(), tmp_path / "plan.json")
    lines = (tmp_path / "plan.json").read_text("utf-8").splitlines()
    assert '  "x": {"dtype": "uint8", "symmetric": false, "granularity": "tensor", ' in lines[3]
    assert (
        '"scale": 0.1, "zero_point": 3, "method": "lp", "p": 2.5, "error": 1e-07, "gain": 0.125}'
        in lines[3]
    )
    assert lines[4].startswith('  "w": {"dtype": "int8", "symmetric": true, "granularity": {"axis')
    assert '"zero_point": 0, ' in lines[4]


def test_uses_with_one_plan_still_share_it(tmp_path: Path) -> None:
    uses = saved(everything(), tmp_path).uses
    assert uses[Use("a:b", 0)] is uses[Use("c", 2)]
    assert uses[Use("d", 1)] is not uses[Use("c", 2)]


@settings(max_examples=200, deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float32_comes_back_exactly(number: float) -> None:
    text = json.dumps(float32_list(np.array(number, np.float32)))
    assert np.float32(json.loads(text)).tobytes() == np.float32(number).tobytes()


@settings(max_examples=25, deadline=None)
@given(
    codes=hnp.arrays(
        np.int32,
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        elements=st.one_of(st.integers(-8, 7), st.integers(-(2**31), 2**31 - 1)),
    )
)
def test_codes_come_back_exactly(
    codes: npt.NDArray[np.int32], tmp_path_factory: pytest.TempPathFactory
) -> None:
    plan = ValuePlan(spec("int32", symmetric=True), None, codes)
    back = saved(QuantPlan({"w": plan}), tmp_path_factory.mktemp("codes")).values["w"]
    assert back.codes is not None
    np.testing.assert_array_equal(back.codes, codes, strict=True)


@pytest.mark.parametrize("error", [np.inf, np.nan], ids=["infinite", "nan"])
def test_errors_that_json_cannot_hold(tmp_path: Path, error: float) -> None:
    params = QParams(np.array(1, np.float32), np.array(0), "lp", p=np.inf, error=error)
    plan = QuantPlan({"x": ValuePlan(spec("uint8", symmetric=False), params)})
    back = saved(plan, tmp_path).values["x"].params
    assert back is not None
    assert back.p == np.inf
    assert back.error is not None
    np.testing.assert_equal(back.error, error)


def test_a_person_may_leave_out_what_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    entry = '{"dtype":"uint8","symmetric":false,"granularity":{"axis":1},"scale":[1,2],'
    path.write_text(f'\ufeff{{"format":1,"values":{{"x":{entry}"zero_point":7}}}}}}', "utf-8")
    params = load_plan(path).values["x"].params
    assert params is not None
    assert params.zero_point.tolist() == [7, 7]
    assert params.method == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"format": 1,\n "values": {]}', "line 2, column 13: not JSON"),
        (b"", "line 1, column 1: not JSON"),
        (b"\x80\x02", "is no plan file"),
        (b"[" * 100_000, "is no plan file"),
        (b"[]", "must be an object {…}, not a list"),
        (b'{"format": 1, "values": {"x": {}, "x": {}}}', "the key 'x' stands twice"),
        (b'{"format": NaN, "values": {}}', "NaN is no JSON number"),
    ],
    ids=["syntax", "empty", "binary", "deep", "list", "duplicate", "nan"],
)
def test_files_that_are_no_plan(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(PlanError) as caught:
        load_plan(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("levels", ["3", "[1]", "[2, 1]", "[1, 1]", "[[1, 2]]"])
def test_levels_that_do_not_rise(tmp_path: Path, levels: str) -> None:
    path = tmp_path / "plan.json"
    entry = '{"dtype": "int8", "symmetric": true, "granularity": "tensor", "levels": '
    path.write_text(f'{{"format": 1, "values": {{"w": {entry}{levels}}}}}}}')
    with pytest.raises(PlanError, match=r"values\['w'\].levels.*must be rising whole numbers"):
        load_plan(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read: No such file"):
        load_plan(tmp_path / "plan.json")


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        save_plan(QuantPlan(), tmp_path / "none" / "plan.json")


def test_a_folder_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not a regular file"):
        save_plan(QuantPlan(), tmp_path)


def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "plan.json"
    path.write_text("old")
    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(OutputError, match=r"plan\.json: the plan cannot be written \(No space"):
        save_plan(everything(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
