"""Outlier channels from end to end: optimized, replayed from a plan file, compared with float."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import onnxq
from onnxq.graph.io import to_bytes
from onnxq.registry import known_passes
from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    from pathlib import Path

    import onnx_ir as ir

C = 64
SIZES = np.where(np.isin(np.arange(C), [5, 40]), 60, 1).astype(np.float32)
CALIBRATED: dict[str, Any] = {"calibration": "minmax", "threads": 1}


def source() -> ir.Model:
    w = rng_weight(C, C, 3, 3) / 24 / SIZES.reshape(1, C, 1, 1)
    return build(
        f"""f (float[1,{C},20,20] x, float[{C},{C},3,3] w, float[{C}] b, float[16,{C},1,1] v)
            => (float[1,16,M,N] y) {{
            s = Sigmoid(x) a = Mul(x, s) c = Conv(a, w, b) r = Relu(c) y = Conv(r, v) }}""",
        w=w, b=rng_weight(C, seed=1), v=rng_weight(16, C, 1, 1, seed=2),
    )  # fmt: skip


def data(seed: int = 0) -> dict[str, np.ndarray]:
    x = np.random.default_rng(seed).standard_normal((12, C, 20, 20))
    return {"x": np.asarray(x * SIZES.reshape(1, C, 1, 1), np.float32)}


def passes() -> tuple[str, ...]:
    """Those that run by default, and split-outliers."""
    rows = [row for row in known_passes() if row.kind in ("rewrite", "plan")]
    return tuple(row.name for row in rows if not row.on_request or row.name == "split-outliers")


def test_by_default_nothing_is_split() -> None:
    assert not onnxq.optimize(source(), data(), **CALIBRATED).plan.clusters


def test_a_plan_with_clusters_is_replayed_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    first = onnxq.optimize(
        source(), data(), passes=passes(), save_plan=path, check=True, **CALIBRATED
    )
    again = onnxq.optimize(source(), data(), plan=path, **CALIBRATED)
    assert set(first.plan.clusters) == {"a"}
    assert to_bytes(again.model) == to_bytes(first.model)
    assert first.integer_share == pytest.approx(1.0)


def test_layers_of_both_models_are_still_found() -> None:
    made = onnxq.optimize(source(), data(), passes=passes(), **CALIBRATED)
    compared = onnxq.compare(source(), made.model, data(1))
    layers = {layer.value: layer for layer in compared.layers}
    assert layers["r"].own > 25
