"""The commands that look at models: what they hand on, print and write, and how they fail."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from onnxq import benchmarking, cli
from onnxq.benchmarking import BenchOptions
from onnxq.graph.io import save
from onnxq.runtime.benchmark import Ratio
from tests.report.bench_samples import sample_bench
from tests.support import model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnxq.report.bench_result import Bench

Calls = list[tuple[list[str], BenchOptions]]


@pytest.fixture
def path(tmp_path: Path) -> str:
    source = model("f (float[N, 3] x) => (float[N, 3] y) { y = Exp (x) }")
    save(source, tmp_path / "net.onnx")
    return str(tmp_path / "net.onnx")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Stands for the benchmark: records what it is asked."""
    calls: Calls = []

    def bench(paths: Sequence[str], options: BenchOptions) -> Bench:
        calls.append((list(paths), options))
        return sample_bench(Ratio(1.43, 1.39, 1.46))

    monkeypatch.setattr(benchmarking, "bench", bench)
    return calls


def test_bench_defaults_are_those_of_its_options(calls: Calls) -> None:
    assert cli.main(["bench", "a.onnx"]) == 0

    assert calls == [(["a.onnx"], BenchOptions(provider="cpu"))]


def test_every_bench_option_is_handed_on(calls: Calls) -> None:
    words = (
        "bench a.onnx b.onnx --threads 3 --batch 2 --provider cuda --seconds 0.5 --data d "
        "--preprocess yolo --profile --seed 7"
    )

    assert cli.main(words.split()) == 0
    assert cli.main(["bench", "a.onnx", "--shape", "x=1x2", "--shape", "y=3"]) == 0

    options = BenchOptions(
        threads=3,
        batch=2,
        provider="cuda",
        seconds=0.5,
        data="d",
        preprocess="yolo",
        profile=True,
        seed=7,
    )
    assert calls[0] == (["a.onnx", "b.onnx"], options)
    assert calls[1][1].shapes == ("x=1x2", "y=3")


def test_bench_prints_the_verdict_and_writes_json(
    calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", "a.onnx", "b.onnx", "--json", str(tmp_path / "b.json")]) == 0

    captured = capsys.readouterr()
    assert "net.int8.onnx is 1.43× faster (1.39–1.46) than net.onnx" in captured.out
    assert captured.err == ""
    assert json.loads((tmp_path / "b.json").read_text("utf-8"))["rounds"] == 45
    assert len(calls) == 1


def test_inspect_prints_and_writes_json(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["inspect", path, "--shape", "x=2x3", "--json", str(tmp_path / "i.json")]) == 0

    assert "x: float [N, 3]" in capsys.readouterr().out
    assert json.loads((tmp_path / "i.json").read_text("utf-8"))["fed"] == {"x": "float32[2,3]"}


@pytest.mark.parametrize("command", ["bench", "inspect"])
def test_a_report_never_replaces_the_model(
    command: str, path: str, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, path, "--json", path]) == 2

    assert "is the model or its data" in capsys.readouterr().err
    assert calls == []


@pytest.mark.parametrize("command", ["bench", "inspect", "optimize"])
def test_a_broken_file_gives_one_line_and_the_same(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")

    assert cli.main([command, str(broken)]) == 2

    assert capsys.readouterr().err == (
        f"error: {broken}: is not an ONNX model, or is truncated; copy or export it again\n"
    )


def test_a_provider_that_is_not_there_is_refused_with_those_that_are(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", path, "--provider", "abacus"]) == 2

    error = capsys.readouterr().err
    assert error.startswith("error: --provider 'abacus' is not in the installed onnxruntime")
    assert "CPUExecutionProvider" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["bench", "inspect"])
def test_asking_for_help_loads_nothing_heavy(command: str) -> None:
    code = (
        "import sys, onnxq.cli; onnxq.cli.main(sys.argv[1:]); "
        "print(sorted({'numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'scipy'} & {*sys.modules}))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, command, "--help"], capture_output=True, text=True, check=True
    )

    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize("command", ["bench", "inspect"])
def test_json_on_standard_output_stands_alone(
    command: str,
    path: str,
    calls: Calls,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([command, path, "--json", "-"]) == 0

    assert json.loads(capsys.readouterr().out)["schema"] >= 1
    assert not (tmp_path / "-").exists()
    assert len(calls) == (command == "bench")
