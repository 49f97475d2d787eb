"""One layer or function, checked alone: its config, and what a run of it does not look at by itself."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck.check import check_one
from gradcheck.config.load import LoadedConfig, load_given
from gradcheck.errors import GradcheckError
from gradcheck.report import CheckReport, RunReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.check import CheckOptions
    from gradcheck.models.problem import Problem
    from gradcheck.report import Diagnosis, Verdict

#: The check of custom gradients, as it is called in reports.
CUSTOM_GRADIENT = "custom_gradient"
#: Examples in the batch where no values are given.
BATCH_SIZE = 4


@dataclass(frozen=True, kw_only=True)
class Target:
    """What `gradcheck layer` is asked to check.

    Attributes:
        name: what `gradcheck.models.target` takes.
        shapes: of each input, without the batch axis; empty for those of the values.
        dtypes: of each shape, None for the float type of the precision.
        values: of each input, one example; empty for random ones.
        kwargs: arguments of the class, the factory or the function.
        order: 1, or 2 for second derivatives too.
    """

    name: str
    shapes: Sequence[tuple[int, ...]] = ()
    dtypes: Sequence[str | None] = ()
    values: Sequence[Any] = ()
    kwargs: dict[str, Any]
    order: int = 1
    seed: int = 0
    precision: str = "float32"

    @property
    def input_names(self) -> list[str]:
        """`x`, or `x0`, `x1`, ... for several inputs."""
        count = max(len(self.shapes), len(self.values))
        return ["x"] if count == 1 else [f"x{i}" for i in range(count)]

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """Shape and dtype of each input."""
        shapes = self.shapes or [np.shape(value) for value in self.values]
        dtypes = self.dtypes or [None] * len(shapes)
        return {
            name: {"shape": list(shape), "dtype": dtype}
            for name, shape, dtype in zip(self.input_names, shapes, dtypes, strict=True)
        }

    @property
    def is_scalar(self) -> bool:
        """Whether every input is one given number: then values and derivatives can be shown as such."""
        return bool(self.values) and all(not spec["shape"] for spec in self.inputs.values())


def layer_config(target: Target) -> LoadedConfig:
    """The config that checks `target`: finite differences, forward mode, and second order where it is asked for.

    For given numbers the loss is the sum of the outputs, so that gradients are derivatives; else it is the default.

    Raises:
        ConfigErrors: for a shape, a seed or a precision that a config does not take.
    """
    source = {
        "target": target.name,
        "base": str(Path.cwd()),
        "inputs": target.inputs,
        "kwargs": target.kwargs,
        "values": list(target.values),
    }
    data: dict[str, Any] = {"batch_size": 1 if target.values else BATCH_SIZE}
    if target.values:
        data["inputs"] = {n: {"constant": v} for n, v in zip(target.input_names, target.values, strict=True)}
    if target.is_scalar:
        data["targets"] = {"constant": 1.0}  # the weights of the outputs in the default loss
    config = {
        "name": target.name,
        "seed": target.seed,
        "precision": target.precision,
        "model": {"factory": "gradcheck.models.target:model", "kwargs": source},
        "data": data,
        "methods": ["numeric", "forward", *(["hvp"] if target.order > 1 else [])],
    }
    return replace(load_given(config, {}), path=Path(target.name))


class Derivatives(NamedTuple):
    """One number that goes in, the number that comes out, and what it changes by. None: TensorFlow has none."""

    name: str
    at: float
    value: float
    first: float | None
    second: float | None


class Looked(NamedTuple):
    """A run with what was found beside it; `derivatives` where numbers go in and one comes out."""

    run: RunReport
    derivatives: Sequence[Derivatives]


def check_layer(target: Target, loaded: LoadedConfig, options: CheckOptions) -> Looked:
    """Runs `loaded`, the config of `target`, and looks closer at what it ran."""
    with suppress(GradcheckError):  # the run says what is wrong with the target
        loaded = _narrowed(target, loaded)
    return _looked_closer(target, loaded, check_one(loaded, options))


def _narrowed(target: Target, loaded: LoadedConfig) -> LoadedConfig:
    """Without forward mode for a NumPy class: its backward has no derivative of its own."""
    from gradcheck.models.numpy_layer import NumpyLayer  # noqa: PLC0415 - TensorFlow starts here
    from gradcheck.models.prepare import session  # noqa: PLC0415 - as above
    from gradcheck.models.target import as_layer  # noqa: PLC0415 - as above

    config = loaded.config
    with session(config):
        layer = as_layer(target.name, Path.cwd(), target.kwargs)
    if not isinstance(layer, NumpyLayer):
        return loaded
    methods = tuple(method for method in config.methods if method.method != "forward")
    return replace(loaded, config=config.model_copy(update={"methods": methods}))


def _looked_closer(target: Target, loaded: LoadedConfig, run: RunReport) -> Looked:
    """Checks the custom gradients in `target`, explains gradients that are missing, and judges again.

    A run that could not be carried out is left as it is. Without weights to train the inputs are what is proven.
    """
    from gradcheck.gradients.custom import check_custom_gradients, watching  # noqa: PLC0415
    from gradcheck.models.prepare import prepare, session  # noqa: PLC0415 - TensorFlow starts here

    if run.reference is None:
        return Looked(run, ())
    with session(loaded.config), watching() as watch:
        problem = prepare(loaded.config, loaded.base)
        checks = list(run.checks)
        findings = check_custom_gradients(problem, watch)
        if findings:
            checks.append(_custom_gradient_check(findings))
        explained = replace(run, checks=tuple(checks), warnings=(*run.warnings, *_untracked(problem)))
        derivatives = _derivatives(problem, target.order) if target.is_scalar else []
        return Looked(_judged(explained, problem), derivatives)


def _custom_gradient_check(findings: Sequence[Diagnosis]) -> CheckReport:
    nan = float("nan")
    return CheckReport(
        method=CUSTOM_GRADIENT,
        expect="match",
        outcome="mismatch",
        as_expected=False,
        loss=nan,
        loss_abs_error=nan,
        max_abs_error=nan,
        max_rel_error=nan,
        seconds=nan,
        diagnoses=tuple(findings),
    )


def _untracked(problem: Problem) -> list[str]:
    """Warnings of variables that the model does not know."""
    from gradcheck.gradients.nones import untracked_variables  # noqa: PLC0415 - TensorFlow starts here

    return [
        f"variable {name} is not part of the layer: no gradient of it is checked, and nothing puts it back"
        for name in untracked_variables(problem)
    ]


def _judged(run: RunReport, problem: Problem) -> RunReport:
    from gradcheck.run import judge  # noqa: PLC0415 - TensorFlow starts here

    verdict: Verdict
    verdict, exit_code = judge(run.checks, trainable=len(problem.weights) + len(problem.batch.x))
    return replace(run, verdict=verdict, exit_code=int(exit_code))


def _derivatives(problem: Problem, order: int) -> list[Derivatives]:
    """Of the one number that comes out, by each number that goes in; nothing where several come out."""
    import tensorflow as tf  # noqa: PLC0415 - TensorFlow starts here

    x = [tf.identity(tensor) for tensor in problem.batch.x]
    with problem.state.preserved(), tf.GradientTape(persistent=True) as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            outputs = tf.nest.flatten(problem.model(problem.model_inputs(x), training=problem.training))
        first = inner.gradient(outputs[0], x)
    if len(outputs) > 1 or outputs[0].shape.num_elements() != 1:
        return []
    rows = zip(problem.input_names, x, first, strict=True)
    return [
        Derivatives(name, _number(at), _number(outputs[0]), _optional(g), _second(outer, g, at) if order > 1 else None)
        for name, at, g in rows
    ]


def _second(tape: Any, gradient: Any, at: Any) -> float | None:
    if gradient is None:
        return None
    try:
        return _optional(tape.gradient(gradient, at))
    except LookupError:  # an operation whose gradient has none
        return None


def _optional(tensor: Any) -> float | None:
    return None if tensor is None else _number(tensor)


def _number(tensor: Any) -> float:
    """The one element, as short as its dtype has it: 0.1, not 0.10000000149011612."""
    return float(str(np.asarray(tensor).reshape(())[()]))
