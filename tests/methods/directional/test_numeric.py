"""`numeric`: wrong gradients are called wrong, right ones right, and kinks what they are."""

from __future__ import annotations

import importlib
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from gradcheck import load_config
from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tensorwise import compare_all
from gradcheck.methods.directional.numeric import numeric
from gradcheck.methods.directional.surface import Surface
from gradcheck.numerics import TolerancePolicy
from gradcheck.problem.prepare import prepare, session
from gradcheck.problem.twin import float64_twin
from gradcheck.results.report import FAILING, PROVEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport, TensorReport

    Measure = Callable[..., dict[str, TensorReport]]

PLANTED = Path(__file__).parent / "planted.py"
FAULTS = [fault for fault in runpy.run_path(str(PLANTED))["FAULTS"] if fault not in {"none", "wrong shape"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(PLANTED.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


@pytest.fixture
def measure(folder: Path) -> Measure:
    """Runs `numeric` on a chain of layers, and gives what became of each tensor."""

    def tensors_of(layers: list[Any], *, shape: list[int], options: Any = None, **config: Any) -> dict[str, Any]:
        method = {"numeric": options} if options else "numeric"
        model = {"input": {"shape": shape}, "layers": layers}
        path = folder / "config.yaml"
        path.write_text(
            yaml.safe_dump({"model": model, "methods": [method], "data": {"batch_size": 4}, **config}), encoding="utf-8"
        )
        loaded = load_config(path)
        with session(loaded.config):
            problem = prepare(loaded.config, loaded.base)
            found = numeric(problem, loaded.config.methods[0].options)
            records = compare_all(problem, Reference(problem), found, TolerancePolicy(), noise=True)
        return {record.path: record for record in records}

    return tensors_of


def planted(fault: str) -> list[Any]:
    return [{"./own.py:Planted": {"fault": fault, "name": "own"}}, {"Dense": {"units": 3, "name": "last"}}]


def failing(tensors: dict[str, TensorReport]) -> set[str]:
    return {path for path, tensor in tensors.items() if tensor.status in FAILING}


def test_there_are_twenty_faults() -> None:
    assert len(FAULTS) >= 20


@pytest.mark.parametrize("mode", ["directional", "full"])
def test_the_right_custom_gradient_matches(measure: Measure, mode: str) -> None:
    tensors = measure(planted("none"), shape=[4], options={"mode": mode})
    assert {tensor.status for tensor in tensors.values()} <= PROVEN
    assert tensors["own/kernel"].shape == ((3,) if mode == "directional" else (4, 4))


@pytest.mark.third
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_custom_gradient_is_a_mismatch(measure: Measure, fault: str) -> None:
    tensors = measure(planted(fault), shape=[4])
    wrong = failing(tensors)
    assert len(wrong) == 1, {path: tensor.status for path, tensor in tensors.items()}
    assert wrong <= {"input", "own/kernel", "own/bias"}
    assert tensors[wrong.pop()].status == "mismatch"


@pytest.mark.parametrize("fault", ["scale of the input", "transposed", "one element lost", "mean for a sum"])
def test_every_element_gives_the_verdict_of_a_few_directions(measure: Measure, fault: str) -> None:
    few, every = (measure(planted(fault), shape=[4], options={"mode": mode}) for mode in ("directional", "full"))
    assert failing(few) == failing(every) != set()
    assert {tensor.status for tensor in every.values()} <= {"mismatch", *PROVEN}


def test_the_lost_elements_are_found_at_their_place(measure: Measure) -> None:
    kernel = measure(planted("one element lost"), shape=[4], options={"mode": "full"})["own/kernel"]
    assert kernel.mismatched_elements == 4
    assert kernel.worst is not None
    assert kernel.worst.index[0] == 2


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "mixed_float16", "float64"])
def test_the_models_precision_does_not_matter(measure: Measure, precision: str) -> None:
    right = measure(planted("none"), shape=[4], precision=precision)
    assert {tensor.status for tensor in right.values()} == {"close"}
    assert failing(measure(planted("scale of the kernel"), shape=[4], precision=precision)) == {"own/kernel"}


ZEROS = {"batch_size": 3, "inputs": {"constant": 0}}


def kink_of(tensor: TensorReport) -> str:
    assert tensor.status == "inconclusive", tensor
    assert tensor.note is not None
    assert "GC802: at a kink" in tensor.note
    return tensor.note


@pytest.mark.parametrize("mode", ["directional", "full"])
def test_relu_at_zero_is_a_kink(measure: Measure, mode: str) -> None:
    tensors = measure(["ReLU"], shape=[4], data=ZEROS, options={"mode": mode})
    kink_of(tensors["input"])


def test_the_two_slopes_of_a_kink_are_named(measure: Measure) -> None:
    config = {"data": {**ZEROS, "batch_size": 1, "targets": {"constant": 2}}, "options": {"mode": "full"}}
    assert "slopes 0 and 2 on the two sides" in kink_of(measure(["ReLU"], shape=[1], **config)["input"])


@pytest.mark.parametrize("mode", ["directional", "full"])
@pytest.mark.parametrize("layer", ["MaxPooling1D", "GlobalMaxPooling1D"])
def test_a_tie_in_max_pooling_is_a_kink(measure: Measure, layer: str, mode: str) -> None:
    data = {"batch_size": 2, "inputs": {"constant": 1.5}}
    kink_of(measure([layer], shape=[6, 2], data=data, options={"mode": mode})["input"])


def test_kinks_that_cancel_along_a_weight_are_kinks(measure: Measure) -> None:
    layers = [{"Dense": {"units": 3, "activation": "relu", "kernel_initializer": "zeros", "name": "first"}}]
    tensors = measure(layers, shape=[2])
    kink_of(tensors["first/kernel"])
    kink_of(tensors["first/bias"])


def test_a_wrong_gradient_beside_a_kink_is_still_wrong(measure: Measure) -> None:
    tensors = measure(["ReLU", *planted("sign")], shape=[4], data=ZEROS | {"inputs": {"constant": 1}})
    assert failing(tensors) == {"own/kernel"}


def test_a_wrong_gradient_before_a_kink_is_a_mismatch(measure: Measure) -> None:
    tensors = measure([*planted("scale of the kernel"), "ReLU"], shape=[4])
    assert failing(tensors) == {"own/kernel"}


def test_a_gradient_of_the_wrong_shape_is_a_mismatch(measure: Measure) -> None:
    for mode in ("directional", "full"):
        bias = measure(planted("wrong shape"), shape=[4], options={"mode": mode})["own/bias"]
        assert bias.status == "mismatch"
        assert "shape (3,) against (4,)" in (bias.note or "")


def test_dropout_and_batch_norm_stand_still(measure: Measure) -> None:
    layers = [
        {"Dense": {"units": 4, "name": "first"}},
        {"BatchNormalization": {"name": "norm"}},
        {"Dropout": 0.5},
        {"Dense": {"units": 2, "name": "last"}},
    ]
    tensors = measure(layers, shape=[4], data={"batch_size": 8})
    assert {tensor.status for tensor in tensors.values()} == {"close"}
    bias = tensors["first/bias"]  # batch norm takes it out again: zero but for rounding
    assert bias.worst is not None
    assert abs(bias.worst.reference) < 1e-12


def test_a_batch_of_copies_gives_what_single_runs_give(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norm = {"BatchNormalization": {"name": "norm"}}  # it couples the copies, so that they are run one by one
    for layers, together in (([{"Dense": 3}], True), ([{"Dense": 3}, norm], False), ([{"Dropout": 0.5}], False)):
        config = {"model": {"input": {"shape": [4]}, "layers": layers}, "methods": ["numeric"], "precision": "float64"}
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        loaded = load_config(folder / "config.yaml")
        with session(loaded.config):
            surface = Surface(prepare(loaded.config, loaded.base))
            (key,) = [key for key in surface.shapes if key.kind == "input"]
            direction, steps = np.ones(surface.shapes[key]), np.array([0.1, -0.1, 0.2])
            one_by_one, maybe = surface.along(key)(direction, steps), surface.along(key, stack=True)
            np.testing.assert_allclose(maybe(direction, steps), one_by_one, rtol=1e-12)
            with monkeypatch.context() as patch:
                patch.setattr(Surface, "_loss_at", lambda *_: 0.0)
                assert np.any(maybe(direction, steps)) == together


def test_random_numbers_of_tensorflows_own_stand_still(measure: Measure) -> None:
    tensors = measure([{"Dense": {"units": 3, "name": "first"}}, "./own.py:Draws"], shape=[4])
    assert {tensor.status for tensor in tensors.values()} == {"close"}


def test_code_that_cannot_be_compiled_is_run_eagerly(measure: Measure) -> None:
    tensors = measure([{"Dense": {"units": 3, "name": "first"}}, "./own.py:NeedsPython"], shape=[4])
    assert {tensor.status for tensor in tensors.values()} == {"close"}


def test_a_layer_in_float32_is_never_called_wrong(measure: Measure) -> None:
    layers = ["./own.py:CastsDown", {"Dense": {"units": 3, "name": "last"}}]
    tensors = measure(layers, shape=[4])
    assert failing(tensors) == set()
    assert tensors["last/kernel"].status == "close"


def test_a_deep_relu_net_has_no_kink_where_it_is(measure: Measure) -> None:
    layers = [{"Dense": {"units": 64, "activation": "relu", "name": f"dense_{i}"}} for i in range(6)]
    tensors = measure([*layers, {"Dense": {"units": 1, "name": "last"}}], shape=[16], data={"batch_size": 32})
    assert {tensor.status for tensor in tensors.values()} == {"close"}


def test_dead_and_absent_are_told_apart(measure: Measure) -> None:
    dead = {
        "Dense": {"units": 3, "activation": "relu", "bias_initializer": {"Constant": {"value": -99}}, "name": "dead"}
    }
    assert {tensor.status for tensor in measure([dead], shape=[4]).values()} == {"dead"}


def test_a_model_that_fails_in_float64_is_measured_in_float32(run: Callable[..., RunReport]) -> None:
    dense = {"Dense": {"units": 2, "kernel_regularizer": {"OrthogonalRegularizer": {"factor": 0.01}}, "name": "first"}}
    report = run({"model": {"input": {"shape": [4]}, "layers": [dense]}, "methods": ["numeric"]})
    (check,) = report.checks
    assert check.outcome == "match"
    (warning,) = check.warnings
    assert "finite differences are in float32, for the model fails in float64: cannot compute Mul" in warning


def test_a_gradient_that_rounding_hides_is_no_mismatch(measure: Measure) -> None:
    layers = [{"Dense": {"units": 3, "activation": "sigmoid", "bias_initializer": {"Constant": {"value": -60}}}}]
    assert failing(measure(layers, shape=[4], loss="BinaryCrossentropy")) == set()


def test_the_problem_is_as_it_was(folder: Path) -> None:
    import keras

    path = folder / "config.yaml"
    layers = [{"Dense": 3}, {"Dropout": 0.5}, {"BatchNormalization": {}}]
    config = {
        "model": {"input": {"shape": [4]}, "layers": layers},
        "precision": "mixed_float16",
        "methods": ["numeric"],
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    loaded = load_config(path)
    with session(loaded.config):
        problem = prepare(loaded.config, loaded.base)
        before = Reference(problem).gradients
        numeric(problem, loaded.config.methods[0].options)
        with float64_twin(problem) as twin:
            assert keras.config.floatx() == "float64"
            for ours, theirs in zip(problem.model.variables, twin.model.variables, strict=True):
                assert theirs.path == ours.path
                assert np.array_equal(np.asarray(theirs.value), np.asarray(ours.value).astype(theirs.dtype))
        assert (keras.config.floatx(), keras.config.dtype_policy().name) == ("float32", "mixed_float16")
        assert keras.layers.Dense(1).name == "dense_1"
        after = Reference(problem).gradients
        assert problem.state.changed(problem.model.variables) == []
        assert float(before.loss) == float(after.loss)
        for key, tensor in before.tensors.items():
            assert np.array_equal(np.asarray(tensor), np.asarray(after.tensors[key]))


AT_KINKS = """
    model:
      input: {shape: [3]}
      layers: [Dense: {units: 4, activation: relu, name: kinked}, Dense: {units: 2, name: last}]
    data: {inputs: {constant: 0.0}}
    methods: [numeric]
"""


def test_elements_that_would_take_too_long_are_left_to_directions_and_that_is_said(
    run: Callable[..., RunReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("gradcheck.methods.directional.numeric")
    (quick,) = run(AT_KINKS).checks
    assert quick.warnings == ()
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    (left,) = run(AT_KINKS).checks
    assert "random directions leave kinked/bias open" in left.warnings[0]
    assert next(t for t in left.tensors if t.path == "kinked/bias").status == "inconclusive"
    (full,) = run(AT_KINKS, methods=[{"numeric": {"mode": "full"}}]).checks
    assert full.warnings == ()
