"""Which of several exit codes a process returns."""

from __future__ import annotations

from itertools import combinations, permutations

from gradcheck.errors import ExitCode, most_serious

FROM_THE_MOST_SERIOUS = (ExitCode.RUNTIME, ExitCode.USAGE, ExitCode.MISMATCH, ExitCode.VACUOUS, ExitCode.OK)


def test_the_most_serious_exit_code_stands_for_all() -> None:
    for pair in combinations(FROM_THE_MOST_SERIOUS, 2):
        assert [most_serious(both) for both in permutations(pair)] == [pair[0], pair[0]]
    assert most_serious(FROM_THE_MOST_SERIOUS[::-1]) is ExitCode.RUNTIME


def test_nothing_that_happened_is_a_success() -> None:
    assert most_serious(()) is ExitCode.OK
