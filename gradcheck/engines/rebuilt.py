"""The model, built once more under another backend, and its loss as a function of everything that it depends on."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from gradcheck.building.copies import loaded
from gradcheck.building.endpoints import packed_inputs, packed_outputs
from gradcheck.building.state_variables import state_variables
from gradcheck.engines.data_loss import data_loss
from gradcheck.errors import CannotAsk
from gradcheck.keras_private import (
    all_layers,
    functional_of,
    global_seed,
    hidden_copied,
    runs_replaced,
    set_trainable_flag,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.engines.question import Numbers, Subject


class Rebuilt:
    """A model under this process's backend.

    Attributes:
        model: the model; its own values are never used.
        states: the variables that its forward pass changes.
    """

    def __init__(self, subject: Subject) -> None:
        """Build it.

        Raises:
            CannotAsk: if what Keras makes of its configuration is another model.
        """
        self._subject = subject
        # Drawn from by layers that name no seed; it must exist before a function is traced.
        self._seed = global_seed()
        try:
            with keras.StatelessScope(initialize_variables=False):  # initial values are never used
                (self.model,) = loaded([deepcopy(subject.config)], subject.custom)
        except ValueError:  # some layers need them, such as a stateful recurrent one
            (self.model,) = loaded([deepcopy(subject.config)], subject.custom)  # Keras empties what it loads
        layers = all_layers([self.model])
        if len(layers) != len(subject.trainable):
            raise CannotAsk(
                f"its configuration makes another model: {len(layers)} layers, for {len(subject.trainable)}"
            )
        for layer, trainable in zip(layers, subject.trainable, strict=True):
            set_trainable_flag(layer, trainable=trainable)
        self.states = [state.variable for state in state_variables([self.model])]

    def fit(self, numbers: Numbers) -> None:
        """Let layers compute constants from the values of their variables.

        Raises:
            CannotAsk: if the variables are not those that `numbers` has values of.
        """
        theirs = [*numbers.variables, *numbers.states]
        shapes = [tuple(value.shape) for value in theirs]
        if [tuple(variable.shape) for variable in (*self.model.variables, *self.states)] != shapes:
            raise CannotAsk(
                f"its configuration makes another model: {len(self.model.variables)} variables and {len(self.states)} "
                f"of state, for {len(numbers.variables)} and {len(numbers.states)}, or of other shapes"
            )
        values = {id(v): value for v, value in zip(self.model.variables, numbers.variables, strict=True)}
        for layer in all_layers([self.model]):
            if hasattr(layer, "finalize_state"):
                given = [(v, values[id(v)]) for v in layer.variables]
                with keras.StatelessScope(state_mapping=given, initialize_variables=False):
                    layer.finalize_state()

    def loss(self, differentiated: Sequence[Any], rest: dict[str, Any], fixed: Fixed) -> tuple[Any, dict[str, Any]]:
        """Return the loss that is differentiated, and what else a forward pass gives.

        Args:
            differentiated: the weights, the floating inputs and the boundaries' zeros, in this order.
            rest: tensors that are not: variables, states, x, y and sample_weight.
            fixed: numbers that are no tensors.
        """
        subject, given = self._subject, iter(differentiated)
        variables, x = list(rest["variables"]), list(rest["x"])
        for index in fixed.weights:
            variables[index] = next(given)
        for index in fixed.inputs:
            x[index] = next(given)
        values = [*zip(self.model.variables, variables, strict=True), *zip(self.states, rest["states"], strict=True)]
        ran: list[str] = []
        with (
            keras.StatelessScope(state_mapping=values, collect_losses=True) as scope,
            _watched(self.model, ran, dict(zip(subject.boundaries, given, strict=True))),
        ):
            weights = [self.model.variables[index] for index in fixed.weights]
            before = [scope.get_current_value(weight) for weight in weights]
            outputs = keras.tree.flatten(self.model(packed_inputs(self.model, x), training=subject.training))
            found = data_loss(subject.loss, outputs, rest, fixed.scales, partial(packed_outputs, self.model))
            for added in self.model.losses:
                found = found + fixed.share * ops.cast(ops.sum(ops.cast(added, subject.loss.dtype)), found.dtype)
            if scope.get_current_value(self._seed) is not None:
                raise CannotAsk("it draws random numbers, which other engines draw otherwise")
            assigned = [scope.get_current_value(w) is not value for w, value in zip(weights, before, strict=True)]
            states = [scope.get_current_value(variable) for variable in self.states]
        return found * fixed.loss_scale, {
            "loss": found,
            "outputs": outputs,
            "states": states,
            "assigned": assigned,
            "as_expected": ran == list(subject.calls),
        }


class Fixed:
    """What is not traced of `Numbers`: which tensors are differentiated, and factors."""

    def __init__(self, numbers: Numbers) -> None:
        """Read it off `numbers`."""
        self.weights = list(numbers.weights)
        self.inputs = [i for i, value in enumerate(numbers.x) if is_floating(value)]
        self.scales, self.share, self.loss_scale = numbers.scales, numbers.share, numbers.loss_scale


def is_floating(value: Any) -> bool:
    """Whether an array is of a floating dtype, bfloat16 among them."""
    return bool(keras.backend.is_float_dtype(str(value.dtype)))


@contextmanager
def _watched(model: Any, ran: list[str], added: dict[tuple[int, int], Any]) -> Iterator[None]:
    """Note the operations that a functional model runs, those of nested models in their place.

    Args:
        model: the model.
        ran: their names are appended here.
        added: what is added to output `o` of call `c`, by (c, o).
    """
    functionals = {id(f): f for layer in all_layers([model]) if (f := functional_of(layer)) is not None}
    taken: Counter[int] = Counter()

    def observed(operation: Any, run: Callable[..., Any]) -> Callable[..., Any]:
        if functional_of(operation) is not None:
            return run
        index = len(ran)
        ran.append(operation.name)
        return lambda *args, **kwargs: tapped(index, run(*args, **kwargs))

    def tapped(index: int, outputs: Any) -> Any:
        flat = keras.tree.flatten(outputs)
        for i, tensor in enumerate(flat):
            if (index, i) in added:
                taken[index] += 1
                zeros = ops.cast(added[index, i], tensor.dtype)
                flat[i] = hidden_copied(tensor, tensor + zeros)
        return keras.tree.pack_sequence_as(outputs, flat)

    def runner(original: Callable[..., Any]) -> Callable[..., Any]:
        def run(inputs: Any, operation_fn: Callable[[Any], Any] = lambda operation: operation, **kwargs: Any) -> Any:
            return original(inputs, operation_fn=lambda op: observed(op, operation_fn(op)), **kwargs)

        return run

    with runs_replaced(list(functionals.values()), runner):
        yield
