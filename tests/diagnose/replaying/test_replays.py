"""The search among known mistakes: what is suspected, in what order, how long, and which place is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tensorwise import compare_all
from gradcheck.diagnose import Observed, Replayed
from gradcheck.diagnose.replaying.fingerprints import COARSE
from gradcheck.diagnose.replaying.replays import name_of, search, suspected_in
from gradcheck.faults import FAULTS
from gradcheck.numerics import TolerancePolicy

CONFIG = """
model:
  input: {shape: [3]}
  layers:
    - Dense: {units: 3, activation: tanh, name: a}
    - Dense: {units: 3, activation: tanh, name: b}
    - Dense: {units: 1, name: c}
split: {after: [a, b]}
loss: MeanSquaredError
data: {batch_size: 4}
"""


@pytest.fixture(scope="module")
def reference(problem: Any) -> Reference:
    return Reference(problem)


def injection(problem: Any, code: str, text: str) -> Any:
    found = (i for i in suspected_in(problem, own_slices=True) if i.code == code)
    return next(i for i in found if text in f"{i.place.text}: {i.effect}")


def observed(problem: Any, reference: Reference, replayed: Replayed, code: str, text: str) -> Observed:
    """What a candidate returns who makes that mistake: gradients of the weights, and nothing else."""
    found = replayed.gradients(injection(problem, code, text))
    weights = {key: tensor for key, tensor in found.tensors.items() if key.kind == "weight"}
    gradients = replace(found, loss=None, outputs=(), tensors=weights)
    rows = compare_all(problem, reference, gradients, TolerancePolicy(), noise=False)
    return Observed(problem=problem, reference=reference, gradients=gradients, rows=rows)


@pytest.mark.parametrize(
    ("code", "text", "segment"),
    [
        ("GC101", "boundary 0", 0),
        ("GC101", "boundary 1", 1),
        ("GC101", "every boundary", None),
        ("GC102", "boundary 1", 1),
        ("GC103", "boundary 0 → 1: the cotangent of segment_0 was averaged", 0),
        ("GC504", "boundary 1", 1),
    ],
)
def test_a_fault_is_found_where_it_was_injected(
    problem: Any, reference: Reference, code: str, text: str, segment: int | None
) -> None:
    replayed = Replayed(problem)
    found = search(observed(problem, reference, replayed, code, text), replayed, seconds=60)
    first = found.matches[0]
    assert (first.injection.code, first.injection.place.segment) == (code, segment)
    assert first.agreement.furthest <= 1e-5
    assert first.agreement.wrong > 0
    assert found.left == 0


def test_each_code_is_named_once_and_the_specific_before_the_general(problem: Any, reference: Reference) -> None:
    replayed = Replayed(problem)
    found = search(observed(problem, reference, replayed, "GC102", "boundary 0"), replayed, seconds=60)
    codes = [match.injection.code for match in found.matches]
    assert codes[0] == "GC102"
    assert len(set(codes)) == len(codes) > 1
    order = [fault.code for fault in FAULTS]
    assert codes == sorted(codes, key=order.index)


def test_without_time_all_is_left(problem: Any, reference: Reference) -> None:
    replayed = Replayed(problem)
    found = search(observed(problem, reference, replayed, "GC101", "boundary 0"), replayed, seconds=-1)
    assert (found.matches, found.tried) == ((), 0)
    assert found.left > 10


def test_a_candidate_is_suspected_of_every_number_of_micro_batches(problem: Any) -> None:
    own = suspected_in(problem, own_slices=True)
    assert {i.slices for i in own} >= {None, 2, 4}
    assert {i.slices for i in suspected_in(problem, own_slices=False)} == {None}


def test_what_was_replayed_once_is_not_replayed_again_where_it_cannot_match(problem: Any, reference: Reference) -> None:
    replayed = Replayed(problem)
    wrong = observed(problem, reference, replayed, "GC101", "boundary 0")
    seen = wrong.gradients
    first, second = (injection(problem, "GC101", f"boundary {i}") for i in (0, 1))
    assert not replayed.ruled_out(seen) & {name_of(first), name_of(second)}  # nobody knows yet
    replayed.gradients(second)
    assert replayed.ruled_out(seen) == {name_of(second)}


def test_of_an_observed_replay_tensors_are_computed_only_if_another_may_be_the_same(
    problem: Any, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In `mutate`: a mistake alone with its fingerprint is found without a replay, one of two with one."""
    replayed = Replayed(problem, repeats=True)
    suspects = replayed.suspects(own_slices=False)
    made = [(suspect, replayed.gradients(suspect)) for suspect in suspects]
    monkeypatch.setattr("gradcheck.diagnose.replaying.replays.ROOM", 0)
    run: list[str] = []
    compute = replayed.replays.gradients
    monkeypatch.setattr(replayed.replays, "gradients", lambda i: run.append(f"{i.code} {i.place.text}") or compute(i))
    replays = {}
    for suspect, gradients in made:
        rows = compare_all(problem, reference, gradients, TolerancePolicy(), noise=False, brief=True)
        if not any(row.failed for row in rows):
            continue
        seen = replayed.again(suspect, replace(gradients, tensors={}))
        wrong = Observed(problem=problem, reference=reference, gradients=seen, rows=rows)
        run.clear()
        found = search(wrong, replayed, seconds=60)
        replays[suspect.code, suspect.place.text, suspect.effect] = list(run)
        whole = search(replace(wrong, gradients=gradients), replayed, seconds=60)
        own = next(match for match in found.matches if match.injection.code == suspect.code)
        assert own.agreement.close
        assert {match.injection.code for match in found.matches} == {match.injection.code for match in whole.matches}
    assert len(replays) > 50
    assert sum(not ran for ran in replays.values()) > len(replays) // 2


def test_rounding_excludes_no_replay(problem: Any, reference: Reference) -> None:
    """Also of a gradient that is zero but for rounding, beside one that is not."""
    replayed = Replayed(problem)
    wrong = observed(problem, reference, replayed, "GC101", "boundary 0")
    rng = np.random.default_rng(0)
    largest = max(float(tf.norm(tensor)) for tensor in wrong.gradients.tensors.values())
    moved = {
        key: t * (1 + COARSE / 4 * rng.standard_normal(t.shape)) + 1e-7 * largest * rng.standard_normal(t.shape)
        for key, t in wrong.gradients.tensors.items()
    }
    assert not replayed.ruled_out(replace(wrong.gradients, tensors=moved))


def test_a_fingerprint_has_each_weight_and_zeros_for_none(problem: Any, reference: Reference) -> None:
    replayed = Replayed(problem)
    wrong = observed(problem, reference, replayed, "GC102", "boundary 1")
    prints = replayed.fingerprint(wrong.gradients)
    assert prints.shape == (len(problem.weights), 2)
    none = [wrong.gradients.tensors[weight.key] is None for weight in problem.weights]
    assert any(none)
    assert (prints == 0).all(axis=1).tolist() == none
