"""The whole way from a model to a quantized one: options, what is written, how it fails."""

from __future__ import annotations

import errno
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
import pytest

import onnxq
from onnxq.errors import OutputError, PlanError
from onnxq.graph.io import fingerprint, to_bytes
from onnxq.plan.plan_file import save_plan
from onnxq.registry import known_passes
from tests.e2e.networks import classifier, float_heavy, images, integer_heavy
from tests.passes.rewrite.building import build, rng_weight
from tests.support import run

if TYPE_CHECKING:
    from pathlib import Path

    from onnxq.report.result import Result


def optimized(source: Any = None, data: Any = None, **options: object) -> Result:  # noqa: ANN401
    """The classifier on 16 pictures, unless told otherwise; one thread."""
    source = classifier() if source is None else source
    data = {"x": images()} if data is None else data
    return onnxq.optimize(source, data, **{"threads": 1, **options})  # type: ignore[arg-type]


@cache
def result() -> Result:
    return optimized()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "net.onnx"
    file.write_bytes(to_bytes(classifier()))
    return file


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


# ---- what comes out ------------------------------------------------------------------------------


def test_what_pays_runs_on_integers_and_the_rest_says_why_not() -> None:
    assert integer_heavy(result().model) == 2
    assert float_heavy(result().model) == ["node_c1"]
    assert [(n.node, n.op) for n in result().stayed_float] == [
        ("node_c1", "Conv"),
        ("node_r1", "Relu"),
    ]
    layer, absorbed = (node.reason for node in result().stayed_float)
    assert layer.startswith("slower on integers")
    assert absorbed == "part of the float layer in front of it"
    assert result().stayed_float[0].macs == 64 * 27 * 256


def test_the_share_of_integers_is_that_of_the_kernels_that_ran() -> None:
    macs = {"node_c1": 64 * 27 * 256, "node_c2": 64 * 576 * 64, "node_y": 640}
    assert sorted(layer.macs for layer in result().heavy) == sorted(macs.values())
    assert [layer.integer for layer in result().heavy] == [False, True, True]
    integer = macs["node_c2"] + macs["node_y"]
    assert result().integer_share == pytest.approx(integer / sum(macs.values()))


def test_fidelity_is_that_of_the_model_on_the_samples_held_out() -> None:
    fidelity = result().fidelity
    assert fidelity.samples == 4
    assert fidelity.agreement is not None
    assert fidelity.agreement.n == 4
    x = images(64, seed=7)
    real, found = (run(m, {"x": x}, "all")["y"] for m in (classifier(), result().model))
    sqnr = 10 * np.log10(np.square(real).sum() / np.square(real - found).sum())
    assert sqnr == pytest.approx(fidelity.sqnr["y"], abs=3)
    assert sqnr > 35


def test_the_result_is_smaller_and_knows_its_size() -> None:
    assert result().size_after == len(to_bytes(result().model))
    assert result().size_after < 0.35 * result().size_before


def test_latency_is_measured() -> None:
    latency = result().latency
    assert latency is not None
    assert 0 < latency.low <= latency.speedup <= latency.high
    assert min(latency.float_ms, latency.int_ms) > 0


def test_the_result_says_how_it_was_made() -> None:
    assert result().source == "the model"
    assert result().path is None
    assert result().warnings == ()
    assert result().seed == 0
    assert result().options["threads"] == 1
    assert result().versions["onnxq"] == onnxq.__version__
    assert {row.name for row in result().trace} <= {row.name for row in known_passes()}
    kinds = [row.kind for row in result().trace]
    assert kinds == sorted(kinds, key=["rewrite", "plan", "lowering"].index)
    assert kinds[-1] == "lowering"


def test_inputs_and_outputs_stay_as_they_were() -> None:
    for before, after in zip(
        (*classifier().graph.inputs, *classifier().graph.outputs),
        (*result().model.graph.inputs, *result().model.graph.outputs),
        strict=True,
    ):
        assert (after.name, after.dtype, after.shape) == (before.name, before.dtype, before.shape)


def test_every_pass_is_known_once_and_summed_up() -> None:
    rows = known_passes()
    assert len({(row.name, row.kind) for row in rows}) == len(rows)
    assert {row.kind for row in rows} == {"rewrite", "plan", "lowering"}
    assert all(row.summary for row in rows)


# ---- sources -------------------------------------------------------------------------------------


def test_files_are_called_by_the_bits_of_their_weights(path: Path) -> None:
    made = onnxq.optimize(path, weights=4, threads=1)
    assert made.path == path.with_name("net.int4.onnx")


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "proto", "ir"])
def test_every_kind_of_source_gives_the_same_bytes(kind: str, path: Path) -> None:
    source = {
        "path": path,
        "text": str(path),
        "bytes": path.read_bytes(),
        "proto": ir.to_proto(classifier()),
        "ir": classifier(),
    }[kind]
    made = optimized(source)
    assert to_bytes(made.model) == to_bytes(result().model)
    written = path.with_name("net.int8.onnx") if kind in ("path", "text") else None
    assert made.path == written
    assert files(path.parent) == {"net.onnx", *([written.name] if written else [])}
    assert made.source == ("net.onnx" if written else "the model")
    if written is not None:
        assert written.read_bytes() == to_bytes(made.model)
        assert made.size_before == path.stat().st_size
        assert made.size_after == written.stat().st_size


def test_the_input_is_left_alone_and_nothing_is_printed(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = classifier()
    marks, before, stat = fingerprint(source), path.read_bytes(), path.stat()
    optimized(source, check=True)
    optimized(path, output=path.with_name("out.onnx"))
    assert fingerprint(source) == marks
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
    assert files(path.parent) == {"net.onnx", "out.onnx"}
    assert capfd.readouterr() == ("", "")


def test_progress_tells_the_stages_in_order() -> None:
    told: list[tuple[str, int, int]] = []
    optimized(progress=lambda stage, done, total: told.append((stage, done, total)))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["rewrite", "plan", "observe", "lower", "verify", "benchmark"]
    for stage in stages:
        assert [(d, t) for s, d, t in told if s == stage][-1] == (told_total(told, stage),) * 2


def told_total(told: list[tuple[str, int, int]], stage: str) -> int:
    return [total for name, _, total in told if name == stage][-1]


# ---- the same again ------------------------------------------------------------------------------


def test_the_same_input_gives_the_same_bytes() -> None:
    assert to_bytes(optimized().model) == to_bytes(result().model)


def test_threads_change_rounding_alone() -> None:
    made = optimized(threads=2)
    assert made.plan.values.keys() == result().plan.values.keys()
    for name, planned in made.plan.values.items():
        wanted = result().plan.values[name].params
        assert planned.params is not None
        assert wanted is not None
        np.testing.assert_allclose(planned.params.scale, wanted.scale, rtol=1e-6)
        np.testing.assert_array_equal(planned.params.zero_point, wanted.zero_point)


def test_the_seed_draws_other_samples() -> None:
    first, second = (optimized(samples=8, seed=seed) for seed in (0, 1))
    assert first.fidelity.sqnr != second.fidelity.sqnr
    assert (first.fidelity.samples, second.fidelity.samples) == (2, 2)


def test_checking_changes_nothing() -> None:
    made = optimized(check=True)
    assert to_bytes(made.model) == to_bytes(result().model)
    assert not [row for row in made.trace if row.rolled_back]


def test_a_saved_plan_replayed_gives_the_same_bytes(tmp_path: Path) -> None:
    first = optimized(save_plan=tmp_path / "plan.json")
    again = optimized(plan=tmp_path / "plan.json", save_plan=tmp_path / "again.json")
    assert to_bytes(again.model) == to_bytes(first.model)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "plan.json").read_bytes()
    assert again.stayed_float == first.stayed_float
    assert not [row for row in again.trace if row.kind == "plan"]


def test_an_edited_plan_is_obeyed(tmp_path: Path) -> None:
    planned = result().plan.values["r2"]
    assert planned.params is not None
    coarse = replace(planned.params, scale=np.asarray(0.5, np.float32))
    plan = result().plan.with_values({"r2": replace(planned, params=coarse)})
    save_plan(plan, tmp_path / "plan.json")
    made = optimized(plan=tmp_path / "plan.json")
    scales = [v.const_value for n, v in made.model.graph.initializers.items() if n == "r2_scale"]
    assert [float(scale.numpy()) for scale in scales if scale is not None] == [0.5]
    assert made.fidelity.sqnr["y"] < result().fidelity.sqnr["y"] - 6


def test_a_plan_of_another_model_is_refused(tmp_path: Path) -> None:
    optimized(save_plan=tmp_path / "plan.json")
    other = build(
        "f (float[1,4,8,8] x, float[4,4,1,1] w) => (float[1,4,8,8] y) { y = Conv(x, w) }",
        w=rng_weight(4, 4, 1, 1),
    )
    with pytest.raises(PlanError):
        optimized(other, {"x": np.ones((4, 4, 8, 8), np.float32)}, plan=tmp_path / "plan.json")


@pytest.mark.parametrize("failing", ["json_report", "html_report", "plan_text"])
def test_when_the_disk_fills_up_at_the_last_file_nothing_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(_result: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"onnxq.report.files.{failing}", full)
    folder = path.parent
    (folder / "net.int8.onnx").write_bytes(b"an older one")
    before = {file: file.read_bytes() for file in folder.iterdir()}
    wanted = {"json": "r.json", "report": "r.html", "save_plan": "p.json"}
    with pytest.raises(OutputError, match="No space left"):
        optimized(path, **{name: folder / file for name, file in wanted.items()})
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
