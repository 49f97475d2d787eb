"""One layer or function, checked alone: its config, and what a run of it does not look at by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck.config.load import LoadedConfig, load_given
from gradcheck.errors import ExitCode
from gradcheck.results.report import CheckReport
from gradcheck.session.configs import check_one, environment
from gradcheck.session.look import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.custom_gradients import Watch
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Diagnosis, Environment, RunReport
    from gradcheck.session.configs import CheckOptions

#: The check of custom gradients, as it is called in reports.
CUSTOM_GRADIENT = "custom_gradient"
#: The methods that check a layer; the last one for second order.
METHODS = ("numeric", "forward", "hvp")
#: Where finite differences are taken, if no values are given: beside random ones where gradients go wrong.
GIVEN = "given"
PROBES = (GIVEN, "zeros", "equal", "same", "ones", "saturated", "negative")
#: Examples in the batch where no values are given.
BATCH_SIZE = 4


@dataclass(frozen=True, kw_only=True)
class Target:
    """What `gradcheck layer` is asked to check.

    Attributes:
        name: what `gradcheck.building.target` takes.
        shapes: of each input, without the batch axis; empty for those of the values.
        dtypes: of each shape, None for the float type of the precision.
        values: of each input, one example; empty for random ones.
        kwargs: arguments of the class, the factory or the function.
        order: 1, or 2 for second derivatives too.
        points: where finite differences are taken; empty for the given values, or for random ones and all of `PROBES`.
        methods: which of those that apply; empty for all.
        training: the flag that the layer is called with; None for both, where it takes one.
        surrogate: the rule of a backward pass that is meant to be another than the derivative.
    """

    name: str
    shapes: Sequence[tuple[int, ...]] = ()
    dtypes: Sequence[str | None] = ()
    values: Sequence[Any] = ()
    kwargs: dict[str, Any]
    order: int = 1
    seed: int = 0
    precision: str = "float32"
    points: Sequence[str] = ()
    methods: Sequence[str] = ()
    training: bool | None = None
    surrogate: str | None = None

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


def layer_config(target: Target, *, masked: bool = False) -> LoadedConfig:
    """The config that checks `target`: finite differences, forward mode, and second order where it is asked for.

    For given numbers the loss is the sum of the outputs, so that gradients are derivatives; else it is the default.
    `masked` inputs come with a mask where they have a time axis.

    Raises:
        ConfigErrors: for a shape, a seed, a precision, a point or a method that a config does not take.
    """
    source = {
        "target": target.name,
        "base": str(Path.cwd()),
        "inputs": target.inputs,
        "kwargs": target.kwargs,
        "values": list(target.values),
        "masked": masked,
    }
    data: dict[str, Any] = {"batch_size": 1 if target.values else BATCH_SIZE}
    if target.values:
        data["inputs"] = {n: {"constant": v} for n, v in zip(target.input_names, target.values, strict=True)}
    if target.is_scalar:
        data["targets"] = {"constant": 1.0}  # the weights of the outputs in the default loss
    at = {"points": list(target.points or ((GIVEN,) if target.values else PROBES))}
    options: dict[str, dict[str, Any]] = {"numeric": {**at, "surrogate": target.surrogate}, "forward": {}, "hvp": at}
    names = target.methods or (METHODS if target.order > 1 else METHODS[:-1])
    config = {
        "name": target.name,
        "seed": target.seed,
        "precision": target.precision,
        "training": target.training is not False,
        "model": {"factory": "gradcheck.building.target:model", "kwargs": source},
        "data": data,
        "methods": [{name: options[name]} for name in names],
    }
    return replace(load_given(config, {}), path=Path(target.name))


class Derivatives(NamedTuple):
    """One number that goes in, the number that comes out, and what it changes by. None: TensorFlow has none."""

    name: str
    at: float
    value: float
    first: float | None
    second: float | None


class Checked(NamedTuple):
    """A layer's run, what it ran on, and its derivatives where numbers go in and one comes out."""

    run: RunReport
    environment: Environment
    derivatives: Sequence[Derivatives]


def check_layer(target: Target, loaded: LoadedConfig, options: CheckOptions, stage: Callable[[str], None]) -> Checked:
    """Run `loaded`, the config of `target`, and then finite differences in every other mode that the layer has."""
    from gradcheck.building.imports import imported_once  # noqa: PLC0415 - TensorFlow starts here

    options = replace(options, optional=frozenset({"forward"}))
    look = _LayerLook(target)
    with imported_once():  # the modes are models of one layer's code
        run = check_one(loaded, options, stage, look=look)
        others = [
            (mode, check_one(mode.loaded, options, stage, look=_LayerLook(target, closer=False))) for mode in look.modes
        ]
    return Checked(_together(run, others, trainable=look.trainable), environment(), look.derivatives)


class Mode(NamedTuple):
    """A way in which a layer is called beside the first one, by its name in reports."""

    name: str
    loaded: LoadedConfig


class _LayerLook:
    """A look at the model of a layer: its custom gradients, its variables, and the modes that it has.

    Without weights to train the inputs are what is proven.

    Attributes:
        modes: with training off, and with a mask, where the layer takes such an argument.
        derivatives: of the one number that comes out, where numbers go in.
        trainable: how many weights and inputs there are.
    """

    def __init__(self, target: Target, *, closer: bool = True) -> None:
        """Without `closer` only weights and inputs are counted."""
        self._target, self._closer = target, closer
        self.modes: Sequence[Mode] = ()
        self.derivatives: Sequence[Derivatives] = ()
        self.trainable = 0

    def __call__(self, problem: Problem, watch: Watch) -> Found:
        """Look at `problem`, inside its session."""
        from gradcheck.comparing.missing_gradients import untracked_variables  # noqa: PLC0415 - TensorFlow starts here
        from gradcheck.custom_gradients import check_custom_gradients  # noqa: PLC0415 - as above

        self.trainable = len(problem.weights) + len(problem.batch.x)
        if not self._closer:
            return Found(self.trainable)
        findings = check_custom_gradients(problem, watch)
        if self._target.surrogate:  # what the gradient should be is declared: clipping, for one, is not linear
            findings = tuple(finding for finding in findings if finding.code != "GC601")
        if self._target.is_scalar:
            self.derivatives = _derivatives(problem, self._target.order)
        self.modes = _other_modes(self._target, problem)
        untracked = (
            f"variable {name} is not part of the layer: no gradient of it is checked, and nothing puts it back"
            for name in untracked_variables(problem)
        )
        return Found(self.trainable, (_custom_gradient_check(findings),) if findings else (), tuple(untracked))


def _other_modes(target: Target, problem: Problem) -> list[Mode]:
    """Return the modes in which finite differences are taken once more."""
    from gradcheck.building.target import layer_of, takes_mask, takes_training  # noqa: PLC0415 - TensorFlow starts here

    layer = layer_of(problem.model)
    if not any(method.method == "numeric" for method in problem.config.methods):
        return []
    differences, modes = replace(target, methods=("numeric",)), []
    if takes_training(layer) and target.training is None:
        modes.append(Mode("inference", layer_config(replace(differences, training=False))))
    if takes_mask(layer, [spec["shape"] for spec in target.inputs.values()]):
        modes.append(Mode("masked", layer_config(differences, masked=True)))
    return modes


def _together(run: RunReport, others: Sequence[tuple[Mode, RunReport]], *, trainable: int) -> RunReport:
    """Return one report of all modes. What a mask alone makes impossible is a note: nobody asked for it."""
    from gradcheck.session.verdict import judge  # noqa: PLC0415 - TensorFlow starts here

    if not others:
        return run
    checks, notes, warnings, failure = list(run.checks), list(run.notes), list(run.warnings), run
    for mode, other in others:
        if other.reference is None and mode.name == "masked":
            notes.append(f"a mask does not apply: {other.error.message if other.error else 'the layer cannot be run'}")
            continue
        if other.reference is None:
            failure = other
        checks += [replace(check, method=_in_mode(check.method, mode.name)) for check in other.checks]
        notes += [f"{mode.name}: {note}" for note in other.notes if note not in notes]
        warnings += [warning for warning in other.warnings if warning not in warnings]
    verdict, exit_code = judge(checks, trainable=trainable)
    if failure.verdict == "error":
        verdict, exit_code = failure.verdict, ExitCode(failure.exit_code)
    return replace(
        run,
        error=failure.error,
        errors=failure.errors,
        verdict=verdict,
        exit_code=int(exit_code),
        checks=tuple(checks),
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _in_mode(method: str, mode: str) -> str:
    """`numeric[zeros]` as `numeric[zeros, masked]`."""
    return f"{method[:-1]}, {mode}]" if method.endswith("]") else f"{method}[{mode}]"


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
