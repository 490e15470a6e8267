"""What the user's code raises, as one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxq.data.fit import as_array
from onnxq.data.user_code import user_code
from onnxq.errors import DataError

HERE = Path(__file__)


def message(error: BaseException) -> str:
    with pytest.raises(DataError) as caught, user_code("the code"):
        raise error
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_line_of_the_users_code_is_named_and_the_cause_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    line = message.__code__.co_firstlineno + 2
    assert message(KeyError("a\nb")) == (
        f"the code failed at {HERE}:{line} with KeyError: 'a\\nb'; mend it"
    )
    with pytest.raises(DataError) as caught, user_code("the code"):
        raise KeyError("x")
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_file_below_the_current_folder_is_named_from_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(HERE.parent)
    assert message(ValueError("x")).startswith(f"the code failed at {HERE.name}:")


def test_a_line_in_a_library_stands_for_the_line_that_called_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(HERE.parent)
    said = rf"failed at {HERE.name}:\d+ with LinAlgError: "
    with pytest.raises(DataError, match=said), user_code("the code"):
        np.linalg.inv(np.zeros((2, 3)))


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit])
def test_an_interrupt_passes(error: type[BaseException]) -> None:
    with pytest.raises(error), user_code("the code"):
        raise error


def test_an_exit_is_an_error() -> None:
    assert message(SystemExit(0)).endswith("with SystemExit: 0; mend it")


def test_a_data_error_passes_as_it_is() -> None:
    with pytest.raises(DataError, match=r"^array is no array"), user_code("the code"):
        as_array("array", [[1], [1, 2]])


def test_nothing_raised_is_nothing_said() -> None:
    with user_code("the code"):
        pass
