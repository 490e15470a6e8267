"""Runs a preprocessing graph on images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.data.decode import to_rgb
from onnxq.data.preprocess_graph import IMAGE, INPUT, preprocess_model
from onnxq.errors import DataError
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL import Image

    from onnxq.data.preprocess import Preprocess

__all__ = ["Preprocessor"]


class Preprocessor:
    """Makes inputs of images, by the very graph that can be put in front of a model."""

    def __init__(self, preprocess: Preprocess) -> None:
        """Builds the graph.

        Args:
            preprocess: Bound to a model's input (:meth:`Preprocess.for_input`).

        Raises:
            ConfigError: It is not bound.
        """
        preprocess.check_bound()
        self._preprocess = preprocess
        self._session = make_session(preprocess_model(preprocess, ir.DataType.FLOAT))

    def __call__(self, image: Image.Image) -> npt.NDArray[np.float32]:
        """Preprocesses one image of any mode.

        Args:
            image: The image; turned upright by its EXIF orientation.

        Returns:
            float32 [C, H, W] or [H, W, C] by the layout.

        Raises:
            DataError: The resize rule is "none" and the image is not of the model's size.
        """
        pixels = np.asarray(to_rgb(image))
        size = self._preprocess.size
        if self._preprocess.resize == "none" and size not in (None, pixels.shape[:2]):
            assert size is not None
            raise DataError(
                f"the image has {pixels.shape[0]}x{pixels.shape[1]} pixels, not"
                f" {size[0]}x{size[1]}; choose a resize rule other than 'none'"
            )
        made = self._session.run({IMAGE: pixels})[INPUT][0]
        return np.ascontiguousarray(made, np.float32)
