"""What is written around what was measured: preprocessing in front, or codes at the borders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.data.embed import embed_preprocess, embeddable
from onnxq.data.guess import guess_preprocess
from onnxq.data.presets import load_preprocess
from onnxq.errors import ConfigError
from onnxq.graph.half_io import with_half_io
from onnxq.graph.integer_io import with_integer_io
from onnxq.runtime.extensions import require_extensions
from onnxq.runtime.session import make_session

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.config import Config
    from onnxq.data.preprocess import Preprocess

__all__ = ["finished", "front_of"]


def front_of(original: ir.Model, config: Config) -> Preprocess | None:
    """Returns the preprocessing to put in front of the written model, None for none."""
    if not config.embed_preprocess:
        return None
    require_extensions("--embed-preprocess")
    if config.preprocess is not None:
        return embeddable(original, load_preprocess(config.preprocess))
    guess = guess_preprocess(original)
    if guess is None:
        raise ConfigError(
            "--embed-preprocess needs to know what to embed, which the model does not tell; give"
            " --preprocess"
        )
    return embeddable(original, guess.preprocess)


def finished(quantized: ir.Model, front: Preprocess | None, config: Config) -> ir.Model:
    """Returns what is written of what was measured."""
    if config.io == "half":
        quantized = with_half_io(quantized)
    if config.io == "integer":
        whole = with_integer_io(quantized)
    elif front is not None:
        whole = embed_preprocess(quantized, front)
    elif config.io == "half":
        whole = quantized
    else:
        return quantized
    make_session(whole, trial=True)
    return whole
