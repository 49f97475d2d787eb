"""Training that is saved, loaded in a new process and continued: what matches, and what each format loses."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import yaml

from gradcheck.live import check_training
from gradcheck.training.steps import slots_like
from tests.training.trained import DECAY, MODEL, SHARED, STATEFUL, trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

FORMATS = ("keras", "weights", "checkpoint", "backup")
MODELS = """
    import keras
    import tensorflow as tf

    class Between(keras.layers.Layer):
        pass

    class FromTensorFlow(Between):
        def call(self, x):
            return x * tf.random.uniform(tf.shape(x))

    class FromKeras(Between):
        def call(self, x):
            return x * keras.random.uniform(keras.ops.shape(x))

    class Seeded(Between):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.generator = keras.random.SeedGenerator()

        def call(self, x):
            return x * keras.random.uniform(keras.ops.shape(x), seed=self.generator)

        def save_own_variables(self, store):
            store["seed"] = self.generator.state.numpy()

        def load_own_variables(self, store):
            self.generator.state.assign(store["seed"])

    class Forgotten(Between):
        def build(self, shape):
            self.kernel = self.add_weight(shape=shape[-1:], initializer="ones", name="kernel")

        def call(self, x):
            return self.kernel * x

        def save_own_variables(self, store):
            pass

        def load_own_variables(self, store):
            pass

    class Net(keras.Model):
        def __init__(self, units=4, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.hidden = keras.layers.Dense(units, activation="tanh")
            self.normal = keras.layers.BatchNormalization()
            self.out = keras.layers.Dense(2)

        def call(self, x, training=False):
            return self.out(self.normal(self.hidden(x), training=training))

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    class WithoutConfig(Net):
        def __init__(self, layer):
            super().__init__()
            self.hidden = layer

        get_config = keras.Model.get_config

    class WithoutArguments(Net):
        def __init__(self):
            super().__init__()

        get_config = keras.Model.get_config

    class WithoutOptimizer(Net):
        def get_compile_config(self):
            return None

    class OtherRate(Net):
        def compile_from_config(self, config):
            super().compile_from_config(config)
            self.optimizer._learning_rate.decay_rate = 0.25

    def net(kind, **kwargs):
        model = globals()[kind](**kwargs)
        model(tf.zeros([1, 3]))
        return model

    def without_config():
        return net("WithoutConfig", layer=keras.layers.Dense(4))

    def between(kind):
        inputs = keras.Input([3])
        hidden = keras.layers.Dense(4, activation="tanh")(inputs)
        return keras.Model(inputs, keras.layers.Dense(2)(globals()[kind](name="between")(hidden)))

    def stateful():
        inputs = keras.Input(batch_shape=(4, 5, 2))
        return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.LSTM(3, stateful=True, name="lstm")(inputs)))
"""


def config(factory: str, optimizer: Any = "Adam", *, formats: Any = FORMATS, steps: int = 3, **keys: Any) -> Any:
    function, _, kind = factory.partition(":")
    model = {"factory": f"./models.py:{function}", **({"kwargs": {"kind": kind}} if kind else {})}
    text = yaml.safe_dump({"model": model, "loss": "MeanSquaredError", "data": {"batch_size": 4}})
    return resumed(text, optimizer, formats=formats, steps=steps, **keys)


def resumed(text: str, optimizer: Any, *, formats: Any = FORMATS, steps: int = 3, **keys: Any) -> Any:
    methods = [{"resume": {"after": 2, "format": one}} for one in formats]
    return trained(text, optimizer, steps=steps, methods=methods, verify_reference="never", **keys)


def by_format(found: RunReport, formats: Any = FORMATS) -> Iterator[tuple[str, CheckReport]]:
    assert found.error is None
    return zip(formats, found.checks, strict=True)


def require_lost(check: CheckReport, code: str, *words: str, confidence: str = "exact", step: int = 2) -> None:
    """A mismatch from the step on that it was saved after, with one diagnosis."""
    (diagnosis,) = check.diagnoses
    assert (check.outcome, check.first_failing_step) == ("mismatch", step)
    assert (diagnosis.code, diagnosis.confidence) == (code, confidence)
    for word in words:
        assert word in diagnosis.evidence


WITHOUT_DRAWS = {**yaml.safe_load(STATEFUL)}
WITHOUT_DRAWS["model"]["layers"].pop(3)


@pytest.mark.third
@pytest.mark.parametrize(
    ("text", "optimizer", "keys"),
    [
        (yaml.safe_dump(WITHOUT_DRAWS), {"SGD": {"momentum": 0.9, "learning_rate": DECAY}}, {"execution": "graph"}),
        (SHARED, {"Nadam": {"use_ema": True, "ema_momentum": 0.9}}, {}),
        (MODEL, {"Adam": {"gradient_accumulation_steps": 3}}, {"precision": "bfloat16"}),
        (MODEL, "Adam", {"precision": "mixed_float16"}),
    ],
    ids=["state and schedule", "averages", "accumulating", "loss scale"],
)
def test_all_comes_back(run: Run, text: str, optimizer: Any, keys: dict[str, Any]) -> None:
    found = run(resumed(text, optimizer, **keys))
    for name, check in by_format(found):
        if name == "keras" and "use_ema" in str(optimizer):  # an archive is made when `fit` has ended
            require_lost(check, "GC308", "`fit` ends by putting the averages in the place of the weights", "tokens")
            continue
        assert (check.outcome, check.steps) == ("match", 3), name
        kinds = {tensor.kind for tensor in check.tensors}
        assert {"weight", "optimizer", "loss"} <= kinds


def test_no_format_has_the_seed_of_dropout(run: Run) -> None:
    for _, check in by_format(run(resumed(STATEFUL, "Adam"))):
        require_lost(check, "GC307", "dropped", "seed_generator_state")
        assert check.diagnoses[0].layer == "dropped"
        assert [t.path for t in check.tensors if t.failed and t.step == 2] == ["seed_generator/seed_generator_state"]


def test_a_layer_that_saves_its_seed(run: Run) -> None:
    for name, check in by_format(run(config("between:Seeded"), {"models.py": MODELS})):
        if name == "checkpoint":  # which does not ask the layer
            require_lost(check, "GC307", "between")
        else:
            assert check.outcome == "match", name


@pytest.mark.third
@pytest.mark.parametrize(
    ("kind", "execution", "confidence", "words"),
    [
        ("FromTensorFlow", "eager", "likely", "tf.random"),
        ("FromKeras", "eager", "likely", "keras.random without a seed"),
        ("FromTensorFlow", "graph", "possible", "in no variable"),
    ],
)
def test_a_generator_that_no_layer_holds(run: Run, kind: str, execution: str, confidence: str, words: str) -> None:
    formats = ("weights",)
    found = run(config(f"between:{kind}", formats=formats, execution=execution), {"models.py": MODELS})
    for _, check in by_format(found, formats):
        require_lost(check, "GC307", words, confidence=confidence, step=3)


def test_recurrent_states_and_seeds_that_nothing_draws_from(run: Run) -> None:
    for name, check in by_format(run(config("stateful"), {"models.py": MODELS})):
        if name == "checkpoint":
            assert check.outcome == "match"
        else:
            require_lost(check, "GC900", "lstm/state_0, lstm/state_1")


def test_a_weight_that_the_layer_does_not_save(run: Run) -> None:
    formats = ("keras", "weights")
    for _, check in by_format(run(config("between:Forgotten", formats=formats), {"models.py": MODELS}), formats):
        require_lost(check, "GC900", "between/kernel")


def test_a_checkpoint_has_nothing_of_several_optimizers(run: Run) -> None:
    several = {"default_optimizer": {"SGD": {"momentum": 0.9}}, "optimizer_map": {".*kernel": "Adam"}}
    for name, check in by_format(run(resumed(MODEL, {"MultiOptimizer": {"optimizer_map": several}}))):
        if name == "checkpoint":
            require_lost(check, "GC308", "adam/iteration", "first_kernel_momentum")
        else:
            assert check.outcome == "match", name


def test_an_archive_without_the_optimizer(run: Run) -> None:
    for name, check in by_format(run(config("net:WithoutOptimizer"), {"models.py": MODELS})):
        if name == "keras":
            require_lost(check, "GC308", "adam/iteration", "kernel_momentum")
        else:
            assert check.outcome == "match", name


def test_an_archive_with_another_schedule(run: Run) -> None:
    formats = ("keras",)
    optimizer = {"SGD": {"learning_rate": DECAY}}
    found = run(config("net:OtherRate", optimizer, formats=formats), {"models.py": MODELS})
    for _, check in by_format(found, formats):
        require_lost(check, "GC308", "the learning rate of step 3 is 0.025, and was 0.05", step=3)


def test_subclassed_models(run: Run) -> None:
    for name, check in by_format(run(config("net:Net"), {"models.py": MODELS})):
        assert check.outcome == "match", name


def test_a_model_that_cannot_be_saved(run: Run) -> None:
    found = run(config("without_config"), {"models.py": MODELS})
    (note,) = [note for note in found.notes if "resume" in note]
    assert note.startswith(
        "resume does not apply: the model cannot be saved by model.save: NotImplementedError: Object"
    )
    assert [check.outcome for check in found.checks] == ["match"] * 3


def test_a_model_that_cannot_be_loaded(run: Run) -> None:
    found = run(config("net:WithoutArguments", formats=("keras",)), {"models.py": MODELS})
    assert found.error is not None
    assert found.error.code == "GC051"
    assert "model.save has saved cannot be loaded in a new process: TypeError: WithoutArg" in found.error.message
    assert "**kwargs" in (found.error.help or "")


def test_no_step_before_or_after(run: Run) -> None:
    alone = run(trained(MODEL, "SGD", steps=1, methods=["vjp", "resume"]))
    assert any("and train.steps is 1" in note for note in alone.notes)
    late = run(trained(MODEL, "SGD", steps=2, methods=["vjp", {"resume": {"after": 2}}]))
    assert (late.exit_code, late.error.code) == (2, "GC031")
    assert "after 2 of train.steps: 2" in late.error.message


@keras.saving.register_keras_serializable(package="tests")
class Scaled(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A layer of the user's, in a model that exists already."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=shape[-1:], initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        return self.scale * x


def test_a_model_as_it_stands() -> None:
    dense = keras.layers.Dense
    model = keras.Sequential(
        [keras.Input([3]), dense(4, "tanh"), Scaled(), keras.layers.BatchNormalization(), dense(1)]
    )
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=[8, 3]).astype("float32")
    model.fit(x, x[:, :1], verbose=0)
    before = [np.asarray(variable) for variable in (*model.variables, *model.optimizer.variables)]
    ways = [{"resume": {"after": 2, "format": one}} for one in FORMATS]
    (found,) = check_training(model, (x, x[:, :1]), ways=ways).runs
    for name, check in by_format(found):
        assert check.outcome == "match", name
    for was, variable in zip(before, (*model.variables, *model.optimizer.variables), strict=True):
        np.testing.assert_array_equal(was, variable)


def test_segments_are_saved_as_one_model(run: Run) -> None:
    text = """
        model:
          segments:
            - {layers: [{Dense: {units: 4, activation: tanh, name: first}}], input: {shape: [3]}}
            - {layers: [{Dense: {units: 2, name: out}}], input: {shape: [4]}}
        loss: MeanSquaredError
        data: {batch_size: 4}
    """
    for name, check in by_format(run(resumed(text, "Adam"))):
        assert check.outcome == "match", name


def test_nothing_is_left_behind(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    found = run(config("net:WithoutArguments", formats=("keras", "backup")), {"models.py": MODELS})
    assert [check.outcome for check in found.checks] == ["error", "match"]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_variables_of_two_optimizers_go_together() -> None:
    variable = keras.Variable([1.0, 2.0], name="weight")
    one, other, plain = keras.optimizers.Nadam(), keras.optimizers.Nadam(), keras.optimizers.SGD()
    for optimizer in (one, other, plain):
        optimizer.build([variable])
    assert list(map(id, slots_like(one, other))) == list(map(id, other.variables))
    missing = slots_like(one, plain)
    assert [v is own for v, own in zip(missing, one.variables, strict=True)] == [False, False, True, True, True]
