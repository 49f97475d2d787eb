from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from gradcheck.config.keyed import KeyedRunError
from gradcheck.errors import RunError
from gradcheck.problem import budget
from gradcheck.problem.budget import FREE_SHARE, bounded_variables, check_fits, jacobian_block, resolve_budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport


def test_auto_is_a_share_of_what_is_free() -> None:
    assert 0 < resolve_budget("auto") < 2**45
    assert resolve_budget(1000) == 1000
    assert FREE_SHARE < 1


def test_a_variable_over_the_budget_is_refused_before_it_is_made() -> None:
    with pytest.raises(RunError, match="huge/kernel") as caught, bounded_variables(2**20):
        keras.layers.Dense(10**9, name="huge").build((None, 64))
    assert caught.value.code == "GC056"


def test_variables_count_together_and_the_bound_ends_with_the_block() -> None:
    with bounded_variables(250_000):  # 80,000 for the first, and twice that while it is made
        keras.layers.Dense(100).build((None, 200))
        with pytest.raises(RunError):
            keras.layers.Dense(100).build((None, 200))
    keras.layers.Dense(100).build((None, 200))


def test_what_fits_is_let_through() -> None:
    check_fits(10, 10)
    with pytest.raises(RunError, match="memory budget"):
        check_fits(11, 10)
    assert jacobian_block(8 * 1000) == 1000


def test_a_batch_that_does_not_fit_is_an_error_of_the_run(run: Callable[..., RunReport]) -> None:
    config = {
        "model": {"input": {"shape": [64]}, "layers": [{"Dense": 10}, {"Dense": 2}]},
        "split": {"every": "layer"},
        "data": {"batch_size": 10**9},
    }
    report = run(config)
    assert (report.verdict, report.exit_code) == ("error", 3)
    assert report.error is not None
    assert report.error.code == "GC056"


def test_what_is_made_on_a_worker_counts_there(monkeypatch: pytest.MonkeyPatch) -> None:
    place = ""
    monkeypatch.setattr(budget, "current_worker", lambda: place)
    monkeypatch.setattr(budget, "ask", lambda worker, _: {"a": 10_000, "b": 500, "silent": None}[worker])
    with bounded_variables(1_000):
        place = "a"
        keras.Variable(np.zeros(200, "float32"))
        keras.layers.Dense(10).build((None, 20))
        place = "silent"
        keras.layers.Dense(100).build((None, 100))
        place = "b"
        with pytest.raises(KeyedRunError, match=r"the variable .*kernel of shape \(10, 10\) brings .* of b to"):
            keras.layers.Dense(10).build((None, 10))
        place = ""
        with pytest.raises(KeyedRunError, match=r"brings the weights to"):
            keras.layers.Dense(10).build((None, 30))
    budget.check_worker("a", 8_000)
    budget.check_worker("silent", 10**15)
    with pytest.raises(KeyedRunError, match=r"what a has to hold comes to .*, 80% of what is free there") as raised:
        budget.check_worker("a", 8_001)
    assert raised.value.code == "GC056"
