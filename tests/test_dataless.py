"""Without data, weights alone become integers, and their biases are corrected analytically."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

import onnxq
from tests.passes.rewrite.building import build, rng_weight
from tests.passes.rewrite.measured_norms import measured
from tests.support import run

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.report.result import Result

ANALYTIC = "correct-bias-analytic"
X = rng_weight(16, 4, 8, 8, seed=9)


def network(**norm: npt.ArrayLike) -> ir.Model:
    """Conv, BatchNormalization, Relu and a Conv whose weight is worth storing as integers."""
    weights = {
        "w": rng_weight(16, 4, 3, 3),
        "v": rng_weight(16, 16, 3, 3, seed=1),
        "g": np.abs(rng_weight(16, seed=2)) + np.float32(0.5),
        "b": rng_weight(16, seed=3) + np.float32(1),
        "m": np.zeros(16, np.float32),
        "s": np.ones(16, np.float32),
        **norm,
    }
    heads = [f"float[{','.join(map(str, np.shape(a)))}] {n}" for n, a in weights.items()]
    return build(
        f"""f (float[N,4,8,8] x, {", ".join(heads)}) => (float[N,16,4,4] y) {{
            c = Conv(x, w) n = BatchNormalization(c, g, b, m, s) r = Relu(n) y = Conv(r, v) }}""",
        **weights,
    )


@cache
def source() -> ir.Model:
    found = measured(network(), ["c"], X)[0]
    return network(m=found.mean((0, 2, 3)), s=found.var((0, 2, 3)))


def optimized(**options: object) -> Result:
    return onnxq.optimize(source(), None, threads=1, **options)  # type: ignore[arg-type]


def bias_error(result: Result) -> float:
    """The greatest error of an output channel's mean."""
    error = run(result.model, {"x": X})["y"] - run(source(), {"x": X})["y"]
    return float(np.abs(error.mean((0, 2, 3))).max())


def test_the_means_of_outputs_come_back() -> None:
    result, plain = optimized(), optimized(skip=(ANALYTIC,))
    assert set(result.plan.bias_shift) == {"node_y"}
    assert not plain.plan.bias_shift
    assert bias_error(result) < 0.3 * bias_error(plain)
    assert [row.name for row in result.trace if row.kind == "plan"][-1] == ANALYTIC


def test_it_runs_where_it_is_named_and_not_where_others_are() -> None:
    assert optimized(passes=(ANALYTIC,)).trace[-2].name == ANALYTIC
    assert not optimized(passes=("fold-affine",)).plan.bias_shift


def test_a_pipeline_file_leaves_it_out_by_listing_others(tmp_path: Path) -> None:
    lists = '[[rewrite]]\nname = "fold-batchnorm"\n\n'
    needed = ("leave-unseen", "fit-activations", "fit-weights")
    lists += "\n".join(f'[[plan]]\nname = "{name}"\n' for name in needed)
    (tmp_path / "p.toml").write_text(lists)
    assert not optimized(pipeline=tmp_path / "p.toml").plan.bias_shift
    (tmp_path / "q.toml").write_text(f'{lists}[[plan]]\nname = "{ANALYTIC}"\n')
    assert optimized(pipeline=tmp_path / "q.toml").plan.bias_shift


def test_with_data_it_waits_to_be_asked() -> None:
    with_data = onnxq.optimize(source(), {"x": X}, threads=1)
    assert ANALYTIC not in {row.name for row in with_data.trace}
