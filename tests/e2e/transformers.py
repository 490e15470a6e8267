"""Encoders as PyTorch exports them: dimensions computed from shapes, everything spelled out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.passes.rewrite.building import build

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

__all__ = ["MASKS", "WIDTH", "encoder", "sentences"]

WIDTH, HEADS, WORDS, LONGEST = 128, 4, 50, 96
MASKS = {
    "add": "masked = Add(scaled, far)",
    "where": "masked = Where(absent, lowest, scaled)",
}
"""How positions without a word are kept out of attention."""

_NORM = """
    {out}_mean = ReduceMean<axes=[-1]>({x})
    {out}_gap = Sub({x}, {out}_mean)
    {out}_square = Pow({out}_gap, two)
    {out}_variance = ReduceMean<axes=[-1]>({out}_square)
    {out}_shifted = Add({out}_variance, epsilon)
    {out}_deviation = Sqrt({out}_shifted)
    {out}_unit = Div({out}_gap, {out}_deviation)
    {out}_scaled = Mul({out}_unit, gain)
    {out} = Add({out}_scaled, offset)"""
_HEADS = """
    {out}_product = MatMul(seen, w_{out})
    {out}_full = Add(b_{out}, {out}_product)
    {out}_shape = Concat<axis=0>(batch, length, heads)
    {out}_split = Reshape({out}_full, {out}_shape)
    {out} = Transpose<perm=[0,2,{order}]>({out}_split)"""
_BODY = """
    words = Gather(table, ids)
    shape = Shape(ids)
    batch = Slice(shape, zeros, ones)
    length = Slice(shape, ones, twos)
    chosen = Slice(places, zeros, length, ones)
    placed = Add(words, chosen)
    {seen}
    {q} {k} {v}
    scores = MatMul(q, k)
    scaled = Div(scores, root)
    present = Unsqueeze(mask, inner)
    real = Cast<to=1>(present)
    missing = Sub(one, real)
    far = Mul(missing, lowest)
    absent = Cast<to=9>(missing)
    {masked}
    weights = Softmax<axis=-1>(masked)
    mixed = MatMul(weights, v)
    back = Transpose<perm=[0,2,1,3]>(mixed)
    flat_shape = Concat<axis=0>(batch, length, width)
    flat = Reshape(back, flat_shape)
    out_product = MatMul(flat, w_out)
    out = Add(b_out, out_product)
    attended = Add(seen, out)
    {norm}
    up_product = MatMul(norm, w_up)
    up = Add(b_up, up_product)
    part = Div(up, sqrt2)
    erf = Erf(part)
    more = Add(erf, one)
    twice = Mul(up, more)
    gelu = Mul(twice, half)
    down_product = MatMul(gelu, w_down)
    down = Add(b_down, down_product)
    sum = Add(norm, down)
    {last}
    {head}"""


def encoder(mask: str = "add", head: str = "y = Identity(last)", out: str = "N,T,128") -> ir.Model:
    """One block over embedded words, opset 13, dynamic batch and length.

    Args:
        mask: Key of :data:`MASKS`.
        head: Makes y of the block's result, last.
        out: Dimensions of y.
    """
    sizes = {"q": 1, "k": 1, "v": 1, "out": 1}
    weights: dict[str, npt.ArrayLike] = {"table": _normal(WORDS, WIDTH), "places": _places()}
    for seed, name in enumerate([*sizes, "up", "down"]):
        rows = 4 * WIDTH if name == "down" else WIDTH
        columns = 4 * WIDTH if name == "up" else WIDTH
        weights[f"w_{name}"] = _normal(rows, columns, seed=seed) / np.float32(np.sqrt(rows))
        weights[f"b_{name}"] = _normal(columns, seed=seed) * np.float32(0.1)
    weights |= {
        "gain": 1 + np.float32(0.1) * _normal(WIDTH, seed=7),
        "offset": np.float32(0.1) * _normal(WIDTH, seed=8),
        "heads": np.array([HEADS, WIDTH // HEADS]),
        "width": np.array([WIDTH]),
        "inner": np.array([1, 2]),
        "zeros": np.array([0]),
        "ones": np.array([1]),
        "twos": np.array([2]),
        "first": np.array(0),
        "root": np.float32(np.sqrt(WIDTH / HEADS)),
        "sqrt2": np.float32(np.sqrt(2)),
        "lowest": np.float32(-1e4),
        "two": 2.0,
        "one": 1.0,
        "half": 0.5,
        "epsilon": 1e-5,
    }
    body = _BODY.format(
        seen=_NORM.format(x="placed", out="seen"),
        norm=_NORM.format(x="attended", out="norm"),
        last=_NORM.format(x="sum", out="last"),
        **{n: _HEADS.format(out=n, order="3,1" if n == "k" else "1,3") for n in "qkv"},
        masked=MASKS[mask],
        head=head,
    )
    declared = ", ".join(f"{_kind(data)} {name}" for name, data in weights.items())
    return build(
        f"""<ir_version: 8, opset_import: ["": 13]>
        f (int64[N,T] ids, int64[N,T] mask, {declared}) => (float[{out}] y) {{ {body} }}""",
        **weights,
    )


def sentences(count: int, length: int = LONGEST, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Words and masks, int64 [count, length]; the last words of some are missing."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(length // 2, length + 1, count)
    present = np.arange(length) < ends[:, None]
    return {
        "ids": rng.integers(0, WORDS, (count, length)),
        "mask": present.astype(np.int64),
    }


def _normal(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _places() -> npt.NDArray[np.float32]:
    return _normal(LONGEST, WIDTH, seed=9)[None] * np.float32(0.5)


def _kind(data: npt.ArrayLike) -> str:
    array = np.asarray(data)
    dims = ",".join(map(str, array.shape))
    kind = "int64" if np.issubdtype(array.dtype, np.integer) else "float"
    return f"{kind}[{dims}]" if dims else kind
