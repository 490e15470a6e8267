"""Random networks whose BatchNormalizations hold what was measured, as training leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxq.runtime.session import make_session
from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import onnx_ir as ir

__all__ = ["BLOCKS", "measured", "network"]

CHANNELS = 8
SHAPE = (24, CHANNELS, 6, 6)

# Of each block: lines with @ for its prefix and # for what it reads; its last line writes @y.
BLOCKS = {
    "plain": """
        @c = Conv(#, @w)
        @n = BN(@c)
        @y = Relu(@n)""",
    "wide": """
        @c = Conv<pads = [1,1,1,1]>(#, @k)
        @n = BN(@c)
        @y = Clip(@n, zero, six)""",
    "depthwise": """
        @c = Conv<group = 8>(#, @d)
        @n = BN(@c)
        @y = HardSwish(@n)""",
    "in front": """
        @n = BN(#)
        @r = Relu(@n)
        @y = Conv(@r, @w)""",
    "into the next": """
        @n = BN(#)
        @y = Conv(@n, @w)""",
    "scaled": """
        @c = Conv(#, @w)
        @n = BN(@c)
        @s = Mul(@n, @f)
        @t = Add(@s, @f)
        @y = Relu(@t)""",
    "scaled in front": """
        @c = Conv(#, @w)
        @s = Mul(@c, @f)
        @n = BN(@s)
        @y = Relu(@n)""",
    "residual": """
        @c = Conv(#, @w)
        @n = BN(@c)
        @a = Add(@n, #)
        @y = LeakyRelu(@a)""",
    "branches": """
        @c = Conv(#, @w)
        @n = BN(@c)
        @e = Conv<pads = [1,1,1,1]>(#, @k)
        @o = BN(@e)
        @q = BN(#)
        @a = Add(@n, @o)
        @z = Add(@a, @q)
        @u = BN(@z)
        @y = Relu(@u)""",
    "siblings": """
        @c = Conv(#, @i)
        @n = BN4(@c)
        @r = Relu(@n)
        @e = Conv(#, @j)
        @o = BN4(@e)
        @l = Relu(@o)
        @y = Concat<axis = 1>(@r, @l)""",
    "shuffled": """
        @c = Conv(#, @w)
        @n = BN(@c)
        @r = Reshape(@n, five)
        @t = Transpose<perm = [0,2,1,3,4]>(@r)
        @l = Reshape(@t, four)
        @e = Conv(@l, @x)
        @o = BN(@e)
        @y = Relu(@o)""",
    "channels last": """
        @c = Conv(#, @w)
        @n = BN(@c)
        @t = Transpose<perm = [0,2,3,1]>(@n)
        @s = Mul(@t, @q)
        @r = Relu(@s)
        @l = Transpose<perm = [0,3,1,2]>(@r)
        @y = Conv(@l, @x)""",
    "halves": """
        @a, @z = Split<axis = 1, num_outputs = 2>(#)
        @c = Conv(@a, @o)
        @n = BN4(@c)
        @r = Relu(@n)
        @y = Concat<axis = 1>(@r, @z)""",
}  # fmt: skip

_WEIGHTS = {
    "w": (8, 8, 1, 1), "x": (8, 8, 1, 1), "k": (8, 8, 3, 3), "d": (8, 1, 1, 1), "i": (4, 8, 1, 1),
    "j": (4, 8, 1, 1), "o": (4, 4, 1, 1), "f": (8, 1, 1), "q": (8,),
}  # fmt: skip
_SHARED: dict[str, npt.ArrayLike] = {
    "zero": 0.0, "six": 6.0, "five": np.array([0, 2, 4, 6, 6]), "four": np.array([0, 8, 6, 6]),
}  # fmt: skip


def measured(
    source: ir.Model, names: Sequence[str], x: npt.NDArray[np.float32]
) -> list[npt.NDArray[np.float32]]:
    """Returns the named values of ``source`` for the input ``x``."""
    inner = [name for name in names if name != "x"]
    found = {"x": x}
    if inner:
        found.update(make_session(source, optimize=False, outputs=inner).run({"x": x}))
    return [found[name] for name in names]


def network(blocks: Sequence[str], seed: int) -> tuple[ir.Model, npt.NDArray[np.float32]]:
    """Makes a network of ``blocks`` one behind the other, and the data that its norms saw."""
    maker = _Maker(seed)
    h = "x"
    for number, block in enumerate(blocks):
        prefix = f"b{number}"
        for line in BLOCKS[block].strip().splitlines():
            maker.add(line.strip().replace("@", prefix).replace("#", h))
        h = f"{prefix}y"
    return maker.model(f"y = Sigmoid({h})"), maker.x


class _Maker:
    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._lines: list[str] = []
        self._weights: dict[str, npt.ArrayLike] = {}
        self.x = self._normal(*SHAPE)

    def add(self, line: str) -> None:
        """Takes a line over; BN and BN4 become BatchNormalization with measured moments."""
        for call, channels in (("BN4(", 4), ("BN(", CHANNELS)):
            if call in line:
                target, read = line.split(" = ")[0], line.partition(call)[2].rstrip(")")
                self._measure(target, read, channels)
                parameters = ", ".join(f"{target}{end}" for end in "gbmv")
                line = f"{target} = BatchNormalization({read}, {parameters})"
        for word in line.replace("(", " ").replace(")", " ").replace(",", " ").split():
            shape = _WEIGHTS.get(word[-1]) if word[0] == "b" and word[1:-1].isdigit() else None
            if word in _SHARED:
                self._weights[word] = _SHARED[word]
            elif shape is not None and f"{word} =" not in "\n".join([*self._lines, line]):
                self._weights.setdefault(word, self._normal(*shape))
        self._lines.append(line)

    def model(self, last: str) -> ir.Model:
        heads = []
        for name, array in self._weights.items():
            kind = "int64" if np.asarray(array).dtype.kind == "i" else "float"
            dims = ",".join(map(str, np.shape(array)))
            heads.append(f"{kind}[{dims}] {name}" if dims else f"{kind} {name}")
        body = "\n".join([*self._lines, last])
        dims = ",".join(map(str, SHAPE[1:]))
        text = f"f ({', '.join([f'float[N,{dims}] x', *heads])}) => (float[N,A,B,C] y) {{ {body} }}"
        return build(text, **self._weights)

    def _measure(self, target: str, read: str, channels: int) -> None:
        array = self.x
        if read != "x":
            array = measured(self.model(f"y = Relu({read})"), [read], self.x)[0]
        moments = array.mean(axis=(0, 2, 3)), array.var(axis=(0, 2, 3))
        scale = self._normal(channels) * np.float32(0.5) + np.float32(1)
        for end, numbers in zip("gbmv", (scale, self._normal(channels), *moments), strict=True):
            self._weights[f"{target}{end}"] = np.asarray(numbers, np.float32)

    def _normal(self, *shape: int) -> npt.NDArray[np.float32]:
        return self._rng.normal(size=shape).astype(np.float32)
