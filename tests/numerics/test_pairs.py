from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxq.numerics.pairs import kernel_rows, limit_pairs, pair_excess, pair_scale_factor
from tests.passes.rewrite.building import build
from tests.support import run

ROWS = hnp.arrays(
    np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(-127, 127)
)
LIMITS = st.integers(127, 254)


def pair_sums(codes: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """All |w₀ + w₁| that inputs of any size can reach, by the definition."""
    if codes.shape[1] % 2:
        codes = np.pad(codes, ((0, 0), (0, 1)))
    a, b = codes[:, ::2].astype(np.int64), codes[:, 1::2].astype(np.int64)
    reached = [np.abs(i * a + j * b) for i in (0, 1) for j in (0, 1)]
    return np.asarray(np.max(reached, axis=0), np.int64)


@given(ROWS, LIMITS)
def test_no_pair_exceeds_the_limit_afterwards(codes: npt.NDArray[np.int32], limit: int) -> None:
    bounded = limit_pairs(codes, limit)
    assert (pair_sums(bounded) <= limit).all()
    assert not pair_excess(bounded, limit).any()


@given(ROWS, LIMITS)
def test_excess_is_that_of_the_worst_pair(codes: npt.NDArray[np.int32], limit: int) -> None:
    wanted = np.maximum(pair_sums(codes).max(axis=1) - limit, 0)
    np.testing.assert_array_equal(pair_excess(codes, limit), wanted)


@given(ROWS, LIMITS)
def test_pairs_within_the_limit_stay(codes: npt.NDArray[np.int32], limit: int) -> None:
    bounded = limit_pairs(codes, limit)
    kept = np.repeat(pair_sums(codes) <= limit, 2, axis=1)[:, : codes.shape[1]]
    np.testing.assert_array_equal(bounded[kept], codes[kept])
    # A pair that exceeded it ends at the limit, not below: no more is given up than needed.
    moved = pair_sums(bounded)[pair_sums(codes) > limit]
    assert (moved == limit).all()


@given(ROWS, LIMITS)
def test_magnitudes_shrink_and_signs_stay(codes: npt.NDArray[np.int32], limit: int) -> None:
    bounded = limit_pairs(codes, limit)
    assert bounded.shape == codes.shape
    assert bounded.dtype == np.int32
    assert (bounded * codes >= 0).all()
    assert (np.abs(bounded) <= np.abs(codes)).all()


def test_both_members_give_half_and_the_first_the_odd_unit() -> None:
    codes = np.array([[100, 101, -127, -127, 127, 3]], np.int32)
    assert limit_pairs(codes, 128).tolist() == [[63, 65, -64, -64, 126, 2]]


def test_a_small_member_gives_all_it_has() -> None:
    codes = np.array([[127, 4], [4, 127]], np.int32)
    assert limit_pairs(codes, 110).tolist() == [[110, 0], [0, 110]]


@given(
    hnp.arrays(np.float32, (3, 8), elements=st.floats(-1, 1, width=32)),
    st.integers(64, 254),
    st.booleans(),
)
def test_scales_grow_by_one_to_two(
    rows: npt.NDArray[np.float32], limit: int, per_row: bool
) -> None:
    magnitude = np.abs(rows).max(axis=1) if per_row else np.abs(rows).max()
    scale = np.asarray(np.maximum(magnitude, 1e-6) / 127, np.float32)
    factor = pair_scale_factor(rows, scale, limit)
    assert factor.shape == scale.shape
    assert ((factor >= 1) & (factor <= 2)).all()
    if not pair_excess(np.rint(rows / scale.reshape(-1, 1)).astype(np.int32), limit - 2).any():
        assert (factor == 1).all()


def test_a_row_of_large_equal_weights_gets_a_coarser_scale() -> None:
    rows = np.stack([np.ones(64), np.resize([1.0, 0.0], 64)]).astype(np.float32)
    factor = pair_scale_factor(rows, np.full(2, 1 / 127, np.float32), 128)
    assert factor[0] > 1.8
    assert factor[1] == 1


def test_rows_follow_kernel_positions_then_channels() -> None:
    weight = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    assert kernel_rows(weight)[0].tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


@pytest.mark.parametrize("channels", [2, 3, 8, 64])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("kind", ["all-large", "random", "last-channel-alone"])
def test_limited_weights_never_saturate(channels: int, kernel: int, kind: str) -> None:
    rng = np.random.default_rng(0)
    shape = (16, channels, kernel, kernel)
    weight = rng.choice([-127, 127], shape) if kind == "random" else np.full(shape, 127)
    if kind == "last-channel-alone":
        weight[:, :-1] = rng.integers(-127, 128, (16, channels - 1, kernel, kernel))
    rows = limit_pairs(kernel_rows(weight).astype(np.int32), 32767 // 255)
    codes = np.moveaxis(rows.reshape(16, kernel, kernel, channels), -1, 1).astype(np.int8)
    x = np.full((1, channels, 6, 6), 255, np.uint8)
    x[:, :, 3:] = rng.choice([0, 255], (1, channels, 3, 6))
    np.testing.assert_array_equal(_by_kernel(x, codes), _exactly(x, codes))


def _by_kernel(x: npt.NDArray[np.uint8], w: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    size = 7 - w.shape[2]
    source = build(
        f"""f (uint8[1,{w.shape[1]},6,6] x, float xs, uint8 xz, int8[16,{w.shape[1]},K,L] w,
            float ws, int8 wz, float ys, uint8 yz) => (uint8[1,16,{size},{size}] y) {{
            y = QLinearConv(x, xs, xz, w, ws, wz, ys, yz) }}""",
        w=np.ascontiguousarray(w), xs=1.0, ws=1.0, ys=_step(w), xz=np.uint8(0), wz=np.int8(0),
        yz=np.uint8(128),
    )  # fmt: skip
    assert source.graph.node(0).op_type == "QLinearConv"
    return run(ir.from_proto(ir.to_proto(source)), {"x": x}, "all")["y"]


def _step(w: npt.NDArray[np.int8]) -> float:
    """A power of two by which no sum leaves the codes."""
    return float(
        2.0 ** np.ceil(np.log2(255 * np.abs(w.astype(np.int64)).sum((1, 2, 3)).max() / 127))
    )


def _exactly(x: npt.NDArray[np.uint8], w: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    kernel = w.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(
        x[0].astype(np.int64), (kernel, kernel), (1, 2)
    )
    sums = np.einsum("cyxkl,ockl->oyx", windows, w.astype(np.int64))
    return np.asarray(np.clip(np.rint(sums / _step(w)) + 128, 0, 255), np.uint8)[None]
