"""The check of a single layer or function: its config, and the checks beside those of an ordinary run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from gradcheck.config.checks.keras_names import require_layer
from gradcheck.config.load import LoadedConfig, load_given
from gradcheck.config.sections.methods import ENGINES
from gradcheck.engines.asking import awaited
from gradcheck.errors import ExitCode
from gradcheck.numerics import real_parts
from gradcheck.results.origin import environment
from gradcheck.results.report import CheckReport
from gradcheck.session.configs import check_one
from gradcheck.session.look import Found
from gradcheck.workers.task import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.config.schema import Config
    from gradcheck.custom_gradients import Watch
    from gradcheck.problem.problem import Problem
    from gradcheck.results.origin import Environment
    from gradcheck.results.report import Diagnosis, RunReport
    from gradcheck.session.configs import CheckOptions

#: The name in reports of the check of custom gradients.
CUSTOM_GRADIENT = "custom_gradient"
#: The methods that check a layer; the last one is for second derivatives.
METHODS = ("numeric", "forward", "hvp")
#: The points of finite differences if no values are given: random inputs, and values where gradients often go wrong.
GIVEN = "given"
PROBES = (GIVEN, "zeros", "equal", "same", "ones", "saturated", "negative")
#: The dtypes of complex inputs, which are checked by their real and imaginary parts.
COMPLEX = ("complex64", "complex128")
#: The number of examples in the batch if no values are given.
BATCH_SIZE = 4


class LiveTarget(Protocol):
    """An object in place of a name, with the values of its inputs."""

    def in_config(self, config: Config, target: Target, *, masked: bool) -> Config:
        """Return `config` with the object as its model, and the values as its data."""
        ...

    def beside(self, other: Any, target: Target, *, masked: bool) -> tuple[str, Any]:
        """Return the name and the source of another object, which takes the same inputs."""
        ...


@dataclass(frozen=True, kw_only=True)
class Target:
    """The arguments of `gradcheck layer`.

    Attributes:
        name: the class, factory or function, as `gradcheck.building.target` finds it.
        shapes: the shape of each input without the batch axis; empty to take the shapes of `values`.
        dtypes: the dtype of each input; None for the float type of the precision.
        values: one example of each input; empty for random inputs.
        kwargs: keyword arguments of the class, factory or function.
        order: 1, or 2 to check second derivatives too.
        seed: the seed of weights and data.
        precision: a float type, or a mixed-precision policy.
        points: the points of finite differences; empty for the given values, or without values for all of `PROBES`.
        methods: names from `METHODS`, or other engines; empty for all of `METHODS` that apply.
        training: the `training` argument of the layer; None for both values if it takes one.
        surrogate: the function whose derivative the backward pass is meant to compute instead of the true one, or
            its name.
        against: engines, and other targets (objects from Python), that should compute the same.
        live: the object itself and its inputs, if they were handed over from Python; `name` is then for messages.
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
    surrogate: Any = None
    against: Sequence[Any] = ()
    live: LiveTarget | None = None

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs: `x`, or `x0`, `x1`, ... for several."""
        count = max(len(self.shapes), len(self.values))
        return ["x"] if count == 1 else [f"x{i}" for i in range(count)]

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """The shape and dtype of each input, by name."""
        shapes = self.shapes or [np.shape(value) for value in self.values]
        return {
            name: {"shape": list(shape), "dtype": dtype}
            for name, shape, dtype in zip(self.input_names, shapes, self._dtypes, strict=True)
        }

    @property
    def parts(self) -> list[Any]:
        """The values, complex ones as lists of real and imaginary parts along a new last axis."""
        return [
            real_parts(np.asarray(value, complex)).tolist() if dtype in COMPLEX else value
            for value, dtype in zip(self.values, self._dtypes, strict=True)
        ]

    @property
    def _dtypes(self) -> list[str | None]:
        """The dtype of each input; `complex64` of complex values without one."""
        asked = list(self.dtypes or [None] * max(len(self.shapes), len(self.values)))
        given = [COMPLEX[0] if np.iscomplexobj(value) else None for value in self.values]
        return [dtype or other for dtype, other in zip(asked, given, strict=True)] if given else asked

    @property
    def probed(self) -> Sequence[str]:
        """The points at which it is checked."""
        return self.points or ((GIVEN,) if self.values else PROBES)

    @property
    def is_scalar(self) -> bool:
        """Whether every input is a single given number: values and derivatives can then be printed."""
        return bool(self.values) and all(not spec["shape"] for spec in self.inputs.values())


def layer_config(target: Target, *, masked: bool = False) -> LoadedConfig:
    """Return the config that checks `target`: finite differences, forward mode, and `hvp` for second order.

    For given numbers the loss is the sum of the outputs, so that gradients are derivatives; otherwise the default.
    With `masked` every input that has a time axis gets a mask.

    Raises:
        ConfigErrors: for a shape, seed, precision, point, method, layer or argument that a config does not accept.
    """
    source = {
        "target": target.name,
        "base": str(Path.cwd()),
        "inputs": target.inputs,
        "kwargs": target.kwargs,
        "values": list(target.values) if target.live is None else [],
        "masked": masked,
    }
    data: dict[str, Any] = {"batch_size": 1 if target.values else BATCH_SIZE}
    if target.values and target.live is None:
        data["inputs"] = {n: {"constant": v} for n, v in zip(target.input_names, target.parts, strict=True)}
    if target.is_scalar:
        data["targets"] = {"constant": 1.0}  # the weights of the outputs in the default loss
    at = {"points": list(target.probed)}
    rule = target.surrogate if isinstance(target.surrogate, str) else None
    options: dict[str, dict[str, Any]] = {"numeric": {**at, "surrogate": rule}, "forward": {}, "hvp": at}
    asked = target.methods or (METHODS if target.order > 1 else METHODS[:-1])
    names = dict.fromkeys((*asked, *(other for other in target.against if other in ENGINES)))
    config = {
        "name": target.name,
        "seed": target.seed,
        "precision": target.precision,
        "training": target.training is not False,
        "model": {"factory": "gradcheck.building.target:model", "kwargs": source},
        "data": data,
        "methods": [{name: options.get(name, {})} for name in names],
    }
    loaded = replace(load_given(config, {}), path=Path(target.name))
    if target.live is None:
        require_layer(target.name, target.kwargs)
        return loaded
    return replace(loaded, config=target.live.in_config(loaded.config, target, masked=masked))


class Derivatives(NamedTuple):
    """A scalar input, the output, and its derivatives by that input; None for one that TensorFlow lacks.

    The derivative by a complex input z is TensorFlow's, dy/dRe z + i dy/dIm z.
    """

    name: str
    at: complex
    value: float
    first: complex | None
    second: complex | None


class Checked(NamedTuple):
    """The report of a layer, its environment, and its derivatives if its inputs and its one output are scalars."""

    run: RunReport
    environment: Environment
    derivatives: Sequence[Derivatives]


def check_layer(
    target: Target, loaded: LoadedConfig, options: CheckOptions, stage: Callable[[str], None] = silent
) -> Checked:
    """Run `loaded`, the config of `target`, then finite differences in the layer's other modes (inference, masked)."""
    from gradcheck.building.imports import imported_once  # noqa: PLC0415 - TensorFlow starts here

    for engine in {str(other).partition(":")[0] for other in target.against} & {*ENGINES}:
        awaited(engine)
    options = replace(options, optional=frozenset({"forward"}))
    look = _LayerLook(target)
    with imported_once():  # the modes build the same layer again: its module must not be imported anew
        run = check_one(loaded, options, stage, look=look)
        others = [
            (mode, check_one(mode.loaded, options, stage, look=_LayerLook(target, mode.name))) for mode in look.modes
        ]
    run = replace(_together(run, others, trainable=look.trainable), inputs=look.inputs)
    return Checked(run, environment(), look.derivatives)


class Mode(NamedTuple):
    """A further way of calling a layer: its name in reports, and its config."""

    name: str
    loaded: LoadedConfig


class _LayerLook:
    """The checks of a layer beside its methods: its custom gradients and untracked variables. It also finds its modes.

    Inputs count as `trainable` too: for a layer without weights their gradients are the proof.

    Attributes:
        modes: the call with training off and the call with a mask, if the layer takes such an argument.
        derivatives: the derivatives of a scalar output by each scalar input.
        trainable: the number of weights and inputs.
        inputs: the name and the shape of each input, with the batch axis if the layer is called with it.
    """

    def __init__(self, target: Target, mode: str = "") -> None:
        """Store the target. In a further mode it is only compared with others, and weights and inputs are counted."""
        self._target, self._mode = target, mode
        self.modes: Sequence[Mode] = ()
        self.derivatives: Sequence[Derivatives] = ()
        self.trainable = 0
        self.inputs: tuple[str, ...] = ()

    def __call__(self, problem: Problem, watch: Watch) -> Found:
        """Check `problem` inside its session."""
        from gradcheck.comparing.missing_gradients import untracked_variables  # noqa: PLC0415 - TensorFlow starts here
        from gradcheck.custom_gradients import check_custom_gradients  # noqa: PLC0415 - as above
        from gradcheck.session.against import checks_against  # noqa: PLC0415 - as above

        self.trainable = len(problem.weights) + len(problem.batch.x)
        self.inputs = tuple(_shapes_called_with(self._target, problem))
        beside, notes = checks_against(problem, self._target, masked=self._mode == "masked")
        if self._mode:
            return Found(self.trainable, beside, notes=notes)
        findings = check_custom_gradients(problem, watch)
        # GC601 refuses a backward pass that is not linear: a declared one, such as clipping, need not be.
        if self._target.surrogate:
            findings = tuple(finding for finding in findings if finding.code != "GC601")
        if self._target.is_scalar:
            self.derivatives = _derivatives(problem, self._target.order)
        self.modes = _other_modes(self._target, problem)
        untracked = (
            f"variable {name} is not part of the layer: no gradient of it is checked, and nothing puts it back"
            for name in untracked_variables(problem)
        )
        own = (_custom_gradient_check(findings),) if findings else ()
        return Found(self.trainable, (*own, *beside), tuple(untracked), notes)


def _shapes_called_with(target: Target, problem: Problem) -> Iterator[str]:
    """Yield `x (2, 8)` for each input: a layer gets the whole batch, a function one example."""
    from gradcheck.building.target import FunctionLayer, layer_of  # noqa: PLC0415 - TensorFlow starts here

    whole = not isinstance(layer_of(problem.model), FunctionLayer)
    batch = [int(problem.batch.x[0].shape[0])] if whole else []
    for name, spec in target.inputs.items():
        yield f"{name} ({', '.join(map(str, [*batch, *spec['shape']]))})"


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
    """Return one report of all modes.

    A layer that cannot run with a mask gets a note, not an error: the user did not ask for the mask.
    """
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
    """Return a method's label with its mode: `numeric[zeros]` becomes `numeric[zeros, masked]`."""
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
    """Return the derivatives of a scalar output by each input; an empty list unless the output is one scalar."""
    import tensorflow as tf  # noqa: PLC0415 - TensorFlow starts here

    x = [tf.identity(tensor) for tensor in problem.batch.x]
    with problem.state.preserved(), tf.GradientTape(persistent=True) as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            outputs = tf.nest.flatten(problem.model(problem.model_inputs(x), training=problem.training))
        first = inner.gradient(outputs[0], x)
    of_parts = any(tensor.shape.num_elements() > 1 for tensor in x)  # four second derivatives by a complex input
    if len(outputs) > 1 or outputs[0].shape.num_elements() != 1 or outputs[0].dtype.is_complex or of_parts * order > 1:
        return []
    rows = zip(problem.input_names, x, first, strict=True)
    return [
        Derivatives(name, _number(at), _number(outputs[0]), _number(g), _second(outer, g, at) if order > 1 else None)
        for name, at, g in rows
    ]


def _second(tape: Any, gradient: Any, at: Any) -> complex | None:
    try:
        return None if gradient is None else _number(tape.gradient(gradient, at))
    except LookupError:  # the gradient of some operation has no gradient itself
        return None


def _number(tensor: Any) -> Any:
    """Return the only element, with as few digits as its dtype needs: 0.1, not 0.10000000149011612; None for None.

    Two elements are the parts of a complex number.
    """
    if tensor is None:
        return None
    numbers = [float(str(number)) for number in np.asarray(tensor).reshape(-1)]
    return complex(*numbers) if len(numbers) > 1 else numbers[0]
