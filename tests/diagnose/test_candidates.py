"""Training steps as people write them, with the mistakes that people make: each is caught, named and located.

They lie in `candidates/`, beside the configs of their models, and know nothing of the classes that inject faults.
There is a `right` in every file, so that the wrong line alone makes the difference.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, Diagnosis, RunReport

    Runs = Callable[[str], RunReport]

CANDIDATES = Path(__file__).parent / "candidates"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The first diagnosis, and the place that it must give.

    Attributes:
        code: of the mistake.
        first: the first wrong tensor in the order of the backward pass.
        segment: of the diagnosis; None where the mistake is in no single one.
        layer: of the diagnosis, or the weight; None where the place is no layer.
        words: in the place or the evidence: who made the mistake, in words.
    """

    code: str
    first: str
    segment: int | None = None
    layer: str | None = None
    words: str = ""


def expect(code: str, first: str, segment: int | None = None, layer: str | None = None, words: str = "") -> Expected:
    return Expected(code=code, first=first, segment=segment, layer=layer, words=words)


#: One mistake each, by file and function.
MISTAKES = {
    "cnn:each_model_alone": expect("GC101", "conv_1/bias", words="every boundary: every segment but the last"),
    "cnn:first_model_alone": expect("GC101", "conv_0/bias", 0, "conv_0", "boundary 0 → 1"),
    "cnn:loss_apart": expect("GC101", "out/bias", 2, words="the model's outputs were differentiated with ones"),
    "cnn:through_numpy": expect("GC102", "conv_0/bias", 0, "conv_0", "boundary 0 → 1"),
    "cnn:stopped_gradient": expect("GC102", "conv_1/bias", 1, "conv_1", "boundary 1 → 2"),
    "cnn:averaged_cotangent": expect("GC103", "conv_1/bias", 1, "conv_1", "averaged over the batch"),
    "cnn:summed_cotangent": expect("GC103", "conv_0/bias", 0, "conv_0", "summed over the batch"),
    "cnn:half_precision_wire": expect("GC104", "loss", words="every segment but the last"),
    "cnn:bfloat16_activations": expect("GC104", "loss", 1, "conv_1", "bfloat16"),
    "skip:skip_forgotten": expect("GC105", "stem/bias", 0, "stem", "no cotangent of stem"),
    "skip:overwritten": expect("GC105", "stem/bias", 0, "stem", "no cotangent of stem"),
    "heads:one_head_sends_back": expect("GC105", "trunk/bias", 0, "trunk", "segment_2 handed no cotangent of trunk"),
    "skip:swapped": expect("GC106", "body/bias", 1, "stem", "stem and body"),
    "tokens:identity_loses_the_mask": expect("GC107", "loss", 2, words="without their mask"),
    "tokens:nothing_is_masked": expect("GC107", "loss", 0, words="segment_1 got"),
    "normed:inference_mode": expect("GC108", "loss", 1, words="segment_1 ran with training=False"),
    "dropped:no_dropout": expect("GC108", "loss", 1, words="segment_1 ran with training=False"),
    "cnn:another_batchs_labels": expect("GC109", "loss", 2, words="target"),
    "cnn:summed_over_micro_batches": expect("GC201", "out/bias", words="3 micro-batches"),
    "ragged:summed": expect("GC201", "out/bias", words="3 micro-batches"),
    "cnn:averaged_twice": expect("GC202", "out/bias", words="2 micro-batches"),
    "ragged:each_counts_the_same": expect("GC203", "out/bias", words="3 micro-batches"),
    "ragged:as_if_full": expect("GC203", "out/bias", words="3 micro-batches"),
    "ragged:last_one_kept": expect("GC204", "out/bias", words="2 micro-batches"),
    "train:never_cleared": expect("GC205", "adam/out_bias_velocity", words="every step before"),
    "ragged:last_one_left_out": expect("GC206", "out/bias", words="the last micro-batch was left out"),
    "normed:statistics_of_micro_batches": expect("GC301", "out/bias", words="2 micro-batches"),
    "normed:middle_runs_twice": expect("GC302", "norm/moving_variance", 1, words="segment_1"),
    "dropped:another_mask": expect("GC303", "second/bias", 1, words="segment_1"),
    "dropped:all_recomputed": expect("GC303", "second/bias", 1, words="segment_1"),
    "chunks:truncated": expect("GC304", "reader/lstm_cell/bias", 0, "reader", "chunk 1"),
    "chunks:stored_states": expect("GC304", "reader/lstm_cell/bias", 0, "reader", "chunk 1"),
    "train:one_step_behind": expect("GC305", "adam/out_bias_velocity", words="the step before"),
    "train:one_update_for_each_model": expect("GC306", "adam/iteration", words="once for each segment"),
    "train:nothing_applied": expect("GC403", "adam/iteration", words="not given to the optimizer"),
    "train:applied_again": expect("GC306", "adam/iteration", words="twice"),
    "train:every_second_step": expect("GC403", "adam/iteration", words="later steps do not"),
    "tied:overwritten": expect("GC401", "words/embeddings", words="every shared weight"),
    "tied:output_layer_forgotten": expect("GC401", "words/embeddings", 2, "words/embeddings", "segment_0"),
    "ragged:in_backward_order": expect("GC402", "third/bias", layer="second/kernel", words="third/kernel"),
    "ragged:none_for_a_bias": expect("GC403", "second/bias", 1, "second/bias"),
    "tokens:last_row_wins": expect("GC404", "words/embeddings", 0, "words/embeddings"),
    "clipped:each_model_by_its_own_norm": expect("GC405", "out/bias", words="clipped by their own norm"),
    "ragged:transposed_by_hand": expect("GC406", "second/kernel", 1, "second/kernel"),
    "penalised:penalties_forgotten": expect("GC501", "loss", words="every segment"),
    "penalised:middle_forgotten": expect("GC501", "loss", 1, words="segment_1"),
    "penalised:activity_forgotten": expect("GC501", "loss", 1, words="segment_1"),
    "penalised:penalties_in_every_model": expect("GC502", "loss", words="every segment adds to the loss"),
    "penalised:penalties_in_every_micro_batch": expect("GC502", "loss", words="counted 2 times"),
    "penalised:halves_summed": expect("GC201", "out/bias", words="was added once, as it should"),
    "penalised:halves_averaged_twice": expect("GC202", "out/bias", words="was added once, as it should"),
    "penalised:ascent_of_the_data_loss": expect(
        "GC504", "out/bias", words="every gradient of the data loss was negated"
    ),
    "cnn:scaled_loss": expect("GC503", "out/bias", words="2 to the 10"),
    "scaled:loss_not_scaled": expect("GC503", "out/bias", words="divides the gradients by its loss scale"),
    "scaled:front_alone": expect("GC101", "first/bias", 0, "first", "boundary 0 → 1"),
    "scaled:ascent": expect("GC504", "out/bias", words="every gradient was negated"),
    "cnn:gradient_ascent": expect("GC504", "out/bias"),
    "ragged:wrong_tanh": expect("GC601", "second/bias", 1, "second", "squash (ragged.py"),
    "reversal:by_keyword": expect("GC602", "features/bias", 0, "features", "turned_around (reversal.py"),
    "normed:gamma_for_beta": expect("GC603", "scale/beta", 2, "scale", "normalised (normed.py"),
    "ragged:bias_not_summed": expect("GC604", "second/bias", 1, "second", "shifted (ragged.py"),
    "dropped:recomputed_without_dropout": expect("GC605", "second/bias", 1, words="segment_1"),
    "normed:recomputed_in_inference_mode": expect("GC605", "second/bias", 1, words="segment_1"),
    "cnn:stale_labels_in_a_graph": expect("GC606", "out/bias", words="3 micro-batches"),
    "normed:per_example_jacobian": expect("GC607", "first/bias", 0, words="segment 1"),
    "cnn:divided_by_nothing": expect("GC703", "conv_1/bias", 1, "conv_1", "the backward pass makes it"),
    "cnn:all_zeros": expect("GC403", "out/bias", words="every weight"),
}
#: Mistakes that come two at once, or that nobody knows: no code explains them, and they are located all the same.
LOCATED = {
    "cnn:front_forgotten_and_ascent": expect("GC900", "out/bias", 2, "out", "out/bias"),
    "cnn:averaged_and_front_without_bias": expect("GC900", "conv_1/bias", 1, "conv_1", "conv_1/bias"),
    "skip:skip_forgotten_and_halved": expect("GC900", "body/bias", 1, "body", "body/bias"),
    "penalised:penalties_forgotten_and_ones": expect("GC900", "out/kernel", 2, "out", "out/kernel"),
    "cnn:clipped_cotangent": expect("GC900", "conv_0/bias", 0, "conv_0", "conv_0/bias"),
    "scaled:faster": expect("GC900", "out/bias", words="every weight moved 1.5 times as far"),
    "cnn:pruned_kernel": expect("GC900", "conv_1/kernel", 1, "conv_1", "conv_1/kernel"),
}
ALL = MISTAKES | LOCATED
#: What the first training step shows and later ones do not.
FIRST_STEP_ONLY = {"train:every_second_step"}
#: The mistakes that show as another one, with the code that they get, and why. Their place is right.
OTHERWISE: dict[str, tuple[str, str]] = {}

MODELS = sorted(path.stem for path in CANDIDATES.glob("*.yaml"))


def functions(model: str) -> list[str]:
    """The candidates in a file: what takes `given` and nothing else, and is no helper."""
    tree = ast.parse((CANDIDATES / f"{model}.py").read_text(encoding="utf-8"))
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and [a.arg for a in n.args.args] == ["given"]]
    return [function.name for function in found if not function.name.endswith(("_of", "by_model"))]


def run(model: str) -> RunReport:
    from gradcheck import check

    path = CANDIDATES / f"{model}.yaml"
    trains = "train" in yaml.safe_load(path.read_text(encoding="utf-8"))
    kind = "train_step" if trains else "factory"
    methods = [{"candidate": {kind: f"./{model}.py:{name}", "name": name}} for name in functions(model)]
    (report,) = check(path, methods=methods).runs
    return report


@pytest.fixture(scope="module")
def reports() -> Any:
    """The report on a model with all its candidates, made once."""
    return cache(run)


def model_of(candidate: str) -> str:
    return candidate.partition(":")[0]


def checked(reports: Runs, candidate: str) -> CheckReport:
    model, name = model_of(candidate), candidate.partition(":")[2]
    (found,) = (check for check in reports(model).checks if check.method == name)
    return found


def located(found: Diagnosis, expected: Expected, check: CheckReport) -> bool:
    said = expected.words in f"{found.place}: {found.evidence}"
    return (
        said
        and (found.segment, found.layer) == (expected.segment, expected.layer)
        and check.first_divergence == expected.first
    )


def test_every_candidate_is_expected_to_be_something() -> None:
    written = {f"{model}:{name}" for model in MODELS for name in functions(model)}
    assert written == set(ALL) | {f"{model}:right" for model in MODELS}
    assert len(ALL) >= 30


@pytest.mark.third
@pytest.mark.parametrize("model", MODELS)
def test_without_the_mistake_it_passes(reports: Runs, model: str) -> None:
    check = checked(reports, f"{model}:right")
    assert check.outcome == "match", check.failures
    assert check.diagnoses == ()


#: What two mistakes at once are, whether each shows in some tensors alone or one in the tensors of the other.
PAIRS = {
    "penalised:penalties_forgotten_and_ones": [("GC101", "boundary 0 → 1"), ("GC501", "every segment")],
    "skip:skip_forgotten_and_halved": [("GC105", "boundary 0 → 2, tensor stem"), ("GC112", "boundary 1 → 2")],
    "cnn:front_forgotten_and_ascent": [("GC101", "boundary 0 → 1"), ("GC504", "segment 2")],
    "cnn:averaged_and_front_without_bias": [("GC103", "boundary 1 → 2"), ("GC403", "conv_0/bias")],
}


@pytest.mark.parametrize("candidate", LOCATED)
def test_two_mistakes_are_made_out(reports: Runs, candidate: str) -> None:
    first, *parts = checked(reports, candidate).diagnoses
    assert sorted((part.code, part.place) for part in parts) == PAIRS.get(candidate, [])
    assert {part.confidence for part in parts} <= {"likely"}
    assert ("together explain every wrong tensor" in first.evidence) == (candidate in PAIRS)


@pytest.mark.parametrize("candidate", ALL)
def test_a_mistake_is_caught_named_and_located(reports: Runs, candidate: str) -> None:
    report, check, expected = reports(model_of(candidate)), checked(reports, candidate), ALL[candidate]
    assert (report.verdict, report.exit_code) == ("fail", 1), report.error
    assert (check.outcome, check.as_expected) == ("mismatch", False)
    first = check.diagnoses[0]
    assert first.code == OTHERWISE.get(candidate, (expected.code,))[0], check.diagnoses
    assert located(first, expected, check), (first, check.first_divergence)
    unsure = {"GC900": "possible", "GC601": "likely", **dict.fromkeys(FIRST_STEP_ONLY, "likely")}
    assert first.confidence == unsure.get(candidate, unsure.get(first.code, "exact"))
    assert first.title
    assert first.fix


def test_twenty_eight_of_thirty_are_named_and_all_are_located(reports: Runs) -> None:
    firsts = {name: checked(reports, name).diagnoses[0] for name in ALL}
    assert len(OTHERWISE) <= 2
    named = sum(found.code == ALL[name].code for name, found in firsts.items())
    assert named / len(ALL) >= 28 / 30
    assert [name for name, found in firsts.items() if not located(found, ALL[name], checked(reports, name))] == []
