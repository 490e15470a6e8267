"""The passes that there are, and what they declare of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import onnxq
from onnxq.config import Config
from onnxq.errors import ConfigError
from onnxq.graph.io import to_bytes
from onnxq.passes.lower import lowered
from onnxq.passes.plan import fitting_passes
from onnxq.passes.rewrite import float_rewrites
from onnxq.pipeline_file import Pipeline
from onnxq.registry import chosen_foreign, default_pipeline, known_passes
from tests.e2e.networks import classifier, images

if TYPE_CHECKING:
    from pathlib import Path

    from onnxq.passbase import PlanPass, RewritePass

SELECTABLE: list[RewritePass | PlanPass] = [
    *float_rewrites(),
    *fitting_passes(Config(), lowered, every=True),
]
each_pass = pytest.mark.parametrize("found", SELECTABLE, ids=lambda p: p.name)


@each_pass
def test_an_option_is_an_attribute_whose_value_is_allowed(found: RewritePass | PlanPass) -> None:
    for name, option in found.options.items():
        default = getattr(found, name)
        assert default is None or option.read(default) == default


@each_pass
def test_what_a_pass_builds_on_exists_and_comes_before_it(found: RewritePass | PlanPass) -> None:
    names = [p.name for p in SELECTABLE]
    assert all(names.index(other) < names.index(found.name) for other in found.after)


def test_a_configured_rewrite_is_another_with_notes_of_its_own() -> None:
    first = float_rewrites()[0]
    second = first.configured({"integer": 3})
    second.fired("here", "did it")
    assert first.take_notes() == []
    assert not hasattr(first, "integer")
    assert vars(second)["integer"] == 3


def test_options_are_listed_with_what_is_allowed() -> None:
    rows = {row.name: row for row in known_passes()}
    assert rows["fit-activations"].options["method"] == (
        "mse, minmax, kl, percentile[:PERCENT] or lp:P"
    )
    assert rows["fit-weights"].options == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip": "fit-weights"}, "--skip fit-weights: nothing works without it"),
        ({"passes": "fold-bad"}, "there is no pass 'fold-bad'; did you mean fold-pad?"),
        (
            {"pipeline": {"plan": [{"name": "share-params"}]}},
            "the pipeline: [[plan]] lacks fit-activations; nothing works without it",
        ),
        (
            {"pipeline": {"rewrite": [{"name": "infer-opset"}]}},
            "the pipeline: [[rewrite]] infer-opset: there is no such pass",
        ),
        (
            {"pipeline": {"plan": [{"name": "assign-integers"}]}},
            "the pipeline: [[plan]] assign-integers: it runs in any case, at its own place",
        ),
        (
            {"pipeline": {"plan": [{"name": "fit-activations", "method": "lp"}]}},
            "the pipeline: [[plan]] fit-activations: method = 'lp' is not allowed; give mse",
        ),
    ],
)
def test_names_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen_foreign(Config.of(options))
    assert str(caught.value).startswith(message)


@each_pass
def test_a_pass_is_listed_and_can_be_chosen(found: RewritePass | PlanPass) -> None:
    (row,) = [row for row in known_passes() if row.name == found.name]
    assert row.on_request == found.on_request
    assert chosen_foreign(Config(passes=(found.name,))).names == frozenset()


@each_pass
def test_a_pass_on_request_does_not_run_by_default(found: RewritePass | PlanPass) -> None:
    assert (f'"{found.name}"' in default_pipeline()) is not found.on_request


def test_some_passes_run_on_request_alone() -> None:
    on_request = {row.name for row in known_passes() if row.on_request}
    assert "equalize-layers" in on_request


# ---- pipelines that run --------------------------------------------------------------------------


def optimized(**options: object) -> onnxq.Result:
    return onnxq.optimize(classifier(), {"x": images(8)}, threads=1, **options)  # type: ignore[arg-type]


def table(*, without: tuple[str, ...] = (), **fit: object) -> dict[str, list[dict[str, object]]]:
    """The default passes, written out."""
    found: dict[str, list[dict[str, object]]] = {
        "rewrite": [{"name": p.name} for p in float_rewrites() if not p.on_request],
        "plan": [{"name": p.name} for p in fitting_passes(Config(), lowered)],
    }
    for kind, steps in found.items():
        found[kind] = [step for step in steps if step["name"] not in without]
    next(step for step in found["plan"] if step["name"] == "fit-activations").update(fit)
    return found


def test_the_default_passes_written_out_give_the_default_result() -> None:
    written_out, default = optimized(pipeline=table()), optimized()
    assert to_bytes(written_out.model) == to_bytes(default.model)


def test_the_default_pipeline_as_a_file_gives_the_default_result(tmp_path: Path) -> None:
    file = tmp_path / "default.toml"
    file.write_text(default_pipeline())
    assert Pipeline.of(file).names == {step["name"] for steps in table().values() for step in steps}
    written_out, default = optimized(pipeline=file), optimized()
    assert to_bytes(written_out.model) == to_bytes(default.model)


def test_an_option_does_what_the_command_lines_does() -> None:
    piped = optimized(pipeline=table(method="percentile:99.9"))
    plain = optimized(calibration="percentile:99.9")
    assert to_bytes(piped.model) == to_bytes(plain.model)


def test_an_option_that_the_command_line_contradicts_is_refused() -> None:
    piped = table(method="minmax")
    with pytest.raises(ConfigError) as caught:
        chosen_foreign(Config.of({"pipeline": piped, "calibration": "percentile"}))
    assert str(caught.value) == (
        "the pipeline: [[plan]] fit-activations: method = 'minmax' contradicts another option, "
        "which says 'percentile'; leave one of them out"
    )


def test_the_command_line_may_set_what_the_pipeline_leaves_open() -> None:
    made = optimized(pipeline=table(), calibration="percentile:99.9")
    plain = optimized(calibration="percentile:99.9")
    assert to_bytes(made.model) == to_bytes(plain.model)


def test_what_a_pipeline_leaves_out_does_not_run() -> None:
    made = optimized(pipeline=table(without=("correct-bias", "fold-pad")))
    names = {row.name for row in made.trace}
    assert not names & {"correct-bias", "fold-pad"}
    assert "keep-signal" in names


def test_a_pass_that_is_off_by_default_runs_where_a_pipeline_lists_it() -> None:
    made = optimized(pipeline={"rewrite": [{"name": "equalize-layers"}]})
    assert "equalize-layers" in {row.name for row in made.trace}
    assert "fold-batchnorm" not in {row.name for row in made.trace}


def test_the_result_records_the_pipeline_so_that_it_can_be_repeated() -> None:
    made = optimized(pipeline=table(method="minmax"))
    again = optimized(pipeline=made.options["pipeline"])
    assert made.options["pipeline"] == table(method="minmax")
    assert to_bytes(again.model) == to_bytes(made.model)
