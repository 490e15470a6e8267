from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from onnxq.errors import DataError
from onnxq.runtime.observe import observe
from onnxq.runtime.session import run_model

MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[N, 2, H, W] x) => (float[N, 2, 1, 1] y, int64[4] s)
<float[1] c = {-1.0}>
{
    a = Mul (x, c)
    b = Relu (a)
    r = Log (b)
    y = GlobalAveragePool (b)
    s = Shape (b)
}
"""


def samples(n: int, size: int = 6) -> list[dict[str, npt.NDArray[np.float32]]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.standard_normal((1, 2, size, size)).astype(np.float32)} for _ in range(n)]


@pytest.mark.parametrize("threads", [1, 2])
def test_statistics_are_those_of_all_samples(threads: int) -> None:
    model, feeds = ir.from_onnx_text(MODEL), samples(5)
    stats = observe(model, feeds, ["b", "x", "y"], threads=threads)
    assert list(stats.values) == ["x", "b", "y"]
    assert stats.samples == 5
    for name in ("b", "y"):
        x = np.concatenate([run_model(model, feed, [name])[name] for feed in feeds])
        found = stats[name].channels
        assert found is not None
        np.testing.assert_array_equal(found.minimum, x.min(axis=(0, 2, 3)))
        np.testing.assert_array_equal(found.maximum, x.max(axis=(0, 2, 3)))
        np.testing.assert_allclose(found.mean, x.mean(axis=(0, 2, 3)), rtol=1e-5)
        assert stats[name].histogram.total == x.size


def test_parts_merge_to_the_whole() -> None:
    model, feeds = ir.from_onnx_text(MODEL), samples(6, 40)
    whole = observe(model, feeds, ["a", "y"])
    merged = observe(model, feeds[:2], ["a", "y"]).merge(observe(model, feeds[2:], ["a", "y"]))
    assert merged.samples == whole.samples
    for name in ("a", "y"):
        assert merged[name].histogram.same_as(whole[name].histogram)
        assert merged[name].minimum == whole[name].minimum
        assert merged[name].mean == pytest.approx(whole[name].mean, rel=1e-6)


def test_feeds_are_read_once_and_one_ahead() -> None:
    done = 0

    def feeds() -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        for number, feed in enumerate(samples(4)):
            assert number <= done + 1
            yield feed

    def progress(count: int) -> None:
        nonlocal done
        done = count

    observe(ir.from_onnx_text(MODEL), feeds(), ["a"], progress=progress)
    assert done == 4


def test_a_given_channel_axis_wins() -> None:
    stats = observe(
        ir.from_onnx_text(MODEL), samples(2), ["a", "b", "y"], channel_axis={"a": None, "b": 3}
    )
    assert [stats[name].channel_axis for name in ("a", "b", "y")] == [None, 3, 1]


def test_values_without_floats_or_producer_are_left_out() -> None:
    stats = observe(ir.from_onnx_text(MODEL), samples(1), ["a", "s", "c", "none"])
    assert list(stats.values) == ["a"]


def test_the_model_stays_as_it_was() -> None:
    model = ir.from_onnx_text(MODEL)
    observe(model, samples(1), ["a"])
    assert [value.name for value in model.graph.outputs] == ["y", "s"]


def test_a_bad_input_is_named_with_its_sample() -> None:
    feeds = samples(3)
    feeds[1]["x"][0, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match=r"sample 1 holds NaN or infinity in input 'x'"):
        observe(ir.from_onnx_text(MODEL), feeds, ["a"])


def test_an_inner_value_that_turns_infinite_is_named_with_its_sample() -> None:
    feeds = [{"x": np.full((1, 2, 2, 2), sign, np.float32)} for sign in (-1, -1, 1)]
    with pytest.raises(DataError, match=r"'r' becomes NaN or infinite at sample 2.*\(x\)"):
        observe(ir.from_onnx_text(MODEL), feeds, ["a", "r"])


def test_no_sample_is_a_data_error() -> None:
    with pytest.raises(DataError, match="no sample"):
        observe(ir.from_onnx_text(MODEL), [], ["a"])
