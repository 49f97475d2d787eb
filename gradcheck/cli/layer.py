"""`gradcheck layer`: one layer or function, without a config."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradcheck.cli.terminal.destinations import Destination, destinations
from gradcheck.cli.terminal.options import Command, option, report_options, settings, terminal_options
from gradcheck.errors import GradcheckError, UsageError
from gradcheck.files import require_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.reporters.interface import Show
    from gradcheck.results.report import Report
    from gradcheck.session.layer import Derivatives, Target

_EXAMPLES = (
    "gradcheck layer Dense --kwargs '{units: 4}' --input-shape 8",
    "gradcheck layer ./layers.py:MyLayer --input-shape 8,16 --input-shape 16",
    "gradcheck layer ./functions.py:cubic --input 3.0 --order 2",
    "gradcheck layer ./functions.py:plain --against ./functions.py:fused --input-shape 8",
)
#: `8,16`, `4:int32` with a dtype, or empty for a scalar.
_SHAPE = re.compile(r"^\s*(?P<shape>(?:\d+\s*(?:,\s*\d+\s*)*,?)?)\s*(?::\s*(?P<dtype>\w+))?\s*$")


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("target", metavar="TARGET")
@option(
    "--input-shape",
    "shapes",
    multiple=True,
    metavar="SHAPE",
    section="Layer",
    help="Shape of an input without the batch axis, such as 8,16 (with a dtype 4:int32, 4:complex64); repeat for "
    "several inputs.",
)
@option(
    "--input",
    "values",
    multiple=True,
    metavar="VALUE",
    section="Layer",
    help="Value of an input without the batch axis, a number (1+2j too) or a list; repeat for several inputs. "
    "Default: random.",
)
@option("--kwargs", metavar="YAML", section="Layer", help="Arguments of TARGET, such as '{units: 4}'.")
@option(
    "--order",
    type=click.IntRange(1, 2),
    default=1,
    show_default=True,
    section="Layer",
    help="2 checks second derivatives too.",
)
@option(
    "--points",
    "points",
    multiple=True,
    metavar="NAME",
    section="Layer",
    help="Where to take finite differences: given, zeros, equal, same, ones, saturated or negative; repeat for "
    "several. Default: all of them, or the values of --input alone.",
)
@option(
    "--method",
    "methods",
    multiple=True,
    type=click.Choice(["numeric", "forward", "hvp", "jax", "torch"]),
    section="Layer",
    help="Check by this method alone; repeat for several. Default: numeric and forward, and hvp with --order 2. "
    "jax, torch: beside the same layer under another engine.",
)
@option(
    "--against",
    "against",
    multiple=True,
    metavar="TARGET",
    section="Layer",
    help="Another implementation, a TARGET too, that should compute the same: values and gradients (with --order 2 "
    "second derivatives) are compared. jax:TARGET, torch:TARGET: a function of that engine's arrays. jax, torch: the "
    "same layer or function under another engine. Repeat for several.",
)
@option(
    "--training/--no-training",
    default=None,
    section="Layer",
    help="The flag the layer is called with. Default: both, where it takes one.",
)
@option("--surrogate", metavar="TARGET", section="Layer", help="What the backward pass should compute instead.")
@option("--seed", type=int, default=0, show_default=True, section="Layer", help="Seed of weights and inputs.")
@option("--precision", default="float32", show_default=True, section="Layer", help="As in a config.")
@report_options
@terminal_options
def layer(
    *,
    target: str,
    shapes: Sequence[str],
    values: Sequence[str],
    kwargs: str | None,
    order: int,
    points: tuple[str, ...],
    methods: tuple[str, ...],
    training: bool | None,
    surrogate: str | None,
    against: tuple[str, ...],
    seed: int,
    precision: str,
    formats: tuple[Destination, ...],
    output: Path | None,
    show: Show,
) -> int:
    """Check the gradients of one layer or function, by finite differences and forward mode.

    TARGET is a Keras layer by its name, or package.module:Name or ./file.py:Name of a layer class, a layer, a function
    that makes one, a plain TensorFlow function, or a class with NumPy forward(x) and backward(dy). A function gets
    tensors of exactly the shapes that are asked for. For numbers given by --input, value and derivatives are printed.
    """
    from gradcheck.cli.terminal.delivery import deliver, summarise  # noqa: PLC0415 - as above
    from gradcheck.cli.terminal.streams import write_report  # noqa: PLC0415 - as above
    from gradcheck.reporters import REPORTERS  # noqa: PLC0415 - as above
    from gradcheck.session.layer import Target  # noqa: PLC0415 - not needed for --help

    start = time.perf_counter()
    parsed_shapes, dtypes = zip(*map(_shape, shapes), strict=True) if shapes else ((), ())
    asked = Target(
        name=target,
        shapes=parsed_shapes,
        dtypes=dtypes,
        values=[_with_complex(_yaml("--input", value)) for value in values],
        kwargs=_arguments(kwargs),
        order=order,
        points=points,
        methods=methods,
        training=training,
        surrogate=surrogate,
        against=against,
        seed=seed,
        precision=precision,
    )
    _check_counts(asked)
    reports = destinations(formats, output)
    for one in reports:
        require_writable(one.file)
    report, derivatives = _checked(asked)
    if derivatives and Destination("table") in reports:
        write_report(derivatives_table(derivatives, order=order) + "\n\n")
    deliver(report, REPORTERS, reports, show=show)
    summarise(report, time.perf_counter() - start)
    return report.exit_code


def _checked(target: Target) -> tuple[Report, Sequence[Derivatives]]:
    """Return the report over the one run, and the derivatives to print."""
    from gradcheck.cli.configs.checking import print_traceback  # noqa: PLC0415 - not needed for --help
    from gradcheck.cli.terminal.progress import progress  # noqa: PLC0415 - as above
    from gradcheck.session.configs import CheckOptions, envelope, errored  # noqa: PLC0415 - as above
    from gradcheck.session.layer import layer_config  # noqa: PLC0415 - as above
    from gradcheck.workers import Task, workers  # noqa: PLC0415 - as above

    file, colon, _ = target.name.partition(".py:")
    folder = Path(file).parent if colon else None
    with workers(verbose=settings().verbose) as pool:
        loaded = layer_config(target)
        options = CheckOptions(on_error=print_traceback) if settings().verbose else CheckOptions()
        task = Task(target="gradcheck.session.layer:check_layer", arguments=(target, loaded, options))
        with progress(1) as show:
            (result,) = pool.run([task], lambda index, stage: show(index, f"{target.name}: ", stage))
    if isinstance(result, GradcheckError):
        return envelope([errored(loaded, result)], folder=folder), ()
    return envelope([result.run], result.environment, folder=folder), result.derivatives


def _shape(text: str) -> tuple[tuple[int, ...], str | None]:
    """Parse `8,16` or `4:int32` into shape and dtype."""
    found = _SHAPE.match(text)
    if found is None:
        message = f"--input-shape takes whole numbers with commas between, such as 8,16. Received: {text!r}"
        raise UsageError(message, code="GC010", help="leave out the batch axis; name a dtype as 4:int32")
    return tuple(int(n) for n in re.findall(r"\d+", found["shape"])), found["dtype"]


def _yaml(name: str, text: str) -> Any:
    """Return the value of an option that is YAML.

    Raises:
        ConfigErrors: if it is not valid YAML.
    """
    from gradcheck.config.yaml.document import compose  # noqa: PLC0415 - not needed for --help
    from gradcheck.config.yaml.reader import Loader  # noqa: PLC0415 - as above
    from gradcheck.config.yaml.texts import SourceText  # noqa: PLC0415 - as above
    from gradcheck.errors import ConfigErrors  # noqa: PLC0415 - as above

    root, mistakes = compose(SourceText(Path(name), text), name)
    if mistakes:
        raise ConfigErrors(mistakes)
    return None if root is None else Loader("", "").build(root)


#: `1+2j`, which YAML takes for text.
_REAL = r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?"
_COMPLEX = re.compile(rf"^[+-]?({_REAL}[+-]({_REAL})?|{_REAL})[ji]$", re.IGNORECASE)


def _with_complex(value: Any) -> Any:
    """Return `value` with complex numbers for texts such as `1+2j`."""
    if isinstance(value, list):
        return [_with_complex(item) for item in value]
    if not isinstance(value, str) or not _COMPLEX.match(value.replace(" ", "")):
        return value
    return complex(value.replace(" ", "").replace("i", "j"))


def _arguments(text: str | None) -> dict[str, Any]:
    """Return the value of `--kwargs`."""
    arguments = {} if text is None else _yaml("--kwargs", text)
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        message = f"--kwargs takes a mapping of names to values, such as '{{units: 4}}'. Received: {text}"
        raise UsageError(message, code="GC010")
    return arguments


def _check_counts(target: Target) -> None:
    """Raise UsageError for a target without inputs, or for unequal numbers of shapes and values."""
    shapes, values = len(target.shapes), len(target.values)
    if not shapes and not values:
        message = f"{target.name} needs an input"
        raise UsageError(message, code="GC010", help="add --input-shape 8,16 (without the batch axis), or --input 3.0")
    if shapes and values and shapes != values:
        message = f"as many --input-shape as --input are needed, or only one of them. Received: {shapes} and {values}"
        raise UsageError(message, code="GC010")


def derivatives_table(rows: Sequence[Derivatives], *, order: int) -> str:
    """Return a header and one line for each element of the inputs, in columns."""
    heads = ["input", "at", "value", "first derivative", "second derivative"][: 3 + order]
    figures = ((row.name, (row.at, row.value, row.first, row.second)[: 2 + order]) for row in rows)
    cells = [[name, *map(_figure, numbers)] for name, numbers in figures]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in (heads, *cells))
    return "\n".join(line.rstrip() for line in lines)


def _figure(value: complex | None) -> str:
    return "none" if value is None else f"{value:.9g}"
