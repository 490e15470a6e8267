"""Graph text whose operators have the form of one opset, and the constants that this form needs.

Each method returns one statement of ONNX's text format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Dialect"]


class Dialect:
    """The forms of one opset.

    Attributes:
        opset: Of the default domain.
        given: Constants that statements read so far: name → (type, data).
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.given: dict[str, tuple[str, Sequence[int] | float]] = {}

    def ints(self, *numbers: int) -> str:
        """A constant vector of int64."""
        name = "_".join(["i", *(str(n).replace("-", "m") for n in numbers)])
        self.given[name] = (f"int64[{len(numbers)}]", numbers)
        return name

    def integer(self, number: int) -> str:
        """A constant int64 without dimensions."""
        name = f"n_{number}"
        self.given[name] = ("int64", number)
        return name

    def real(self, number: float) -> str:
        """A constant float without dimensions."""
        name = "k_" + str(number).replace("-", "m").replace(".", "_")
        self.given[name] = ("float", number)
        return name

    def _axes(self, y: str, op: str, x: str, axes: Sequence[int], since: int) -> str:
        """An operator whose axes are an attribute before opset ``since`` and an input after."""
        if self.opset < since:
            return f"{y} = {op}<axes=[{_list(axes)}]>({x})"
        return f"{y} = {op}({x}, {self.ints(*axes)})"

    def unsqueeze(self, y: str, x: str, *axes: int) -> str:
        return self._axes(y, "Unsqueeze", x, axes, 13)

    def squeeze(self, y: str, x: str, *axes: int) -> str:
        return self._axes(y, "Squeeze", x, axes, 13)

    def reduce(self, y: str, kind: str, x: str, *axes: int, keepdims: int = 0) -> str:
        if self.opset < 18:
            where = f"axes=[{_list(axes)}], " if axes else ""
            return f"{y} = {kind}<{where}keepdims={keepdims}>({x})"
        where = f", {self.ints(*axes)}" if axes else ""
        return f"{y} = {kind}<keepdims={keepdims}>({x}{where})"

    def split(self, y: Sequence[str], x: str, axis: int, *sizes: int) -> str:
        left = ", ".join(y)
        if self.opset < 13:
            return f"{left} = Split<axis={axis}, split=[{_list(sizes)}]>({x})"
        return f"{left} = Split<axis={axis}>({x}, {self.ints(*sizes)})"

    def slice(self, y: str, x: str, axis: int, start: int, end: int) -> str:
        if self.opset < 10:
            return f"{y} = Slice<axes=[{axis}], starts=[{start}], ends=[{end}]>({x})"
        bounds = ", ".join(self.ints(number) for number in (start, end, axis))
        return f"{y} = Slice({x}, {bounds})"

    def pad(self, y: str, x: str, *pads: int) -> str:
        if self.opset < 11:
            return f"{y} = Pad<pads=[{_list(pads)}]>({x})"
        return f"{y} = Pad({x}, {self.ints(*pads)})"

    def clip(self, y: str, x: str, low: float, high: float) -> str:
        if self.opset < 11:
            return f"{y} = Clip<min={low:.1f}, max={high:.1f}>({x})"
        return f"{y} = Clip({x}, {self.real(low)}, {self.real(high)})"

    def hard_swish(self, y: str, x: str) -> str:
        """An operator since opset 14; before that four nodes."""
        if self.opset >= 14:
            return f"{y} = HardSwish({x})"
        return f"""{y}_a = Add({x}, {self.real(3.0)}) {self.clip(f"{y}_c", f"{y}_a", 0.0, 6.0)}
            {y}_m = Mul({x}, {y}_c) {y} = Div({y}_m, {self.real(6.0)})"""

    def dropout(self, y: str, x: str) -> str:
        if self.opset < 12:
            return f"{y} = Dropout<ratio=0.5>({x})"
        return f"{y} = Dropout({x}, {self.real(0.5)})"

    def ceil_pool(self, y: str, x: str) -> str:
        """A pool whose last window may hang over the edge; padded before opset 10."""
        how = "pads=[0,0,1,1]" if self.opset < 10 else "ceil_mode=1"
        return f"{y} = MaxPool<kernel_shape=[3,3], strides=[2,2], {how}>({x})"

    def double(self, y: str, x: str) -> str:
        """Nearest upsampling by 2."""
        self.given["scales"] = ("float[4]", (1, 1, 2, 2))
        if self.opset < 10:
            return f'{y} = Upsample<mode="nearest">({x}, scales)'
        if self.opset == 10:
            return f'{y} = Resize<mode="nearest">({x}, scales)'
        how = 'coordinate_transformation_mode="asymmetric", nearest_mode="floor"'
        roi = ""
        if self.opset < 13:
            roi, self.given["roi"] = "roi", ("float[0]", ())
        return f'{y} = Resize<mode="nearest", {how}>({x}, {roi}, scales)'


def _list(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))
