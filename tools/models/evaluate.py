"""Print the metric of a float or quantized copy of a shipped model on its test set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from onnxq.tasks.mean_ap import mean_average_precision
from tools.models.mean_ap import decode
from tools.models.testset import MODELS, load_coco, load_recipe, load_sheet

if TYPE_CHECKING:
    import numpy.typing as npt

    from onnxq.tasks.boxes import Detections

BATCH = 50


def open_session(path: Path, threads: int = 1, *, optimize: bool = True) -> ort.InferenceSession:
    """Open a model on the CPU, with onnxruntime's default optimizations or none."""
    options = ort.SessionOptions()
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def predicted_classes(
    session: ort.InferenceSession, limit: int | None = None
) -> npt.NDArray[np.int64]:
    """Return the class that a classifier gives to each test picture, int64 [n]."""
    pictures = labelled_pictures(limit)[0]
    recipe = load_recipe(MODELS / "digits_mobilenetv2.toml")
    name = session.get_inputs()[0].name
    logits = [
        session.run(None, {name: recipe.apply(pictures[start : start + BATCH])})[0]
        for start in range(0, len(pictures), BATCH)
    ]
    return np.asarray(np.concatenate(logits).argmax(1), np.int64)


def labelled_pictures(
    limit: int | None = None,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the first pictures, uint8 [n, h, w, 3], and classes, int64 [n], of the test set."""
    pictures, labels = load_sheet(MODELS / "digits_mobilenetv2" / "test")
    return pictures[:limit], labels[:limit]


def top1(session: ort.InferenceSession, limit: int | None = None) -> tuple[float, int]:
    """Return the classifier's top-1 accuracy in percent and the number of test pictures."""
    labels = labelled_pictures(limit)[1]
    return 100 * float((predicted_classes(session, limit) == labels).mean()), len(labels)


def found_boxes(session: ort.InferenceSession, limit: int | None = None) -> list[Detections]:
    """Return what the detector finds in each test picture."""
    scenes = load_coco(MODELS / "digits_yolo" / "test")
    inputs = load_recipe(MODELS / "digits_yolo.toml").apply(scenes.pictures[:limit])
    name = session.get_inputs()[0].name
    return [decode(session.run(None, {name: picture[None]})[0][0]) for picture in inputs]


def detector_map(
    session: ort.InferenceSession, limit: int | None = None
) -> tuple[float, float, int]:
    """Return the detector's mAP@[.5:.95] and mAP@.5 in percent and the number of test pictures."""
    found = found_boxes(session, limit)
    by_threshold = box_map(found)
    return 100 * float(by_threshold.mean()), 100 * float(by_threshold[0]), len(found)


def box_map(found: list[Detections]) -> npt.NDArray[np.float64]:
    """Return the mAP, 0 to 1, of detections in the first test pictures at each overlap."""
    scenes = load_coco(MODELS / "digits_yolo" / "test")
    return mean_average_precision(found, scenes.boxes[: len(found)], scenes.labels[: len(found)])


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
