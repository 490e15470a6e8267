from __future__ import annotations

from dataclasses import dataclass

import pytest

from onnxq.config import Config
from onnxq.errors import ConfigError
from onnxq.selection import check_names, selected


@dataclass(frozen=True)
class Named:
    name: str


OPTIONAL = ["fold-pad", "fold-batchnorm", "correct-bias"]
KNOWN = ["infer-shapes", *OPTIONAL, "fit-weights"]
PASSES = [Named(name) for name in OPTIONAL[:2]]


def names(**options: str) -> list[str]:
    return [p.name for p in selected(PASSES, Config(**options))]  # type: ignore[arg-type]


def check(**options: str) -> None:
    check_names(Config(**options), KNOWN, OPTIONAL)  # type: ignore[arg-type]


def test_all_run_by_default() -> None:
    assert names() == ["fold-pad", "fold-batchnorm"]


def test_chosen_ones_run_in_their_own_order() -> None:
    assert names(passes="fold-batchnorm,fold-pad") == ["fold-pad", "fold-batchnorm"]
    assert names(passes="fold-batchnorm") == ["fold-batchnorm"]


def test_names_of_other_passes_choose_none_of_these() -> None:
    assert names(passes="correct-bias") == []
    assert names(skip="correct-bias") == ["fold-pad", "fold-batchnorm"]


def test_skipping_wins_over_choosing() -> None:
    assert names(passes="fold-pad,fold-batchnorm", skip="fold-pad") == ["fold-batchnorm"]


@pytest.mark.parametrize("option", ["passes", "skip"])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("fold-batchnrom", "did you mean fold-batchnorm?"),
        ("zzz", "see 'onnxq passes'"),
        ("Fold-Pad", "did you mean fold-pad?"),
    ],
)
def test_an_unknown_name_is_refused(option: str, name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(**{option: name})
    assert str(caught.value) == f"there is no pass '{name}'; {hint}"


def test_what_nothing_works_without_cannot_be_skipped() -> None:
    with pytest.raises(ConfigError) as caught:
        check(skip="correct-bias,fit-weights")
    assert str(caught.value).startswith("--skip fit-weights: nothing works without it")
    assert ", ".join(OPTIONAL) in str(caught.value)


def test_known_names_are_fine() -> None:
    check(skip="correct-bias", passes="fit-weights,fold-pad")
