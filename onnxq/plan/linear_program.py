"""Linear programs with whole numbers, solved by HiGHS (``scipy.optimize.milp``)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from onnxq.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["LinearProgram"]

_INFEASIBLE = 2
_SECONDS = 60.0
_GAP = 1e-6


class LinearProgram:
    """Minimizes a sum of variables between 0 and 1 under linear conditions."""

    def __init__(self) -> None:
        self._costs: list[float] = []
        self._whole: list[bool] = []
        self._most: list[float] = []
        self._rows: list[tuple[dict[int, float], float, float]] = []

    def variable(self, cost: float = 0.0, *, whole: bool = False, most: float = 1.0) -> int:
        """Adds a variable from 0 to ``most`` and returns its number.

        Args:
            cost: What a unit of it adds to the sum.
            whole: Whether it is a whole number.
            most: Its greatest value.
        """
        self._costs.append(cost)
        self._whole.append(whole)
        self._most.append(most)
        return len(self._costs) - 1

    def require(
        self, row: Mapping[int, float], *, least: float = -math.inf, most: float = math.inf
    ) -> None:
        """Adds the condition least ≤ Σ row[v] · v ≤ most."""
        self._rows.append((dict(row), least, most))

    def value(self, found: npt.NDArray[np.float64]) -> float:
        """Returns the sum for these values of the variables."""
        return float(np.dot(self._costs, found))

    def solve(self, costs: Mapping[int, float] | None = None) -> npt.NDArray[np.float64] | None:
        """Returns the values of all variables, float64 [variables]; None if there are none.

        Args:
            costs: What to minimize instead of the variables' own costs.

        Raises:
            PlanError: The time ran out before there was an answer.
        """
        # scipy.optimize takes longer to import than most commands run
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array

        goal = np.array(self._costs)
        if costs is not None:
            goal = np.array([costs.get(number, 0.0) for number in range(len(goal))])
        goal = goal / (np.abs(goal).max(initial=0.0) or 1.0)
        entries = [(r, v, c) for r, (row, _, _) in enumerate(self._rows) for v, c in row.items()]
        at, of, factors = (np.array(part) for part in zip(*entries, strict=True))
        matrix = csr_array((factors, (at, of)), shape=(len(self._rows), len(goal)))
        bounds = np.array([(least, most) for _, least, most in self._rows]).T
        found = milp(
            goal,
            integrality=np.array(self._whole, np.uint8),
            bounds=Bounds(0, np.array(self._most)),
            constraints=LinearConstraint(matrix, *bounds),
            options={"mip_rel_gap": _GAP, "time_limit": _SECONDS},
        )
        if found.status == _INFEASIBLE:
            return None
        if found.x is None:
            raise PlanError(f"the bits could not be chosen in {_SECONDS:g} s; give fewer budgets")
        return np.asarray(found.x, np.float64)
