"""Which layer is named when one of them is broken, and what is refused."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

import onnxq
from onnxq.comparing import CompareOptions, compare
from onnxq.errors import ConfigError, DataError, ModelError
from onnxq.graph.choices import Choices, told_choices
from tests.passes.rewrite.stages import stage
from tests.planted import branching, chain, damage_codes, damage_scale, data, quantized, tail
from tests.support import model

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

    from onnxq.report.compare_result import CompareResult

OPTIONS = CompareOptions(threads=1)


@cache
def pair(make: Callable[[], ir.Model]) -> tuple[ir.Model, ir.Model]:
    source = make()
    return source, quantized(source)


def compared(first: ir.Model, second: ir.Model) -> CompareResult:
    return compare(first, second, data(), OPTIONS)


PLANTED = [
    (chain, "node_c2"),
    (chain, "node_c3"),
    (chain, "node_c4"),
    (chain, "node_y"),
    (branching, "node_c2"),
    (branching, "node_c3"),
    (branching, "node_c5"),
    (branching, "node_z"),
    (tail, "node_c2"),
    (tail, "node_m"),
    (tail, "node_y"),
]


@pytest.mark.parametrize(("make", "node"), PLANTED)
def test_a_layer_with_a_wrong_scale_is_named(make: Callable[[], ir.Model], node: str) -> None:
    first, second = pair(make)

    found = compared(first, damage_scale(second, node, 1.5))

    assert found.guilty is not None
    assert found.guilty.node == node


@pytest.mark.parametrize(("make", "node"), PLANTED)
def test_a_layer_with_wrong_codes_is_named(make: Callable[[], ir.Model], node: str) -> None:
    first, second = pair(make)

    found = compared(first, damage_codes(second, node))

    assert found.guilty is not None
    assert found.guilty.node == node
    assert found.guilty.own < found.guilty.before


def test_an_error_shows_in_all_layers_behind_it_but_is_the_own_one_of_none() -> None:
    first, second = pair(branching)

    sound = {layer.node: layer for layer in compared(first, second).layers}
    broken = {
        layer.node: layer for layer in compared(first, damage_scale(second, "node_c3", 1.5)).layers
    }

    assert broken["node_y"].whole < sound["node_y"].whole - 10
    assert broken["node_y"].own == pytest.approx(sound["node_y"].own, abs=0.1)
    assert broken["node_c3"].own < sound["node_c3"].own - 10


@pytest.mark.parametrize("make", [chain, branching, tail])
def test_nobody_is_to_blame_between_identical_models(make: Callable[[], ir.Model]) -> None:
    found = compared(make(), make())

    assert found.identical
    assert found.guilty is None
    assert found.layers


@pytest.mark.parametrize("make", [chain, branching, tail])
def test_no_layer_of_a_sound_int8_model_stands_out(make: Callable[[], ir.Model]) -> None:
    found = compared(*pair(make))

    assert found.guilty is None
    assert not found.identical


def test_scaled_channels_are_scaled_back() -> None:
    layers = {layer.node: layer for layer in compared(*pair(chain)).layers}

    assert layers["node_c2"].scaled
    assert layers["node_c2"].whole > 30


def test_models_with_other_inputs_are_refused() -> None:
    other = model("f (float[1,3,16,16] z) => (float[1,3,16,16] y) { y = Relu (z) }")

    with pytest.raises(ModelError, match=r"its inputs are z, those of .* x; compare models with"):
        compared(chain(), other)


def test_models_with_other_outputs_are_refused() -> None:
    other = model("f (float[1,3,16,16] x) => (float[1,3,16,16] q) { q = Relu (x) }")

    with pytest.raises(ModelError, match=r"its outputs are q, those of .* y"):
        compared(chain(), other)


def test_data_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError):
        compare(chain(), chain(), {"x": data()["x"][:, :2]}, OPTIONS)


def test_models_without_a_common_value_inside_are_compared_at_the_outputs() -> None:
    first = model("f (float[1,3,16,16] x) => (float[1,3,16,16] y) { a = Relu (x) y = Neg (a) }")
    second = model("f (float[1,3,16,16] x) => (float[1,3,16,16] y) { b = Abs (x) y = Neg (b) }")

    found = compared(first, second)

    assert [layer.value for layer in found.layers] == ["y"]
    assert found.fidelity.sqnr["y"] < 20


def test_channels_that_were_reordered_are_compared_in_the_order_that_they_have() -> None:
    writer = stage(16, 3, "chunk", size=16)
    joined = f"v{len(writer.lines) - 1}"
    source = writer.model(writer.conv(joined, 32, 8), 3)

    found = compare(source, quantized(source), data(), OPTIONS)

    assert found.guilty is None
    assert min(layer.own for layer in found.layers) > 15


@pytest.mark.parametrize("make", [chain, tail])
def test_what_rewrites_chose_by_samples_is_repeated(make: Callable[[], ir.Model]) -> None:
    source = make()
    second = quantized(source, "+equalize-layers", "+reorder-channels")
    node = "node_c2"

    sound, broken = compared(source, second), compared(source, damage_codes(second, node))

    assert {"equalize-layers", "reorder-channels"} <= {*Choices(told_choices(second)).passes}
    assert min(layer.own for layer in sound.layers) > 35
    assert broken.guilty is not None
    assert broken.guilty.node == node


def test_the_users_word_for_the_task_counts() -> None:
    found = compare(tail(), tail(), data(), CompareOptions(threads=1, task="classification"))

    assert found.fidelity.agreement is not None


def test_outputs_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match="--scores 'q' is no output"):
        compare(chain(), chain(), data(), CompareOptions(scores=("q",)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": -1}, "--samples -1 is not allowed"),
        ({"draw": 3}, "--draw 3 is not allowed; give a folder"),
        ({"task": "generic", "boxes": "y"}, "--boxes says nothing to --task generic"),
        ({"smples": 3}, "did you mean samples"),
    ],
)
def test_wrong_options_are_one_line(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        CompareOptions.of(options)


def test_the_public_function_compares_and_prints_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    told: list[str] = []

    found = onnxq.compare(
        *pair(chain), data(), threads=1, progress=lambda stage, *_: told.append(stage)
    )

    assert isinstance(found, onnxq.CompareResult)
    assert list(dict.fromkeys(told)) == ["outputs", "layers together", "layers alone", "blame"]
    assert capfd.readouterr() == ("", "")
