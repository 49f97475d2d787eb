"""The engine's process: it is asked about one model after another, and keeps the last."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

from gradcheck.building.messages import gist
from gradcheck.errors import CannotAsk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from gradcheck.engines.question import Answer, FunctionCall, Numbers


class _NoTensorFlow(MetaPathFinder, Loader):
    """Has every import of TensorFlow fail.

    An entry in `sys.modules` would not do: Keras takes it for TensorFlow. PyTorch asks where the package is, which may
    not raise: only loading does.
    """

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        """Say that this loads TensorFlow."""
        return ModuleSpec(fullname, self) if fullname.partition(".")[0] == "tensorflow" else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Raise: there is none."""
        raise ModuleNotFoundError(f"No module named {spec.name!r}", name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: it is never called."""


def begin(engine: str) -> None:
    """Load the engine, with Keras on top of it. TensorFlow cannot be imported from now on.

    Keras and the engine read the environment variables when they are imported, once and for all.
    """
    os.environ["KERAS_BACKEND"] = engine
    for variable in ("JAX_PLATFORMS", "KERAS_TORCH_DEVICE"):  # a GPU may be TensorFlow's own, to the last byte
        os.environ.setdefault(variable, "cpu")
    if not any(isinstance(finder, _NoTensorFlow) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NoTensorFlow())
    import_module(f"gradcheck.engines.{engine}_engine")
    import_module("gradcheck.engines.differentiated")


def answer(engine: str, subject: bytes, numbers: Numbers, stage: Callable[[str], None]) -> Answer:
    """Return what the engine makes of a model.

    Args:
        engine: `jax` or `torch`.
        subject: the pickled `Subject`.
        numbers: its values and the batch.
        stage: called with the name of each stage.

    Raises:
        CannotAsk: if the model or its loss cannot run here.
    """
    begin(engine)
    try:
        stage("building the model")
        question = _question(engine, subject)
        stage("differentiating")
        found: Answer = question.answer(numbers)
    except (CannotAsk, MemoryError):
        raise
    except Exception as error:
        _question.cache_clear()
        raise CannotAsk(f"it cannot run there: {gist(error)}") from error
    return found


def call(engine: str, asked: FunctionCall, stage: Callable[[str], None]) -> list[Any]:
    """Return the outputs of a function of the user's, or of a VJP of it, as arrays; None for no gradient.

    Raises:
        KeyedError: GC028 if there is no such function.
        RunError: GC051 if it raises, or is no function of arrays.
    """
    begin(engine)
    stage(f"running {asked.target}")
    found: list[Any] = import_module("gradcheck.engines.vjp_levels").outputs(engine, asked)
    return found


def sweep(engine: str, question: bytes, values: Sequence[Any], stage: Callable[[str], None]) -> list[Any]:
    """Return the scalar of a call that is swept, a pickled `SweptQuestion`, and its derivatives.

    Raises:
        CannotAsk: if the call cannot run here.
    """
    begin(engine)
    stage("differentiating")
    try:
        found: list[Any] = import_module("gradcheck.engines.swept_call").derivatives(engine, question, values)
    except MemoryError:
        raise
    except Exception as error:
        raise CannotAsk(f"it cannot run there: {gist(error)}") from error
    return found


@lru_cache(maxsize=1)
def _question(engine: str, subject: bytes) -> Any:
    """Return the model, which is kept for the next slice or training step."""
    return import_module("gradcheck.engines.differentiated").Differentiated(engine, subject)
