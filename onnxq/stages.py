"""The first stages of a run, which optimizing and inspecting share: read, rewrite, shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxq.errors import ModelError
from onnxq.graph.choices import forget_choices
from onnxq.graph.io import load, premature_operators, quantized_nodes, unknown_domains
from onnxq.graph.spec import check_float
from onnxq.manager import PassManager
from onnxq.passbase import PlanContext
from onnxq.passes.rewrite.equalize_layers import EqualizeLayersPass
from onnxq.passes.rewrite.normalize import (
    normalize_passes,
    precision_passes,
    repair_passes,
)
from onnxq.report.assemble import label
from onnxq.runtime.session import make_session
from onnxq.runtime.shapes import observed_shapes
from onnxq.selection import arranged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from onnxq.config import Config
    from onnxq.graph.io import ModelSource
    from onnxq.graph.prior import Prior
    from onnxq.passbase import RewritePass
    from onnxq.plan.target import Target
    from onnxq.runtime.session import Feed

__all__ = ["make_runnable", "plan_context", "read", "rewritten", "runs_widened"]

_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def read(source: ModelSource) -> tuple[ir.Model, tuple[str, ...]]:
    """Reads the model and makes sure that it can be run and is not quantized yet.

    Returns:
        The model, and warnings for the user.

    Raises:
        ModelError: It cannot be read, or not optimized.
    """
    model = load(source)
    return model, make_runnable(model, label(source))


def make_runnable(model: ir.Model, name: str) -> tuple[str, ...]:
    """Mends in place what any export may have wrong, and tries whether the model runs.

    A half precision model that onnxruntime has no kernels for, as for most of bfloat16, is brought
    to float32 here already: so it can be run, and what comes of it be compared with it.

    Args:
        model: As it was read.
        name: What messages call it.

    Returns:
        Warnings for the user.

    Raises:
        ModelError: It is quantized already, has an unknown operator, a weight that is no number, or
            onnxruntime refuses it.
    """
    if already := quantized_nodes(model):
        raise ModelError(f"{name} is quantized already (node {already[0]}); give the float model")
    for domain, operators in unknown_domains(model).items():
        raise ModelError(
            f"{name}: operator {domain}:{operators[0]} is unknown to onnxruntime; export "
            "the model without it"
        )
    _refuse_broken_weights(model, name)
    for rewrite in repair_passes():
        rewrite(model)
    try:
        make_session(model, optimize=False, trial=True)
    except ModelError as error:
        if not runs_widened(model):
            raise ModelError(f"{name}: {_reason(model, error)}") from None
        return (f"{name} runs in float32 alone, which stands for it in comparisons: {error}",)
    return ()


def _reason(model: ir.Model, error: ModelError) -> str:
    """Returns why onnxruntime refuses the model, in its own words if there are no better ones."""
    for operator, first in premature_operators(model).items():
        return (
            f"operator {operator} exists since opset {first}, but the model says opset "
            f"{model.graph.opset_imports['']}; export it with opset {first} or newer"
        )
    return str(error)


def runs_widened(model: ir.Model) -> bool:
    """Brings a half precision model to float32, in place, and says whether it runs then.

    Args:
        model: Mended, but refused by onnxruntime; one without half precision stays as it is.
    """
    try:
        modified = [rewrite(model).modified for rewrite in precision_passes()]
        if any(modified):
            make_session(model, optimize=False, trial=True)
    except ModelError:
        return False
    return any(modified)


def rewritten(
    original: ir.Model,
    manager: PassManager,
    config: Config,
    rewrites: Sequence[RewritePass],
    prior: Prior | None = None,
) -> ir.Model:
    """Returns the model in the form that quantization knows; its function stays.

    The manager holds the rewrites to the model as it is in float32 (see ``precision_passes``).

    Args:
        original: The model as it was read; it stays as it is.
        manager: Runs the rewrites.
        config: The options.
        rewrites: All that may run, in their order unless the options say otherwise.
        prior: What the rewrites were given to write down what they know of values.

    Raises:
        ModelError: It cannot be brought into that form.
    """
    unchecked = PassManager()
    model = original.clone()
    forget_choices(model)
    model = unchecked.rewrite(model, precision_passes())
    manager.trace.entries += [e for e in unchecked.trace.entries if e.modified or e.rolled_back]
    model = manager.rewrite(model, normalize_passes(config.opset))
    wished = [EqualizeLayersPass.name] if config.weight_granularity == "tensor" else []
    chosen = arranged("rewrite", rewrites, config, wished=wished)
    model = manager.rewrite(model, chosen, to_fixpoint=True, prior=prior)
    check_float(model)
    return model


def plan_context(  # noqa: PLR0913 (what there is to read, one by one)
    model: ir.Model,
    target: Target,
    probes: Sequence[Feed],
    samples: Callable[[int], Iterable[Feed]],
    threads: int,
    prior: Prior | None = None,
) -> PlanContext:
    """Returns what plan passes may read.

    Args:
        model: The float model, rewritten.
        target: What it will run on.
        probes: One sample that shows the shapes, or none.
        samples: Returns a fresh iterator over at most that many calibration samples.
        threads: Threads to use.
        prior: What the rewrites know of values.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for feed in probes:
        shapes = observed_shapes(model, feed, threads=threads)
    return PlanContext(
        model,
        target,
        stats=None,
        shapes=shapes,
        samples=samples,
        threads=threads,
        prior={} if prior is None else prior,
    )


def _refuse_broken_weights(model: ir.Model, name: str) -> None:
    for graph in model.graphs():
        for weight in graph.initializers.values():
            tensor = weight.const_value
            if tensor is None or tensor.dtype not in _FLOATS:
                continue
            if np.isnan(tensor.numpy()).any():
                raise ModelError(
                    f"{name}: weight '{weight.name}' holds NaN; export the model again"
                )
