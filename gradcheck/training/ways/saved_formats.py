"""How training is saved and loaded, as users do it. A further format is a class here, and an entry in `FORMATS`."""

from __future__ import annotations

import re
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from gradcheck.building.endpoints import packed_inputs
from gradcheck.building.imports import imported_once
from gradcheck.building.messages import described, raised, user_location
from gradcheck.building.sources.live import LiveModel, is_live
from gradcheck.config.sections.live import LiveOptimizer
from gradcheck.config.sections.model import FileSource
from gradcheck.errors import GradcheckError, NotApplicable
from gradcheck.keras_private import all_layers
from gradcheck.problem.prepare import outlined, prepare
from gradcheck.training.ways.keras_training import compiled_model, own_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import ModuleType

    from gradcheck.problem.problem import Problem
    from gradcheck.training.steps import Trainee
    from gradcheck.training.ways.elsewhere import Departure


@dataclass(frozen=True, eq=False, kw_only=True)
class Loaded:
    """What a new process has of the training that was saved.

    Attributes:
        problem: the problem with the loaded model.
        optimizer: the loaded optimizer; None if none was.
    """

    problem: Problem
    optimizer: Any


class Format(Protocol):
    """Saves a model and its optimizer into a folder, and loads them in another process."""

    #: What messages call it.
    name: str
    #: Whether what is saved is what `fit` leaves when it ends: the averages in the place of the weights, if there are.
    after_fit: bool

    def save(self, trainee: Trainee, folder: Path) -> None:
        """Save the model and the optimizer of `trainee`."""
        ...

    def load(self, departure: Departure, folder: Path) -> Loaded:
        """Load both into what the config builds, inside its session. The values are those that loading leaves."""
        ...


class Archive:
    """`model.save`, and `keras.models.load_model`."""

    name = "model.save"
    after_fit = True

    def save(self, trainee: Trainee, folder: Path) -> None:
        """Compile the model with the optimizer, so that the archive has both, and end training as `fit` does."""
        trainee.optimizer.finalize_variable_values(list(trainee.variables))
        _compiled(trainee.problem, trainee.optimizer).save(folder / "model.keras")

    def load(self, departure: Departure, folder: Path) -> Loaded:
        """Load the archive in place of building the model; the user's classes are found by their names."""
        config, base = departure.config, departure.base
        with imported_once() as imports:
            outline = outlined(config, base)
            modules = [*imports.files.values(), *(m for beside in imports.beside.values() for m in beside.values())]
        own = {type(layer).__name__: type(layer) for layer in all_layers([outline.model])}
        custom = own | _registered(folder / "model.keras", own)
        custom |= {name: value for module in modules for name, value in _named(module).items()}
        if isinstance(config.train.optimizer, LiveOptimizer):
            kind = config.train.optimizer.made.kind
            custom[keras.saving.get_registered_name(kind)] = kind
        safe = isinstance(config.model, FileSource) and not config.model.trust
        inputs = [keras.KerasTensor((None, *t.shape[1:]), t.dtype, sparse=t.sparse) for t in outline.model.inputs]
        made: list[keras.Model] = []

        def make() -> keras.Model:
            made.append(keras.models.load_model(folder / "model.keras", custom_objects=custom, safe_mode=safe))
            return made[-1]

        keras.utils.set_random_seed(config.seed)  # building the outline has drawn seeds
        source = LiveModel(name="the loaded model", make=make, specs=packed_inputs(outline.model, inputs))
        problem = prepare(config.model_copy(update={"model": source}), base)
        return Loaded(problem=problem, optimizer=getattr(made[-1], "optimizer", None))


class _IntoNew:
    """A format that holds values alone: they are loaded into a model and an optimizer that the config builds."""

    after_fit = False

    def load(self, departure: Departure, folder: Path) -> Loaded:
        """Build both, and assign what was saved."""
        problem, optimizer = prepare(departure.config, departure.base), departure.optimizer()
        if is_live(departure.config.model):  # no code makes it anew: it is as it was handed over
            for variable, value in zip(problem.state.movable, departure.values, strict=True):
                variable.assign(value)
        optimizer.build([weight.variable for weight in problem.weights])
        self._assign(problem, optimizer, folder)
        return Loaded(problem=problem, optimizer=optimizer)

    def _assign(self, problem: Problem, optimizer: Any, folder: Path) -> None:
        raise NotImplementedError


class Weights(_IntoNew):
    """`model.save_weights`, and the optimizer's variables in a file of NumPy's, as people save them by hand."""

    name = "save_weights and the optimizer's variables"

    def save(self, trainee: Trainee, folder: Path) -> None:
        """Write both files."""
        own_model(trainee.problem).save_weights(folder / "model.weights.h5")
        np.savez(folder / "optimizer.npz", *[np.asarray(variable.value) for variable in trainee.optimizer.variables])

    def _assign(self, problem: Problem, optimizer: Any, folder: Path) -> None:
        own_model(problem).load_weights(folder / "model.weights.h5")
        with np.load(folder / "optimizer.npz") as saved:
            for variable, value in zip(optimizer.variables, saved.values(), strict=True):
                variable.assign(value.view(tf.as_dtype(variable.dtype).as_numpy_dtype))  # NumPy knows no bfloat16


class Checkpoint(_IntoNew):
    """`tf.train.Checkpoint` of model and optimizer."""

    name = "tf.train.Checkpoint"

    def save(self, trainee: Trainee, folder: Path) -> None:
        """Write the checkpoint."""
        self._of(trainee.problem, trainee.optimizer).write(folder / "checkpoint")

    def _assign(self, problem: Problem, optimizer: Any, folder: Path) -> None:
        self._of(problem, optimizer).read(folder / "checkpoint").expect_partial()

    def _of(self, problem: Problem, optimizer: Any) -> tf.train.Checkpoint:
        return tf.train.Checkpoint(model=own_model(problem), optimizer=optimizer)


class Backup(_IntoNew):
    """`keras.callbacks.BackupAndRestore`, as `fit` calls it at the end of an epoch, and when it is called again."""

    name = "BackupAndRestore"

    def save(self, trainee: Trainee, folder: Path) -> None:
        """Let the callback save."""
        self._callback(trainee.problem, trainee.optimizer, folder).on_epoch_end(0)

    def _assign(self, problem: Problem, optimizer: Any, folder: Path) -> None:
        self._callback(problem, optimizer, folder).on_train_begin()

    def _callback(self, problem: Problem, optimizer: Any, folder: Path) -> keras.callbacks.Callback:
        callback = keras.callbacks.BackupAndRestore(folder / "backup")
        callback.set_model(_compiled(problem, optimizer))
        return callback


#: The formats by their names in a config.
FORMATS: Mapping[str, Format] = {
    "keras": Archive(),
    "weights": Weights(),
    "checkpoint": Checkpoint(),
    "backup": Backup(),
}


@contextmanager
def saving(form: Format) -> Iterator[None]:
    """Turn an exception while the model is saved into the reason why this is no way to train it.

    Raises:
        NotApplicable: in its place.
    """
    try:
        yield
    except GradcheckError:
        raise
    except Exception as error:
        raise NotApplicable(f"the model cannot be saved by {form.name}: {described(error)}") from error


@contextmanager
def loading(form: Format) -> Iterator[None]:
    """Turn an exception while the model is loaded into an error for people.

    Raises:
        RunError: GC051, at the user's own line if one raised.
    """
    try:
        yield
    except GradcheckError:
        raise
    except Exception as error:
        first: BaseException = error
        while first.__context__ is not None:  # Keras wraps what the user's class raises
            first = first.__context__
        message = f"what {form.name} has saved cannot be loaded in a new process: {described(first)}"
        help_ = (
            "give each class of your own a constructor that takes **kwargs, and a get_config(); or save weights only"
        )
        raise raised(message, error, "GC051", location=user_location(first), help_=help_) from error


def _compiled(problem: Problem, optimizer: Any) -> keras.Model:
    """Return the model with the optimizer, and without a loss, which has nothing to be saved."""
    model = own_model(problem)
    try:
        model.compile(optimizer=optimizer)
    except TypeError:  # its own `compile` takes more
        return compiled_model(problem, optimizer)
    return model


def _registered(archive: Path, classes: Mapping[str, type]) -> dict[str, type]:
    """Return those of `classes`, by name, that the archive has under the name that they were registered by."""
    with zipfile.ZipFile(archive) as file:
        names = re.findall(r'"registered_name": "([^"]+)"', file.read("config.json").decode())
    return {name: classes[tail] for name in names if (tail := name.rpartition(">")[2]) in classes}


def _named(module: ModuleType) -> dict[str, Any]:
    """Return the classes and functions of a module by the names under which Keras saves them."""
    found = [value for value in vars(module).values() if callable(value) and hasattr(value, "__name__")]
    return {keras.saving.get_registered_name(value): value for value in found}
