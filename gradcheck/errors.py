"""One error tree: each class owns its exit code, every error its catalogue code and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class ExitCode(IntEnum):
    """What the process returns, by the most serious thing that happened."""

    OK = 0
    MISMATCH = 1
    USAGE = 2
    RUNTIME = 3
    VACUOUS = 4
    INTERRUPTED = 130


#: From the most to the least serious: with several configs the first that occurred is returned.
SEVERITY: tuple[ExitCode, ...] = (
    ExitCode.RUNTIME,
    ExitCode.USAGE,
    ExitCode.MISMATCH,
    ExitCode.VACUOUS,
    ExitCode.OK,
)


def most_serious(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code that stands for all of `codes`; OK for none."""
    return min(codes, key=SEVERITY.index, default=ExitCode.OK)


@dataclass(frozen=True, kw_only=True)
class Location:
    """A place in a text file. `line` and `column` count from 1; `length` characters are underlined."""

    path: Path
    line: int
    column: int = 1
    length: int = 1
    excerpt: str | None = None  # the line itself, without its line break

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One thing that is wrong: what failed (with what was received), where, and what to do.

    It is what an error holds, what a report shows, and what is printed.
    """

    code: str
    message: str
    exit_code: int = int(ExitCode.RUNTIME)
    file: str | None = None
    line: int | None = None
    column: int | None = None
    length: int = 1
    excerpt: str | None = None
    help: str | None = None

    def at(self, location: Location | None) -> Mistake:
        """Return the same mistake at `location`, where that is known."""
        if location is None:
            return self
        return replace(
            self,
            file=str(location.path),
            line=location.line,
            column=location.column,
            length=location.length,
            excerpt=location.excerpt,
        )

    @property
    def location(self) -> Location | None:
        """Where it is; None where no file is known."""
        if self.file is None:
            return None
        return Location(
            path=Path(self.file),
            line=self.line or 1,
            column=self.column or 1,
            length=self.length,
            excerpt=self.excerpt,
        )


@dataclass(eq=False)
class GradcheckError(Exception):
    """Base of every error that a person is meant to read.

    Args:
        message: what failed and what was received, in one sentence or two.
        code: its entry in the catalogue.
        location: the file, line and column that the mistake is in, where there is one.
        help: what to do about it.
    """

    message: str
    code: str = field(default="GC050", kw_only=True)
    location: Location | None = field(default=None, kw_only=True)
    help: str | None = field(default=None, kw_only=True)

    exit_code = ExitCode.RUNTIME

    #: Keras's mark of an error that it raises on as it is: of others, raised inside a layer, it keeps the text alone.
    _keras_call_info_injected = True

    def __post_init__(self) -> None:
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle all of it: by itself an exception is made again of its message alone."""
        return _made_again, (type(self), vars(self))

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """Every single mistake in this error: one, unless the class collects several."""
        mistake = Mistake(code=self.code, message=self.message, exit_code=int(self.exit_code), help=self.help)
        return (mistake.at(self.location),)


def _made_again(cls: type[GradcheckError], attributes: dict[str, Any]) -> GradcheckError:
    error = cls.__new__(cls, attributes["message"])
    vars(error).update(attributes)
    return error


class UsageError(GradcheckError):
    """The command line is wrong."""

    exit_code = ExitCode.USAGE


class ConfigError(GradcheckError):
    """A config, or a name in it, is wrong. The code is below GC050."""

    exit_code = ExitCode.USAGE


class ConfigErrors(ConfigError):  # noqa: N818 - the plural says that it holds every mistake of a file
    """Every mistake of one config file at once."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        first = mistakes[0]
        super().__init__(first.message, code=first.code, location=first.location, help=first.help)
        self._mistakes = tuple(replace(mistake, exit_code=int(self.exit_code)) for mistake in mistakes)

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The mistakes in the order of their lines."""
        return self._mistakes


class RunError(GradcheckError):
    """The model, the data or a candidate raised or returned something unusable. The code is GC05x."""

    exit_code = ExitCode.RUNTIME


class NotApplicable(RunError):  # noqa: N818 - it is no error of anybody's
    """What was asked for does not go with this model: nothing is proven, and nothing is wrong."""
