from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from onnxq.errors import PlanError
from onnxq.plan.clusters import Cluster, ClusterSplit
from onnxq.plan.plan_file import load_plan, plan_text, save_plan
from onnxq.plan.quant_plan import QuantPlan
from onnxq.plan.spec import PerAxis
from tests.plan.checking import planned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

X = planned(scale=0.5, zero_point=3)
W = planned("int8", PerAxis(0), [0.1, 0.2], [0, 0])


def plan() -> QuantPlan:
    parts = (
        Cluster(np.array([3, 7]), X, {"n": W, "m": W}),
        Cluster(np.array([0]), X, {"n": W, "m": W}),
    )
    return QuantPlan({"x": X, "w": W}, clusters={"x": ClusterSplit(parts, {"n": X})})


def test_clusters_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    save_plan(plan(), path)
    loaded = load_plan(path)
    assert plan_text(loaded) == plan_text(plan())
    split = loaded.clusters["x"]
    assert [part.channels.tolist() for part in split.parts] == [[3, 7], [0]]
    assert set(split.parts[1].weights) == {"n", "m"}
    assert set(split.sums) == {"n"}
    assert split.parts[0].value.params is not None
    assert float(split.parts[0].value.params.scale) == 0.5


def test_a_file_without_clusters_has_none(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"format": 1, "values": {}}', "utf-8")
    assert not load_plan(path).clusters


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda x: x.update(parts=[]), "must hold at least one cluster"),
        (lambda x: x["parts"][0].update(channels=[7, 3]), "ascending, each once"),
        (lambda x: x["parts"][0].update(channels=[3, 3]), "ascending, each once"),
        (lambda x: x["parts"][0].update(channels=[]), "ascending, each once"),
        (lambda x: x["parts"][0].update(channels=[-1]), "an integer of at least 0"),
        (lambda x: x["parts"][0].pop("value"), "the key 'value' is missing"),
        (lambda x: x["parts"][0].update(weigths={}), "did you mean 'weights'"),
        (lambda x: x.pop("parts"), "the key 'parts' is missing"),
    ],
)
def test_malformed_clusters_are_refused(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    document = json.loads(plan_text(plan()))
    edit(document["clusters"]["x"])
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document), "utf-8")
    with pytest.raises(PlanError, match=message) as found:
        load_plan(path)
    assert "clusters['x']" in str(found.value)
