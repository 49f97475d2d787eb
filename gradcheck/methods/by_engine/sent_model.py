"""The model and the loss of a problem in the form that another process can build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import tensorflow as tf

from gradcheck.building.copies import saved
from gradcheck.building.messages import gist
from gradcheck.building.numpy_layer import NumpyLayer
from gradcheck.building.saved_dtypes import converted
from gradcheck.building.target import FunctionLayer, OfParts
from gradcheck.engines.per_example import PerExample
from gradcheck.engines.question import SentLoss, SentTerm, Subject
from gradcheck.engines.sent import packed
from gradcheck.errors import CannotAsk
from gradcheck.keras_private import all_layers, loss_computing_in, trainable_flag

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.batch.loss import Loss, Term
    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.problem.problem import Problem, TensorKey


#: The classes of gradcheck's own that other engines have in place of TensorFlow's.
_UNDER_ENGINES = {FunctionLayer: PerExample}


class SentBoundary(NamedTuple):
    """A boundary whose cotangent an engine is asked for: its key, the tensor in the whole graph, and its spec."""

    key: TensorKey
    ref: TensorRef
    spec: Any


def boundaries_of(problem: Problem) -> list[SentBoundary]:
    """Return the boundaries of a model that runs its own graph: no call lies inside a layer's own code."""
    graph = problem.whole_graph
    if graph.opened or problem.loss.of_model is not None:
        return []
    found = [
        SentBoundary(problem.boundary_key(ref), there, graph.spec(there))
        for ref, there in problem.whole_boundaries.items()
    ]
    return [b for b in found if not b.ref.is_input and _is_fixed(b.spec)]


def _is_fixed(spec: Any) -> bool:
    """Whether a tensor is of floats, and its shape is known but for the batch axis."""
    return tf.as_dtype(spec.dtype).is_floating and None not in spec.shape[1:]


def subject_of(problem: Problem, precision: str | None = None) -> bytes:
    """Return the model and the loss, pickled; in float64 if `precision` asks for it, else as they are.

    Raises:
        CannotAsk: if Keras cannot save the model, or something in it cannot be sent.
    """
    if problem.loss.of_model is not None:
        raise CannotAsk("its loss calls the model itself, and is written for TensorFlow")
    graph, layers = problem.whole_graph, all_layers([problem.model])
    if any(isinstance(layer, NumpyLayer) for layer in layers):
        raise CannotAsk("it has a numpy_layer, which TensorFlow calls")
    if any(isinstance(layer, OfParts) for layer in layers):
        raise CannotAsk("its inputs are complex, which is not compared across engines")
    precision = precision or problem.precision
    try:
        with saved([problem.model]) as ((as_it_is,), custom):
            config = as_it_is if precision == problem.precision else converted(as_it_is, precision, precision)
            return packed(
                Subject(
                    config=config,
                    custom={n: _UNDER_ENGINES.get(custom[n], custom[n]) for n in custom.keys() & set(_texts(config))},
                    trainable=[trainable_flag(layer) for layer in layers],
                    precision=precision,
                    training=problem.training,
                    calls=[str(call.operation.name) for call in graph.calls],
                    boundaries=[(b.ref.call, b.ref.output) for b in boundaries_of(problem)],
                    loss=_sent_loss(problem.loss, "float64" if precision == "float64" else problem.loss.dtype),
                )
            )
    except CannotAsk:
        raise
    except Exception as error:
        raise CannotAsk(f"Keras cannot save it: {gist(error)}") from error


def _texts(config: Any) -> Iterator[str]:
    """Yield every text in a configuration: the names of classes and functions are among them."""
    if isinstance(config, str):
        yield config
    elif isinstance(config, (dict, list, tuple)):
        for value in config.values() if isinstance(config, dict) else config:
            yield from _texts(value)


def _sent_loss(loss: Loss, dtype: str) -> SentLoss:
    joint = None if loss.joint is None else _sent_term(loss.joint, dtype)
    terms = [None if term is None else _sent_term(term, dtype) for term in loss.terms]
    return SentLoss(terms=terms, dtype=dtype, joint=joint)


def _sent_term(term: Term, dtype: str) -> SentTerm:
    is_keras = isinstance(term.own, keras.losses.Loss)
    return SentTerm(loss=loss_computing_in(term.own, dtype) if is_keras else term.own, weight=term.weight)
