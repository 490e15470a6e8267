import numpy as np
import pytest

from onnxq.report.units import array_text, bytes_text, count_text, percent_text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (2_710_000, "2.71 MB")]
)
def test_bytes_have_a_prefix(number: int, text: str) -> None:
    assert bytes_text(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (12_345, "12.3 k"),
        (999_999, "1.00 M"),
        (123_456_789, "123 M"),
        (4_100_000_000, "4.10 G"),
    ],
)
def test_counts_have_three_digits(number: int, text: str) -> None:
    assert count_text(number) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "100 %"), (0.9731, "97.3 %"), (0.99999, "99.9 %"), (0.00001, "0.1 %")],
)
def test_only_what_is_complete_reads_hundred_percent(share: float, text: str) -> None:
    assert percent_text(share) == text


def test_arrays_have_their_element_type_and_shape() -> None:
    assert array_text(np.zeros((1, 3), np.float32)) == "float32[1,3]"
    assert array_text(np.zeros((), np.int64)) == "int64[]"
