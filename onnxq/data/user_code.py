"""What the user's own Python code raises, as one line that says where."""

from __future__ import annotations

import contextlib
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from onnxq.data.reason import reason_of
from onnxq.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PRODUCT = Path(__file__).parents[1]
_INSTALLED = tuple(
    Path(folder)
    for key, folder in sysconfig.get_paths().items()
    if key in ("stdlib", "platstdlib", "purelib", "platlib")
)


@contextlib.contextmanager
def user_code(what: str) -> Iterator[None]:
    """Turns whatever the user's code raises into a DataError.

    A script without a main guard may exit while it is imported, which must not end the run as if
    all were well.

    Args:
        what: What to call the code in the error.

    Raises:
        DataError: Names the place and the exception, which stays attached as the cause. A
            DataError of the user's own passes as it is.
    """
    try:
        yield
    except DataError:
        raise
    except (Exception, SystemExit) as error:
        place = _place_of(error)
        where = f" at {place}" if place else ""
        reason = error.msg if isinstance(error, SyntaxError) else reason_of(error)
        raise DataError(
            f"{what} failed{where} with {type(error).__name__}: {reason}; mend it"
        ) from error


def _place_of(error: BaseException) -> str | None:
    """`file:line` of the last line of the user's that ran; of any library's if there is none."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        return f"{_short(Path(error.filename))}:{error.lineno}"
    places = [
        (Path(frame.f_code.co_filename), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    places = [(file, line) for file, line in places if not file.is_relative_to(_PRODUCT)]
    places = [(file, line) for file, line in places if file.is_file()]
    own = [place for place in places if not any(place[0].is_relative_to(f) for f in _INSTALLED)]
    if not own and not places:
        return None
    file, line = (own or places)[-1]
    return f"{_short(file)}:{line}"


def _short(file: Path) -> Path:
    """The path as seen from the current folder, where it lies below it."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
