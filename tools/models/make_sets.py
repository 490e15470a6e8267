"""Write the calibration pictures and the labelled test sets of the shipped models."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tools.models.digits_data import Source, load_source
from tools.models.scenes import classification_scene, detection_scene, generator
from tools.models.testset import MODELS, Annotated, save_coco, save_jpeg, save_sheet

CALIBRATION_PICTURES = 64
CLASSIFIER_TEST_PICTURES = 1500
DETECTOR_TEST_PICTURES = 320


def write_classifier_sets(folder: Path, train: Source, test: Source, seed: int) -> None:
    """Write `calibration/` (training digits) and `test/` (test digits) for the classifier."""
    (folder / "calibration").mkdir(parents=True, exist_ok=True)
    for index in range(CALIBRATION_PICTURES):
        picture, _ = classification_scene(train, generator("classifier/calibration", seed, index))
        save_jpeg(folder / "calibration" / f"{index:02d}.jpg", picture)
    drawn = [
        classification_scene(test, generator("classifier/test", seed, index))
        for index in range(CLASSIFIER_TEST_PICTURES)
    ]
    labels = np.array([label for _, label in drawn], np.int64)
    save_sheet(folder / "test", np.stack([picture for picture, _ in drawn]), labels)


def write_detector_sets(folder: Path, train: Source, test: Source, seed: int) -> None:
    """Write `calibration/` (training digits) and `test/` (test digits) for the detector."""
    (folder / "calibration").mkdir(parents=True, exist_ok=True)
    for index in range(CALIBRATION_PICTURES):
        picture = detection_scene(train, generator("detector/calibration", seed, index))[0]
        save_jpeg(folder / "calibration" / f"{index:02d}.jpg", picture)
    pictures, boxes, labels = zip(
        *(
            detection_scene(test, generator("detector/test", seed, index))
            for index in range(DETECTOR_TEST_PICTURES)
        ),
        strict=True,
    )
    save_coco(folder / "test", Annotated(np.stack(pictures), list(boxes), list(labels)))


def main() -> None:
    """Parse the command line and write the sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=MODELS, help="where to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the pictures")
    options = parser.parse_args()
    train, test = load_source("train"), load_source("test")
    write_classifier_sets(options.out / "digits_mobilenetv2", train, test, options.seed)
    write_detector_sets(options.out / "digits_yolo", train, test, options.seed)


if __name__ == "__main__":
    main()
