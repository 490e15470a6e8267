"""Measures how ranges are fitted, method against method, at 8 and 4 bits of activations.

    python -m tools.calibration --store calibration.jsonl                        # shipped models
    python -m tools.calibration --store calibration.jsonl --tasks bench/tasks.py --jobs 16 \
        --minutes 8 --table calibration.md

The store holds what was measured; a run that was stopped, or whose ``--minutes`` were over, goes on
there. Labels: ``fidelity`` is agreement with the float model (top-1, or F1 of boxes), ``drop`` is
what the metric (top-1, mAP) loses, ``seconds`` are of a processor.
"""

from __future__ import annotations

from tools.study.comparison import compare
from tools.study.methods import METHODS


def main() -> None:
    """Compares the methods of ``--calibration``."""
    compare(__doc__.splitlines()[0], "calibration", METHODS, ("w8a8", "w8a4", "w4a4"))


if __name__ == "__main__":
    main()
