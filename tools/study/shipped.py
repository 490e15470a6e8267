"""The shipped models as cases of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.tasks.boxes import match
from tools.models.evaluate import box_map, found_boxes, labelled_pictures, predicted_classes
from tools.models.testset import MODELS, load_picture, load_recipe, pictures_of
from tools.study.case import Case

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import onnxruntime as ort

    from onnxq.tasks.boxes import Detections

__all__ = ["shipped_cases"]

_CONFIDENT, _OVERLAP = 0.3, 0.5


def shipped_cases(limit: int | None = None) -> list[Case]:
    """Returns one case for each shipped model.

    Args:
        limit: Number of labelled samples to use; None = all.
    """
    classifiers = ("digits_mobilenetv2", "digits_vit")
    return [*(_Classifier(name, limit) for name in classifiers), _Detector("digits_yolo", limit)]


class _Shipped(Case):
    def __init__(self, name: str, limit: int | None) -> None:
        super().__init__(name, MODELS / f"{name}.onnx", limit)

    def _pool(self) -> npt.NDArray[np.float32]:
        files = sorted((pictures_of(self.name) / "calibration").iterdir())
        recipe = load_recipe(MODELS / f"{self.name}.toml")
        return recipe.apply(np.stack([load_picture(file) for file in files]))


class _Classifier(_Shipped):
    def _predict(self, session: ort.InferenceSession) -> Sequence[Any]:
        return list(predicted_classes(session, self.limit))

    def _metric(self, entries: Sequence[Any]) -> float:
        labels = labelled_pictures(self.limit)[1]
        return 100 * float(np.equal(entries, labels).mean())

    def _agreement(self, base: Sequence[Any], other: Sequence[Any]) -> float:
        return 100 * float(np.equal(base, other).mean())


class _Detector(_Shipped):
    detects = True

    def _predict(self, session: ort.InferenceSession) -> Sequence[Any]:
        return found_boxes(session, self.limit)

    def _metric(self, entries: Sequence[Any]) -> float:
        return 100 * float(box_map(list(entries)).mean())

    def _agreement(self, base: Sequence[Any], other: Sequence[Any]) -> float:
        """F1 of the confident boxes, in percent."""
        hits = total = 0
        for wanted, found in zip(map(_confident, base), map(_confident, other), strict=True):
            hits += 2 * len(match(wanted, found, _OVERLAP))
            total += len(wanted.boxes) + len(found.boxes)
        return 100 * hits / max(1, total)


def _confident(detections: Detections) -> Detections:
    return detections.take(detections.scores >= _CONFIDENT)
