"""What values hold while the model is still being rewritten, for rewrites that decide by data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxq.runtime.observe import observe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import onnx_ir as ir

    from onnxq.numerics.statistics import Stats
    from onnxq.runtime.session import Feed

__all__ = ["Survey"]


@dataclass(frozen=True, eq=False)
class Survey:
    """Calibration samples that a rewrite may look at.

    What it learns is of the model at that moment: the next rewrite renames and rescales values, so
    each one observes for itself, and nothing is kept.

    Attributes:
        samples: Returns a fresh iterator over at most that many calibration samples, the same ones
            at every call.
        threads: Threads to use.
        count: How many samples are looked at.
    """

    samples: Callable[[int], Iterable[Feed]]
    threads: int = 1
    count: int = 16

    def feeds(self) -> Iterable[Feed]:
        """Returns a fresh iterator over the samples."""
        return self.samples(self.count)

    def observe(self, model: ir.Model, values: Sequence[str]) -> Stats:
        """Returns the statistics of the named values of ``model`` as it is now.

        Raises:
            DataError: There is no sample, or one makes a value NaN or infinite.
            ModelError: onnxruntime refuses the model.
        """
        return observe(model, self.feeds(), values, threads=self.threads)
