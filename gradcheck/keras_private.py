"""All use of names that Keras does not export: the one module to adapt when Keras changes.

Every name here was seen in the first release of each minor version from Keras 3.5 to 3.14, and in 3.15.1.
`tests/test_keras_private.py` calls each one on the installed Keras.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.errors import RunError


def _gone(what: str) -> RunError:
    return RunError(
        f"Keras {keras.__version__} has no {what} any more, which gradcheck relies on",
        help="install a release of gradcheck that knows this Keras, or Keras 3.15",
    )


try:
    from keras.src.backend.common import global_state  # names, seeds and policies of a session
    from keras.src.backend.tensorflow.core import Variable  # of weights, which in Keras 3.6 are no `keras.Variable`
    from keras.src.losses.losses import LossFunctionWrapper  # what `compile` makes of a loss function
    from keras.src.models.functional import Functional  # the class of functional models
    from keras.src.ops.symbolic_arguments import SymbolicArguments  # the arguments of one call in a functional model
    from keras.src.random.seed_generator import global_seed_generator  # drawn from by layers that name no seed
    from keras.src.saving.serialization_lib import ObjectSharingScope  # one object saved twice is loaded once
except ImportError as error:
    raise _gone(str(error.name or error)) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = ["Functional", "LossFunctionWrapper", "SymbolicArguments", "Variable"]

_MASK, _LOGITS = "_keras_mask", "_keras_logits"


def _of(holder: Any, name: str) -> Any:
    """Return the attribute `name` of `holder`.

    Raises:
        RunError: if the installed Keras does not have it.
    """
    try:
        return getattr(holder, name)
    except AttributeError as error:
        raise _gone(f"`{type(holder).__name__}.{name}`") from error


def all_layers(models: Iterable[keras.Layer]) -> list[keras.Layer]:
    """Return `models` and every layer inside them at any depth, each once: `Layer._flatten_layers`."""
    return list({id(layer): layer for model in models for layer in _of(model, "_flatten_layers")()}.values())


def own_weights(layer: keras.Layer) -> list[Any]:
    """Return the variables that a layer created as trainable, also frozen ones: `Layer._trainable_variables`."""
    return list(_of(layer, "_trainable_variables"))


def own_metrics(layer: keras.Layer) -> list[Any]:
    """Return the metrics of a layer: `Layer._metrics`."""
    return list(_of(layer, "_metrics"))


def own_losses(layer: keras.Layer) -> list[Any]:
    """Return the losses that a layer added in its last call, without weight penalties: `Layer._get_own_losses`."""
    return list(_of(layer, "_get_own_losses")())


def draws(layer: keras.Layer) -> bool:
    """Whether a layer holds a seed generator: `Layer._seed_generators`."""
    return bool(getattr(layer, "_seed_generators", None))


def takes_training(operation: Any) -> bool:
    """Whether the `call` of a layer or operation has the argument `training`: `Layer._call_has_training_arg`."""
    return bool(getattr(operation, "_call_has_training_arg", False))


def trainable_flag(holder: Any) -> bool:
    """Return `trainable` of a layer or variable as it was set on itself: `Layer._trainable`."""
    return bool(_of(holder, "_trainable"))


def set_trainable_flag(holder: Any, *, trainable: bool) -> None:
    """Set `trainable` of a layer or variable alone: the public setter also sets it on all layers inside."""
    holder._trainable = trainable


def mask_of(tensor: Any) -> Any:
    """Return the mask that Keras stores on a tensor, or None: `Tensor._keras_mask`."""
    return getattr(tensor, _MASK, None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Store `mask` on a tensor; None removes it."""
    setattr(tensor, _MASK, mask)


def logits_of(tensor: Any) -> Any:
    """Return the logits that softmax or sigmoid store on their output, or None: `Tensor._keras_logits`.

    A loss of Keras takes them in place of the output.
    """
    return getattr(tensor, _LOGITS, None)


def set_logits(tensor: Any, logits: Any) -> None:
    """Store `logits` on a tensor."""
    setattr(tensor, _LOGITS, logits)


def functional_within(model: Any) -> Functional | None:
    """Return the functional model inside a built Sequential model, otherwise None: `Sequential._functional`."""
    found: Functional | None = getattr(model, "_functional", None)
    return found


def nodes_in_order(functional: Any) -> Iterator[Any]:
    """Yield every node of a functional model in the order in which Keras runs them: `Functional._nodes_by_depth`."""
    by_depth = _of(functional, "_nodes_by_depth")
    for depth in sorted(by_depth, reverse=True):
        yield from by_depth[depth]


def operation_of(tensor: Any) -> Any:
    """Return the operation that made a symbolic tensor: `KerasTensor._keras_history`."""
    return _of(tensor, "_keras_history").operation


@contextmanager
def runs_replaced(functionals: Sequence[Any], by: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Replace `Functional._run_through_graph`, which runs a model's graph, by the result of `by` for it, in the block.

    `Functional._remat_mode` is off: otherwise the calls would run inside a recomputed function.
    """
    remat = [getattr(functional, "_remat_mode", None) for functional in functionals]
    for functional in functionals:
        vars(functional)["_run_through_graph"] = by(_of(functional, "_run_through_graph"))
        functional._remat_mode = None
    try:
        yield
    finally:
        for functional, mode in zip(functionals, remat, strict=True):
            del vars(functional)["_run_through_graph"]
            functional._remat_mode = mode


@contextmanager
def allocations_watched(before: Callable[[str, tuple[int, ...], Any], None]) -> Iterator[None]:
    """Call `before(path, shape, dtype)` before each weight is allocated: `Variable._initialize_with_initializer`."""
    original = _of(Variable, "_initialize_with_initializer")

    def initialize(self: Any, initializer: Any) -> None:
        before(self.path, tuple(self._shape), self._dtype)
        original(self, initializer)

    Variable._initialize_with_initializer = initialize
    try:
        yield
    finally:
        Variable._initialize_with_initializer = original


def split_of(layer: keras.layers.TextVectorization) -> Any:
    """Return how the layer splits text: `TextVectorization._split`."""
    return _of(layer, "_split")


def global_seed() -> Any:
    """Return the variable of the seed generator that layers without a seed use."""
    return global_seed_generator().state


def of_session(name: str, default: Any) -> Any:
    """Return the value stored under `name` until Keras clears its session; `default` is stored if there is none."""
    return global_state.get_global_attribute(name, default, set_to_default=True)


def session_trackers() -> tuple[Any, Any]:
    """Return the state of Keras's session: names and seeds, and settings such as the dtype policy."""
    return global_state.GLOBAL_STATE_TRACKER, global_state.GLOBAL_SETTINGS_TRACKER


def set_session_trackers(trackers: tuple[Any, Any]) -> None:
    """Set the state of Keras's session to `trackers`."""
    global_state.GLOBAL_STATE_TRACKER, global_state.GLOBAL_SETTINGS_TRACKER = trackers


def sharing_scope() -> AbstractContextManager[Any]:
    """Return the scope in which an object that is saved several times is loaded once: `ObjectSharingScope`."""
    scope: AbstractContextManager[Any] = ObjectSharingScope()
    return scope


def name_like(variable: Any, other: Any) -> None:
    """Give `variable` the path of `other`: `Variable._path`, once `Variable.path`. Keras numbers seed generators."""
    setattr(variable, "_path" if hasattr(variable, "_path") else "path", other.path)


def compiled_loss_weights(model: keras.Model) -> Any:
    """Return the `loss_weights` that a model was compiled with: `CompileLoss._user_loss_weights`."""
    return _of(_of(model, "_compile_loss"), "_user_loss_weights")


def loss_computing_in(loss: keras.losses.Loss, dtype: str) -> keras.losses.Loss:
    """Return `loss`, a copy of it if it computes in a narrower dtype: `Loss._dtype`."""
    if dtype != "float64" or _of(loss, "dtype") == dtype:
        return loss
    wider = object.__new__(type(loss))
    vars(wider).update(vars(loss))  # `copy.copy` would serialize it, and lose what its function refers to
    wider._dtype_policy, wider._dtype = keras.dtype_policies.get(dtype), dtype
    return wider


def built_by_call(layer: keras.Layer, arguments: Sequence[Any]) -> Any:
    """Build a layer by a symbolic call without a node of it, and return the outputs: `Operation._inbound_nodes`."""
    nodes = _of(layer, "_inbound_nodes")
    known = list(nodes)
    try:
        return layer(*arguments)
    finally:
        nodes[:] = known
