"""Training in another process: what it needs of this one, and the process itself, which is kept for the next time."""

from __future__ import annotations

import atexit
import os
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.building.messages import described, raised, user_location
from gradcheck.building.state import State
from gradcheck.errors import GradcheckError, NotApplicable
from gradcheck.problem.optimizer import build_optimizer, start
from gradcheck.problem.prepare import prepare, session
from gradcheck.training.steps import Course, Trainee
from gradcheck.training.ways.packing import packed, unpacked
from gradcheck.workers.pool import Workers
from gradcheck.workers.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from gradcheck.batch import Batch
    from gradcheck.config.schema import Config
    from gradcheck.problem.problem import Problem
    from gradcheck.training.reference_run import ReferenceTraining

#: The logical CPU devices of the process, unless more are asked for.
DEVICES = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Departure:
    """What another process needs to train the same model from the same start; it can be pickled.

    Attributes:
        config: describes the model; without a split, which training does not need.
        base: the folder that paths in it are relative to.
        batch: the reference's, for a data factory may return other data each time.
        values: of all variables that training or a forward pass moves, in the order of `State.movable`.
        initial_scale: the loss scale that the reference started from.
        slot_paths: the names of the optimizer's variables in reports.
        weights: the names of the weights, in order.
        states: those of the state.
    """

    config: Config
    base: Path
    batch: Batch
    values: tuple[Any, ...]
    initial_scale: float
    slot_paths: tuple[str, ...]
    weights: tuple[str, ...]
    states: tuple[str, ...]

    @classmethod
    def of(cls, training: ReferenceTraining) -> Departure:
        """Take what the reference started from."""
        problem = training.problem
        with problem.state.preserved():
            values = tuple(np.asarray(variable.value) for variable in problem.state.movable)
        return cls(
            config=problem.config.model_copy(update={"split": None}),
            base=problem.base,
            batch=problem.batch,
            values=values,
            initial_scale=training.initial_scale,
            slot_paths=training.slot_paths,
            weights=tuple(weight.path for weight in problem.weights),
            states=tuple(state.path for state in problem.state.variables),
        )

    @contextmanager
    def entered(self, scope: AbstractContextManager[Any] | None = None) -> Iterator[Problem]:
        """Build the model, with the values of the start, in a session of its own; inside it, in a strategy's `scope`.

        Raises:
            RunError: GC053 if the body raises; it can be pickled, and has the user's line.
        """
        with session(self.config), scope or nullcontext(), told():
            problem = prepare(self.config, self.base)
            for variable, value in zip(problem.state.movable, self.values, strict=True):
                variable.assign(value)
            yield self.named(replace(problem, batch=self.batch))

    def named(self, problem: Problem) -> Problem:
        """Return a problem of another process with the names of this one, in its order.

        Where the names differ, as of layers that Keras has named anew, the order of the variables is taken for theirs.
        """
        own = {weight.path: weight for weight in problem.weights}
        ordered = [own[path] for path in self.weights] if own.keys() == {*self.weights} else problem.weights
        named = tuple(replace(weight, path=path) for weight, path in zip(ordered, self.weights, strict=False))
        variables = problem.state.variables
        if len(variables) != len(self.states) or {s.path for s in variables} == {*self.states}:
            return replace(problem, weights=named, state=problem.state.retaken())
        paths = {id(s.variable): path for s, path in zip(variables, self.states, strict=True)}
        return replace(problem, weights=named, state=State([problem.model], seed=problem.seed, names=paths))

    def optimizer(self) -> Any:
        """Return the config's optimizer, without variables."""
        return build_optimizer(
            self.config.train.optimizer, precision=self.config.precision, initial_scale=self.initial_scale
        )

    def trainee(self, problem: Problem) -> Trainee:
        """Return the problem of `entered` with an optimizer as the reference's."""
        variables = [weight.variable for weight in problem.weights]
        optimizer = self.optimizer()
        optimizer.build(variables)
        start(optimizer, self.config.train.optimizer)
        return Trainee(
            problem=problem, variables=variables, optimizer=optimizer, slot_paths=self.slot_paths, course=Course()
        )


@contextmanager
def told() -> Iterator[None]:
    """Convert what training raises to an error of ours: a traceback does not reach the other process."""
    try:
        yield
    except (GradcheckError, MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except (Exception, SystemExit) as error:
        message, location = f"training raised {described(error)}", user_location(error)
        if location is None:  # Keras or TensorFlow, by themselves, where they do not raise in this process
            raise NotApplicable(message) from error
        raise raised(message, error, "GC053", location=location) from error


def result_elsewhere(function: str, *arguments: Any, devices: int = 1) -> Any:
    """Return the result of `function`, `module:name` below this package, in the other process.

    Its last argument is called with the name of each stage; arguments and result are pickled.

    Args:
        function: the function.
        *arguments: those before the last.
        devices: how many logical CPU devices it needs.

    Raises:
        NotApplicable: where no process can be started, or it cannot be given the arguments.
        GradcheckError: if the function raised one, or its process ended.
    """
    if os.name != "posix":
        raise NotApplicable("no other process can be started on this system")
    devices = max(devices, DEVICES)
    task = Task(target=f"{__name__}:performed", arguments=(function, packed(arguments), devices))
    (result,) = _process(devices).run([task])
    if isinstance(result, GradcheckError):
        _process(devices).__exit__(None, None, None)  # TensorFlow may be unusable there: a collective fails ever after
        raise result
    return result


def performed(function: str, arguments: bytes, devices: int, stage: Callable[[str], None]) -> Any:
    """Return the result of `function` in this process, which gets its devices if this is its first task."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    if not tf.config.get_logical_device_configuration(cpu):
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    # Only now: making a tensor starts TensorFlow's runtime, and with it the devices are settled.
    module, _, name = function.partition(":")
    return getattr(import_module(f"{__package__}.{module}"), name)(*unpacked(arguments), stage)


@cache
def _process(devices: int) -> Workers:  # noqa: ARG001 - one for each number of devices
    """Return the process; it is started at once, loads TensorFlow meanwhile, and ends with this one."""
    pool = Workers().__enter__()
    atexit.register(pool.__exit__, None, None, None)
    return pool


def awaited() -> None:
    """Start the other process, to be ready when it is needed."""
    if os.name == "posix":
        _process(DEVICES)
