"""The ablation switches what fires, and takes for granted what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from tools.ablation import ablate, switched
from tools.study.trials import Measured, Trial

if TYPE_CHECKING:
    from tools.study.case import Case
    from tools.study.trials import Store


class _Case:
    name = "one"


class _Store:
    """Knows what fires: fold-batchnorm by default, equalize-layers where it is asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, int | str]] = []

    def get(self, trial: Trial, _: object) -> Measured:
        options = dict(trial.options)
        self.asked.append(options)
        fired = {"fold-batchnorm"} - {options.get("skip")}
        fired |= {"equalize-layers"} & {str(options.get("passes", "")).lstrip("+")}
        return Measured(fidelity=90.0 + len(fired), fired=tuple(sorted(fired)))


def test_passes_that_fire_are_switched_and_others_left() -> None:
    store = _Store()
    passes = switched(["fold-batchnorm", "fold-pad", "equalize-layers"])

    effects = list(ablate(cast("Case", _Case()), "w8a8", 0, passes, cast("Store", store), 4))

    assert store.asked == [{}, {"skip": "fold-batchnorm"}, {"passes": "+equalize-layers"}]
    assert [(e.name, e.fires, e.gain("fidelity")) for e in effects] == [
        ("fold-batchnorm", True, 1.0),
        ("fold-pad", False, 0.0),
        ("equalize-layers", True, 1.0),
    ]


def test_a_pass_that_is_needed_cannot_be_switched() -> None:
    with pytest.raises(SystemExit, match="no pass 'fit-weights' can be switched"):
        switched(["fit-weights"])
