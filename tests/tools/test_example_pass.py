"""The package of passes that CONTRIBUTING.md shows is found, runs, and does what it says."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import onnxq
from onnxq.foreign import offers
from onnxq.plan.spec import PerTensor
from onnxq.registry import known_passes
from tests.e2e.networks import classifier, images
from tests.installed import install
from tests.passes.rewrite.building import build, rewritten

if TYPE_CHECKING:
    from onnxq.passbase import PlanPass, RewritePass
    from onnxq.report.result import Result

EXAMPLE = Path(__file__).resolve().parents[2] / "tools/examples/onnxq_example_pass"
GRAPH = """f (float[1,4,8,8] x) => (float[1,4,4,4] y) {
    a = Relu(x)
    b = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a)
    c = Relu(b)
    y = Mul(c, c)
}"""


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    monkeypatch.syspath_prepend(EXAMPLE)
    install(monkeypatch, tmp_path, project["name"], project["entry-points"]["onnxq.passes"])


def offered(name: str) -> RewritePass | PlanPass:
    return next(offer.load() for offer in offers(()) if offer.name == name)


@cache
def optimized(**options: object) -> Result:
    return onnxq.optimize(classifier(), {"x": images()}, threads=1, **options)  # type: ignore[arg-type]


def scales(made: Result) -> dict[str, float]:
    return {
        name: float(planned.params.scale)
        for name, planned in made.plan.values.items()
        if planned.params is not None and isinstance(planned.spec.granularity, PerTensor)
    }


def test_it_is_listed_with_where_it_comes_from() -> None:
    rows = {row.name: row for row in known_passes() if row.origin}
    assert [(row.name, row.kind, row.origin) for row in rows.values()] == [
        ("drop-repeated-relu", "rewrite", "onnxq-example-pass 1.2"),
        ("leave-room", "plan", "onnxq-example-pass 1.2"),
    ]
    assert dict(rows["leave-room"].options) == {"percent": "a number from 0 to 100"}


def test_the_rewrite_keeps_its_contract() -> None:
    rewrite = offered("drop-repeated-relu")
    assert rewritten(rewrite, build(GRAPH)).ops == ["Relu", "MaxPool", "Mul"]  # type: ignore[arg-type]


def test_an_option_changes_the_rewrite() -> None:
    rewrite = offered("drop-repeated-relu").configured({"through_pooling": False})
    assert not rewritten(rewrite, build(GRAPH)).modified  # type: ignore[arg-type]


def test_both_run_after_those_of_onnxq() -> None:
    names = [row.name for row in optimized().trace]
    assert names.index("drop-repeated-relu") > names.index("unshuffle-channels")
    assert names.index("leave-room") == names.index("correct-bias") + 1
    assert names[-1].startswith("lower-")


def test_the_plan_pass_widens_what_is_quantized() -> None:
    wide, plain = scales(optimized()), scales(optimized(skip="leave-room"))
    assert wide.keys() == plain.keys()
    assert {round(wide[name] / plain[name], 4) for name in wide} == {1.05}


def test_a_pipeline_file_sets_its_option_and_its_place(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        "\n".join(
            f'[[plan]]\nname = "{name}"'
            for name in ("leave-unseen", "share-params", "fit-activations", "leave-room")
        )
        + '\npercent = 20\n[[plan]]\nname = "fit-weights"\n'
    )
    made = optimized(pipeline=file)
    names = [row.name for row in made.trace if row.kind == "plan"]
    assert names[-2:] == ["leave-room", "fit-weights"]
    plain = scales(optimized(skip="leave-room"))
    assert {round(scale / plain[name], 4) for name, scale in scales(made).items()} == {1.2}


def test_the_result_says_which_version_took_part() -> None:
    assert optimized().versions["onnxq-example-pass"] == "1.2"
    made = optimized(skip="leave-room,drop-repeated-relu")
    assert "onnxq-example-pass" not in made.versions
