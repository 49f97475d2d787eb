from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

from gradcheck.session import patience


def test_a_diagnosis_is_short_in_these_tests_whether_or_not_the_checker_is_imported() -> None:
    from gradcheck.session.method_check import MethodChecker

    quick = SimpleNamespace(gradients=SimpleNamespace(seconds=100.0))
    checker = MethodChecker(config=None, problem=None, reference=quick, watch=None)  # type: ignore[arg-type]
    assert (patience.SECONDS, checker._patience(100.0)) == (1.0, 1.0)


def test_setting_it_needs_no_tensorflow() -> None:
    program = "import sys, gradcheck.session.patience as p; print(p.SECONDS, p.FACTOR, 'tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "10.0 8 False\n"
