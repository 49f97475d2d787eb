"""Names and arguments that Keras does not have are found without Keras, each under its own key or value."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gradcheck.config.checks import keras_names
from gradcheck.config.checks.keras_names import require_layer
from gradcheck.errors import ConfigErrors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.config import LoadedConfig
    from gradcheck.errors import Mistake

LAYERS = "model: {{input: {{shape: [4]}}, layers: [{{Dense: {{units: 3, name: hidden}}}}, {}, {{Dense: 1}}]}}\n"
MODEL = LAYERS.format("Flatten")
TRAIN = LAYERS.replace("{}", "Flatten") + "train: {{steps: 1, optimizer: {}}}\n"


def marked(mistake: Mistake) -> str:
    """The text under the carets."""
    place = mistake.location
    assert place is not None
    assert place.excerpt is not None
    return place.excerpt[place.column - 1 : place.column - 1 + place.length]


@pytest.mark.parametrize(
    ("text", "code", "under", "meant"),
    [
        (LAYERS.format("Dens: 3"), "GC020", "Dens", "Dense"),
        (LAYERS.format("dense"), "GC020", "dense", "Dense"),
        (LAYERS.format("{Dense: {units: 3, activaton: relu}}"), "GC021", "activaton", "activation"),
        (LAYERS.format("{Dense: {unit: 3}}"), "GC021", "unit", "units"),
        (LAYERS.format("{Dense: {units: sixteen}}"), "GC021", "sixteen", None),
        (LAYERS.format("Dense: sixteen"), "GC021", "sixteen", None),
        (LAYERS.format("{Dense: {units: true}}"), "GC021", "true", None),
        (LAYERS.format("{Conv2D: {filters: 2, kernel_size: [1, two]}}"), "GC021", "[1, two]", None),
        (LAYERS.format("{Dense: {units: 3, use_bias: nope}}"), "GC021", "nope", None),
        (LAYERS.format("Dropout"), "GC021", "Dropout", None),
        (LAYERS.format("{Conv2D: {filters: 3}}"), "GC021", "Conv2D", None),
        (LAYERS.format("Activation: sigmod"), "GC020", "sigmod", "sigmoid"),
        (LAYERS.format("{Dense: {units: 3, activation: None}}"), "GC020", "None", "null"),
        (LAYERS.format("{Dense: {units: 3, kernel_initializer: glorot}}"), "GC020", "glorot", "Glorot"),
        (LAYERS.format("{Dense: {units: 3, kernel_initializer: {HeNormall: {}}}}"), "GC020", "HeNormall", "HeNormal"),
        (LAYERS.format("{Dense: {units: 3, kernel_regularizer: {L2: {l3: 1}}}}"), "GC021", "l3", "l2"),
        (LAYERS.format("{Bidirectional: {layer: {LSTN: 3}}}"), "GC020", "LSTN", "LSTM"),
        (LAYERS.format("{Bidirectional: {layer: {LSTM: {unitz: 3}}}}"), "GC021", "unitz", "units"),
        (LAYERS.format("TimeDistributed: Dens"), "GC020", "Dens", "Dense"),
        (LAYERS.format("{RNN: {cell: [{GRUCel: 3}, {GRUCell: 3}]}}"), "GC020", "GRUCel", "GRUCell"),
        (LAYERS.format("Lambda: x"), "GC021", "Lambda", "./layers.py:MyLayer"),
        (LAYERS.format("'./layers.py': {units: 3}"), "GC020", "'./layers.py'", "./layers.py:Name"),
        (LAYERS.format("Dense(4)"), "GC020", "Dense(4)", "colon"),
        (MODEL + "split: {after: [hiden]}\n", "GC023", "hiden", "hidden"),
        (MODEL + "split: {after: flatten_/x}\n", "GC023", "flatten_/x", "flatten"),
        (MODEL + "loss: MeanSquareError\n", "GC020", "MeanSquareError", "MeanSquaredError"),
        (MODEL + "loss: {Huber: {delt: 2}}\n", "GC031", "delt", "delta"),
        (MODEL + "loss: [mse, {Hubr: {delta: 2}}]\n", "GC020", "Hubr", "Huber"),
        (MODEL + "loss: {one: mse, two: maee}\n", "GC020", "maee", None),
        (MODEL + "loss: './losses.py:mine'\n", "GC020", "'./losses.py:mine'", "factory"),
        (MODEL + "loss: {of_modle: './losses.py:mine'}\n", "GC003", "of_modle", "of_model"),
        (TRAIN.format("Adm"), "GC020", "Adm", "Adam"),
        (TRAIN.format("{SGD: {learning_rat: 1}}"), "GC004", "learning_rat", "learning_rate"),
        (TRAIN.format("{SGD: {learning_rate: fast}}"), "GC004", "fast", None),
        (TRAIN.format("{SGD: {learning_rate: {CosinDecay: {}}}}"), "GC020", "CosinDecay", "CosineDecay"),
        (TRAIN.format("{LossScaleOptimizer: {inner_optimizer: {Sgdd: {}}}}"), "GC020", "Sgdd", "SGD"),
        (
            TRAIN.format("{MultiOptimizer: {optimizer_map: {default_optimizer: SGDD, optimizer_map: {'.*': Adam}}}}"),
            "GC020",
            "SGDD",
            "SGD",
        ),
        (
            TRAIN.format("{MultiOptimizer: {optimizer_map: {default_optimizer: SGD, optimizer_map: {'.*': Adm}}}}"),
            "GC020",
            "Adm",
            "Adam",
        ),
        ("model: {application: ResNet5}\n", "GC020", "ResNet5", "ResNet50"),
        ("model: {application: VGG16, kwargs: {clases: 2}}\n", "GC004", "clases", "classes"),
        ("model: {segments: [{application: VGG61}, {application: VGG16}]}\n", "GC020", "VGG61", "VGG1"),
    ],
)
def test_a_mistake_is_under_its_own_key(
    text: str, code: str, under: str, *, meant: str | None, mistakes: Callable[..., list[Mistake]], tmp_path: Path
) -> None:
    (tmp_path / "losses.py").write_text("def mine(): ...\n", encoding="utf-8")
    (mistake,) = mistakes(text)
    assert (mistake.code, marked(mistake)) == (code, under)
    assert meant is None or meant in str(mistake.help)


@pytest.mark.parametrize(
    "text",
    [
        LAYERS.format("{LeakyReLU: {alpha: 0.2}}"),
        LAYERS.format("{LSTM: {units: 3, implementation: 1, trainable: false, dtype: float64}}"),
        LAYERS.format("{Dense: {units: 3, activity_regularizer: l2, kernel_initializer: {'./i.py:Mine': {}}}}"),
        LAYERS.format("{Dense: {units: 3, activation: null, bias_initializer: zero, input_shape: [4]}}"),
        LAYERS.format("{Dense: {units: 3, kernel_initializer: {class_name: Zeros, config: {}}}}"),
        LAYERS.format("{RandomRotation: {factor: [0.1, 0.2]}}"),
        LAYERS.format("{Dense: {units: 3}, inputs: hidden}"),
        MODEL + "split: {after: [hidden, flatten, 'dense:1', 0]}\n",
        LAYERS.format("'./layers.py:Mine'") + "split: {after: whatever_it_calls_itself}\n",
        MODEL + "loss: mse\n",
        MODEL + "loss: {Kl_Divergence: {reduction: sum}}\n",
        TRAIN.format("rms_prop"),
        TRAIN.format("{SGD: {learning_rate: {ExponentialDecay: {initial_learning_rate: 1, decay_steps: 2, "
                     "decay_rate: 0.5}}}}"),
        TRAIN.format("{MultiOptimizer: {optimizer_map: {default_optimizer: SGD}}}"),
        "model: {application: MobileNetV2, kwargs: {alpha: 0.35, weights: null}}\n",
    ],
)  # fmt: skip
def test_what_keras_has_is_no_mistake(text: str, load: Callable[..., LoadedConfig], tmp_path: Path) -> None:
    for name in ("layers", "i"):
        (tmp_path / f"{name}.py").write_text("class Mine: ...\n", encoding="utf-8")
    assert load(text).warnings == ()


def test_user_code_may_register_a_name(load: Callable[..., LoadedConfig], tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text("def batch(): ...\n", encoding="utf-8")
    text = LAYERS.format("Activation: sigmod") + "data: {factory: './data.py:batch'}\n"
    (warning,) = load(text).warnings
    assert (warning.code, marked(warning)) == ("GC020", "sigmod")
    with pytest.raises(ConfigErrors):  # what is no name that could be registered
        load(text.replace("Activation: sigmod", "Dens: 3"))


def test_another_keras_may_have_other_names(load: Callable[..., LoadedConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_names, "is_of_installed", lambda: False)
    assert [marked(warning) for warning in load(LAYERS.format("NewInKeras4: 3")).warnings] == ["NewInKeras4"]
    require_layer("NewInKeras4", {})


@pytest.mark.parametrize(
    ("name", "kwargs", "said"),
    [
        ("Dens", {}, "did you mean `Dense`?"),
        ("Dense", {"unit": 4}, "did you mean `units`"),
        ("Dense {unit: 4}", {}, "Dense --kwargs '{unit: 4}'"),
        ("./layers.py", {}, "`./layers.py:Name`"),
        ("ReLU", {"max_value": "six"}, None),
    ],
)
def test_a_layer_at_the_command_line(name: str, kwargs: dict[str, object], said: str | None) -> None:
    with pytest.raises(ConfigErrors) as caught:
        require_layer(name, kwargs)
    (mistake,) = caught.value.mistakes
    assert said is None or said in str(mistake.help)
    require_layer("Dense", {"units": 4})
    require_layer("./layers.py:Mine", {"unit": 4})


def test_it_needs_no_keras() -> None:
    code = "import sys, gradcheck.config.checks.keras_names; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
