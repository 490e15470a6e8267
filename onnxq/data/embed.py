"""A model that takes encoded images: decoding and preprocessing in front of it.

onnxruntime-extensions' DecodeImage reads PNG and JPEG. It ends or hangs the process on damaged
files, so what such a model is fed must be known to be good; it does not turn images upright by
their EXIF orientation; and its JPEG levels are not Pillow's to the last bit, as no two JPEG
decoders' are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.data.graph_ops import GraphOps
from onnxq.data.model_inputs import input_specs
from onnxq.data.preprocess_graph import IMAGE, add_preprocess
from onnxq.errors import ConfigError
from onnxq.graph.names import fresh_name

if TYPE_CHECKING:
    from onnxq.data.preprocess import Preprocess

__all__ = ["embed_preprocess", "embeddable"]

_DOMAIN = "com.microsoft.extensions"


def embeddable(model: ir.Model, preprocess: Preprocess) -> Preprocess:
    """Returns ``preprocess`` bound to the one input of ``model``.

    Raises:
        ConfigError: The model does not take one image at a time.
        DataError: Its input does not take images made this way.
    """
    specs = input_specs(model)
    if len(specs) != 1:
        raise ConfigError(
            f"--embed-preprocess needs a model with one input, this one has {len(specs)}; leave it"
            " out"
        )
    batch = specs[0].shape[0] if len(specs[0].shape) == 4 else 0
    if batch not in (None, 1):
        raise ConfigError(
            f"--embed-preprocess needs a batch of 1, but input '{specs[0].name}' is"
            f" {list(specs[0].shape)}; export the model with a batch of 1 or a dynamic one"
        )
    return preprocess.for_input(specs[0])


def embed_preprocess(model: ir.Model, preprocess: Preprocess) -> ir.Model:
    """Returns a new model whose input is the content of a PNG or JPEG file, uint8 [bytes].

    Args:
        model: Takes one image, [1 or N, C, H, W] or [1 or N, H, W, C]; opset 18 or later. Left as
            it is.
        preprocess: Bound to it (:func:`embeddable`).
    """
    model = model.clone()
    graph = model.graph
    (old,) = (value for value in graph.inputs if value.const_value is None)
    assert old.dtype is not None, "inputs are typed"
    data = ir.val(fresh_name(graph, IMAGE), ir.DataType.UINT8, ["bytes"])
    first = graph[0]
    decode = ir.node(
        "DecodeImage",
        [data],
        {"color_space": "rgb"},
        domain=_DOMAIN,
        name=fresh_name(graph, "preprocess_DecodeImage"),
    )
    graph.insert_before(first, decode)
    pixels = decode.outputs[0]
    pixels.name = fresh_name(graph, "preprocess_pixels")
    pixels.type = ir.TensorType(ir.DataType.UINT8)
    graph.inputs[list(graph.inputs).index(old)] = data
    ops = GraphOps(graph, first)
    made = add_preprocess(ops, _three_channels(ops, pixels), preprocess, old.dtype)
    ir.convenience.replace_all_uses_with(old, made, replace_graph_outputs=True)
    graph.opset_imports[_DOMAIN] = 1
    return model


def _three_channels(ops: GraphOps, pixels: ir.Value) -> ir.Value:
    """Gray images come with one channel, some with a fourth."""
    zero, three, last = (np.array([number], np.int64) for number in (0, 3, 2))
    colours = ops("Slice", pixels, zero, three, last)
    return ops("Expand", colours, np.array([1, 1, 3], np.int64))
