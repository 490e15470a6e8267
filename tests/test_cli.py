"""The command, with the pipeline replaced: what it hands on, what it prints, how it fails."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import onnxq
import onnxq.registry
from onnxq import cli
from onnxq.config import Config, Requirement
from onnxq.data import PRESETS
from onnxq.errors import ModelError, RequirementError
from onnxq.registry import PassRow
from onnxq.report.reproduce import command as command_of
from tests.report.samples import sample_result

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pipeline(ModuleType):
    """Stands for ``onnxq.pipeline``: records what it is asked, then answers or raises."""

    def __init__(self) -> None:
        super().__init__("onnxq.pipeline")
        self.calls: list[tuple[Any, Any, Config]] = []
        self.progress: list[Any] = []
        self.answer: Any = sample_result()

    def optimize(
        self,
        source: Any,  # noqa: ANN401
        data: Any,  # noqa: ANN401
        config: Config,
        progress: Any,  # noqa: ANN401
        origins: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        self.calls.append((source, data, config))
        self.origins = origins
        self.progress.append(progress)
        if progress is not None:
            progress("observe", 1, 2)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    stub = Pipeline()
    monkeypatch.setitem(sys.modules, "onnxq.pipeline", stub)
    monkeypatch.setattr(onnxq, "pipeline", stub, raising=False)
    return stub


@pytest.fixture
def _quiet_logging() -> Iterator[None]:
    """Undoes what --verbose does to the loggers."""
    root, own = logging.getLogger(), logging.getLogger("onnxq")
    handlers, level = list(root.handlers), own.level
    yield
    root.handlers[:] = handlers
    own.setLevel(level)


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "onnxq", *words],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "PYTHONPATH": str(Path(onnxq.__file__).parents[1]), **environment},
    )


def test_defaults_are_those_of_the_configuration(pipeline: Pipeline) -> None:
    assert cli.main(["optimize", "net.onnx"]) == 0

    assert pipeline.calls == [("net.onnx", None, Config())]


def test_every_option_reaches_the_configuration(pipeline: Pipeline) -> None:
    words = (
        "-o out.onnx --data d.npz --preprocess yolo --embed-preprocess --samples 0 --weights 8 "
        "--activations 8 --calibration percentile:99.9 --rounding gptq "
        "--weight-granularity tensor --target cpu --format qdq "
        "--keep-float a* --keep-float b --require sqnr>=20 --require agreement>=0.95 "
        "--task detection --boxes b1,b2 --scores s "
        "--plan p.json --save-plan q.json --passes x,y --skip z --opset 23 --json r.json "
        "--report r.html --seed 7 --threads 3 --check --quiet"
    )

    assert cli.main(["optimize", "net.onnx", *words.split()]) == 0

    assert pipeline.calls == [
        (
            "net.onnx",
            "d.npz",
            Config(
                output=Path("out.onnx"),
                preprocess="yolo",
                embed_preprocess=True,
                samples=0,
                calibration="percentile:99.9",
                rounding="gptq",
                weight_granularity="tensor",
                keep_float=("a*", "b"),
                require=(Requirement("sqnr", 20), Requirement("agreement", 0.95)),
                task="detection",
                boxes=("b1", "b2"),
                scores=("s",),
                plan=Path("p.json"),
                save_plan=Path("q.json"),
                passes=("x", "y"),
                skip=("z",),
                opset=23,
                json=Path("r.json"),
                report=Path("r.html"),
                seed=7,
                threads=3,
                check=True,
            ),
        )
    ]


def test_a_pipeline_file_reaches_the_configuration(pipeline: Pipeline, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[[rewrite]]\nname = "fold-pad"\n')

    assert cli.main(["optimize", "net.onnx", "--quiet", "--pipeline", str(file)]) == 0

    assert pipeline.calls == [
        ("net.onnx", None, Config.of({"pipeline": {"rewrite": [{"name": "fold-pad"}]}}))
    ]


def test_a_project_file_reaches_the_configuration(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "onnxq.toml").write_text('data = "d.npz"\nweights = 4\nsamples = 8\n')

    assert cli.main(["optimize", "net.onnx", "--quiet", "--samples", "16"]) == 0

    assert pipeline.calls == [("net.onnx", "d.npz", Config(weights=4, samples=16))]
    told = {name: origin for name, origin in pipeline.origins.items() if origin != "default"}
    assert told == {"data": "onnxq.toml", "weights": "onnxq.toml", "samples": "command line"}


def test_a_switch_of_the_project_file_can_be_undone(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text("check = true\n")

    cli.main(["optimize", "net.onnx", "-q", "--config", "own.toml"])
    cli.main(["optimize", "net.onnx", "-q", "--config", "own.toml", "--no-check"])

    assert [config.check for _, _, config in pipeline.calls] == [True, False]


def test_a_wrong_project_file_is_one_line(
    pipeline: Pipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "onnxq.toml").write_text("wieghts = 4\n")

    assert cli.main(["optimize", "net.onnx"]) == 2

    assert capsys.readouterr().err == (
        "error: onnxq.toml: key 'wieghts' is unknown; did you mean weights?\n"
    )
    assert pipeline.calls == []


def test_the_command_that_gives_a_result_again_has_its_options(pipeline: Pipeline) -> None:
    words = (
        "net.onnx --data d.npz -o out.onnx --preprocess yolo --embed-preprocess "
        "--samples 0 --budget size=0.2x --budget bops=0.1x --calibration kl "
        "--keep-float a* --keep-float b --require sqnr>=20 --task detection --boxes b1,b2 "
        "--scores s --skip y,z --opset 23 --json r.json --report r.html --seed 7 --check -q"
    )
    cli.main(["optimize", *words.split()])
    told = shlex.split(command_of(*pipeline.calls[0]))

    assert told[0] == "onnxq"
    assert cli.main([*told[1:], "-q"]) == 0
    assert pipeline.calls[0] == pipeline.calls[1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_and_options(shell: str) -> None:
    words, state = ("onnxq opt", "1"), {"COMP_WORDS": "onnxq opt", "COMP_CWORD": "1"}
    arguments = {"_TYPER_COMPLETE_ARGS": words[0], "_TYPER_COMPLETE_FISH_ACTION": "get-args"}

    done = command(_ONNXQ_COMPLETE=f"complete_{shell}", **state, **arguments)

    assert (done.returncode, done.stderr) == (0, "")
    assert "optimize" in done.stdout


def test_words_of_an_option_are_completed() -> None:
    state = {"COMP_WORDS": "onnxq optimize --rounding gptq", "COMP_CWORD": "3"}

    done = command(_ONNXQ_COMPLETE="complete_bash", **state)

    assert done.stdout.split() == ["gptq+cd", "gptq"]


def test_the_completion_of_a_shell_can_be_shown() -> None:
    done = command("--show-completion", "bash", SHELL="/bin/bash")

    assert done.returncode == 0
    assert "_ONNXQ_COMPLETE=complete_bash" in done.stdout


COMMANDS = [str(found.callback.__name__) for found in cli.app.registered_commands if found.callback]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main([name, "--help"])

    assert f"Examples:\n\n    onnxq {name}" in capsys.readouterr().out


def test_the_exit_codes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["optimize", "--help"]):
        cli.main(words)
        assert "Exit codes: 0 done, 2 an error" in capsys.readouterr().out


def test_a_wrong_pipeline_file_is_one_line(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[[plan]]\npercent = 99\n")

    assert cli.main(["optimize", "net.onnx", "--pipeline", str(file)]) == 2

    assert capsys.readouterr().err == (
        f'error: {file}: [[plan]] number 1 needs name = "…"; give the name of a pass\n'
    )
    assert pipeline.calls == []


def test_every_field_of_the_configuration_is_an_option() -> None:
    help_text = command("optimize", "--help").stdout

    for field in fields(Config):
        assert f"--{field.name.replace('_', '-')} " in help_text


def test_the_report_goes_to_standard_output(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    del pipeline
    assert cli.main(["optimize", "net.onnx"]) == 0

    captured = capsys.readouterr()
    assert "written to net.int8.onnx" in captured.out
    assert "97.3 %" in captured.out
    assert captured.err == ""


def test_a_long_path_stays_on_one_line(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("folder/" * 40, "net.int8.onnx")
    pipeline.answer = sample_result(path=path)

    cli.main(["optimize", "net.onnx"])

    assert f"written to {path}\n" in capsys.readouterr().out


def test_quiet_prints_nothing(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["optimize", "net.onnx", "--quiet"]) == 0

    assert capsys.readouterr() == ("", "")
    assert pipeline.progress == [None]


def test_no_bars_where_nobody_sees_them(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["optimize", "net.onnx"])

    assert pipeline.progress == [None]
    assert capsys.readouterr().err == ""


def test_bars_on_a_terminal(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    assert cli.main(["optimize", "net.onnx"]) == 0

    assert pipeline.progress != [None]
    assert "observe" in capsys.readouterr().err


@pytest.mark.parametrize("no_color", [True, False], ids=["no_color", "color"])
def test_no_color_is_honoured(
    pipeline: Pipeline,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    no_color: bool,
) -> None:
    del pipeline
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    cli.main(["optimize", "net.onnx"])

    # 30-37 and their bright and extended forms are colours; 0-9 are weight and slant.
    colored = re.search(r"\x1b\[(?:\d;)*(?:3[0-8]|9[0-7])", capsys.readouterr().out)
    assert (colored is None) is no_color


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ModelError("a.onnx: is no model"), 2, "error: a.onnx: is no model\n"),
        (ModelError("two\n  lines"), 2, "error: two lines\n"),
        (RequirementError("missed"), 3, "error: missed\n"),
        (KeyboardInterrupt(), 130, "error: interrupted; nothing was written\n"),
        (MemoryError(), 2, "error: not enough memory for this model; close other programs\n"),
    ],
    ids=["user", "lines", "requirement", "interrupt", "memory"],
)
def test_an_error_is_one_line_and_an_exit_code(
    pipeline: Pipeline,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    line: str,
) -> None:
    pipeline.answer = error

    assert cli.main(["optimize", "net.onnx"]) == code

    assert capsys.readouterr() == ("", line)


def test_a_bug_is_one_line(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.answer = KeyError("x")

    assert cli.main(["optimize", "net.onnx"]) == 1

    assert capsys.readouterr().err == (
        "error: this is a bug in onnxq; run again with --verbose and report what it shows "
        "(KeyError: 'x')\n"
    )


@pytest.mark.usefixtures("_quiet_logging")
def test_a_bug_shows_its_traceback_with_verbose(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.answer = KeyError("x")

    assert cli.main(["optimize", "net.onnx", "--verbose"]) == 1

    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("error: this is a bug in onnxq; please report it (KeyError: 'x')\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimize"], "missing argument 'MODEL'"),
        (["optimize", "m", "--nope"], "no such option: --nope"),
        (["optimize", "m", "--samples", "many"], "'--samples'"),
        (["optimize", "m", "--samples", "-1"], "--samples -1 is not allowed"),
        (["optimize", "m", "--calibration", "lp"], "choose mse, minmax, kl"),
        (["optimize", "m", "--require", "good"], "in quotes"),
        (["optimize", "m", "n"], "n"),
        (["optimize", "m", "--quiet", "--verbose"], "contradict"),
        (["optimise"], "optimise"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_one_line_and_exit_code_two(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert cli.main(words) == 2

    out, error = capsys.readouterr()
    assert out == ""
    assert said in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert pipeline.calls == []


def test_passes_are_written_as_a_pipeline_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnxq.registry, "default_pipeline", lambda: "[[plan]]\n")
    assert cli.main(["passes", "--toml"]) == 0

    assert capsys.readouterr().out == "[[plan]]\n"


def test_passes_are_listed_with_options_and_origin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        PassRow("fold-batchnorm", "rewrite", "Folds it.", on_request=True),
        PassRow("fit-ranges", "plan", "Fits them.", "wide 1.2", {"percent": "a number"}),
    ]
    monkeypatch.setattr(onnxq.registry, "known_passes", lambda: rows)
    assert cli.main(["passes"]) == 0

    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["fold-batchnorm", "rewrite", "Folds", "it.", "(on", "request)"],
        ["fit-ranges", "plan", "Fits", "them.", "(from", "wide", "1.2)"],
        ["percent:", "a", "number"],
    ]


def test_version_is_the_packages() -> None:
    done = command("--version")

    assert done.stdout == f"onnxq {onnxq.__version__}\n"
    assert (done.returncode, done.stderr) == (0, "")


def test_into_a_pipe_goes_plain_text() -> None:
    done = command("passes", TERM="xterm-256color")

    assert done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]], ids=["none", "--help", "-h"])
def test_help_names_the_commands(words: list[str]) -> None:
    done = command(*words)

    assert (done.returncode, done.stderr) == (0, "")
    assert "optimize" in done.stdout
    assert "passes" in done.stdout


def test_help_names_every_preset_and_shows_examples() -> None:
    text = command("optimize", "--help").stdout

    for preset in PRESETS:
        assert f"{preset}:" in text
    assert "onnxq optimize yolo.onnx --data images/ --preprocess yolo" in text


@pytest.mark.parametrize("words", [["--version"], ["optimize", "--help"]], ids=" ".join)
def test_asking_about_the_command_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys, onnxq.cli; onnxq.cli.main(sys.argv[1:]); "
        "print(sorted({'numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'scipy'} & {*sys.modules}))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )

    assert done.stdout.endswith("[]\n")


def test_the_api_hands_its_options_on(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    result = onnxq.optimize(b"model", {"x": [1]}, samples=3, require="sqnr>=1")

    assert result is pipeline.answer
    config = Config(samples=3, require=(Requirement("sqnr", 1),))
    assert pipeline.calls == [(b"model", {"x": [1]}, config)]
    assert capsys.readouterr() == ("", "")


def test_the_api_refuses_an_unknown_option(pipeline: Pipeline) -> None:
    with pytest.raises(onnxq.OnnxqError, match="did you mean samples"):
        onnxq.optimize("m.onnx", sample=3)
    assert pipeline.calls == []


def test_json_on_standard_output_stands_alone(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with contextlib.chdir(tmp_path):
        assert cli.main(["optimize", "m.onnx", "--json", "-"]) == 0

    assert json.loads(capsys.readouterr().out)["schema"] >= 1
    assert pipeline.calls[0][2].json is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--report", "-o", "--save-plan"])
def test_nothing_else_goes_to_standard_output(
    option: str, pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["optimize", "m.onnx", option, "-"]) == 2

    assert "- is not allowed; give a file name" in capsys.readouterr().err
    assert pipeline.calls == []
