"""What a run refuses, when it notices, and what it leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import onnxq
from onnxq.errors import (
    ConfigError,
    DataError,
    ModelError,
    OutputError,
    PlanError,
    RequirementError,
    TargetError,
)
from onnxq.graph.io import to_bytes
from tests.e2e.networks import classifier, images

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "net.onnx"
    file.write_bytes(to_bytes(classifier()))
    return file


class Stages:
    """Records which stages a run reached."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    def __call__(self, stage: str, done: int, total: int) -> None:
        del done, total
        self.reached.append(stage)


def refused(
    error: type[onnxq.OnnxqError],
    source: Any,  # noqa: ANN401 (whatever optimize takes)
    data: Any = None,  # noqa: ANN401
    **options: object,
) -> tuple[str, list[str]]:
    """Runs, expects ``error``, and returns its message and the stages reached before it."""
    stages = Stages()
    with pytest.raises(error) as caught:
        onnxq.optimize(
            source,
            {"x": images()} if data is None else data,
            progress=stages,
            **{"threads": 1, **options},
        )
    message = str(caught.value)
    assert "\n" not in message
    return message, stages.reached


def only_the_model(path: Path) -> bool:
    intact = path.read_bytes() == to_bytes(classifier())
    return intact and [file.name for file in path.parent.iterdir()] == [path.name]


# ---- before any work -----------------------------------------------------------------------------


def test_a_quantized_model(path: Path) -> None:
    made = onnxq.optimize(path, {"x": images(4)}, threads=1)
    message, reached = refused(ModelError, made.path)
    assert message.startswith("net.int8.onnx is quantized already (node ")
    assert reached == []


@pytest.mark.parametrize("how", ["same", "link"])
def test_writing_over_the_model(how: str, path: Path) -> None:
    output = path
    if how == "link":
        output = path.with_name("alias.onnx")
        output.symlink_to(path)
    _, reached = refused(OutputError, path, output=output)
    assert reached == []
    assert path.read_bytes() == to_bytes(classifier())


@pytest.mark.parametrize("option", ["json", "report", "save_plan"])
def test_writing_a_report_or_plan_over_the_model(option: str, path: Path) -> None:
    _, reached = refused(onnxq.OnnxqError, path, **{option: path})
    assert reached == []
    assert only_the_model(path)


@pytest.mark.parametrize("option", ["json", "report", "save_plan"])
def test_writing_a_report_or_plan_over_the_result(option: str, path: Path) -> None:
    _, reached = refused(onnxq.OnnxqError, path, **{option: path.with_name("net.int8.onnx")})
    assert reached == []
    assert only_the_model(path)


@pytest.mark.parametrize("option", ["output", "json", "report", "save_plan"])
def test_a_place_that_cannot_be_written(option: str, path: Path) -> None:
    message, reached = refused(OutputError, path, **{option: path.parent / "absent" / "file"})
    assert "absent" in message
    assert reached == []
    assert only_the_model(path)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"skip": "corect-bias"}, ConfigError, "did you mean correct-bias?"),
        ({"passes": "zzz"}, ConfigError, "there is no pass 'zzz'; see 'onnxq passes'"),
        ({"target": "tpu"}, TargetError, "no target 'tpu'; there are: coreml, cpu, cpu-arm, "),
        ({"plan": "absent.json"}, PlanError, "absent.json: the plan cannot be read"),
        ({"preprocess": "yolo"}, DataError, "--preprocess does not apply"),
        ({"preprocess": "yoloo"}, ConfigError, "yoloo"),
    ],
    ids=["skip", "passes", "target", "plan", "ready_inputs", "preset"],
)
def test_an_option_that_makes_no_sense(
    options: dict[str, object], error: type[onnxq.OnnxqError], said: str, path: Path
) -> None:
    message, _ = refused(error, path, **options)
    assert said in message
    assert only_the_model(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"x": images(4, size=8)}, "x"),
        ({"y": images(4), "z": images(4)}, "y"),
        ({"x": np.full((4, 3, 16, 16), np.nan, np.float32)}, "NaN"),
        ({"x": images(4)[:0]}, "x"),
        ("absent.npz", "absent.npz"),
    ],
    ids=["shape", "name", "nan", "empty", "path"],
)
def test_data_that_does_not_fit(data: object, said: str, path: Path) -> None:
    message, reached = refused(DataError, path, data)
    assert said in message
    assert reached == []
    assert only_the_model(path)


def test_a_model_that_does_not_run() -> None:
    source = classifier()
    source.graph.node("node_r1").op_type = "Reluu"
    message, reached = refused(ModelError, source)
    assert "Reluu" in message
    assert reached == []


# ---- after the work ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted", ["sqnr>=200", "integer>=0.99", "speedup>=1000", "agreement>=0.5"]
)
def test_a_requirement_that_is_missed_leaves_nothing(wanted: str, path: Path) -> None:
    places = {name: path.with_name(name) for name in ("json", "report", "save_plan")}
    data = None if wanted == "agreement>=0.5" else {"x": images()}
    with pytest.raises(RequirementError, match=f"{wanted} \\(it is ") as caught:
        onnxq.optimize(path, data, threads=1, require=wanted, **places)  # type: ignore[arg-type]
    assert caught.value.exit_code == 3
    assert only_the_model(path)


def test_all_missed_requirements_are_named_and_met_ones_are_not(path: Path) -> None:
    bounds = ("sqnr>=200", "integer>=0.5", "agreement>=0.25", "speedup>=1000")
    message, _ = refused(RequirementError, path, require=bounds)
    assert "sqnr>=200 (it is 4" in message
    assert "speedup>=1000" in message
    assert "integer" not in message
    assert "agreement" not in message


def test_a_requirement_that_is_met_writes_everything(path: Path) -> None:
    places = {name: path.with_name(name) for name in ("json", "report", "save_plan")}
    made = onnxq.optimize(
        path,
        {"x": images()},
        threads=1,
        require=("sqnr>=30", "integer>=0.8"),
        **places,  # type: ignore[arg-type]
    )
    assert made.path is not None
    written = {file.name for file in path.parent.iterdir()}
    assert written == {"net.onnx", "net.int8.onnx", *places}
