"""Running models with onnxruntime: sessions, and the values inside a model as outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort

from onnxq.errors import ModelError
from onnxq.runtime.bfloat16 import is_bfloat16, run_with_bfloat16
from onnxq.runtime.expose import expose
from onnxq.runtime.lend import Lent, lend_weights
from onnxq.runtime.providers import provider_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CPU", "Feed", "ModelLike", "Session", "Trace", "make_session", "run_model"]

ModelLike: TypeAlias = ir.Model | str | Path | bytes
Feed: TypeAlias = Mapping[str, npt.NDArray[Any]]

CPU = "CPUExecutionProvider"

# A protobuf message ends at 2 GB.
_MESSAGE_BYTES = 1_500_000_000
# Of a model with more weights than this, onnxruntime gets no copy of them.
_LENT_BYTES = 1 << 28
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
_DISABLED = "optimization.disable_specified_optimizers"
_CUSTOM_DOMAINS = ("ai.onnx.contrib", "com.microsoft.extensions")
_PAIR = b"QuantizeLinear"
_FATAL_ONLY = 4
_REASON_LENGTH = 300
# Without these the optimized graph of a large model does not fit its file.
_EXTERNAL_TRACE = {
    "session.optimized_model_external_initializers_file_name": "optimized.bin",
    "session.optimized_model_external_initializers_min_size_in_bytes": "4096",
}


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a session leaves what it did, for reading back.

    Attributes:
        folder: An existing folder.
    """

    folder: Path

    @property
    def graph(self) -> Path:
        """The optimized graph that onnxruntime runs."""
        return self.folder / "optimized.onnx"

    @property
    def profile(self) -> Path:
        """Prefix of the profile's file name."""
        return self.folder / "profile"


class Session:
    """A model ready to run.

    Attributes:
        inputs: Names of the inputs, in the model's order.
        outputs: Names of the outputs, in the model's order.
        provider: The execution provider that has the first say on every node.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.inputs: tuple[str, ...] = tuple(item.name for item in session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(item.name for item in session.get_outputs())
        self.provider: str = session.get_providers()[0]
        self._bfloat16 = any(
            is_bfloat16(item.type) for item in (*session.get_inputs(), *session.get_outputs())
        )
        self._quiet = ort.RunOptions()
        self._quiet.log_severity_level = _FATAL_ONLY
        self._lent: Lent | None = None

    def keep(self, lent: Lent) -> None:
        """Keeps the arrays that onnxruntime reads as long as there is this session."""
        self._lent = lent

    def run(self, feeds: Feed) -> dict[str, npt.NDArray[Any]]:
        """Returns output name → array for input name → array; float32 for bfloat16 outputs.

        Raises:
            ModelError: onnxruntime refuses the feeds or fails on the way.
        """
        if not self.outputs:  # nothing was asked for, which onnxruntime takes for a mistake
            return {}
        try:
            if self._bfloat16:
                results = run_with_bfloat16(self._session, self.outputs, feeds, self._quiet)
            else:
                results = self._session.run(None, dict(feeds), self._quiet)
        except Exception as error:
            raise ModelError(f"onnxruntime cannot run the model: {_reason(error)}") from error
        return dict(zip(self.outputs, results, strict=True))

    def end_profiling(self) -> Path:
        """Ends the profile of a traced session and returns its file."""
        return Path(self._session.end_profiling())


def make_session(  # noqa: PLR0913  (all but one have defaults and are named at the call)
    model: ModelLike,
    *,
    optimize: bool = True,
    threads: int = 1,
    outputs: Sequence[str] | None = None,
    trace: Trace | None = None,
    provider: str = CPU,
    spin: bool = True,
    trial: bool = False,
    share_constants: bool = True,
) -> Session:
    """Returns a session that runs ``model``, on the CPU unless ``provider`` says otherwise.

    Args:
        model: A model, its serialized bytes, or the path of its file. Never changed.
        optimize: With all of onnxruntime's graph optimizations, or with none.
        threads: Threads inside an operator.
        outputs: Names of the values to return in place of the model's outputs. Values inside
            subgraphs, and names that no node produces, are left out.
        trace: Where to write the optimized graph and a profile.
        provider: Name of an execution provider that the installed onnxruntime offers; it leaves
            what it cannot run to the CPU.
        spin: Whether threads wait for the next operator busily, as is onnxruntime's way: quick
            where nothing else is to be done, a waste where something is.
        trial: Whether it is enough to know that there can be a session: weights are not copied into
            the form in which kernels are fast.
        share_constants: Whether equal small constants may become one.

    Raises:
        ModelError: onnxruntime refuses the model, or the provider does not start.
    """
    options = _options(optimize, threads, trace)
    if not spin:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if trial:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if not share_constants:
        options.add_session_config_entry(_DISABLED, "ConstantSharing")
    if outputs is not None:
        model = expose(_as_model(model), outputs)
    if isinstance(model, ir.Model):
        return _load_model(model, options, provider)
    return _load(str(model) if isinstance(model, Path) else model, options, provider)


def run_model(
    model: ModelLike, feeds: Feed, outputs: Sequence[str] | None = None, *, threads: int = 1
) -> dict[str, npt.NDArray[Any]]:
    """Runs ``model`` once, without optimizations, and returns value name → array.

    Args:
        model: As for :func:`make_session`.
        feeds: Input name → array.
        outputs: Values to return, as for :func:`make_session`; None for the model's outputs.
        threads: Threads inside an operator.

    Raises:
        ModelError: onnxruntime refuses the model or the feeds.
    """
    return make_session(model, optimize=False, threads=threads, outputs=outputs).run(feeds)


def _options(optimize: bool, threads: int, trace: Trace | None) -> ort.SessionOptions:
    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    if trace is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(trace.profile)
        options.optimized_model_filepath = str(trace.graph)
        for key, value in _EXTERNAL_TRACE.items():
            options.add_session_config_entry(key, value)
    return options


def _as_model(model: ModelLike) -> ir.Model:
    if isinstance(model, ir.Model):
        return model
    try:
        if isinstance(model, bytes):
            return ir.from_proto(onnx.load_model_from_string(model))
        return ir.load(model)
    except Exception as error:
        raise ModelError(f"cannot read the model: {_reason(error)}") from error


def _load_model(model: ir.Model, options: ort.SessionOptions, provider: str) -> Session:
    weights = _weights(model)
    if sum(tensor.nbytes for tensor in weights) > _LENT_BYTES:
        return _load_lent(lend_weights(model), options, provider)
    if any(isinstance(tensor, ir.ExternalTensor) for tensor in weights):
        model = ir.external_data.load_to_model(model.clone())
    return _load(ir.to_proto(model).SerializeToString(), options, provider)


def _load_lent(lent: Lent, options: ort.SessionOptions, provider: str) -> Session:
    if lent.inside > _MESSAGE_BYTES:
        raise ModelError(
            "weights of subgraphs, or of 4-bit and half precision types, take"
            f" {lent.inside / 1e9:.1f} GB, too much for one protobuf"
        )
    if lent.folder is not None:
        options.add_session_config_entry(_WEIGHTS_FOLDER, str(lent.folder))
    if lent.arrays:
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in lent.arrays.values()]
        options.add_external_initializers(list(lent.arrays), values)
    session = _load(ir.to_proto(lent.model).SerializeToString(), options, provider)
    session.keep(lent)
    return session


def _weights(model: ir.Model) -> list[ir.TensorProtocol]:
    return [
        value.const_value
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    ]


def _load(model: str | bytes, options: ort.SessionOptions, provider: str) -> Session:
    try:
        return _create(model, options, provider)
    except ModelError:
        raise
    except Exception as error:
        if not any(domain in str(error) for domain in _CUSTOM_DOMAINS):
            raise ModelError(f"onnxruntime refuses the model: {_reason(error)}") from error
    try:
        import onnxruntime_extensions

        options.register_custom_ops_library(onnxruntime_extensions.get_library_path())
        return _create(model, options, provider)
    except Exception as error:
        raise ModelError(f"onnxruntime refuses the model: {_reason(error)}") from error


def _create(model: str | bytes, options: ort.SessionOptions, provider: str) -> Session:
    if provider == CPU:
        return Session(ort.InferenceSession(model, options, providers=[CPU]))
    quantized = _PAIR in (model if isinstance(model, bytes) else Path(model).read_bytes())
    threads = options.intra_op_num_threads
    settings = dict(provider_settings(provider, threads, quantized=quantized))
    session = Session(ort.InferenceSession(model, options, providers=[(provider, settings), CPU]))
    if session.provider != provider:
        raise ModelError(
            f"{provider} does not start here, for want of a device or a library; see what"
            " onnxruntime says when it is asked alone"
        )
    return session


def _reason(error: Exception) -> str:
    """Returns onnxruntime's reason on one line, without its error codes."""
    text = " ".join(str(error).split()).removeprefix("[ONNXRuntimeError] : ")
    parts = text.split(" : ", 2)
    if len(parts) == 3 and parts[0].isdigit():
        text = parts[2]
    return text if len(text) <= _REASON_LENGTH else f"{text[:_REASON_LENGTH]}…"
