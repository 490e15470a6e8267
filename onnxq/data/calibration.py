"""The calibration data of one run: what ranges are fitted on, and what judges the result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from onnxq.data.files import ReadyInputsError
from onnxq.data.guess import guess_preprocess
from onnxq.data.model_inputs import input_specs
from onnxq.data.presets import load_preprocess
from onnxq.data.sampling import choose_from_groups, split_groups
from onnxq.data.source import open_source
from onnxq.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import onnx_ir as ir

    from onnxq.config import Config
    from onnxq.data.base import DataSource, Feed
    from onnxq.data.source import DataLike

__all__ = ["CalibrationData"]


@dataclass(frozen=True)
class CalibrationData:
    """Samples, split into a part to learn from and a part to judge by.

    Attributes:
        source: Where samples come from; None = no data.
        calibration: Numbers of the samples that ranges are fitted on.
        held_out: Numbers of the samples that the result is judged by.
    """

    source: DataSource | None
    calibration: tuple[int, ...] = ()
    held_out: tuple[int, ...] = ()

    @classmethod
    def open(cls, data: DataLike | None, model: ir.Model, config: Config) -> Self:
        """Opens ``data`` and draws the samples that ``config`` asks for.

        Raises:
            DataError: The data cannot be read or does not fit the model's inputs.
            ConfigError: The preprocessing is unknown, or there is nothing to preprocess.
        """
        preprocess = None if config.preprocess is None else load_preprocess(config.preprocess)
        if data is None:
            if preprocess is not None and not config.embed_preprocess:
                raise ConfigError(
                    "--preprocess is for images, of which there are none; give --data"
                )
            return cls(None)
        guess = guess_preprocess(model)
        inputs = [replace(spec, guess=guess) for spec in input_specs(model)]
        try:
            source = open_source(data, inputs, preprocess)
        except ReadyInputsError:
            if not config.embed_preprocess:
                raise
            # Then it says what goes into the model, and the data is beyond that already.
            source = open_source(data, inputs)
        groups = source.groups
        chosen = choose_from_groups(groups, config.sample_count or len(source), config.seed)
        calibration, held_out = split_groups(chosen, groups, config.seed)
        return cls(source, tuple(calibration), tuple(held_out))

    @property
    def any(self) -> bool:
        """Whether there is data."""
        return self.source is not None

    def feeds(self, numbers: Sequence[int]) -> Iterator[Feed]:
        """Yields the samples of these numbers."""
        return iter(()) if self.source is None else self.source.feeds(numbers)

    def spread(self, count: int) -> Iterator[Feed]:
        """Yields at most ``count`` calibration samples, evenly spread."""
        total = len(self.calibration)
        count = min(count, total)
        return self.feeds([self.calibration[i * total // count] for i in range(count)])

    def probes(self) -> list[Feed]:
        """Returns one sample, or none where there is no data."""
        return list(self.spread(1)) if self.calibration else []

    def judges(self) -> tuple[int, ...]:
        """Returns the numbers of the samples to judge by: held-out ones if there are any."""
        return self.held_out or self.calibration
