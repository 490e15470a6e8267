"""Print the metric of a float or quantized copy of a shipped model on its test set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime as ort

from onnxq.tasks.mean_ap import mean_average_precision
from tools.models.mean_ap import decode
from tools.models.testset import MODELS, load_coco, load_recipe, load_sheet

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from onnxq.tasks.boxes import Detections

BATCH = 50


def open_session(path: Path, threads: int = 1) -> ort.InferenceSession:
    """Open a model with onnxruntime's default optimizations on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def top1(session: ort.InferenceSession, limit: int | None = None) -> tuple[float, int]:
    """Return the classifier's top-1 accuracy in percent and the number of test pictures."""
    pictures, labels = load_sheet(MODELS / "digits_mobilenetv2" / "test")
    pictures, labels = pictures[:limit], labels[:limit]
    recipe = load_recipe(MODELS / "digits_mobilenetv2.toml")
    name = session.get_inputs()[0].name
    hits = 0
    for start in range(0, len(labels), BATCH):
        logits = session.run(None, {name: recipe.apply(pictures[start : start + BATCH])})[0]
        hits += int((logits.argmax(1) == labels[start : start + BATCH]).sum())
    return 100 * hits / len(labels), len(labels)


def detector_map(
    session: ort.InferenceSession, limit: int | None = None
) -> tuple[float, float, int]:
    """Return the detector's mAP@[.5:.95] and mAP@.5 in percent and the number of test pictures."""
    scenes = load_coco(MODELS / "digits_yolo" / "test")
    inputs = load_recipe(MODELS / "digits_yolo.toml").apply(scenes.pictures[:limit])
    name = session.get_inputs()[0].name
    found: list[Detections] = []
    for picture in inputs:
        output: npt.NDArray[np.float32] = session.run(None, {name: picture[None]})[0]
        found.append(decode(output[0]))
    by_threshold = mean_average_precision(found, scenes.boxes[:limit], scenes.labels[:limit])
    return 100 * float(by_threshold.mean()), 100 * float(by_threshold[0]), len(inputs)


def main() -> None:
    """Parse the command line and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="ONNX file, float or quantized")
    parser.add_argument("--threads", type=int, default=1, help="threads of onnxruntime")
    options = parser.parse_args()
    session = open_session(options.model, options.threads)
    if len(session.get_outputs()[0].shape) == 2:
        accuracy, count = top1(session)
        print(f"{options.model.name}: top-1 {accuracy:.2f} % (n = {count})")
    else:
        mean, half, count = detector_map(session)
        print(f"{options.model.name}: mAP@[.5:.95] {mean:.2f}, mAP@.5 {half:.2f} (n = {count})")


if __name__ == "__main__":
    main()
