"""Every style of export × opset × trait goes through, or is refused with one clear line.

What is written runs at both optimization levels and agrees within one code
(:mod:`tests.e2e.one_code`). Every style with every opset, and each trait two or three times, runs
always; the whole matrix, and pairs of traits, are slow.
"""

from __future__ import annotations

import itertools
import zlib
from typing import TYPE_CHECKING

import pytest

import onnxq
from onnxq.errors import ModelError
from tests.e2e.exports import (
    assert_agrees,
    assert_goes_through,
    first_sample,
    samples_for,
    take_all_to_integers,
)
from tests.e2e.matrix import OPSETS, TRAITS, fit_together, write
from tests.e2e.styles import STYLES

if TYPE_CHECKING:
    import onnx
    from _pytest.mark import ParameterSet

    from onnxq.report.result import Result

CASES = list(itertools.product(STYLES, OPSETS, TRAITS))
PAIRS = [pair for pair in itertools.combinations(TRAITS, 2) if fit_together(*pair)]
SUPPRESSION = "suppression inside"


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    take_all_to_integers(monkeypatch)


def _always(style: str, opset: int, trait: str) -> bool:
    """One trait for every style and opset, taken in turn."""
    place = list(itertools.product(STYLES, OPSETS)).index((style, opset))
    return TRAITS[place % len(TRAITS)] == trait


def _case(style: str, opset: int, trait: str) -> ParameterSet:
    marks = [] if _always(style, opset, trait) else [pytest.mark.slow]
    return pytest.param(style, opset, trait, marks=marks)


@pytest.mark.parametrize(("style", "opset", "trait"), [_case(*case) for case in CASES])
def test_one_trait(style: str, opset: int, trait: str) -> None:
    proto = write(style, opset, trait)
    if trait == SUPPRESSION and opset < 10:
        with pytest.raises(ModelError) as caught:
            onnxq.optimize(proto, samples_for(proto))
        assert str(caught.value) == (
            "the model: operator NonMaxSuppression exists since opset 10, but the model says opset "
            f"{opset}; export it with opset 10 or newer"
        )
        return
    _assert_whole(proto, assert_goes_through(proto), trait)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
@pytest.mark.parametrize("style", STYLES)
def test_two_traits(style: str, pair: tuple[str, str]) -> None:
    opsets = [opset for opset in OPSETS if opset > 9 or SUPPRESSION not in pair]
    opset = opsets[zlib.crc32(f"{style} {pair}".encode()) % len(opsets)]
    proto = write(style, opset, *pair)
    _assert_whole(proto, assert_goes_through(proto), *pair)


@pytest.mark.slow
@pytest.mark.parametrize(("style", "opset", "trait"), [c for c in CASES if _always(*c)])
def test_weights_alone(style: str, opset: int, trait: str) -> None:
    """Without data; and inspection, which has none either, agrees that it goes through."""
    proto = write(style, opset, trait)
    made = onnxq.optimize(proto, None, threads=1, check=True)
    assert [row for row in made.trace if row.rolled_back] == []
    assert_agrees(proto, made.model, first_sample(proto, samples_for(proto)), least=25)
    assert not onnxq.inspect(proto).refusal


def _assert_whole(proto: onnx.ModelProto, result: Result, *traits: str) -> None:
    """All runs on integers but what is in a branch or loop; what is dynamic stays so."""
    inner = {"If", "Loop"} & set(traits)
    assert result.integer_share > (0.15 if inner else 0.99)
    if "dynamic shape" in traits:
        data = samples_for(proto, H=20, W=24)
        batch = 1 if SUPPRESSION in traits else 3
        assert_agrees(proto, result.model, {name: a[:batch] for name, a in data.items()})
