"""The command on the shipped models: what it writes, what it costs, how it ends."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.graph.io import load
from onnxq.graph.spec import violations_qdq
from tests.planted import damage_codes, weights_of
from tests.support import run
from tools.models.evaluate import detector_map, open_session, top1
from tools.models.testset import MODELS, load_picture, load_recipe, load_sheet, pictures_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support import Level

CLASSIFIER, DETECTOR, TRANSFORMER = "digits_mobilenetv2", "digits_yolo", "digits_vit"
EACH = pytest.mark.parametrize(
    "name", [CLASSIFIER, DETECTOR, TRANSFORMER], ids=["classifier", "detector", "transformer"]
)
CLASSIFIERS = pytest.mark.parametrize(
    "name", [CLASSIFIER, TRANSFORMER], ids=["classifier", "transformer"]
)


class Outcome(NamedTuple):
    path: Path
    report: dict[str, object]
    out: str
    err: str


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "onnxq", *map(str, words)]


def words_for(name: str) -> list[str | Path]:
    folder = pictures_of(name) / "calibration"
    recipe = MODELS / f"{name}.toml"
    model = MODELS / f"{name}.onnx"
    return ["optimize", model, "--data", folder, "--preprocess", recipe, "--threads", "1"]


Outcomes = Callable[[str], Outcome]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Runs the command once per model."""

    @functools.cache
    def outcome(name: str) -> Outcome:
        folder = tmp_path_factory.mktemp(name)
        path, report = folder / "out.onnx", folder / "report.json"
        done = subprocess.run(
            command(*words_for(name), "-o", path, "--json", report),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Outcome(path, json.loads(report.read_text()), done.stdout, done.stderr)

    return outcome


@EACH
def test_the_report_is_printed_and_nothing_else(outcomes: Outcomes, name: str) -> None:
    outcome = outcomes(name)
    assert outcome.err == ""
    assert f"written to {outcome.path}" in outcome.out
    assert {file.name for file in outcome.path.parent.iterdir()} == {"out.onnx", "report.json"}


@EACH
def test_the_model_is_legal_smaller_and_largely_integer(outcomes: Outcomes, name: str) -> None:
    outcome = outcomes(name)
    onnx.checker.check_model(onnx.load(outcome.path), full_check=True)
    assert violations_qdq(load(outcome.path)) == []
    assert outcome.path.stat().st_size < 0.7 * (MODELS / f"{name}.onnx").stat().st_size
    share = outcome.report["integer_share"]
    assert isinstance(share, float)
    assert share > 0.4


@EACH
def test_both_optimization_levels_agree_better_than_the_float_model(
    outcomes: Outcomes, name: str
) -> None:
    files = sorted((pictures_of(name) / "calibration").iterdir())[::8]
    inputs = load_recipe(MODELS / f"{name}.toml").apply(np.stack([load_picture(f) for f in files]))
    real = (MODELS / f"{name}.onnx").read_bytes()
    made = outcomes(name).path.read_bytes()
    signal_, moved, noise = 0.0, 0.0, 0.0
    (key,) = (value.name for value in load(made).graph.inputs)
    for picture in inputs:
        feeds = {str(key): picture[None]}
        runs: list[tuple[bytes, Level]] = [(real, "all"), (made, "off"), (made, "all")]
        (wanted,), (plain,), (fused,) = (
            run(source, feeds, level).values() for source, level in runs
        )
        signal_ += float(np.square(wanted, dtype=np.float64).sum())
        moved += float(np.square(plain - fused, dtype=np.float64).sum())
        noise += float(np.square(wanted - fused, dtype=np.float64).sum())
    assert moved < 0.5 * noise
    assert 10 * np.log10(signal_ / noise) > 28


@pytest.mark.parametrize(
    ("limit", "floor"),
    [(300, 1.5), pytest.param(None, 0.5, marks=pytest.mark.slow)],
    ids=["subset", "all"],
)
@CLASSIFIERS
def test_the_classifiers_keep_their_accuracy(
    outcomes: Outcomes, name: str, limit: int | None, floor: float
) -> None:
    """The drop in top-1 is at most ``floor`` percent points."""
    real = top1(open_session(MODELS / f"{name}.onnx"), limit)[0]
    assert top1(open_session(outcomes(name).path), limit)[0] >= real - floor


def test_the_transformer_agrees_with_float_and_is_recognized(outcomes: Outcomes) -> None:
    outcome = outcomes(TRANSFORMER)
    assert "task       classification" in outcome.out
    inputs = load_recipe(MODELS / f"{TRANSFORMER}.toml").apply(
        load_sheet(pictures_of(TRANSFORMER) / "test")[0]
    )
    sessions = [open_session(path) for path in (MODELS / f"{TRANSFORMER}.onnx", outcome.path)]
    wanted, found = (
        np.concatenate([s.run(None, {"input": part})[0].argmax(1) for part in np.split(inputs, 30)])
        for s in sessions
    )
    assert (wanted == found).mean() >= 0.97


@pytest.mark.slow
def test_the_transformer_is_faster(outcomes: Outcomes) -> None:
    timings = outcomes(TRANSFORMER).report["timings"]
    assert isinstance(timings, dict)
    assert timings["latency"]["speedup"] > 1.3


@pytest.mark.parametrize(
    ("limit", "floor"),
    [(60, 2.0), pytest.param(None, 0.7, marks=pytest.mark.slow)],
    ids=["subset", "all"],
)
def test_the_detector_keeps_its_precision(
    outcomes: Outcomes, limit: int | None, floor: float
) -> None:
    """The drop in mAP@[.5:.95] is at most ``floor`` percent points."""
    real = detector_map(open_session(MODELS / f"{DETECTOR}.onnx"), limit)[0]
    assert detector_map(open_session(outcomes(DETECTOR).path), limit)[0] >= real - floor


def test_a_classifier_without_data_keeps_its_accuracy(tmp_path: Path) -> None:
    path = tmp_path / "weights.onnx"
    source = MODELS / f"{CLASSIFIER}.onnx"
    subprocess.run(
        command("optimize", source, "-o", path, "--threads", "1"), check=True, capture_output=True
    )
    assert path.stat().st_size < 0.45 * source.stat().st_size
    real, found = (top1(open_session(p), 300)[0] for p in (source, path))
    assert found >= real - 1.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["absent.onnx"], "absent.onnx: no such file"),
        ([MODELS / f"{CLASSIFIER}.toml"], "is not an ONNX model"),
        ([MODELS / f"{CLASSIFIER}.onnx", "--data", "absent"], "cannot read data absent"),
        ([MODELS / f"{CLASSIFIER}.onnx", "--data", MODELS / CLASSIFIER / "calibration"], "images"),
    ],
    ids=["no_model", "no_onnx", "no_data", "no_recipe"],
)
def test_bad_input_is_one_line_and_exit_code_two(
    words: list[str | Path], said: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        command("optimize", *words, "-o", tmp_path / "out.onnx"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    running = subprocess.Popen(
        command(*words_for(DETECTOR), "-o", tmp_path / "out.onnx", "--verbose"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that runs tests in the background makes its children ignore the signal
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stderr is not None
    assert running.stderr.readline().startswith("onnxq.")
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "error: interrupted; nothing was written"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@EACH
def test_compare_names_a_layer_with_wrong_codes(name: str, outcomes: Outcomes) -> None:
    second = load(outcomes(name).path)
    layers = list(weights_of(second))
    node = layers[len(layers) // 2]

    found = onnxq.compare(
        MODELS / f"{name}.onnx",
        damage_codes(second, node, share=0.5),
        pictures_of(name) / "calibration",
        preprocess=str(MODELS / f"{name}.toml"),
    )

    assert found.guilty is not None
    assert found.guilty.node == node
