"""Benchmarks of real, tiny models. No time is asserted: other programs run beside the tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import onnxq
from onnxq import benchmarking
from onnxq.benchmarking import BenchOptions, bench
from onnxq.errors import ConfigError, DataError, ModelError
from onnxq.graph.io import save
from tests.support import model

if TYPE_CHECKING:
    from onnxq.report.bench_result import Bench

NET = "f (float[N, 3] x) => (float[N, 3] y) { a = Exp (x)  y = Sin (a) }"
FIXED = NET.replace("N", "1")


def saved(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    save(model(text), path)
    return str(path)


@pytest.fixture(autouse=True)
def _no_child(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process for each model takes a second; one test pays it."""
    if "memory" not in request.node.name:
        monkeypatch.setattr(benchmarking, "session_memory", lambda *_, **__: "not asked for")


def run(*paths: str, **options: object) -> Bench:
    return bench(paths, BenchOptions.of({"seconds": 0.05, **options}))


def test_ratios_are_to_the_first_model(tmp_path: Path) -> None:
    paths = [saved(tmp_path, f"{name}.onnx", NET) for name in "abc"]

    found = run(*paths)

    assert [m.name for m in found.models] == ["a.onnx", "b.onnx", "c.onnx"]
    assert [m.ratio is None for m in found.models] == [True, False, False]
    assert found.rounds >= 9
    assert all(0 < m.low <= m.ms <= m.high for m in found.models)
    assert found.models[0].size == Path(paths[0]).stat().st_size


def test_every_model_has_its_memory_measured(tmp_path: Path) -> None:
    found = run(saved(tmp_path, "a.onnx", NET))

    memory = found.models[0].memory
    assert memory is None or memory.peak > memory.before > 0
    assert (memory is None) == bool(found.models[0].no_memory)


def test_names_that_are_alike_are_told_apart(tmp_path: Path) -> None:
    first, second = saved(tmp_path, "a/n.onnx", NET), saved(tmp_path, "b/n.onnx", NET)

    assert [m.name for m in run(first, second).models] == [first, second]
    assert [m.name for m in run(first, first).models] == [f"{first} (1)", f"{first} (2)"]


def test_a_profile_lists_operators(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.onnx", NET)

    assert run(path).models[0].operators == ()
    rows = run(path, profile=True).models[0].operators
    assert {row.op for row in rows} == {"Exp", "Sin"}


def test_the_batch_fills_an_open_dimension(tmp_path: Path) -> None:
    found = run(saved(tmp_path, "a.onnx", NET), batch=5)

    assert found.models[0].inputs == {"x": "float32[5,3]"}


def test_a_shape_fills_open_dimensions(tmp_path: Path) -> None:
    found = run(saved(tmp_path, "a.onnx", NET), shapes=("x=7x3",))

    assert found.models[0].inputs == {"x": "float32[7,3]"}


def test_data_is_fed_as_many_samples_as_the_batch_has(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.onnx", NET)

    found = run(path, batch=2, data=np.zeros((4, 3), np.float32))

    assert found.models[0].inputs == {"x": "float32[2,3]"}
    with pytest.raises(DataError, match="--batch 5 needs as many samples, and the data has 4"):
        run(path, batch=5, data=np.zeros((4, 3), np.float32))


@pytest.mark.parametrize("data", [None, np.zeros((4, 3), np.float32)], ids=["random", "data"])
def test_a_fixed_batch_is_not_changed(tmp_path: Path, data: object) -> None:
    path = saved(tmp_path, "a.onnx", FIXED)

    with pytest.raises(ConfigError, match=r"a.onnx: --batch 2: the model fixes"):
        run(path, batch=2, data=data)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"seconds": 0}, "--seconds"),
        ({"seconds": float("nan")}, "--seconds"),
        ({"seconds": "2"}, "--seconds"),
        ({"batch": 0}, "--batch"),
        ({"batch": 1.5}, "--batch"),
        ({"seed": -1}, "--seed"),
        ({"threads": -1}, "--threads"),
        ({"preprocess": "yolo"}, "--preprocess"),
        ({"shapes": ("x=1x3",), "data": np.zeros((1, 3), np.float32)}, "--shape"),
        ({"shapes": ("z=1x3",)}, "choose one of x"),
        ({"provider": "abacus"}, "abacus"),
        ({"colour": "red"}, "no option 'colour'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    tmp_path: Path, options: dict[str, object], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        run(saved(tmp_path, "a.onnx", NET), **options)


def test_no_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="no model"):
        run()


def test_a_model_that_does_not_run_is_named_with_what_it_was_fed(tmp_path: Path) -> None:
    text = "f (float[N, M] x) => (float[A, 5] y) { y = MatMul (x, x) }"

    with pytest.raises(ModelError, match=r"a.onnx: .*fed x float32\[2,3\]; --shape") as caught:
        run(saved(tmp_path, "a.onnx", text), shapes=("x=2x3",))
    assert "\n" not in str(caught.value)


def test_it_is_public(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = onnxq.bench(saved(tmp_path, "a.onnx", NET), seconds=0.01)

    assert len(found.models) == 1
    assert capsys.readouterr() == ("", "")
