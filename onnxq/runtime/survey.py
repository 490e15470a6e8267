"""What values hold while the model is still being rewritten, for rewrites that decide by data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxq.graph.query import shape_of
from onnxq.runtime.observe import observe
from onnxq.runtime.rows import sampled_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import onnx_ir as ir

    from onnxq.numerics.migration import ChannelRows
    from onnxq.numerics.moments import Moments
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

    def channels(self, model: ir.Model, values: Iterable[ir.Value]) -> dict[ir.Value, Moments]:
        """Returns what each channel of ``values`` holds, along axis 1 whatever their rank.

        Args:
            model: Left as it is.
            values: Values of its main graph. Those of a rank below 2 or an unknown one, and those
                that are not floating point, are missing in the answer.

        Returns:
            Value → moments with entries of shape [channels].

        Raises:
            DataError: There is no sample, or one makes a value NaN or infinite.
            ModelError: onnxruntime refuses the model.
        """
        names = {v: v.name for v in values if v.name and len(shape_of(v) or ()) > 1}
        axes = dict.fromkeys(names.values(), 1)
        if not axes:
            return {}
        stats = observe(model, self.feeds(), list(axes), channel_axis=axes, threads=self.threads)
        found = {value: stats[name].channels for value, name in names.items() if name in stats}
        return {value: channels for value, channels in found.items() if channels is not None}

    def rows(
        self, model: ir.Model, axes: Mapping[str, int], per_sample: int
    ) -> dict[str, ChannelRows]:
        """Returns some rows of the named values of ``model`` as it is now.

        Args:
            model: Left as it is.
            axes: Value name → axis of its channels.
            per_sample: The most rows of a value from one sample.

        Raises:
            DataError: There is no sample, or one makes a value NaN or infinite.
            ModelError: onnxruntime refuses the model.
        """
        return sampled_rows(model, self.feeds(), axes, per_sample=per_sample, threads=self.threads)
