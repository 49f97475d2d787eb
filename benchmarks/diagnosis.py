"""What a diagnosis costs beside the check that it explains: the three-part CNN and a candidate without a hand-off.

python benchmarks/diagnosis.py
"""

from __future__ import annotations

import time
from pathlib import Path

from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tensorwise import compare_all
from gradcheck.config.load import load_given
from gradcheck.config.sections.methods import MethodOptions
from gradcheck.diagnose import Observed, diagnose
from gradcheck.methods import METHODS
from gradcheck.numerics import TolerancePolicy
from gradcheck.problem.prepare import prepare, session

CONFIG = Path(__file__).parent.parent / "configs" / "cnn_three_parts.yaml"


def main() -> None:
    loaded = load_given(CONFIG, {})
    with session(loaded.config):
        problem = prepare(loaded.config, loaded.base)
        for turn in ("cold", "warm"):
            start = time.perf_counter()
            reference = Reference(problem)
            gradients = METHODS["naive"](problem, MethodOptions())
            rows = compare_all(problem, reference, gradients, TolerancePolicy(), noise=True)
            checked = time.perf_counter()
            observed = Observed(problem=problem, reference=reference, gradients=gradients, rows=rows)
            found = diagnose(observed, seconds=1000.0)
            ended = time.perf_counter()
            ratio = (ended - checked) / (checked - start)
            print(f"{turn}: {found[0].code}, the whole search {ratio:.1f} times the check (at most 10)")


if __name__ == "__main__":
    main()
