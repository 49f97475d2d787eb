"""The tree of errors: a class has an exit code; an error has a catalogue code and says what to do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class ExitCode(IntEnum):
    """The exit codes of the process."""

    OK = 0
    MISMATCH = 1
    USAGE = 2
    RUNTIME = 3
    VACUOUS = 4
    INTERRUPTED = 130


#: From the most to the least serious: the exit code for several configs is the first of these that occurred.
SEVERITY: tuple[ExitCode, ...] = (
    ExitCode.INTERRUPTED,
    ExitCode.RUNTIME,
    ExitCode.USAGE,
    ExitCode.MISMATCH,
    ExitCode.VACUOUS,
    ExitCode.OK,
)


def most_serious(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the most serious of `codes`; OK if there are none."""
    return min(codes, key=SEVERITY.index, default=ExitCode.OK)


@dataclass(frozen=True, kw_only=True)
class Location:
    """A place in a text file. `line` and `column` count from 1; `length` characters are underlined."""

    path: Path
    line: int
    column: int = 1
    length: int = 1
    excerpt: str | None = None  # the whole line without its line break

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One mistake: what failed and what was received, where, and what to do.

    Errors hold it, reports store it, and the command line prints it.
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
        """Return the same mistake at `location`; unchanged if that is None."""
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
        """The place of the mistake; None if no file is known."""
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
    """The base of all errors whose message is written for the user.

    Args:
        message: what failed and what was received, in one sentence or two.
        code: its entry in the catalogue.
        location: the file, line and column of the mistake, if known.
        help: what to do about it.
    """

    message: str
    code: str = field(default="GC050", kw_only=True)
    location: Location | None = field(default=None, kw_only=True)
    help: str | None = field(default=None, kw_only=True)

    exit_code = ExitCode.RUNTIME

    #: Keras raises an error with this mark unchanged; of any other error inside a layer it keeps the text alone.
    _keras_call_info_injected = True

    def __post_init__(self) -> None:
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle all attributes: the default of exceptions restores the message alone."""
        return _made_again, (type(self), vars(self))

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The mistakes of this error: a single one, unless the class collects several."""
        mistake = Mistake(code=self.code, message=self.message, exit_code=int(self.exit_code), help=self.help)
        return (mistake.at(self.location),)


def _made_again(cls: type[GradcheckError], attributes: dict[str, Any]) -> GradcheckError:
    error = cls.__new__(cls, attributes["message"])
    vars(error).update(attributes)
    return error


class UsageError(GradcheckError):
    """An invalid command line."""

    exit_code = ExitCode.USAGE


class ConfigError(GradcheckError):
    """An invalid config, or an invalid name in it. The code is below GC050."""

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
    """The model, the data or a candidate raised an exception or returned an unusable value: GC05x or GC608."""

    exit_code = ExitCode.RUNTIME


class Interrupted(GradcheckError):  # noqa: N818 - it is no error of anybody's
    """Ctrl-C, or SIGTERM, ended a config before its result: GC060.

    `known` is what was known of it by then.
    """

    exit_code = ExitCode.INTERRUPTED

    def __init__(self, message: str, known: Sequence[Any] = ()) -> None:
        super().__init__(message, code="GC060")
        self.known = tuple(known)


class CannotAsk(RunError):  # noqa: N818 - it is no error of anybody's
    """Another engine cannot run this model: the check is inconclusive, for the reason in the message."""


class NotApplicable(RunError):  # noqa: N818 - it is no error of anybody's
    """A method does not apply to this model: nothing is proven, and nothing is wrong."""
