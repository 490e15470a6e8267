"""Calibration data: array files, image folders with preprocessing, arrays and callables.

The public surface of the room; nothing here knows a model beyond its input specs.
"""

from __future__ import annotations

from onnxq.data.base import DataSource, Feed, InputSpec
from onnxq.data.preprocess import Preprocess
from onnxq.data.presets import PRESETS, load_preprocess
from onnxq.data.sampling import choose_samples, split_holdout
from onnxq.data.source import DataLike, open_source

__all__ = [
    "PRESETS",
    "DataLike",
    "DataSource",
    "Feed",
    "InputSpec",
    "Preprocess",
    "choose_samples",
    "load_preprocess",
    "open_source",
    "split_holdout",
]
