"""A configuration is valid from its construction on, or says in one line why not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from onnxq.config import CalibrationMethod, Config, Requirement
from onnxq.errors import ConfigError


def test_the_defaults_are_valid() -> None:
    config = Config()

    assert (config.sample_count, config.weights, config.activations) == (64, 8, 8)
    assert (config.target, config.format, config.opset) == ("cpu", "qdq", 21)
    assert config.calibration_method == CalibrationMethod("mse", p=2.0)


def test_few_bits_of_activations_are_searched_for_unless_a_method_is_given() -> None:
    assert Config(activations=4).calibration_method == CalibrationMethod("lp", p=2.5)
    searched = Config(activations=4, calibration="adaptive-lp").calibration_method
    assert searched == CalibrationMethod("adaptive-lp", p=2.5)
    assert Config(activations=4, calibration="mse").calibration_method.name == "mse"


def test_few_bits_take_more_samples_unless_their_number_is_given() -> None:
    assert Config(weights=4).sample_count == 256
    assert Config(activations=4).sample_count == 256
    assert Config.of({"budget": "size=0.2x"}).sample_count == 256
    searched = {"minimize": "size", "require": "agreement>=0.9"}
    assert Config.of(searched).sample_count == 256
    assert Config(weights=4, samples=16).sample_count == 16
    assert Config(samples=0).sample_count == 0


def test_the_format_has_a_say_in_the_target() -> None:
    assert Config().plan_target == "cpu"
    assert Config(format="integer").plan_target == "integer"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("samples", -1, "1 or more, or 0 for all"),
        ("samples", 1.5, "1 or more, or 0 for all"),
        ("samples", True, "1 or more, or 0 for all"),
        ("weights", 5, "give 2, 3, 4 or 8"),
        ("activations", 16, "give 4 or 8"),
        ("calibration", "entropy", "choose mse, minmax, kl, percentile[:PERCENT] or lp:P"),
        ("calibration", "mse:2", "choose mse, minmax, kl"),
        ("calibration", "kl:1", "choose mse, minmax, kl"),
        ("calibration", "lp", "P from 1 to 4"),
        ("calibration", "lp:0.9", "P from 1 to 4"),
        ("calibration", "lp:4.1", "P from 1 to 4"),
        ("calibration", "lp:nan", "P from 1 to 4"),
        ("calibration", "percentile:50", "PERCENT above 50 and up to 100"),
        ("calibration", "percentile:x", "PERCENT above 50 and up to 100"),
        ("rounding", "up", "choose gptq+cd or gptq or adaround or blocks or flexround or nearest"),
        ("weight_granularity", "row", "choose channel or tensor"),
        ("target", "", "give a name"),
        ("format", "onnx", "choose qdq"),
        ("keep_float", 3, "give a text or a list"),
        ("keep_float", [""], "give a name"),
        ("require", "sqnr<20", "METRIC one of sqnr, agreement, f1, speedup, integer"),
        ("require", "loss>=1", "METRIC one of sqnr, agreement, f1, speedup, integer"),
        ("require", "sqnr>=high", "'high' is no number"),
        ("require", "sqnr>=nan", "'nan' is no number"),
        ("require", "agreement>=95", "give 0 to 1"),
        ("require", "f1>=95", "give 0 to 1"),
        ("task", "segmentation", "choose auto or classification or detection or generic"),
        ("boxes", 3, "give a text or a list"),
        ("output", "", "give a file name"),
        ("opset", 20, "give 21 to 25"),
        ("opset", 26, "give 21 to 25"),
        ("seed", -1, "0 or more"),
        ("threads", -1, "0 for one per core"),
        ("check", "yes", "True or False"),
        ("embed_preprocess", 1, "True or False"),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_what_is_allowed(
    name: str, value: object, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.of({name: value})

    message = str(caught.value)
    assert allowed in message
    assert "--" + name.replace("_", "-") in message
    assert "\n" not in message


def test_loose_values_become_the_fields_own_types() -> None:
    config = Config.of(
        {
            "output": "out.onnx",
            "keep_float": "head.*",
            "require": ["sqnr>=20", " integer >= 0.9 "],
            "passes": "a, b,a",
            "skip": ["c", "d,e"],
        }
    )

    assert config.output == Path("out.onnx")
    assert config.keep_float == ("head.*",)
    assert config.require == (Requirement("sqnr", 20), Requirement("integer", 0.9))
    assert config.passes == ("a", "b")
    assert config.skip == ("c", "d", "e")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("minmax", CalibrationMethod("minmax")),
        ("mse", CalibrationMethod("mse", p=2.0)),
        ("kl", CalibrationMethod("kl")),
        ("lp:1", CalibrationMethod("lp", p=1.0)),
        ("lp:2.4", CalibrationMethod("lp", p=2.4)),
        ("percentile", CalibrationMethod("percentile", 99.99)),
        ("percentile:99.9", CalibrationMethod("percentile", 99.9)),
        ("percentile:100", CalibrationMethod("percentile", 100)),
    ],
)
def test_calibration_is_taken_apart(text: str, parsed: CalibrationMethod) -> None:
    assert Config(calibration=text).calibration_method == parsed


@pytest.mark.parametrize(
    ("value", "met"),
    [(20.0, True), (21.0, True), (19.99, False), (None, False), (float("nan"), False)],
)
def test_a_requirement_is_met_from_its_bound_on(value: float | None, met: bool) -> None:
    assert Requirement.parse("sqnr>=20").met(value) is met


def test_a_requirement_reads_as_it_was_written() -> None:
    assert str(Requirement.parse("agreement>=0.95")) == "agreement>=0.95"


def test_an_unknown_option_gets_the_name_that_was_meant() -> None:
    with pytest.raises(ConfigError, match="no option 'sample'; did you mean samples"):
        Config.of({"sample": 3})


def test_an_option_like_no_other_gets_the_list() -> None:
    with pytest.raises(ConfigError, match="there are output, preprocess, embed_"):
        Config.of({"zzz": 3})


@pytest.mark.parametrize("threads", [1, 7])
def test_asked_for_threads_are_taken(threads: int) -> None:
    assert Config(threads=threads).cores == threads


def test_no_number_of_threads_means_what_the_machine_has() -> None:
    assert 1 <= Config().cores <= (os.cpu_count() or 1)


def test_two_outputs_must_not_be_one_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--json and --report both write"):
        Config(json=tmp_path / "a", report=tmp_path / "." / "a")


def test_options_as_plain_types_go_through_json_and_back() -> None:
    config = Config.of({"output": "o.onnx", "require": "sqnr>=20", "keep_float": ("a", "b")})

    assert Config.of(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("task", "option"),
    [("generic", "boxes"), ("generic", "scores"), ("classification", "boxes")],
)
def test_outputs_that_the_task_does_not_look_at_are_refused(task: str, option: str) -> None:
    with pytest.raises(ConfigError, match=f"--{option} says nothing to --task {task}; leave one"):
        Config.of({"task": task, option: "y"})


@pytest.mark.parametrize("name", ["output", "json", "report", "save_plan"])
def test_standard_output_is_no_file(name: str) -> None:
    with pytest.raises(ConfigError, match="- is not allowed; give a file name"):
        Config.of({name: "-"})


# ---- pipeline ------------------------------------------------------------------------------------


def test_a_pipeline_file_is_read_at_construction(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[[plan]]\nname = "fit-activations"\nmethod = "lp:3"\n')
    config = Config(pipeline=file)  # type: ignore[arg-type]
    file.unlink()

    assert config.pipeline is not None
    assert config.pipeline.names == {"fit-activations"}


def test_what_the_result_records_of_a_pipeline_gives_it_again() -> None:
    table = {"rewrite": [], "plan": [{"name": "fit-activations", "method": "lp:3"}]}
    config = Config.of({"pipeline": table})
    recorded = json.loads(json.dumps(config.to_dict()))["pipeline"]

    assert recorded == table
    assert Config.of({"pipeline": recorded}) == config


def test_passes_and_pipeline_contradict_each_other() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.of({"pipeline": {"rewrite": []}, "passes": "fold-pad"})

    assert str(caught.value) == (
        "--passes and --pipeline both say which passes run; give one of them"
    )


def test_a_pipeline_is_a_file_or_a_mapping() -> None:
    with pytest.raises(ConfigError, match="--pipeline 3 is not allowed; give a file name"):
        Config.of({"pipeline": 3})


def test_codes_at_the_borders_need_integers_within() -> None:
    with pytest.raises(ConfigError, match="--io integer needs --format integer"):
        Config(io="integer")
    assert Config(io="integer", format="integer").plan_target == "integer-io"
    with pytest.raises(ConfigError, match="--rescale int32 needs --format integer"):
        Config(rescale="int32")
    assert Config(rescale="int32", format="integer").form == "integer-int32"
