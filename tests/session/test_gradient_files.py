"""References that outlive a process: what is compared with them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.config.load import load_given
from gradcheck.errors import UsageError
from gradcheck.session.configs import CheckOptions, check_one
from gradcheck.session.gradient_files import GradientFiles

if TYPE_CHECKING:
    from gradcheck.results.report import RunReport

CONFIG: dict[str, Any] = {
    "model": {
        "input": {"shape": [5], "dtype": "int32"},
        "layers": [
            {"Embedding": {"input_dim": 20, "output_dim": 6, "name": "embedding"}},
            "GlobalAveragePooling1D",
            {"BatchNormalization": {"name": "norm"}},
            {"Dropout": 0.3},
            {"Dense": {"units": 4, "activation": "tanh", "name": "hidden"}},
            {"Dense": {"units": 2, "name": "head"}},
        ],
    },
    "split": {"after": ["embedding", "hidden"]},
    "data": {"batch_size": 4},
}


def checked(config: dict[str, Any], **options: Path) -> RunReport:
    """Run a config; `save` and `reference` are the files."""
    files = {name: GradientFiles(f"--{name}", path) for name, path in options.items()}
    given = CheckOptions(save_gradients=files.get("save"), reference=files.get("reference"))
    return check_one(load_given({**CONFIG, **config}, {}), given)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("saved") / "reference.npz"
    run = checked({}, save=path)
    assert run.verdict == "pass"
    assert any(f"saved as a reference: {path}, 15 tensors" in note for note in run.notes)
    return path


@pytest.fixture(scope="module")
def normal() -> RunReport:
    return checked({})


@pytest.fixture
def _whole_forbidden(saved: Path, normal: RunReport, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - before
    def refused(*_: Any) -> Any:
        raise AssertionError("the whole model was differentiated")

    monkeypatch.setattr("gradcheck.comparing.tape._whole", refused)


@pytest.mark.usefixtures("_whole_forbidden")
def test_every_comparison_of_a_normal_run(saved: Path, normal: RunReport) -> None:
    run = checked({}, reference=saved)
    assert run.verdict == "pass", run.errors
    assert run.reference is not None
    assert normal.reference is not None
    assert (run.reference.file, run.reference.gradient_norm) == (str(saved), normal.reference.gradient_norm)
    rows, others = ([(t.kind, t.path, t.status) for t in one.checks[0].tensors] for one in (run, normal))
    assert rows == others
    assert {kind for kind, _, _ in rows} == {"weight", "input", "boundary", "output", "loss", "state"}
    assert any("the whole model was not differentiated" in note for note in run.notes)


@pytest.mark.usefixtures("_whole_forbidden")
def test_a_mistake_is_diagnosed_and_what_needs_the_whole_says_so(saved: Path) -> None:
    run = checked({"methods": ["naive", "forward", "numeric", "hvp"]}, reference=saved)
    assert run.verdict == "fail"
    (check,) = run.checks
    assert check.method == "naive"
    assert [d.code for d in check.diagnoses] == ["GC101"]
    assert check.second_opinion is not None
    assert check.second_opinion.startswith("no second opinion in float64: it needs the whole model")
    skipped = [note.partition(" ")[0] for note in run.notes if "does not apply: it runs the whole model" in note]
    assert skipped == ["forward", "numeric", "hvp"]
    failing = [tensor for tensor in check.tensors if tensor.failed]
    assert failing
    assert all(tensor.noise_floor for tensor in failing)  # those that were measured when it was saved


def test_other_cuts_are_compared_where_both_have_them(saved: Path) -> None:
    run = checked({"split": {"after": ["norm", "hidden"]}}, reference=saved)
    assert run.verdict == "pass"
    assert [t.path for t in run.checks[0].of_kind("boundary")] == ["hidden"]
    assert any("not compared: 1 boundary (norm); the reference was saved with other cuts" in n for n in run.notes)


def layers(index: int, layer: Any) -> dict[str, Any]:
    of = CONFIG["model"]["layers"]
    return {"model": {**CONFIG["model"], "layers": [*of[:index], layer, *of[index + 1 :]]}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, ["seed: 0 there, 1 here"]),
        ({"precision": "bfloat16"}, ["precision: float32 there, bfloat16 here"]),
        ({"training": False}, ["training: true there, false here"]),
        ({"microbatches": 2}, ["microbatches: 1 there, 2 here"]),
        ({"loss": "MeanSquaredError"}, ['loss: {} there, {"loss": {"name": "MeanSquaredError"}} here']),
        ({"seed": 1, "training": False}, ["seed: 0 there, 1 here", "training: true there, false here"]),
        (layers(3, {"Dropout": 0.4}), ["the model: dropout has rate=0.3 there, rate=0.4 here"]),
        (
            layers(4, {"Dense": {"units": 4, "activation": "relu", "name": "hidden"}}),
            ["the model: hidden has activation=tanh there, activation=relu here"],
        ),
        (
            layers(4, {"Dense": {"units": 3, "activation": "tanh", "name": "hidden"}}),
            ["the model: hidden has units=4 there, units=3 here"],
        ),
        (layers(3, "ReLU"), ["the model: dropout there alone; re_lu here alone"]),
        (
            layers(5, {"Dense": {"units": 2, "name": "head", "kernel_initializer": "ones"}}),
            ["weights: 1 of 7 with other values here (head/kernel)"],
        ),
        (
            layers(2, {"BatchNormalization": {"name": "norm", "moving_mean_initializer": "ones"}}),
            ["state: 1 of 3 with other values here (norm/moving_mean)"],
        ),
        (
            {"data": {"batch_size": 4, "inputs": {"constant": 3}}},
            ["batch: 1 of 2 with other values here (input input)"],
        ),
        (
            {"data": {"batch_size": 3}},
            ["batch: input input is (4, 5) int32 there, (3, 5) int32 here"],
        ),
        ({"execution": "xla"}, ["execution: eager there, xla here, and under XLA random layers draw other numbers"]),
    ],
)
def test_what_does_not_belong_to_it_is_refused(saved: Path, change: dict[str, Any], said: list[str]) -> None:
    run = checked(change, reference=saved)
    assert (run.verdict, run.exit_code) == ("error", 2)
    prefix = f"{saved} is no reference for this config: "
    assert [error.message for error in run.errors] == [prefix + one for one in said]
    assert {error.code for error in run.errors} == {"GC033"}
    assert all(error.help for error in run.errors)


def test_a_wiring_that_differs_is_another_model(tmp_path: Path) -> None:
    def config(inputs: list[str]) -> dict[str, Any]:
        of = [{"Dense": {"units": 3, "name": n, "inputs": ["x"]}} for n in ("a", "b")]
        model = {"input": {"x": {"shape": [3]}}, "layers": [*of, {"Subtract": {"name": "s", "inputs": inputs}}]}
        return {"model": model, "split": {"after": ["a"]}}

    assert checked(config(["a", "b"]), save=tmp_path / "r.npz").verdict == "pass"
    run = checked(config(["b", "a"]), reference=tmp_path / "r.npz")
    assert run.error is not None
    assert "the model: " in run.error.message


def test_frozen_weights_with_other_values_are_refused(tmp_path: Path) -> None:
    def config(initializer: str) -> dict[str, Any]:
        frozen = {"Dense": {"units": 3, "name": "frozen", "trainable": False, "bias_initializer": initializer}}
        return {"model": {"input": {"shape": [3]}, "layers": [frozen, {"Dense": 2}]}, "split": {"after": ["frozen"]}}

    assert checked(config("zeros"), save=tmp_path / "r.npz").verdict == "pass"
    run = checked(config("ones"), reference=tmp_path / "r.npz")
    assert run.error is not None
    assert run.error.message.endswith("weights: 1 of 4 with other values here (frozen frozen/bias)")


def test_training_steps_are_refused(saved: Path) -> None:
    run = checked({"train": {"steps": 2}}, reference=saved)
    assert run.error is not None
    assert (run.error.code, run.exit_code) == ("GC033", 2)


def test_a_reference_that_finite_differences_contradict_is_not_saved(tmp_path: Path) -> None:
    (tmp_path / "layers.py").write_text(
        "import keras, tensorflow as tf\n\n@tf.custom_gradient\ndef twice(x):\n    return 2 * x, lambda dy: dy\n\n"
        "class Twice(keras.layers.Layer):\n    def call(self, x):\n        return twice(x)\n",
        encoding="utf-8",
    )
    model = {"input": {"shape": [3]}, "layers": [{"Dense": 2}, f"{tmp_path}/layers.py:Twice", {"Dense": 1}]}
    run = checked({"model": model, "split": {"every": "layer"}}, save=tmp_path / "wrong.npz")
    assert run.verdict == "fail"
    assert any("not saved as a reference" in note for note in run.notes)
    assert not (tmp_path / "wrong.npz").exists()


@pytest.mark.parametrize(
    ("path", "name", "file"),
    [("a.npz", "one", "a.npz"), ("refs", "one", "refs/one.npz"), ("refs.d", "../it's 1", "refs.d/..-it-s-1.npz")],
)
def test_a_folder_has_one_file_for_each_config(path: str, name: str, file: str) -> None:
    loaded = load_given({**CONFIG, "name": name}, {})
    assert GradientFiles("--reference", Path(path)).of(loaded) == Path(file)


def test_configs_do_not_share_a_file() -> None:
    one, two = (load_given({**CONFIG, "name": "same"}, {}) for _ in range(2))
    with pytest.raises(UsageError, match=r"would share refs/same.npz") as found:
        GradientFiles("--save-gradients", Path("refs")).require_apart([one, two])
    assert found.value.help == "give one of them another `name`"
    with pytest.raises(UsageError, match=r"would share r.npz") as found:
        GradientFiles("--save-gradients", Path("r.npz")).require_apart([one, two])
    assert found.value.help == "name a folder, without .npz"
