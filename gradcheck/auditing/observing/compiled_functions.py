"""Compiled functions: while they are traced, and whenever they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.eager.polymorphic_function import concrete_function  # where they are called
from tensorflow.python.framework import func_graph  # where they are traced

from gradcheck.auditing.observing.script_step import current_graph

if TYPE_CHECKING:
    from gradcheck.auditing.watch import Watch
    from gradcheck.user_calls.patches import Patches


class Compiled:
    """What is traced, and called."""

    def __init__(self, watch: Watch) -> None:
        """Note for `watch`."""
        self._watch = watch

    def patch(self, patches: Patches) -> None:
        """Watch tracing, and calls."""
        patches.wrap(func_graph, "func_graph_from_py_func", self._trace)
        patches.wrap(concrete_function.ConcreteFunction, "_call_flat", self._call)

    def _trace(self, original: Any, name: str, python_func: Any, *args: Any, **kwargs: Any) -> Any:
        if self._watch.idle or self._watch.here.applying:
            return original(name, python_func, *args, **kwargs)

        def traced(*inner: Any, **named: Any) -> Any:
            try:
                return python_func(*inner, **named)
            finally:
                self._watch.record_on_thread(None)
                step = self._watch.step(current_graph())
                if step is not None:
                    with self._watch.safely():
                        self._watch.trial.traced(step)
                        self._watch.crossings.close(step)

        outer = self._watch.here.outer
        self._watch.record_on_thread(None)
        try:
            return original(name, traced, *args, **kwargs)
        finally:
            self._watch.record_on_thread(outer)

    def _call(self, original: Any, function: Any, tensor_inputs: Any, captured_inputs: Any) -> Any:
        here = self._watch.here
        if self._watch.idle or here.applying or not tf.executing_eagerly() or here.calling:
            return original(function, tensor_inputs, captured_inputs)
        if (step := self._watch.step(None)) is None or step.updates:
            self._watch.end_if_enough()
        here.calling += 1
        try:
            outputs = original(function, tensor_inputs, captured_inputs)
        finally:
            here.calling -= 1
            with self._watch.safely(), self._watch.ours():
                self._watch.exports.read()
        with self._watch.safely(), self._watch.ours():
            self._watch.trial.serving.returned(tf.nest.flatten(outputs, expand_composites=True))
        return outputs
