"""Which IR version an opset needs, from the ONNX standard's table of releases."""

from __future__ import annotations

__all__ = [
    "NEWEST_INTEGER_OPSET",
    "NEWEST_IR",
    "NEWEST_OPSET",
    "OLDEST_IR",
    "OLDEST_OPSET",
    "minimal_ir_version",
]

OLDEST_OPSET = 7
NEWEST_OPSET = 28
# onnxruntime 1.32 runs models of opset 28, but has no QuantizeLinear and DequantizeLinear of it.
NEWEST_INTEGER_OPSET = 27
OLDEST_IR = 3
NEWEST_IR = 14

# (first opset that was released with this IR version, IR version)
_RELEASES = (
    (28, 14),
    (25, 13),
    (24, 12),
    (23, 11),
    (21, 10),
    (19, 9),
    (15, 8),
    (12, 7),
    (11, 6),
    (10, 5),
    (9, 4),
    (1, 3),
)


def minimal_ir_version(opset: int) -> int:
    """Returns the lowest IR version that fits a model of an opset.

    Older runtimes load a model only if they know its IR version, so a model should not carry a
    higher one than it needs.

    Args:
        opset: Version of the default operator set, 1 or more.
    """
    return next(version for first, version in _RELEASES if opset >= first)
