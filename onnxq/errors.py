"""What can go wrong for a user, as exceptions whose message is one clear line.

Every message says what is wrong, where (file, node, array) and what to do about it. The command
line prints the message alone and exits with :attr:`OnnxqError.exit_code`.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ConfigError",
    "DataError",
    "ModelError",
    "OnnxqError",
    "OutputError",
    "PlanError",
    "RequirementError",
    "TargetError",
]


class OnnxqError(Exception):
    """Base of all errors that a user can cause and mend."""

    exit_code: ClassVar[int] = 2


class ConfigError(OnnxqError):
    """An option or a configuration file holds a value that is not allowed."""


class DataError(OnnxqError):
    """The calibration data cannot be read or does not fit the model's inputs."""


class ModelError(OnnxqError):
    """The model cannot be read, is not legal, or cannot be handled."""


class OutputError(OnnxqError):
    """A result cannot be written."""


class PlanError(OnnxqError):
    """A quantization plan contradicts itself, the model or the target."""


class TargetError(OnnxqError):
    """The target's description is unknown or malformed."""


class RequirementError(OnnxqError):
    """The result misses what ``--require`` asked for; nothing was written."""

    exit_code: ClassVar[int] = 3
