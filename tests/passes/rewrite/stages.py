"""Writes stages of shuffled units, as text for the tests of channel shuffles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tests.passes.rewrite.building import build, rng_weight

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

__all__ = ["StageWriter", "Style", "stage"]

Style = Literal["chunk", "slices", "pairs"]


class StageWriter:
    """Collects nodes and weights.

    Args:
        half: Channels of one branch.
        size: Height and width.
        style: "chunk" and "slices" shuffle the joined branches and take the two halves, with Split
            or two Slices; "pairs" takes the even and the odd channels, with two Gathers.
        activation: Stands behind every dense convolution, `{}` for its input.
    """

    def __init__(self, half: int, size: int, style: Style, activation: str = "Relu({})") -> None:
        self.half, self.size, self.style, self.activation = half, size, style, activation
        self.lines: list[str] = []
        self.weights: dict[str, npt.ArrayLike] = {}
        self.types: list[str] = []

    def weight(self, name: str, array: npt.ArrayLike) -> str:
        data = np.asarray(array)
        kind = "int64" if data.dtype == np.int64 else "float"
        self.types.append(f"{kind}[{','.join(map(str, data.shape))}] {name}")
        self.weights[name] = data
        return name

    def add(self, line: str) -> str:
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {line}")
        return name

    def conv(self, x: str, channels: int, out: int, group: int = 1, kernel: int = 1) -> str:
        number = len(self.lines)
        shape = (out, channels // group, kernel, kernel)
        w = self.weight(f"w{number}", rng_weight(*shape, seed=number) / np.sqrt(np.prod(shape[1:])))
        b = self.weight(f"b{number}", rng_weight(out, seed=number + 1000))
        pads = [kernel // 2] * 4
        return self.add(f"Conv<group={group}, pads={pads}>({x}, {w}, {b})")

    def branch(self, x: str, channels: int) -> str:
        first = self.add(self.activation.format(self.conv(x, channels, self.half)))
        deep = self.conv(first, self.half, self.half, self.half, 3)
        return self.add(self.activation.format(self.conv(deep, self.half, self.half)))

    def join(self, left: str, right: str) -> str:
        return self.add(f"Concat<axis=1>({left}, {right})")

    def shuffle(self, x: str, groups: int = 2) -> str:
        n, channels, size = len(self.lines), 2 * self.half, self.size
        dims = [1, groups, channels // groups, size, size]
        first = self.weight(f"s{n}", np.array(dims, np.int64))
        second = self.weight(f"t{n}", np.array([1, channels, size, size], np.int64))
        apart = self.add(f"Reshape({x}, {first})")
        return self.add(f"Reshape({self.add(f'Transpose<perm=[0,2,1,3,4]>({apart})')}, {second})")

    def halves(self, joined: str) -> tuple[str, str]:
        n, half, size = len(self.lines), self.half, self.size
        if self.style == "pairs":
            first = self.weight(f"s{n}", np.array([half, 2, size * size], np.int64))
            second = self.weight(f"t{n}", np.array([2, -1, half, size, size], np.int64))
            apart = self.add(f"Reshape({joined}, {first})")
            swapped = self.add(f"Transpose<perm=[1,0,2]>({apart})")
            stacked = self.add(f"Reshape({swapped}, {second})")
            indices = [self.weight(f"i{n}_{i}", np.array(i, np.int64)) for i in range(2)]
            left, right = (self.add(f"Gather<axis=0>({stacked}, {i})") for i in indices)
            return left, right
        mixed = self.shuffle(joined)
        if self.style == "chunk":
            self.lines.append(f"l{n}, r{n} = Split<axis=1, num_outputs=2>({mixed})")
            return f"l{n}", f"r{n}"
        bounds = [self.weight(f"c{n}_{i}", np.array([i * half], np.int64)) for i in range(3)]
        axis = self.weight(f"a{n}", np.array([1], np.int64))
        left, right = (self.add(f"Slice({mixed}, {bounds[i]}, {bounds[i + 1]}, {axis})")
                       for i in range(2))  # fmt: skip
        return left, right

    def model(self, result: str, in_channels: int) -> ir.Model:
        s = self.size
        head = ", ".join([f"float[1,{in_channels},{s},{s}] x", *self.types])
        body = "\n".join([*self.lines, f"y = Identity({result})"])
        return build(f"f ({head}) => (float[1,C,H,W] y) {{ {body} }}", **self.weights)


def stage(
    half: int, units: int, style: Style, *, activation: str = "Relu({})", size: int = 4
) -> StageWriter:
    """Writes a stage of ``units`` units and joins what the last one computes; see ``lines[-1]``."""
    writer = StageWriter(half, size, style, activation)
    deep = writer.conv("x", 3, 3, 3, 3)
    left = writer.add(activation.format(writer.conv(deep, 3, half)))
    right = writer.branch("x", 3)
    for _ in range(units):
        left, right = writer.halves(writer.join(left, right))
        right = writer.branch(right, half)
    writer.join(left, right)
    return writer
