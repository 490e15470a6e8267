"""Passes that fire are switched off, those on request on, and the rest is left."""

from __future__ import annotations

import pytest

from tools.study.switching import Run, effects_of, switchable, trials_of
from tools.study.trials import Measured

RUN = Run("one", "w8a8-tensor", seed=2, samples=4)
PLAIN = Measured(fidelity=91.0, fired=("fold-batchnorm",))


def test_passes_that_fire_are_switched_and_others_left() -> None:
    passes = switchable(["fold-batchnorm", "fold-pad", "equalize-layers"])

    options = [dict(trial.options) for trial in trials_of(RUN, PLAIN, passes)]

    assert options == [
        {"skip": "fold-batchnorm", "weight_granularity": "tensor"},
        {"passes": "+equalize-layers", "weight_granularity": "tensor"},
    ]


def test_what_is_measured_tells_what_passes_change() -> None:
    passes = switchable(["fold-batchnorm", "fold-pad", "equalize-layers", "reorder-channels"])
    rows = {
        RUN.trial(): PLAIN,
        RUN.trial(skip="fold-batchnorm"): Measured(fidelity=90.0),
        RUN.trial(passes="+equalize-layers"): Measured(fidelity=93.0, fired=("equalize-layers",)),
    }

    effects = list(effects_of(RUN, passes, rows))

    assert [(e.name, e.fires, e.gain("fidelity")) for e in effects] == [
        ("fold-batchnorm", True, 1.0),
        ("fold-pad", False, 0.0),
        ("equalize-layers", True, 2.0),
    ]


def test_a_run_that_is_not_measured_tells_nothing() -> None:
    assert list(effects_of(RUN, switchable(), {})) == []


def test_a_pass_that_is_needed_cannot_be_switched() -> None:
    with pytest.raises(SystemExit, match="no pass 'fit-weights' can be switched"):
        switchable(["fit-weights"])
