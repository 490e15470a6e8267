import pytest

from onnxq.report.units import bytes_text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (2_710_000, "2.71 MB")]
)
def test_bytes_have_a_prefix(number: int, text: str) -> None:
    assert bytes_text(number) == text
