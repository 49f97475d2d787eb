from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from gradcheck.building.precision import precision_scope
from gradcheck.building.sources import KnownBatch, build_model
from gradcheck.config.sections.model import ApplicationSource, FactorySource, FileSource
from gradcheck.errors import ConfigError, GradcheckError, RunError

HERE = Path()

MODELS = """
import keras
def build(width=2, sizes=()):
    sizes.append(1) if sizes else None
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(width)])
def unbuilt():
    return keras.Sequential([keras.layers.Dense(1)])
class Net(keras.Model):
    def call(self, x):
        return x
def nothing():
    pass
def layer():
    return keras.layers.Dense(1)
def raises():
    raise OSError("no disk")
def clears():
    keras.utils.clear_session(free_memory=False)
    return build()
"""


@pytest.fixture(autouse=True)
def session() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(MODELS)
    return tmp_path


def keys(error: GradcheckError) -> Any:
    return error.keys  # type: ignore[attr-defined]


def factory(name: str, folder: Path, **more: Any) -> keras.Model:
    return build_model(FactorySource(factory=f"./model.py:{name}", **more), folder).model


def test_a_factory_is_called_with_its_arguments(folder: Path) -> None:
    assert factory("build", folder, kwargs={"width": 5}).output_shape == (None, 5)


def test_a_factory_cannot_change_the_config(folder: Path) -> None:
    source = FactorySource(factory="./model.py:build", kwargs={"sizes": [0]})
    build_model(source, folder)
    assert source.kwargs == {"sizes": [0]}


def test_a_factory_that_clears_the_session_keeps_the_precision(folder: Path) -> None:
    with precision_scope("mixed_bfloat16"):
        factory("clears", folder)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "factory ./model.py:nothing must give a keras.Model. Received: None"),
        ("layer", "Received: a Dense"),
        ("unbuilt", "has no input shape yet. Received: a Sequential"),
        ("Net", "has no symbolic inputs. Received: a Net"),
        ("raises", "factory ./model.py:raises raised OSError: no disk"),
    ],
)
def test_a_factory_that_gives_no_model(folder: Path, name: str, message: str) -> None:
    with pytest.raises(RunError) as caught:
        factory(name, folder)
    assert caught.value.code == "GC051"
    assert message in caught.value.message


def test_a_factory_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        factory("biuld", folder)
    assert (caught.value.code, caught.value.help) == ("GC028", "did you mean `build`?")
    assert keys(caught.value) == ("model", "factory")


def test_an_application_has_random_weights_and_takes_lists_as_shapes() -> None:
    kwargs = {"input_shape": [32, 32, 3], "classes": 2, "alpha": 0.35}
    model = build_model(ApplicationSource(application="MobileNetV2", kwargs=kwargs), HERE).model
    assert (model.input_shape, model.output_shape) == ((None, 32, 32, 3), (None, 2))


@pytest.mark.parametrize(
    ("name", "kwargs", "error", "code", "message"),
    [
        ("MobilNetV2", {}, ConfigError, "GC020", "MobilNetV2"),
        ("resnet50", {}, ConfigError, "GC020", "resnet50"),
        ("MobileNetV2", {"alfa": 1}, RunError, "GC051", "alfa=1"),
        ("MobileNetV2", {"weights": "missing.weights.h5"}, RunError, "GC051", "missing.weights.h5"),
    ],
)
def test_an_application_that_cannot_be_had(name: str, kwargs: Any, error: Any, code: str, message: str) -> None:
    with pytest.raises(error) as caught:
        build_model(ApplicationSource(application=name, kwargs=kwargs), HERE)
    assert (caught.value.code, keys(caught.value)) == (code, ("model", "application"))
    assert message in caught.value.message
    assert (
        code != "GC020" or (caught.value.help or "").lower() == f"did you mean `{name.replace('il', 'ile')}`?".lower()
    )


def test_an_application_loads_weights_from_a_file_beside_the_config(tmp_path: Path) -> None:
    kwargs = {"input_shape": [32, 32, 3], "classes": 2, "alpha": 0.35}
    model = build_model(ApplicationSource(application="MobileNetV2", kwargs=kwargs), tmp_path).model
    model.save_weights(tmp_path / "own.weights.h5")
    source = ApplicationSource(application="MobileNetV2", kwargs={**kwargs, "weights": "own.weights.h5"})
    again = build_model(source, tmp_path).model
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])


def saved(folder: Path, dtype: str | None = None) -> keras.Model:
    x = keras.Input((3,), name="x")
    h = keras.layers.Dense(2, name="hidden")(x)
    h = keras.ops.cast(h, "float32")
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, dtype=dtype)], name="inner")
    model = keras.Model(x, keras.layers.Softmax(dtype="float32")(inner(h)))
    model.save(folder / "model.keras")
    return model


def test_a_saved_model(tmp_path: Path) -> None:
    model = saved(tmp_path)
    loaded = build_model(FileSource(file="model.keras"), tmp_path).model
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert not loaded.compiled


def test_a_saved_model_has_a_float64_twin(tmp_path: Path) -> None:
    model = saved(tmp_path, dtype="mixed_float16")
    with precision_scope("float64"):
        twin = build_model(FileSource(file="model.keras"), tmp_path).model
        x = np.ones((2, 3))
        result = twin(x)
    assert {v.dtype for v in twin.variables} | {str(result.dtype.name), twin.inputs[0].dtype} == {"float64"}
    weights = [np.float64(w) for w in model.get_weights()]
    logits = (x @ weights[0] + weights[1]) @ weights[2] + weights[3]
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(result, expected, rtol=1e-14)  # a float32 step inside would show at 1e-8


def test_a_saved_model_in_another_precision_keeps_what_is_narrower_on_purpose(tmp_path: Path) -> None:
    saved(tmp_path, dtype="bfloat16")
    with precision_scope("mixed_float16"):
        model = build_model(FileSource(file="model.keras"), tmp_path).model
    assert model.get_layer("hidden").compute_dtype == "float16"
    assert model.get_layer("hidden").kernel.dtype == "float32"
    assert model.inputs[0].dtype == "float32"
    assert model.get_layer("inner").layers[0].compute_dtype == "bfloat16"


def test_a_saved_lambda_is_refused_unless_the_file_is_trusted(tmp_path: Path) -> None:
    x = keras.Input((3,))
    keras.Model(x, keras.layers.Lambda(lambda t: 2 * t, output_shape=(3,))(x)).save(tmp_path / "model.keras")
    with pytest.raises(RunError) as caught:
        build_model(FileSource(file="model.keras"), tmp_path)
    assert (caught.value.code, keys(caught.value)) == ("GC051", ("model", "file"))
    assert "trust: true" in (caught.value.help or "")
    trusted = build_model(FileSource(file="model.keras", trust=True), tmp_path).model
    np.testing.assert_array_equal(trusted(np.ones((1, 3))), np.full((1, 3), 2.0))
    with precision_scope("float64"), pytest.raises(RunError):
        build_model(FileSource(file="model.keras"), tmp_path)


def test_a_file_that_is_missing_or_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as caught:
        build_model(FileSource(file="model.keras"), tmp_path)
    assert (caught.value.code, keys(caught.value)) == ("GC001", ("model", "file"))
    (tmp_path / "model.keras").write_text("not a model")
    for precision in ("float32", "float64"):
        with precision_scope(precision), pytest.raises(RunError, match="cannot be loaded"):
            build_model(FileSource(file="model.keras"), tmp_path)
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Unknown", "config": {}}))
    with pytest.raises(RunError, match="cannot be loaded"):
        build_model(FileSource(file="model.keras"), tmp_path)


def test_weights_are_loaded_into_any_source(folder: Path) -> None:
    model = factory("build", folder)
    model.save_weights(folder / "trained.weights.h5")
    keras.utils.set_random_seed(1)
    other = factory("build", folder)
    assert not np.array_equal(other.get_weights()[0], model.get_weights()[0])
    again = factory("build", folder, weights="trained.weights.h5")
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])


def test_weights_that_are_missing_or_of_another_model(folder: Path) -> None:
    with pytest.raises(ConfigError) as missing:
        factory("build", folder, weights="trained.weights.h5")
    assert (missing.value.code, keys(missing.value)) == ("GC001", ("model", "weights"))
    factory("build", folder).save_weights(folder / "trained.weights.h5")
    with pytest.raises(RunError, match="do not fit the model") as caught:
        factory("build", folder, kwargs={"width": 7}, weights="trained.weights.h5")
    assert (caught.value.code, keys(caught.value)) == ("GC051", ("model", "weights"))


# Models without symbolic inputs: what they are called on

SUBCLASSED = """
import keras
import numpy as np
class Net(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2)
        self.flat = keras.layers.Flatten()
    def call(self, x):
        return self.dense(self.flat(x))
def new():
    return Net()
def called():
    net = Net()
    net(np.zeros((7, 5)))
    net(np.zeros((7, 5), "float32"))
    return net
def built():
    net = Net()
    net.build((None, 6))
    return net
def refuses():
    from gradcheck.errors import RunError
    class Refusing(Net):
        def call(self, x):
            raise RunError("as it is", code="GC056")
    x = keras.Input((3,))
    return keras.Model(x, Refusing()(x))
class Tokens(keras.Model):
    def __init__(self):
        super().__init__()
        self.embed = keras.layers.Embedding(9, 2)
    def call(self, x):
        return self.embed(x)
def tokens():
    net = Tokens()
    net(np.zeros((7, 5), "int64"))
    return net
"""


@pytest.fixture
def subclassed(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(SUBCLASSED)
    return tmp_path


def shape(name: str, folder: Path, known: Any = None, **more: Any) -> Any:
    source = FactorySource.model_validate({"factory": f"./model.py:{name}", **more})
    return build_model(source, folder, KnownBatch(3, lambda: known)).model.input_shape


def test_what_the_config_says_comes_first(subclassed: Path) -> None:
    written = {"input": {"shape": [5, 1]}}
    assert shape("called", subclassed, np.zeros((2, 3)), **written) == (None, 5, 1)


def test_then_what_the_factory_called_it_on(subclassed: Path) -> None:
    assert shape("called", subclassed, np.zeros((2, 3))) == (None, 5)


def test_then_what_the_batch_holds(subclassed: Path) -> None:
    assert shape("new", subclassed, np.zeros((2, 3))) == (None, 3)
    assert shape("built", subclassed, np.zeros((2, 6, 1))) == (None, 6, 1)


def test_then_what_it_was_built_for(subclassed: Path) -> None:
    assert shape("built", subclassed) == (None, 6)


def test_floats_are_of_the_precision_and_integers_of_their_own(subclassed: Path) -> None:
    with precision_scope("float64"):
        called = factory("called", subclassed)
        written = build_model(
            FactorySource.model_validate({"factory": "./model.py:new", "input": {"shape": [3], "dtype": "float32"}}),
            subclassed,
        ).model
    assert [tensor.dtype for tensor in called.inputs] == ["float64"]
    assert [tensor.dtype for tensor in written.inputs] == ["float64"]
    assert [tensor.dtype for tensor in factory("tokens", subclassed).inputs] == ["int64"]
    assert [tensor.dtype for tensor in factory("called", subclassed).inputs] == ["float32"]


def test_a_model_with_inputs_of_its_own_needs_none(folder: Path) -> None:
    assert factory("build", folder, input={"shape": [9]}).input_shape == (None, 3)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_error_of_ours_inside_a_layer_comes_through(subclassed: Path) -> None:
    with pytest.raises(RunError) as caught:
        factory("refuses", subclassed)
    assert (caught.value.code, caught.value.message) == ("GC056", "as it is")


@pytest.mark.parametrize("written", [{}, {"input": {"shape": [5]}}])
def test_a_saved_subclassed_model(subclassed: Path, written: Any) -> None:
    scope: dict[str, Any] = {}
    exec(SUBCLASSED, scope)  # noqa: S102 - the text above
    keras.saving.register_keras_serializable(package="saved", name=f"Net{len(written)}")(scope["Net"])
    net = scope["called"]()
    net.save(subclassed / "net.keras")
    model = build_model(FileSource.model_validate({"file": "net.keras", "trust": True, **written}), subclassed).model
    assert model.input_shape == (None, 5)
    x = np.ones((2, 5), "float32")
    np.testing.assert_array_equal(model(x), net(x))
