from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from PIL import Image

from gradcheck.batch import Batch, example_inputs, make_batch
from gradcheck.config.keyed import at
from gradcheck.config.sections.data import DataConfig
from gradcheck.config.sections.loss import LossSpec
from gradcheck.errors import ConfigError, GradcheckError, RunError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def session() -> None:
    keras.utils.clear_session(free_memory=False)


def one() -> keras.Model:
    x = keras.Input((3,), name="features")
    return keras.Model(x, keras.layers.Dense(2, name="scores")(x))


def two() -> keras.Model:
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    joined = keras.layers.Concatenate()([a, b])
    return keras.Model([a, b], [keras.layers.Dense(2, name="p")(joined), keras.layers.Dense(1, name="q")(joined)])


def batch(model: keras.Model, base: Path, loss: Any = "mse", **data: Any) -> Batch:
    config = DataConfig.model_validate({"batch_size": 2, **data})
    return make_batch(config, model, LossSpec.model_validate(loss), seed=0, base=base)


def failing(model: keras.Model, base: Path, **data: Any) -> GradcheckError:
    with pytest.raises((ConfigError, RunError)) as caught:
        batch(model, base, **data)
    return caught.value  # type: ignore[no-any-return]


def array(*shape: int) -> np.ndarray[Any, Any]:
    return np.arange(np.prod(shape), dtype="float64").reshape(shape)


def test_npz_with_x_and_y_gives_its_first_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "batch.npz", x=array(5, 3), y=-array(5, 2), sample_weight=array(5))
    made = batch(one(), tmp_path, npz="batch.npz")
    np.testing.assert_array_equal(made.x[0], array(5, 3)[:2])
    np.testing.assert_array_equal(made.y[0], -array(5, 2)[:2])
    assert made.sample_weight is not None
    np.testing.assert_array_equal(made.sample_weight[0], [0, 1])


def test_npz_by_name_and_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "batch.npz", b=array(2, 2), q=array(2, 1))
    made = batch(two(), tmp_path, npz="batch.npz")
    plain = batch(two(), tmp_path)
    np.testing.assert_array_equal(made.x[1], array(2, 2))
    np.testing.assert_array_equal(made.y[1], array(2, 1))
    np.testing.assert_array_equal(made.x[0], plain.x[0])
    np.testing.assert_array_equal(made.y[0], plain.y[0])


def test_a_description_goes_before_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "batch.npz", x=array(5, 3), y=array(5, 2))
    made = batch(one(), tmp_path, npz="batch.npz", targets={"constant": 9})
    np.testing.assert_array_equal(made.x[0], array(5, 3)[:2])
    np.testing.assert_array_equal(made.y[0], np.full((2, 2), 9))


def test_single_arrays_out_of_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", x=array(2, 3), y=array(2, 2), other=5 + array(2, 3))
    np.savez(tmp_path / "one.npz", whatever=7 + array(2, 3))

    def x(spec: Any) -> Any:
        return np.asarray(batch(one(), tmp_path, inputs=spec).x[0])[0, 0]

    assert x({"npz": "all.npz"}) == 0
    assert x({"npz": {"file": "all.npz", "key": "other"}}) == 5
    assert x({"npz": "one.npz"}) == 7
    np.testing.assert_array_equal(batch(one(), tmp_path, targets={"npz": "all.npz"}).y[0], array(2, 2))
    error = failing(one(), tmp_path, inputs={"npz": {"file": "all.npz", "key": "z"}})
    assert error.message == "all.npz has no array z. Received: x, y, other"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": (2, 4)}, "input features takes shape (batch, 3). Received: (2, 4)"),
        ({"x": (2, 3, 1)}, "Received: (2, 3, 1)"),
        ({"x": (1, 3)}, "batch_size is 2. Received: 1 rows for input features"),
        ({"x": (2, 3), "y": (1, 2)}, "Received: 1 rows for the target of output scores"),
        ({"x": (2, 3), "sample_weight": (1,)}, "the sample weight of output scores"),
        ({"x": (2, 3), "z": (2, 3)}, "neither inputs nor outputs: z"),
        ({"y": (2, 3)}, "the file has no x, or features. Received: y"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: Any, message: str) -> None:
    np.savez(tmp_path / "batch.npz", **{name: array(*shape) for name, shape in arrays.items()})
    error = failing(one(), tmp_path, npz="batch.npz")
    assert error.code == "GC030"
    assert message in error.message


def test_x_alone_for_two_inputs_is_too_few(tmp_path: Path) -> None:
    np.savez(tmp_path / "batch.npz", x=array(2, 3))
    error = failing(two(), tmp_path, npz="batch.npz")
    assert "2 inputs (a, b). Received: one array" in error.message
    assert error.keys == ("data", "npz")  # type: ignore[attr-defined]


class Planted:
    def __reduce__(self) -> Any:
        return (sys.exit, ("unpickled",))


def test_npz_is_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "batch.npz", x=np.array([Planted()], dtype=object))
    error = failing(one(), tmp_path, npz="batch.npz")
    assert error.code == "GC030"
    assert "no npz file of plain arrays" in error.message
    (tmp_path / "batch.npz").write_text("nothing of the kind")
    assert failing(one(), tmp_path, npz="batch.npz").code == "GC030"
    assert failing(one(), tmp_path, npz="missing.npz").code == "GC001"
    assert failing(one(), tmp_path, inputs={"npz": "missing.npz"}).code == "GC001"


FACTORIES = """
import numpy as np
import tensorflow as tf
def pair(rows=2):
    return np.ones((rows, 3)), 2 * np.ones((rows, 2))
def lists():
    return [[1, 2, 3], [4, 5, 6]], None
def tensors():
    return tf.ones((2, 3), tf.bfloat16), tf.ones((2, 2)), tf.constant([3, 4])
def by_name():
    return {"b": np.ones((2, 2)), "a": np.zeros((2, 3))}, {"q": np.ones((2, 1))}, {"q": np.ones(2)}
def in_order():
    return (np.zeros((2, 3)), np.ones((2, 2))), (np.ones((2, 2)), np.ones((2, 1))), np.full(2, 5.0)
def alone():
    return np.ones((2, 3))
def unknown():
    return {"c": np.ones((2, 3))}, None
def words():
    return np.array([["a", "b", "c"]] * 2), None
def raises():
    raise OSError("no disk")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data.py").write_text(FACTORIES)
    return tmp_path


def test_a_factory_returns_pairs_and_triples(folder: Path) -> None:
    made = batch(one(), folder, factory="./data.py:pair", kwargs={"rows": 6})
    np.testing.assert_array_equal(made.y[0], np.full((2, 2), 2))
    made = batch(one(), folder, factory="./data.py:lists")
    np.testing.assert_array_equal(made.x[0], [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(made.y[0], batch(one(), folder).y[0])
    made = batch(one(), folder, factory="./data.py:tensors")
    assert made.x[0].dtype.name == "float32"
    assert made.sample_weight is not None
    np.testing.assert_array_equal(made.sample_weight[0], [3, 4])


@pytest.mark.parametrize("name", ["by_name", "in_order"])
def test_a_factory_for_several_inputs_and_outputs(folder: Path, name: str) -> None:
    made = batch(two(), folder, factory=f"./data.py:{name}")
    assert [float(x[0, 0]) for x in made.x] == [0, 1]
    np.testing.assert_array_equal(made.y[1], np.ones((2, 1)))
    assert made.sample_weight is not None
    assert (made.sample_weight[0] is None) == (name == "by_name")


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("alone", "GC052", "must return (x, y) or (x, y, sample_weight). Received: a ndarray"),
        ("unknown", "GC030", "no input called c"),
        ("words", "GC030", "takes float32. Received: <U1"),
        ("raises", "GC052", "data factory ./data.py:raises raised OSError: no disk"),
        ("piar", "GC028", "no piar"),
    ],
)
def test_a_factory_that_gives_no_batch(folder: Path, name: str, code: str, message: str) -> None:
    error = failing(one(), folder, factory=f"./data.py:{name}")
    assert error.code == code
    assert message in error.message


def test_text_comes_from_a_factory(folder: Path) -> None:
    x = keras.Input((3,), dtype="string", name="text")
    lookup = keras.layers.StringLookup(vocabulary=["a", "b", "c"])
    made = batch(keras.Model(x, keras.ops.cast(lookup(x), "float32")), folder, factory="./data.py:words")
    assert made.x[0].dtype.name == "string"


def image_model(channels: int = 3, classes: int = 3) -> keras.Model:
    x = keras.Input((4, 6, channels), name="image")
    return keras.Model(x, keras.layers.Dense(classes, name="scores")(keras.layers.Flatten()(x)))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes: three images of one grey level each, and one."""
    for label, levels in {"b_cat": (255, 51, 102), "c_dog": (204,), "d_empty": ()}.items():
        (tmp_path / "photos" / label).mkdir(parents=True)
        for index, level in enumerate(levels):
            Image.new("RGB", (9, 7), (level,) * 3).save(tmp_path / "photos" / label / f"{index}.png")
    (tmp_path / "photos" / "readme.txt").write_text("not a class")
    return tmp_path


IMAGES = {"directory": "photos", "image_size": [4, 6]}


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_are_resized_scaled_and_spread_over_the_classes(photos: Path, channels: int) -> None:
    loss = "SparseCategoricalCrossentropy"
    made = batch(image_model(channels), photos, loss, images=IMAGES, batch_size=4)
    assert made.x[0].shape == (4, 4, 6, channels)
    np.testing.assert_allclose(np.asarray(made.x[0])[:, 0, 0, 0], [1, 0.8, 0.2, 0.4], rtol=1e-6)
    np.testing.assert_array_equal(made.y[0], [0, 1, 0, 0])


def test_image_classes_as_the_loss_takes_them(photos: Path) -> None:
    one_hot = batch(image_model(), photos, "CategoricalCrossentropy", images=IMAGES).y[0]
    np.testing.assert_array_equal(one_hot, [[1, 0, 0], [0, 1, 0]])
    binary = batch(image_model(classes=1), photos, "bce", images=IMAGES).y[0]
    np.testing.assert_array_equal(binary, [[0], [1]])
    numbers = batch(image_model(), photos, "mse", images=IMAGES).y[0]
    np.testing.assert_array_equal(numbers, batch(image_model(), photos, "mse").y[0])


def test_images_that_do_not_fit(photos: Path) -> None:
    assert "batch_size is 5. Received: 4 images" in failing(image_model(), photos, images=IMAGES, batch_size=5).message
    assert "one input of shape" in failing(one(), photos, images=IMAGES).message
    resized = failing(image_model(), photos, images={**IMAGES, "image_size": [4, 4]})
    assert "takes shape (batch, 4, 6, 3). Received: (2, 4, 4, 3)" in resized.message
    missing = failing(image_model(), photos, images={**IMAGES, "directory": "elsewhere"})
    assert (missing.code, missing.keys) == ("GC001", ("data", "images", "directory"))  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"the output has 1 classes\. Received: 2"):
        batch(image_model(classes=1), photos, "SparseCategoricalCrossentropy", images=IMAGES)


def test_an_image_that_cannot_be_read(photos: Path) -> None:
    (photos / "photos" / "b_cat" / "0.png").write_text("no image")
    error = failing(image_model(), photos, images=IMAGES)
    assert error.code == "GC052"
    assert "0.png cannot be read" in error.message


def test_without_pillow_the_extra_is_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_img(*_: Any, **__: Any) -> None:
        raise ImportError("Could not import PIL.Image.")

    monkeypatch.setattr(keras.utils, "load_img", load_img)
    error = failing(image_model(), photos, images=IMAGES)
    assert (error.code, error.help) == ("GC058", "pip install pillow")


def examples(base: Path, **data: Any) -> Any:
    return example_inputs(DataConfig.model_validate({"batch_size": 2, **data}), base)


def test_the_inputs_of_the_users_own_batch_before_there_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text("def batch(n=1):\n    return {'a': [n], 'b': (2, 3)}, None\n")
    np.savez(tmp_path / "x.npz", x=array(4, 3), y=array(4, 2))
    np.savez(tmp_path / "named.npz", a=array(4, 3))
    assert examples(tmp_path, factory="./data.py:batch", kwargs={"n": 7}) == {"a": [7], "b": (2, 3)}
    np.testing.assert_array_equal(examples(tmp_path, npz="x.npz"), array(4, 3))
    assert examples(tmp_path, npz="named.npz") is None
    assert examples(tmp_path) is None


def test_the_inputs_of_a_batch_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text("def batch():\n    raise OSError('no disk')\n")
    with pytest.raises(RunError, match="no disk") as raised:
        examples(tmp_path, factory="./data.py:batch")
    assert raised.value.code == "GC052"
    with pytest.raises(ConfigError) as caught, at("model"):  # which is being built
        examples(tmp_path, npz="none.npz")
    assert (caught.value.code, caught.value.keys) == ("GC001", ("data", "npz"))
