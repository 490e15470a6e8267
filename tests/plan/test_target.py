from __future__ import annotations

import pytest

from onnxq.errors import TargetError
from onnxq.plan.cost import CostTable, KernelCost, Work
from onnxq.plan.target import OpKind, known_targets, load_target


def test_every_target_in_the_package_loads() -> None:
    assert "cpu" in known_targets()
    for name in known_targets():
        found = load_target(name)
        assert found.name == name
        assert found.opset >= 21
        assert found.ops or not found.multiplies
        assert {"types", "granularity", "axes", "bias", "opset", "operators"} <= set(found.sources)
        assert found.pair_bound is None or "pairs" in found.sources
        assert found.costs is None or "costs" in found.sources


def test_the_cpu_multiplies_unsigned_by_signed_bytes() -> None:
    cpu = load_target("cpu")
    assert (str(cpu.activation), str(cpu.weight)) == ("uint8", "int8")
    assert cpu.pair_bound == 32767
    assert cpu.ops["Conv"].kind is OpKind.HEAVY
    assert cpu.ops["Conv"].needs_output
    assert not cpu.ops["Gemm"].needs_output
    assert cpu.ops["Add"].inputs is None
    assert cpu.ops["MaxPool"].inputs == (0,)
    assert not {"AveragePool", "Softmax", "ConvTranspose", "LayerNormalization"} & set(cpu.ops)


def test_what_is_made_for_the_cpu_is_right_on_every_x86() -> None:
    plain, avx2, vnni = (load_target(name) for name in ("cpu", "cpu-avx2", "cpu-vnni"))
    assert plain.pair_bound == avx2.pair_bound == 32767
    assert plain.costs == avx2.costs
    assert vnni.pair_bound is None
    assert vnni.costs != plain.costs
    assert plain.ops == avx2.ops == vnni.ops


def test_tensorrt_multiplies_symmetric_bytes_and_adds_float_biases() -> None:
    found = load_target("tensorrt")
    assert (str(found.activation), str(found.weight)) == ("int8", "int8")
    assert found.symmetric
    assert not found.integer_bias
    assert not found.onnxruntime_kernels
    assert found.weight_axis("Conv", 0) == 0
    assert found.weight_axis("ConvTranspose", 1) == 0


def test_an_operator_without_an_axis_has_one_scale_per_weight() -> None:
    found = load_target("qnn")
    assert found.weight_axis("ConvTranspose", 1) == 1
    assert found.weight_axis("Gemm", 0) is None


@pytest.mark.parametrize("name", ["cuda", "coreml"])
def test_some_targets_have_no_integer_layers(name: str) -> None:
    assert not load_target(name).multiplies
    assert "fp16" in load_target(name).formats


def test_another_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(TargetError, match=r"no target 'gpu'; there are: .*cpu"):
        load_target("gpu")


def test_a_kernel_costs_what_its_coefficients_say() -> None:
    cost = KernelCost(mac_ns=0.5, output_ns=2.0, patch_ns=0.25, call_us=3.0)
    assert cost.microseconds(Work(macs=2000, outputs=1000, patches=400)) == pytest.approx(6.1)
    assert cost.microseconds(Work()) == 3.0


def test_a_table_tells_integer_from_float_times() -> None:
    table = CostTable.parse(
        {
            "Add": {"integer": {"output_ns": 1.0}, "float": {"output_ns": 3, "call_us": 1}},
            "quantize": {"call_us": 2},
            "dequantize": {"output_ns": 4},
        }
    )
    assert table.times("Add", Work(outputs=1000)) == (1.0, 4.0)
    assert table.times("unheard of", Work(macs=1e9)) == (0.0, 0.0)
    assert (table.quantize.call_us, table.dequantize.output_ns) == (2.0, 4.0)
    assert set(table.integer) == {"Add"}


def test_large_dense_work_is_faster_on_integers() -> None:
    for name in ("cpu", "cpu-vnni"):
        costs = load_target(name).costs
        assert costs is not None
        times = costs.times("dense", Work(macs=1e8, outputs=1e5, patches=1e6))
        assert times[0] < times[1], name


def test_integer_carries_whole_models_whatever_it_costs() -> None:
    integer = load_target("integer")
    assert integer.whole
    assert integer.ops["GlobalAveragePool"].tail
    assert integer.ops["Add"].constants
    assert not load_target("cpu").whole
