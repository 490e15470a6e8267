"""Which layer is named when one of them is broken, and what is refused."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from onnxq.comparing import compare
from onnxq.config import Config
from onnxq.errors import DataError, ModelError
from tests.planted import branching, chain, damage_codes, damage_scale, data, quantized, tail
from tests.support import model

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

    from onnxq.report.compare_result import Compared

CONFIG = Config(threads=1)


@cache
def pair(make: Callable[[], ir.Model]) -> tuple[ir.Model, ir.Model]:
    source = make()
    return source, quantized(source)


def compared(first: ir.Model, second: ir.Model) -> Compared:
    return compare(first, second, data(), CONFIG)


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
        compare(chain(), chain(), {"x": data()["x"][:, :2]}, CONFIG)


def test_models_without_a_common_value_inside_are_compared_at_the_outputs() -> None:
    first = model("f (float[1,3,16,16] x) => (float[1,3,16,16] y) { a = Relu (x) y = Neg (a) }")
    second = model("f (float[1,3,16,16] x) => (float[1,3,16,16] y) { b = Abs (x) y = Neg (b) }")

    found = compared(first, second)

    assert [layer.value for layer in found.layers] == ["y"]
    assert found.fidelity.sqnr["y"] < 20
