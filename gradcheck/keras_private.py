"""All use of names that Keras does not export: the one module to adapt when Keras changes.

Every name here was seen in the first release of each minor version from Keras 3.5 to 3.14, and in 3.15.1.
`tests/test_keras_private.py` calls each one on the installed Keras.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.errors import NotApplicable, RunError


def _gone(what: str) -> RunError:
    return RunError(
        f"Keras {keras.__version__} has no {what} any more, which gradcheck relies on",
        help="install a release of gradcheck that knows this Keras, or Keras 3.15",
    )


try:
    from keras.src import (
        backend,  # the scopes of mixed precision
        dtype_policies,  # of layers
    )
    from keras.src.backend.common import global_state  # names, seeds and policies of a session
    from keras.src.backend.common.stateless_scope import in_stateless_scope  # whether shapes are being inferred
    from keras.src.losses.losses import LossFunctionWrapper  # what `compile` makes of a loss function
    from keras.src.models.functional import Functional  # the class of functional models
    from keras.src.ops.node import Node  # one call in a functional model
    from keras.src.ops.symbolic_arguments import SymbolicArguments  # the arguments of one call in a functional model
    from keras.src.random.seed_generator import global_seed_generator  # drawn from by layers that name no seed
    from keras.src.saving.serialization_lib import ObjectSharingScope  # one object saved twice is loaded once

    # Of weights, which in Keras 3.6 are no `keras.Variable`; the process of another engine has another backend.
    Variable: Any = import_module(f"keras.src.backend.{keras.config.backend()}.core").Variable
except ImportError as error:
    raise _gone(str(error.name or error)) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Functional", "LossFunctionWrapper", "SymbolicArguments", "Variable", "in_stateless_scope"]

_MASK, _LOGITS = "_keras_mask", "_keras_logits"


def replace_value(variable: Any, made: Callable[[Any], Any]) -> None:
    """Have a Keras variable keep what `made` returns of the backend's variable that it holds; that one is freed."""
    variable._value = made(_of(variable, "_value"))


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


def own_variables(layer: keras.Layer) -> list[Any]:
    """Return the variables that a layer holds itself, without those of layers inside: weights, state and seeds."""
    seeds = [generator.state for generator in getattr(layer, "_seed_generators", ())]
    return [*_of(layer, "_trainable_variables"), *_of(layer, "_non_trainable_variables"), *seeds]


def own_metrics(layer: keras.Layer) -> list[Any]:
    """Return the metrics of a layer: `Layer._metrics`."""
    return list(_of(layer, "_metrics"))


def own_losses(layer: keras.Layer) -> list[Any]:
    """Return the losses that a layer added in its last call, without weight penalties: `Layer._get_own_losses`."""
    return list(_of(layer, "_get_own_losses")())


def draws(layer: keras.Layer) -> bool:
    """Whether a layer holds a seed generator: `Layer._seed_generators`."""
    return bool(getattr(layer, "_seed_generators", None))


def is_rematerialized(layer: keras.Layer) -> bool:
    """Whether Keras recomputes a layer's activations in the backward pass: `Operation._remat_mode`."""
    return getattr(layer, "_remat_mode", None) is not None


@contextmanager
def rematerialized(layers: Iterable[keras.Layer], mode: str) -> Iterator[None]:
    """Have Keras recompute the layers in the backward pass, as under `keras.RematScope(mode)`: `Layer._remat_mode`."""
    try:
        from keras.src.backend.common.remat import get_current_remat_mode  # noqa: PLC0415 - since Keras 3.8
    except ImportError as error:
        raise NotApplicable(f"Keras {keras.__version__} has no rematerialisation") from error
    with keras.RematScope(mode):
        asked = get_current_remat_mode()
    before = [(layer, _of(layer, "_remat_mode")) for layer in layers]
    try:
        for layer, _ in before:
            layer._remat_mode = asked
        yield
    finally:
        for layer, was in before:
            layer._remat_mode = was


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


def hidden_copied(source: Any, target: Any) -> Any:
    """Return `target` with the mask and the logits of `source`, under any backend: `backend.common.masking`."""
    from keras.src.backend.common import tensor_attributes  # noqa: PLC0415 - Keras has it since 3.9

    for name in (_MASK, _LOGITS):
        hidden = tensor_attributes.get_tensor_attr(source, name)
        if hidden is not None:
            tensor_attributes.set_tensor_attr(target, name, hidden)
    return target


def compute_in_double(*, wanted: bool) -> None:
    """Let operations keep float64, or not: outside of TensorFlow Keras makes it float32 (`BIT64_TO_BIT32_DTYPE`)."""
    from keras.src.backend.common import dtypes  # noqa: PLC0415 - of other backends alone

    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64" if wanted else "float32"


def is_keras_own(operation: Any) -> bool:
    """Whether the class of a layer or operation is one of Keras."""
    return type(operation).__module__.partition(".")[0] == "keras"


def functional_of(model: Any) -> Functional | None:
    """Return the functional model behind `model`, or None if the model's own `call` decides what runs."""
    # A subclass that overrides `call` still has a graph of layers, which is not what runs.
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call:
        return functional_within(model)
    if isinstance(model, Functional) and type(model).call is Functional.call:
        return model
    return None


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


@contextmanager
def replaced(holder: Any, **attributes: Any) -> Iterator[None]:
    """Set attributes of a class or module in the block, and restore them; one that was inherited is removed again."""
    kept = {name: vars(holder).get(name) for name in attributes}
    for name, value in attributes.items():
        setattr(holder, name, value)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                delattr(holder, name)
            else:
                setattr(holder, name, value)


def stateless() -> AbstractContextManager[Any]:
    """Keep the values that variables are assigned inside apart from the variables; new ones get theirs at the end."""
    return backend.StatelessScope()  # type: ignore[no-any-return]  # Keras has no types


@contextmanager
def outputs_given(layer: keras.Layer, outputs: Any) -> Iterator[None]:
    """Have symbolic calls of `layer` return the KerasTensors `outputs` in the block, rather than infer them."""
    # Set through `vars`, without Keras's tracking of attributes.
    vars(layer)["compute_output_spec"] = lambda *_, **__: outputs
    try:
        yield
    finally:
        del vars(layer)["compute_output_spec"]


@contextmanager
def calls_of_models() -> Iterator[dict[int, Any]]:
    """Yield a dict that collects, by id of a model, the first argument of its latest call in the block."""
    found: dict[int, Any] = {}
    call = keras.Model.__call__

    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        if args:
            found[id(self)] = args[0]
        return call(self, *args, **kwargs)

    with replaced(keras.Model, __call__=called):
        yield found


@dataclass(frozen=True, kw_only=True)
class SymbolicCalls:
    """What is done with calls on symbolic tensors in place of what Keras does.

    Attributes:
        begun: called with the arguments of a layer's call that begins; returns those that the layer gets.
        layer: called with the original `Layer.symbolic_call`, the layer, and the arguments of its `call`, with masks
            and `training` filled in; returns the layer's outputs.
        call: called for each finished call of a layer or operation, with the operation, its `SymbolicArguments` and
            its outputs. Nothing is added to the operations themselves, as `Node` would do.
        loss: called with the original `Layer.add_loss`, the layer and the loss.
        read: called with a variable before its value is read or assigned.
    """

    begun: Callable[[Any, Any], tuple[Any, Any]]
    layer: Callable[[Any, Any, Any, Any], Any]
    call: Callable[[Any, Any, Any], None]
    loss: Callable[[Any, Any, Any], None]
    read: Callable[[Any], None]


@contextmanager
def symbolic_calls(by: SymbolicCalls) -> Iterator[None]:
    """Do in the block what `by` says with calls on symbolic tensors."""
    cls: Any = keras.layers.Layer
    value, assign, begin = _of(Variable, "value"), _of(Variable, "assign"), cls.__call__
    infer, add_loss = _of(cls, "symbolic_call"), cls.add_loss

    def record(node: Any, operation: Any, call_args: Any = (), call_kwargs: Any = None, outputs: Any = None) -> None:
        node.operation, node.is_input = operation, False
        node.arguments = SymbolicArguments(*call_args, **(call_kwargs or {}))
        node.outputs = keras.tree.flatten(outputs)
        by.call(operation, node.arguments, node.outputs)

    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = by.begun(args, kwargs)
        return begin(self, *args, **kwargs)

    def watched(self: Any) -> Any:
        by.read(self)
        return value.fget(self)

    def assigned(self: Any, given: Any) -> Any:
        by.read(self)
        return assign(self, given)

    layer = {
        "__call__": called,
        "symbolic_call": lambda self, *args, **kwargs: by.layer(infer, self, args, kwargs),
        "add_loss": lambda self, given: by.loss(add_loss, self, given),
    }
    with (
        replaced(Node, __init__=record),
        replaced(Variable, value=property(watched), assign=assigned),
        replaced(cls, **layer),
    ):
        yield


@contextmanager
def called_with(training: bool) -> Iterator[None]:  # noqa: FBT001 - the flag of Keras's calls
    """Call layers inside as if from a layer that was called with `training`: the `current_call_ctx` of a session."""
    name, tracker = "current_call_ctx", global_state.GLOBAL_STATE_TRACKER
    before = {name: getattr(tracker, name)} if hasattr(tracker, name) else {}
    context = _of(keras.layers.Layer, "_get_call_context")(_NoLayer())
    context.set_value("training", training) if hasattr(context, "set_value") else setattr(context, "training", training)
    try:
        yield
    finally:
        if name in before:
            setattr(tracker, name, before[name])
        else:
            delattr(tracker, name)


def current_training() -> bool | None:
    """Return the `training` that is in effect around the next call of a layer; None outside of any call."""
    return getattr(global_state.get_global_attribute("current_call_ctx"), "training", None)


class _NoLayer:
    """Stands for the layer around, which adds no losses."""

    def _clear_losses(self) -> None:
        """Do nothing."""


def sublayers(layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers that a layer holds itself: `Layer._layers`."""
    return list(getattr(layer, "_layers", ()))


def backend_output_spec(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return the KerasTensors that a function of tensors returns for KerasTensors: `backend.compute_output_spec`."""
    return backend.compute_output_spec(function, *args, **kwargs)


def autocast_dtype() -> str | None:
    """Return the dtype to which variables are cast where they are read now; None for their own."""
    scope = backend.get_autocast_scope()
    return None if scope is None else scope.dtype


def autocast_to(dtype: str | None) -> AbstractContextManager[Any]:
    """Cast variables to `dtype` inside; None for no change."""
    return nullcontext() if dtype is None else backend.AutocastScope(dtype)


@contextmanager
def policies_replaced(name: str) -> Iterator[None]:
    """Give layers that name a floating dtype of their own the policy `name` in its place: `dtype_policies.get`."""
    get = _of(dtype_policies, "get")

    def replacing(identifier: Any) -> Any:
        policy = get(identifier)
        plain = policy.quantization_mode is None and "float" in str(policy.compute_dtype)
        return keras.DTypePolicy(name) if plain else policy

    with replaced(dtype_policies, get=replacing):
        yield


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


def name_layer_like(layer: keras.Layer, other: keras.Layer) -> None:
    """Give `layer` the name of `other`, and its place among the layers around it: `Layer._path`."""
    layer.name = other.name
    vars(layer)["_path"] = other.path


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


def schedule_of(optimizer: Any) -> Any:
    """Return the learning-rate schedule of an optimizer, None for a number: `Optimizer._learning_rate`."""
    rate = _of(optimizer, "_learning_rate")
    return rate if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule) else None


def trained_variables(optimizer: Any) -> list[Any]:
    """Return the variables that an optimizer was built on: `Optimizer._trainable_variables`."""
    return list(_of(optimizer, "_trainable_variables"))


def average_updated(optimizer: Any) -> None:
    """Move the averages of weights on once, and overwrite the weights with them if that is due, as `apply` does."""
    weights = trained_variables(optimizer)
    _of(optimizer, "_update_model_variables_moving_average")(weights)
    frequency = optimizer.ema_overwrite_frequency
    if frequency and int(optimizer.iterations + 1) % frequency == 0:
        _of(optimizer, "_overwrite_model_variables_with_average_value")(weights)


def names_in(module: Any) -> list[str]:
    """Return the names that Keras's `get` knows in a public module: `keras.src.activations.ALL_OBJECTS_DICT`."""
    private = import_module(f"keras.src.{module.__name__.rpartition('.')[2]}")
    return list(private.ALL_OBJECTS_DICT)
