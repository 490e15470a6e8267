"""How sure a measured share is.

Wilson's score interval (Wilson, "Probable Inference, the Law of Succession, and Statistical
Inference", 1927) keeps its coverage for few trials and for shares near 0 and 1, where the textbook
interval p ± z·sqrt(p(1-p)/n) collapses to a point.

    centre = (p + z²/2n) / (1 + z²/n)
    half   = z/(1 + z²/n) · sqrt(p(1-p)/n + z²/4n²)
"""

from __future__ import annotations

import math

__all__ = ["wilson_interval"]

_Z95 = 1.959963984540054


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share.

    Args:
        successes: How often it held; 0 … ``trials``.
        trials: How often it was tried.

    Returns:
        (low, high) in [0, 1]; (0, 1) where nothing was tried.

    Raises:
        ValueError: There are more successes than trials, or fewer than none.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if not trials:
        return 0.0, 1.0
    share, weight = successes / trials, _Z95 * _Z95 / trials
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    # Rounding must not push the ends past what the formula gives exactly.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high
