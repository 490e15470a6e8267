from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

import onnxq
from onnxq.errors import ConfigError, ModelError
from onnxq.runtime.observe import observe
from onnxq.runtime.providers import provider_called, provider_settings
from onnxq.runtime.session import make_session
from tests.e2e.networks import classifier, images
from tests.support import run

OPENVINO = "OpenVINOExecutionProvider"
# Offered by the plain CPU package, and takes no node: enough to see who is asked.
AZURE = "AzureExecutionProvider"
GPUS = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "DmlExecutionProvider")

needs_azure = pytest.mark.skipif(
    AZURE not in ort.get_available_providers(), reason=f"this onnxruntime has no {AZURE}"
)
needs_openvino = pytest.mark.skipif(
    OPENVINO not in ort.get_available_providers(), reason=f"this onnxruntime has no {OPENVINO}"
)


def _starts(provider: str) -> bool:
    """Whether a provider runs a model here; a GPU's is offered where there is no GPU, too."""
    if provider not in ort.get_available_providers():
        return False
    try:
        make_session(ir.from_onnx_text(_ADD), provider=provider)
    except ModelError:
        return False
    return True


_ADD = '<ir_version: 10, opset_import: ["": 21]> f (float[2] x) => (float[2] y) { y = Add(x, x) }'


@pytest.mark.parametrize("name", ["cpu", "CPU", "CPUExecutionProvider", "cpuexecutionprovider"])
def test_a_provider_is_found_in_any_case_with_or_without_its_ending(name: str) -> None:
    assert provider_called(name) == "CPUExecutionProvider"


@pytest.mark.parametrize("name", ["abacus", "", "cp"])
def test_an_absent_provider_is_refused_with_those_on_offer(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"--provider '{name}' .* CPUExecutionProvider"):
        provider_called(name)


@pytest.mark.parametrize(
    ("name", "package"),
    [("CUDA", "onnxruntime-gpu"), ("openvino", "onnxruntime-openvino"), ("DirectML", "-directml")],
)
def test_a_known_provider_that_is_absent_comes_with_what_to_install(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match=rf"offers CPUExecutionProvider; install .*{package}"):
        provider_called(name)


def test_providers_are_told_what_they_do_not_take_from_the_session() -> None:
    assert provider_settings(OPENVINO, 3, quantized=False)["num_of_threads"] == "3"
    assert provider_settings("TensorrtExecutionProvider", 1, quantized=True) == {
        "trt_int8_enable": "1"
    }
    assert provider_settings("TensorrtExecutionProvider", 1, quantized=False) == {}
    assert provider_settings("CUDAExecutionProvider", 1, quantized=True) == {}


def test_a_provider_that_does_not_start_is_told_and_nothing_runs_on_the_cpu_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = ort.InferenceSession

    def fall_back(*args: object, providers: object, **kwargs: object) -> object:
        del providers
        return real(*args, providers=["CPUExecutionProvider"], **kwargs)

    monkeypatch.setattr(ort, "InferenceSession", fall_back)
    with pytest.raises(ModelError, match=r"^CUDAExecutionProvider does not start here"):
        make_session(ir.from_onnx_text(_ADD), provider="CUDAExecutionProvider")


@needs_azure
def test_the_provider_has_the_first_say_and_the_cpu_the_rest() -> None:
    session = make_session(ir.from_onnx_text(_ADD), provider=AZURE)
    assert session.provider == AZURE
    np.testing.assert_array_equal(session.run({"x": np.ones(2, np.float32)})["y"], [2, 2])


@needs_azure
def test_calibration_fidelity_and_latency_run_on_the_provider() -> None:
    plain = onnxq.optimize(classifier(), {"x": images(12)}, threads=1)
    result = onnxq.optimize(classifier(), {"x": images(12)}, threads=1, provider="azure")
    assert result.made_for is not None
    assert result.made_for.provider == AZURE
    assert result.latency is not None
    assert result.metric("integer") is None
    assert result.fidelity.worst == plain.fidelity.worst
    assert result.options["provider"] == "azure"


def test_an_absent_provider_ends_a_run_before_the_work() -> None:
    with pytest.raises(ConfigError, match="--provider 'abacus' is not in the installed"):
        onnxq.optimize(classifier(), {"x": images(4)}, provider="abacus")


@needs_openvino
def test_openvino_observes_what_the_cpu_observes() -> None:
    model = classifier(batch="1")
    feeds = [{"x": images(1, seed=seed)} for seed in range(4)]
    here = observe(model, feeds, ["x", "r1", "r2", "y"])
    there = observe(model, feeds, ["x", "r1", "r2", "y"], provider=OPENVINO)
    for name in ("x", "r1", "r2", "y"):
        assert there[name].maximum == pytest.approx(here[name].maximum, rel=1e-4)
        assert there[name].minimum == pytest.approx(here[name].minimum, rel=1e-4, abs=1e-4)


@needs_openvino
def test_openvino_computes_what_was_made_for_it() -> None:
    made = onnxq.optimize(
        classifier(batch="1"),
        [{"x": images(1, seed=seed)} for seed in range(12)],
        target="openvino",
        provider="openvino",
        threads=1,
    )
    assert made.made_for is not None
    assert not made.made_for.away
    assert made.latency is not None
    assert made.fidelity.worst is not None
    assert made.fidelity.worst[1] > 25
    feed = {"x": images(1, seed=99)}
    wanted = run(made.model, feed, "off")["y"]
    found = make_session(made.model, provider=OPENVINO).run(feed)["y"]
    np.testing.assert_allclose(found, wanted, atol=0.03 * float(np.abs(wanted).max()))


@pytest.mark.parametrize("provider", GPUS)
def test_a_gpu_computes_what_the_cpu_computes(provider: str) -> None:
    if not _starts(provider):
        pytest.skip(f"{provider} does not run here")
    model = classifier(batch="1")
    feed = {"x": images(1)}
    found = make_session(model, provider=provider).run(feed)["y"]
    np.testing.assert_allclose(found, run(model, feed)["y"], rtol=1e-2, atol=1e-2)
