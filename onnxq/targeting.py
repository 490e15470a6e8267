"""What a model is made for, and what that asks of the model as it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxq.errors import ConfigError, TargetError
from onnxq.graph.fix_shapes import fix_shapes
from onnxq.plan.target import load_target
from onnxq.runtime.providers import provider_called
from onnxq.runtime.session import run_model

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxq.config import Config
    from onnxq.data.calibration import CalibrationData
    from onnxq.plan.target import Target

__all__ = ["chosen_target", "with_fixed_shapes"]


def chosen_target(config: Config, *, with_data: bool) -> Target:
    """Returns what the model is made for, which must know its form; the provider must be there."""
    provider_called(config.provider)
    target = load_target(config.target)
    if config.format not in target.formats:
        known = " or ".join(target.formats)
        raise TargetError(f"{target.name} does not run --format {config.format}; give {known}")
    if with_data and config.format == "qdq" and not target.multiplies:
        others = [form for form in target.formats if form != config.format]
        raise TargetError(
            f"{target.name} has no integer kernels for layers; give --format {' or '.join(others)},"
            " or leave out --data to store weights alone as integers"
        )
    if config.format == "integer" and not with_data:
        raise ConfigError("--format integer needs --data: activation ranges come from samples")
    return load_target(config.plan_target)


def with_fixed_shapes(
    original: ir.Model, samples: CalibrationData, target: Target, warnings: tuple[str, ...]
) -> tuple[ir.Model, tuple[str, ...]]:
    """Returns the model with the shapes of a sample where the target takes no open ones.

    Returns:
        The model, which is the given one where nothing was to be fixed, and ``warnings`` with what
        the user should know of it.
    """
    probes = samples.probes() if target.static_shapes else []
    if not probes:
        return original, warnings
    shaped, feed = original.clone(), probes[0]
    found = {**feed, **run_model(original, feed)}
    fixed = fix_shapes(shaped, {name: tuple(array.shape) for name, array in found.items()})
    if not fixed:
        return original, warnings
    told = f"{target.name} takes fixed shapes: {', '.join(fixed)} got those of a sample"
    return shaped, (*warnings, told)
