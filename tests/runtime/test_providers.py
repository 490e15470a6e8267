import pytest

from onnxq.errors import ConfigError
from onnxq.runtime.providers import provider_called


@pytest.mark.parametrize("name", ["cpu", "CPU", "CPUExecutionProvider", "cpuexecutionprovider"])
def test_a_provider_is_found_in_any_case_with_or_without_its_ending(name: str) -> None:
    assert provider_called(name) == "CPUExecutionProvider"


@pytest.mark.parametrize("name", ["abacus", "", "cp"])
def test_an_absent_provider_is_refused_with_those_on_offer(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"--provider '{name}' .* CPUExecutionProvider"):
        provider_called(name)
