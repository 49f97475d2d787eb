"""A candidate that XLA compiles, beside a reference that it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

TRAIN = """
    import tensorflow as tf


    def right(check):
        with tf.GradientTape() as tape:
            loss = check.loss(check.y, check.model(check.x, training=check.training))
        return tape.gradient(loss, check.variables)


    def compiled(check):
        @tf.function(jit_compile=True)
        def step():
            return right(check)

        return step()


    def compiled_within(check):
        return tf.function(lambda: compiled(check))()


    def compiled_thirds(check):
        return [g * [1.0, 3.0][g.shape.rank - 1] for g in compiled(check)]


    def ascent(check):
        return [-g for g in compiled(check)]
"""


def checked(run: Run, *names: str, rate: float = 0.5, **config: Any) -> list[CheckReport]:
    layers: list[Any] = [{"Dense": {"units": 4, "activation": "tanh", "name": "a"}}]
    layers += [{"Dropout": {"rate": rate, "name": "d"}}] if rate else []
    given = {
        "model": {"input": {"shape": [5]}, "layers": [*layers, {"Dense": {"units": 2, "name": "b"}}]},
        "split": {"after": ["a"]},
        "loss": "MeanSquaredError",
        "data": {"batch_size": 8},
        "methods": [{"candidate": {"factory": f"./train.py:{name}", "name": name}} for name in names],
    }
    return list(run({**given, **config}, {"train.py": TRAIN}).checks)


@pytest.mark.parametrize("execution", ["eager", "graph"])
def test_other_random_numbers_are_told(run: Run, execution: str) -> None:
    for check in checked(run, "compiled", "compiled_within", execution=execution):
        (found,) = check.diagnoses
        assert (found.code, found.confidence) == ("GC606", "exact")
        assert "step (train.py:" in found.evidence
        assert f"compiled by XLA, which draws other random numbers than the {execution} reference" in found.evidence
        assert found.fix.startswith("Compare with `execution: xla`")


def test_under_xla_both_have_the_same(run: Run) -> None:
    eager, compiled, ascent = checked(run, "right", "compiled", "ascent", execution="xla")
    assert (eager.outcome, compiled.outcome) == ("match", "match")
    assert "compared with an eager reference" in eager.notes[0]
    assert compiled.notes == ()
    assert (ascent.diagnoses[0].code, ascent.diagnoses[0].confidence) == ("GC606", "likely")
    assert "execution: xla" not in ascent.diagnoses[0].fix


def test_another_mistake_is_not_explained_by_it(run: Run) -> None:
    (check,) = checked(run, "compiled_thirds")
    assert [(d.code, d.confidence) for d in check.diagnoses] == [("GC606", "likely"), ("GC900", "possible")]


def test_without_random_numbers_it_is_mentioned(run: Run) -> None:
    right, ascent, thirds = checked(run, "compiled", "ascent", "compiled_thirds", rate=0.0)
    assert right.outcome == "match"
    for check, code in ((ascent, "GC504"), (thirds, "GC900")):
        assert check.diagnoses[0].code == code
        assert "the candidate was compiled by XLA (step (train.py:" in check.diagnoses[0].evidence
