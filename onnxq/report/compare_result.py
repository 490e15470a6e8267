"""What :func:`onnxq.compare` returns: where a model departs from the float one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnxq.report.result import Fidelity

__all__ = ["CompareResult", "ComparedLayer"]

_STANDS_OUT = 0.5


@dataclass(frozen=True, kw_only=True)
class ComparedLayer:
    """A layer of the second model, at whose end both models can be compared.

    Attributes:
        node: Its node in the second model.
        op: That node's operator.
        value: The value that it ends at, by the name that both models know.
        before: Least SQNR of the values that it reads, in dB, with the second model run whole;
            infinite behind the inputs.
        whole: SQNR at its end with the second model run whole: the error of all layers up to it.
        own: SQNR at its end with its inputs from the float model: the error that it adds itself.
        scaled: Whether its channels were scaled back before comparing.
        share: Share of the error at the outputs that it makes by itself; None = not measured.
    """

    node: str
    op: str
    value: str
    before: float
    whole: float
    own: float
    scaled: bool = False
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class CompareResult:
    """A comparison of two models.

    Attributes:
        first: Name of the float model.
        second: Name of the other one.
        data: What they were fed.
        fidelity: How close the outputs are.
        layers: Layer by layer, in graph order.
        drawn: Files with detections side by side, in the order of the samples.
        seed: Of what was drawn.
        versions: Package name → version.
    """

    first: str
    second: str
    data: str
    fidelity: Fidelity
    layers: tuple[ComparedLayer, ...]
    drawn: tuple[Path, ...] = ()
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def worst(self) -> ComparedLayer | None:
        """The layer that makes the largest share of the error; None without shares."""
        known = [layer for layer in self.layers if layer.share]
        return max(known, key=lambda layer: layer.share or 0.0, default=None)

    @property
    def guilty(self) -> ComparedLayer | None:
        """The layer that by itself makes half of the error at the outputs or more, if one does."""
        worst = self.worst
        return worst if worst is not None and (worst.share or 0.0) >= _STANDS_OUT else None

    @property
    def identical(self) -> bool:
        """Whether nothing differs that could be compared."""
        ratios = [*self.fidelity.sqnr.values(), *(layer.whole for layer in self.layers)]
        return all(ratio == math.inf for ratio in ratios)
