"""Measures how weights of few bits are rounded, method against method.

    python -m tools.rounding --store rounding.jsonl                        # shipped models
    python -m tools.rounding --store rounding.jsonl --tasks bench/tasks.py --samples 200 \
        --jobs 16 --table rounding.md

The store, and what is measured, are those of ``tools.calibration``.
"""

from __future__ import annotations

from tools.study.comparison import compare
from tools.study.methods import ROUNDINGS


def main() -> None:
    """Compares the methods of ``--rounding``."""
    compare(__doc__.splitlines()[0], "rounding", ROUNDINGS, ("w4a8", "w3a8", "w4a4"))


if __name__ == "__main__":
    main()
