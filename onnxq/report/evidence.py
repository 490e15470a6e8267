"""What the report for a browser shows beyond the result itself; collected only for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt
    import onnx_ir as ir

    from onnxq.numerics.statistics import Stats
    from onnxq.runtime.kernel_times import KernelTime

__all__ = ["Drawing", "Evidence", "LayerError", "WeightRanges"]


class LayerError(NamedTuple):
    """How far the end of a layer is off in the quantized model.

    Attributes:
        node: The layer's node in the quantized model.
        value: The layer's end, by its name in the float model.
        whole: SQNR there in dB with the quantized model run whole.
        own: SQNR there in dB with the layer's inputs from the float model.
    """

    node: str
    value: str
    whole: float
    own: float


class WeightRanges(NamedTuple):
    """Ranges of a layer's output channels before and after channels were brought to one size.

    Attributes:
        node: The layer.
        before: float32 [C], largest magnitude of each channel's weights.
        after: The same as they are quantized, factors of the plan included.
        per_channel: Whether every channel has a scale of its own.
    """

    node: str
    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]
    per_channel: bool


class Drawing(NamedTuple):
    """Both models' detections on one picture, side by side.

    Attributes:
        name: The picture's.
        caption: What is to be seen, in words.
        jpeg: The file's bytes.
        width: In pixels.
        height: In pixels.
    """

    name: str
    caption: str
    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """All that one run left for the report.

    Attributes:
        model: The float model as the plan knows it.
        shapes: Value name → the shape that one sample gave it.
        stats: Of the values that were observed; None without data.
        layers: In the order of the quantized model; empty without data.
        layers_as_qdq: Whether they were measured on the QDQ form of the same plan, as the values of
            the model itself are codes.
        weights: Of layers with weights, in graph order.
        float_times: Kernels of the model as it was given, on one sample; empty without data.
        integer_times: Kernels of the quantized model on the same sample.
        drawings: Detections on some of the pictures that the result was judged by.
        digest: SHA-256 of the file that was given; empty if none was.
    """

    model: ir.Model
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    stats: Stats | None = None
    layers: tuple[LayerError, ...] = ()
    layers_as_qdq: bool = False
    weights: tuple[WeightRanges, ...] = ()
    float_times: tuple[KernelTime, ...] = ()
    integer_times: tuple[KernelTime, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    digest: str = ""
