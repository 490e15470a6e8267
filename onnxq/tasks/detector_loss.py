"""Which loss fits a detector: on its head, in front of suppression, or on its finished boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.tasks.before_suppression import head_before_suppression
from onnxq.tasks.end_to_end import FinishedBoxes, FinishedRows
from onnxq.tasks.head import Head
from onnxq.tasks.loss import GenericLoss
from onnxq.tasks.matched_loss import MatchedLoss
from onnxq.tasks.odol import DetectionLoss

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.tasks.head import Reader
    from onnxq.tasks.loss import OutputLoss

__all__ = ["detection_loss"]


def detection_loss(reader: Reader, model: ir.Model) -> OutputLoss:
    """Returns the object detection output loss of a detector.

    Args:
        reader: How its outputs become boxes.
        model: The float model that quantization starts from; never changed.
    """
    if isinstance(reader, Head):
        return DetectionLoss(reader)
    head = head_before_suppression(model)
    if head is not None:
        return DetectionLoss(head)
    if isinstance(reader, FinishedBoxes | FinishedRows):
        return MatchedLoss(reader)
    return GenericLoss([str(value.name) for value in model.graph.outputs])
