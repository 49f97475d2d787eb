"""What `--safe` allows and refuses, by the places in the text; tests/config/checks/test_hostile.py runs it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from gradcheck.config.checks.keras_layers import KERAS_LAYERS
from gradcheck.config.checks.safety import _LAYER_RULES, _RULES
from gradcheck.config.sections.base import Section

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.config import LoadedConfig
    from gradcheck.errors import Mistake

LAYERS = "model: {{input: {{shape: [4]}}, layers: [{}]}}\n"
DATA = "model: {input: {shape: [4]}, layers: [Dense: 1]}\n"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "my rules.py").write_text("def rule(): ...")
    (tmp_path / "x.npz").write_bytes(b"")
    (tmp_path / "secret.py").write_text("def secret(): ...")


@pytest.mark.parametrize("reference", ["os.path:join", "./my rules.py:rule"])
def test_a_surrogate_would_run_code(mistakes: Callable[..., list[Mistake]], model: str, reference: str) -> None:
    text = f"{model}methods: [vjp, numeric: {{surrogate: '{reference}'}}]\nsplit: {{after: a}}"
    (mistake,) = mistakes(text, safe=True)
    assert mistake.code == "GC029"
    assert (mistake.location.line, mistake.location.column) == (2, 26)


def test_points_are_no_code(load: Callable[..., LoadedConfig], model: str) -> None:
    load(f"{model}methods: [numeric: {{points: [given, zeros], surrogate: null}}]", safe=True)


@pytest.mark.parametrize(
    "text",
    [
        LAYERS.format("Bidirectional: {layer: {LSTM: {units: 2}}}"),
        LAYERS.format("RNN: {cell: [{LSTMCell: 2}, {GRUCell: 3}]}, Dense: {units: 1, kernel_initializer: {Zeros: {}}}"),
        LAYERS.format("TimeDistributed: Flatten, EinsumDense: {equation: 'ab,bc->ac', output_shape: 3}"),
        LAYERS.format("StringLookup: {vocabulary: [a/b, 'c:d'], name: x}, call: {layer: x, name: y}"),
        "model: {application: ResNet50, kwargs: {weights: null, input_shape: [32, 32, 3]}}\nmemory_budget: 2GiB\n",
        DATA + "data: {npz: ./x.npz, targets: {npz: {file: x.npz, key: y}}}\n",
        DATA
        + "train: {steps: 2, optimizer: {SGD: {learning_rate: {CosineDecay: "
        + "{initial_learning_rate: 0.1, decay_steps: 5}}}}}\nloss: {Huber: {delta: 2}}",
        DATA + "methods: all",
        DATA + "methods: [accumulate: {steps: 2}, resume: {format: backup}, remat: {mode: activations}, fit]\n"
        "train: {steps: 2}",
    ],
)
def test_what_is_allowed(load: Callable[..., LoadedConfig], text: str) -> None:
    load(text, safe=True)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (LAYERS.format("./my.py:Layer"), "./my.py:Layer"),
        (LAYERS.format("Lambda: {function: x}"), "Lambda"),
        (LAYERS.format("Laterlayer: 3"), "Laterlayer"),
        (LAYERS.format("Bidirectional: {layer: {Lambda: x}}"), "Lambda"),
        (LAYERS.format("TimeDistributed: Lambda"), "Lambda"),
        (LAYERS.format("RNN: {cell: './my.py:Cell'}"), "./my.py:Cell"),
        (LAYERS.format("RNN: {cell: [{'./my.py:Cell': {}}]}"), "./my.py:Cell"),
        (LAYERS.format("Dense: {units: 1, kernel_initializer: {'my:Init': {}}}"), "my:Init"),
        (LAYERS.format("Dense: {units: 1, activation: {class_name: function, config: f}}"), "class_name"),
        (LAYERS.format("Dense: {units: 1, activation: {a: {registered_name: f}}}"), "registered_name"),
        (LAYERS.format("StringLookup: {vocabulary: words}"), "words"),
        (LAYERS.format("numpy_layer: {class: './my.py:Cell'}"), "numpy_layer"),
        ("model: {factory: 'a:b'}\n", "factory"),
        ("model: {file: m.keras, trust: true}\n", "trust"),
        ("model: {file: m.h5}\n", "m.h5"),
        ("model: {segments: [{factory: 'a:b'}, {file: m.keras}]}\n", "factory"),
        ("model: {application: ResNet50, kwargs: {weights: imagenet}}\n", "weights"),
        (DATA + "data: {factory: 'a:b'}", "factory"),
        (DATA + "loss: {factory: 'a:b'}", "factory"),
        (DATA + "loss: [{factory: 'a:b'}]", "factory"),
        (DATA + "methods: [candidate: {train_step: 'a:b'}]", "train_step"),
        (DATA + "methods: [fit: {callbacks: 'a:b'}]\ntrain: {steps: 2}", "callbacks"),
        (DATA + "methods: [replicas: {count: 100000}]\ntrain: {steps: 2}", "count"),
        (DATA + "methods: [replicas: {strategy: multi_worker}]\ntrain: {steps: 2}", "strategy"),
        (DATA + "placement: [CPU:0]", "placement"),
        (DATA + "memory_budget: 100GiB", "memory_budget"),
    ],
)
def test_what_is_refused(mistakes: Callable[..., list[Mistake]], text: str, what: str) -> None:
    (mistake,) = (found for found in mistakes(text, safe=True) if found.code == "GC029")
    assert mistake.message == f"`{what}` may run code or reach outside of the config's folder, which --safe refuses"
    assert mistake.location.excerpt[mistake.location.column - 1 :].lstrip("'").startswith(what)


@pytest.mark.parametrize("path", ["../x.npz", "/dev/zero", "link.npz", "within/x.npz", "loop.npz", "~/../../../x.npz"])
def test_files_elsewhere(mistakes: Callable[..., list[Mistake]], tmp_path: Path, path: str) -> None:
    (tmp_path / "link.npz").symlink_to("/etc/hostname")
    (tmp_path / "within").symlink_to(tmp_path.parent)
    (tmp_path / "loop.npz").symlink_to("loop.npz")
    for text in (
        f"data: {{npz: {path}}}",
        f"data: {{inputs: {{npz: {path}}}}}",
        f"data: {{inputs: {{npz: {{file: {path}}}}}}}",
    ):
        (mistake,) = mistakes(DATA + text, safe=True)
        assert mistake.code == "GC029"
        assert mistake.message == f"`{path}` leads outside of the config's folder, where --safe reads nothing"


def test_nothing_is_said_of_the_names_in_a_file_elsewhere(
    mistakes: Callable[..., list[Mistake]], tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    text = "model: {factory: '../secret.py:none'}\n"
    assert "secret" not in str([found.help for found in mistakes(text, safe=True)])
    assert "secret" not in str([found.help for found in mistakes(text + "sed: 1", safe=True)])


def test_every_key_has_been_decided_on() -> None:
    """What is new is refused. Either that is right, and it belongs in this list, or it has a rule."""
    sections = {found for found in _subclasses(Section) if found.__module__.startswith("gradcheck.config.sections")}
    sections |= {found for found in _subclasses(Section) if found.__module__ == "gradcheck.config.schema"}
    # Objects from Python, which no file can hold, and what is part of no config.
    apart = ("gradcheck.config.sections.live", "gradcheck.config.sections.recipe")
    sections = {found for found in sections if found.__module__ not in apart}
    rules = {section: set(keys) for section, keys in _RULES.items()}
    refused = {
        f"{section.__name__}.{key}"
        for section in sections
        if section in rules
        for key in set(section.model_fields) - rules[section]
    }
    assert refused == {
        "Config.placement",
        "DataConfig.factory",
        "DataConfig.kwargs",
        "FileSource.trust",
        "FitOptions.callbacks",
        "LossSpec.factory",
        "LossSpec.of_model",
        "NumericOptions.surrogate",
        "ReplicasOptions.count",
        "ReplicasOptions.strategy",
    }
    assert {found.__name__ for found in sections - set(rules)} == {
        *("FactorySource", "CandidateOptions", "NumpyLayer", "Placement"),
        *("SourceBase", "LayerCall", "SharedCall", "LayerSpec"),  # bases, forms, and what has rules by its kind
        *("NormalOptions", "UniformOptions", "IntegersOptions", "ConstantOptions", "NpzOptions"),  # of an ArraySpec
    }
    assert set(_LAYER_RULES) == {"layer", "call"}


def _subclasses(section: type) -> set[type]:
    return {found for below in section.__subclasses__() for found in (below, *_subclasses(below))}


def test_layers_that_run_the_code_of_others_are_no_known_layers() -> None:
    import keras

    others = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
    assert not others & KERAS_LAYERS
    here = {name for name, value in vars(keras.layers).items() if inspect.isclass(value)}
    assert len(here & KERAS_LAYERS) > 100
