"""A script as the main program of this process: a file or a module, with all that Python gives to one."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import signal
import sys
import threading
import tokenize
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Protocol

from gradcheck.building.messages import is_foreign, user_location
from gradcheck.errors import UsageError
from gradcheck.phrases import did_you_mean, os_reason

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The main program, and what pickles of spawned processes call it.
_MAIN = ("__main__", "__mp_main__")


class Script(Protocol):
    """What can be run as the main program."""

    @property
    def name(self) -> str:
        """The name in reports."""
        ...

    @property
    def file(self) -> str:
        """The file in reports."""
        ...

    @property
    def reference(self) -> str:
        """`package.module:` of a module, by which its package is known as the user's own; else empty."""
        ...

    @property
    def argv(self) -> list[str]:
        """`sys.argv`."""
        ...

    @property
    def folder(self) -> str:
        """The first entry of `sys.path`."""
        ...

    def load(self) -> tuple[ModuleType, CodeType]:
        """Return the module `__main__` and the code to run in it."""
        ...


@dataclass(frozen=True, kw_only=True)
class ScriptFile:
    """A script as of `python path arguments`."""

    path: str
    arguments: tuple[str, ...] = ()
    code: CodeType
    reference: str = ""

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return Path(self.path).stem

    @property
    def file(self) -> str:
        """The path as it was given."""
        return self.path

    @property
    def argv(self) -> list[str]:
        """The path as it was given, then the arguments."""
        return [self.path, *self.arguments]

    @property
    def folder(self) -> str:
        """The file's folder, links resolved."""
        return str(Path(self.path).resolve().parent)

    def load(self) -> tuple[ModuleType, CodeType]:
        """Return the module and the code; the module has no spec."""
        file = self.code.co_filename
        return _main(file, cached=None, loader=SourceFileLoader("__main__", file), package=None, spec=None), self.code


@dataclass(frozen=True, kw_only=True)
class ScriptModule:
    """A module as of `python -m name arguments`; of a package its `__main__`."""

    name: str
    arguments: tuple[str, ...] = ()
    file: str

    @property
    def reference(self) -> str:
        """The module: an installed package counts as the user's own."""
        return f"{self.name}:"

    @property
    def argv(self) -> list[str]:
        """`-m`, which becomes the module's file once it is found, then the arguments."""
        return ["-m", *self.arguments]

    @property
    def folder(self) -> str:
        """The working directory."""
        return str(Path.cwd())

    def load(self) -> tuple[ModuleType, CodeType]:
        """Import the packages around the module, and return the module and its code."""
        spec = importlib.util.find_spec(self.name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{self.name}.__main__")
        loader = spec and spec.loader
        code = loader.get_code(spec.name) if spec and isinstance(loader, InspectLoader) else None
        if spec is None or code is None or spec.origin is None:
            raise _no_module(self.name)
        sys.argv[0] = spec.origin
        return _main(spec.origin, cached=spec.cached, loader=spec.loader, package=spec.parent, spec=spec), code


def _main(file: str, *, cached: str | None, loader: object, package: str | None, spec: ModuleSpec | None) -> ModuleType:
    """Return a module `__main__` with the attributes that Python gives it."""
    module = ModuleType("__main__")
    attributes = {"file": file, "cached": cached, "loader": loader, "package": package, "spec": spec}
    vars(module).update({f"__{name}__": value for name, value in attributes.items()}, __builtins__=builtins)
    if sys.version_info < (3, 14):
        vars(module)["__annotations__"] = {}
    return module


def script_file(path: str, arguments: tuple[str, ...]) -> ScriptFile:
    """Return the script at `path`, which is text, as Python leaves `./` and `..` in it.

    Raises:
        UsageError: if it cannot be read, or is no Python.
    """
    try:
        source = Path(path).read_bytes()
    except IsADirectoryError:
        otherwise = f"name a script in it, or run a package by -m {Path(path).name}"
        raise UsageError(f"{path} is a folder, not a script", code="GC001", help=otherwise) from None
    except FileNotFoundError:
        beside = (p.name for p in Path(path).parent.glob("*.py"))
        help_ = did_you_mean(Path(path).name, beside, "a module is run by -m NAME")
        raise UsageError(f"no such script: {path}", code="GC001", help=help_) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {os_reason(error)}", code="GC001") from None
    try:
        code = compile(source, os.path.join(Path.cwd(), path), "exec", dont_inherit=True)  # noqa: PTH118 - as said
    except (SyntaxError, ValueError) as error:  # a null byte is a ValueError in older versions
        says: str = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UsageError(
            f"{path} is not valid Python: {says}",
            code="GC001",
            location=user_location(error) if _is_text(path) else None,
            help="a script is Python source text",
        ) from None
    return ScriptFile(path=path, arguments=arguments, code=code)


def _is_text(path: str) -> bool:
    """Whether the file can be decoded as Python decodes source."""
    try:
        with tokenize.open(path) as file:
            return "\0" not in file.read()
    except (SyntaxError, UnicodeDecodeError):
        return False


def script_module(name: str, arguments: tuple[str, ...]) -> ScriptModule:
    """Return the module `name`, found without importing anything.

    Raises:
        UsageError: if there is none.
    """
    with _importing_from(str(Path.cwd())):
        spec = _found(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = _found("__main__", spec.submodule_search_locations, f"{name}.__main__")
            if spec is None:
                message = f"the package {name} has no __main__, and cannot be run"
                raise UsageError(message, code="GC028", help=f"name a module in it: -m {name}.MODULE")
    if spec is None:
        raise _no_module(name)
    return ScriptModule(name=name, arguments=arguments, file=spec.origin or name)


def _found(name: str, path: object = None, full_name: str = "") -> ModuleSpec | None:
    """Return the spec of a dotted name: each part is looked up in the folders of the package before it."""
    first, _, rest = name.partition(".")
    full_name = full_name or first
    specs = (finder.find_spec(full_name, path) for finder in sys.meta_path)  # type: ignore[arg-type]
    spec = next((spec for spec in specs if spec is not None), None)
    if spec is None or not rest:
        return spec
    return _found(rest, spec.submodule_search_locations or [], f"{full_name}.{rest.partition('.')[0]}")


def _no_module(name: str) -> UsageError:
    help_ = f"a file is run without -m: {name}" if name.endswith(".py") else "it is looked for as `python -m` does"
    return UsageError(f"no module named {name} that can be run", code="GC028", help=help_)


@contextmanager
def as_main(script: Script) -> Iterator[None]:
    """Make this process look like the script's own inside, and put all of it back.

    Put back are `sys.argv`, `sys.path`, the module `__main__`, `sys.excepthook`, the working directory and the handlers
    of SIGINT and SIGTERM; modules that were imported from the script's folder are removed.
    """
    argv, hook, folder = sys.argv, sys.excepthook, Path.cwd()
    main = {name: sys.modules[name] for name in _MAIN if name in sys.modules}
    modules = set(sys.modules)
    with ExitStack() as undone, _importing_from(script.folder):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                undone.callback(signal.signal, number, signal.getsignal(number))
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as in Python: processes that the script forks inherit it
        sys.argv = script.argv
        try:
            yield
        finally:
            sys.argv, sys.excepthook = argv, hook
            sys.modules.update(main)
            os.chdir(folder)
            for name in set(sys.modules) - modules:
                if _lies_in(sys.modules[name], Path(script.folder)):
                    del sys.modules[name]


@contextmanager
def _importing_from(folder: str) -> Iterator[None]:
    """Replace the first entry of `sys.path`, which is the main program's own, and put the list back."""
    path, entries = sys.path, list(sys.path)
    sys.path[:] = entries if getattr(sys.flags, "safe_path", False) else [folder, *entries[1:]]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path = path
        sys.path[:] = entries


def _lies_in(module: ModuleType, folder: Path) -> bool:
    """Whether the module is one of the user's, from a file below `folder`."""
    file = vars(module).get("__file__")
    return isinstance(file, str) and Path(file).resolve().is_relative_to(folder) and not is_foreign(file)


def execute(script: Script) -> None:
    """Run the script as `__main__`. Whatever it raises is raised here."""
    module, code = script.load()
    sys.modules.update({name: module for name in _MAIN if name in sys.modules})
    exec(code, vars(module))  # noqa: S102 - running it is what was asked for
