"""Write trained networks the way users' models come, proven equal to PyTorch on onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import torch

from tools.models.scenes import CLASSIFIER_SIZE, DETECTOR_SIZE
from tools.models.training import lay_out

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

TOLERANCE = 1e-4
CLASSIFIER_NAMES = {
    "input_names": ["input"],
    "output_names": ["logits"],
    "dynamic_axes": {"input": {0: "batch"}, "logits": {0: "batch"}},
}
LEVELS = (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)


def export_classifier(model: nn.Module, path: Path) -> None:
    """Export at opset 13 with a dynamic batch and every BatchNormalization left in the graph."""
    _export(
        model,
        path,
        [2, 3, CLASSIFIER_SIZE, CLASSIFIER_SIZE],
        opset_version=13,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        **CLASSIFIER_NAMES,
    )


def export_transformer(model: nn.Module, path: Path) -> None:
    """Export at opset 17 with a dynamic batch, as PyTorch does by default."""
    _export(
        model, path, [2, 3, CLASSIFIER_SIZE, CLASSIFIER_SIZE], opset_version=17, **CLASSIFIER_NAMES
    )


def export_detector(model: nn.Module, path: Path) -> None:
    """Export at opset 17 with a batch of one and BatchNormalization folded into convolutions."""
    _export(
        model,
        path,
        [1, 3, DETECTOR_SIZE, DETECTOR_SIZE],
        opset_version=17,
        input_names=["images"],
        output_names=["output0"],
    )


def _export(model: nn.Module, path: Path, shape: list[int], **options: Any) -> None:  # noqa: ANN401
    """Export and prove it on a random example of this shape; `options` are PyTorch's."""
    lay_out(model, torch.contiguous_format)
    example = torch.rand(*shape, generator=torch.Generator().manual_seed(1))
    torch.onnx.export(model.eval(), (example,), str(path), dynamo=False, **options)
    check_export(model, path, example)


def check_export(model: nn.Module, path: Path, example: Tensor) -> None:
    """Compare the exported file with PyTorch, with onnxruntime's optimizations off and on.

    Raises:
        ValueError: If outputs differ by more than `TOLERANCE` of the output's range.
    """
    onnx.checker.check_model(str(path), full_check=True)
    with torch.no_grad():
        wanted = model(example).numpy()
    for level in LEVELS:
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        found = session.run(None, {session.get_inputs()[0].name: example.numpy()})[0]
        error = float(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max()))
        if not error <= TOLERANCE:
            raise ValueError(
                f"{path.name}: onnxruntime differs from PyTorch by {error:.2g} of the range"
            )
