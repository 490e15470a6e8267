"""Constants of the detectors' loss are changed one at a time, while a model is optimized."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from onnxq.tasks import odol
from tools import odol_constants
from tools.odol_constants import VARIANTS, Variant, measured, table
from tools.study.trials import Measured

if TYPE_CHECKING:
    import pytest

OPTIONS = argparse.Namespace(tasks=None, case="digits_yolo", limit=2, samples=4)


def test_every_constant_is_halved_and_doubled() -> None:
    assert [str(variant) for variant in VARIANTS][:3] == [
        "as they are", "FOREGROUND 0.1 → 0.05", "FOREGROUND 0.1 → 0.2",
    ]  # fmt: skip
    assert len(VARIANTS) == 9


def test_the_loss_has_the_constant_of_the_variant_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def noted(*_: object) -> Measured:
        seen.append((odol.LOCALISATION, odol.BACKGROUND))
        return Measured()

    monkeypatch.setattr(odol_constants, "measure", noted)
    for variant in (Variant(), Variant("LOCALISATION", 2.0)):
        measured(variant, 0, OPTIONS)

    assert seen == [(0.25, 0.1), (0.5, 0.1)]
    assert odol.LOCALISATION == 0.25


def test_rows_hold_means_and_deviations() -> None:
    runs = [Measured(fidelity=f, drop=1.0, sqnr=20.0) for f in (90.0, 92.0)]

    assert "| as they are | 91.00 ± 1.41 | 1.00 ± 0.00 | 20.00 ± 0.00 |" in table({Variant(): runs})
