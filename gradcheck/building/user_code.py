"""The user's own code: found by name, loaded in isolation, and reported at its own line when it raises."""

from __future__ import annotations

import copy
import hashlib
import importlib
import importlib.util
import inspect
import itertools
import pkgutil
import sys
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.imports import Names, imported_once, imports_of, is_made_once, training_told
from gradcheck.building.messages import as_first_raised, described, raised, user_location
from gradcheck.config.keyed import KeyedError, KeyedRunError, at
from gradcheck.errors import GradcheckError
from gradcheck.phrases import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gradcheck.building.imports import Imports


#: The beginning of the names of modules that are files.
_KEPT = "gradcheck_user_"


def load(reference: str, base: Path, *, code: str = "GC050") -> Any:
    """Return the object that `reference` names.

    Args:
        reference: `package.module:Name` or `./file.py:Name`, the file relative to `base`; the name may be dotted.
        base: the folder of the config. Modules beside the config, or beside the file, can be imported while loading.
        code: the code of the error if the module raises when it is imported.

    A file is imported once in a run (`imports.imported_once`), as a module of its own, and the modules that it imported
    from its folder are removed from `sys.modules` afterwards: two configs with a `model.py` or a `helper.py` each never
    share them, and the next run uses edited files. A layer or a loss at the top of a module is created anew each time
    it is loaded.

    Raises:
        KeyedError: GC028 if the file, the module or the name in it does not exist.
        RunError: `code` if importing it raises.
    """
    with imported_once() as imports:
        known, names = len(imports.files), Names.of_now()
        found = _attribute(reference, base, code, imports)
        if is_made_once(found) and len(imports.files) == known:
            imports.forget(_folder(reference, base), names)
            found = _attribute(reference, base, code, imports)
        return found


def load_module(name: str, base: Path, *, code: str = "GC050") -> ModuleType:
    """Return the module that `package.module` or `./file.py` names; otherwise as `load`."""
    with imported_once() as imports:
        return _module(f"{name}:", base, code, imports)


def made_by(what: str, reference: str, base: Path, code: str, kwargs: Mapping[str, Any]) -> Any:
    """Call a factory of the user's, and return an object that no earlier call has returned.

    If it returns an object of its module, the module is imported again to create another.

    Raises:
        KeyedError: GC028 if there is no such function.
        KeyedRunError: `code` if it is no function, or takes other arguments than `kwargs`.
        RunError: `code` if it raises, in the user's own file.
    """
    with imported_once() as imports:
        names = Names.of_now()
        for _ in range(2):
            with at("factory"):
                function = load(reference, base, code=code)
                _check_factory(what, reference, code, function)
            _check_arguments(what, reference, code, function, kwargs)
            with calling(what, reference, code, base):
                made = function(**copy.deepcopy(dict(kwargs)))
            if not imports.seen(made):
                break
            imports.forget(_folder(reference, base), names)
        return made


def _check_factory(what: str, reference: str, code: str, function: Any) -> None:
    """Raise for an object in place of the function that makes it, such as a model at the top of a module."""
    if callable(function) and not isinstance(function, (keras.Layer, keras.losses.Loss)):
        return
    name = reference.rpartition(":")[2]
    message = f"{what} {reference} must be a function that makes the object. Received: a {type(function).__name__}"
    raise KeyedRunError(message, code=code, help=f"write a function that makes and returns `{name}`, and name that")


def _check_arguments(what: str, reference: str, code: str, function: Any, kwargs: Mapping[str, Any]) -> None:
    """Raise if `function` cannot be called with `kwargs` alone."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin has none
        return
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        unknown = next((key for key in kwargs if key not in signature.parameters), None)
        given = f"with {', '.join(kwargs)}" if kwargs else "without arguments"
        message = f"{what} {reference} is called {given}, and that does not fit it: {error}"
        help_ = f"a factory takes what `kwargs` gives it. {reference.rpartition(':')[2]}{signature}"
        if unknown is not None:
            help_ = did_you_mean(unknown, signature.parameters, help_) or help_
        wrong = KeyedRunError(message, code=code, help=help_)
        wrong.keys = ("factory",) if unknown is None else ("kwargs", unknown)
        wrong.at_key = unknown is not None
        raise wrong from None


def _module(reference: str, base: Path, code: str, imports: Imports) -> ModuleType:
    """Return the module of `reference`."""
    module_name = reference.rpartition(":")[0]
    key = _folder(reference, base), module_name
    if key not in imports.files:
        read = _load_file if _is_file(module_name) else _import
        with training_told(module_name, imports), imports.taking_names(key):
            imports.files[key] = read(reference, base, code)
    imports.take_names(key)
    return imports.files[key]


def _attribute(reference: str, base: Path, code: str, imports: Imports) -> Any:
    """Return the object that `reference` names in its module."""
    module_name, _, attribute = reference.rpartition(":")
    found: Any = _module(reference, base, code, imports)
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = (name for name in dir(found) if not name.startswith("_"))
            known = [name for name in public if not isinstance(getattr(found, name, None), ModuleType)]
            help_ = did_you_mean(part, known, f"define {part} in {module_name}")
            raise KeyedError(f"{module_name} has no {part}. Received: {reference}", code="GC028", help=help_)
        found = getattr(found, part)
    return found


@contextmanager
def calling(what: str, reference: str, code: str, base: Path | None = None) -> Iterator[None]:
    """Turn an exception that the user's code raises inside into a RunError that names `what`, file and line.

    Args:
        what: the kind of code that is called, for the message: `factory`, `loss`, `candidate`.
        reference: the name that it was loaded by.
        code: the code of the error.
        base: if given, modules beside the code can be imported inside too, as functions that import late need.

    Raises:
        RunError: with the exception as its cause. KeyboardInterrupt and gradcheck's own errors are raised unchanged.
    """
    try:
        if base is None:
            yield
        else:
            with _importable(_folder(reference, base)):
                yield
    except GradcheckError as error:
        raise as_first_raised(error) from None
    except (Exception, SystemExit) as error:
        message = f"{what} {reference} raised {described(error)}"
        raise raised(message, error, code, location=user_location(error, reference)) from error


def _is_file(module_name: str) -> bool:
    return module_name.endswith(".py") or "/" in module_name or "\\" in module_name


def _folder(reference: str, base: Path) -> Path:
    """Return the folder of the modules beside the code: the file's folder, or for a module name the config's."""
    module_name = reference.rpartition(":")[0]
    return (base / module_name).resolve().parent if _is_file(module_name) else base.resolve()


def _load_file(reference: str, base: Path, code: str) -> ModuleType:
    """Import the file of `reference` as a module under a new name.

    The module stays in `sys.modules`, where dataclasses and pickling look it up.
    """
    path = (base / reference.rpartition(":")[0]).resolve()
    if not path.is_file():
        beside = (p.name for p in path.parent.glob("*.py"))
        help_ = did_you_mean(path.name, beside, "paths are relative to the config file")
        raise KeyedError(f"no such file: {path}. Received: {reference}", code="GC028", help=help_)
    name = _fresh_name(path)
    spec = importlib.util.spec_from_file_location(name, path, loader=_SourceLoader(name, str(path)))
    if spec is None or spec.loader is None:
        raise KeyedError(f"not a Python file: {path}. Received: {reference}", code="GC028")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with calling("importing", reference, code, base):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _SourceLoader(SourceFileLoader):
    """Compiles the source each time: cached bytecode does not notice an edit within the same second."""

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _fresh_name(path: Path) -> str:
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    names = (f"{_KEPT}{path.stem}_{digest}_{n}" for n in itertools.count())
    return next(name for name in names if name not in sys.modules)


def _import(reference: str, base: Path, code: str) -> ModuleType:
    """Import the module of `reference`, installed or beside the config."""
    module_name = reference.rpartition(":")[0]
    try:
        with _importable(_folder(reference, base)):
            return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            modules = (m.name for m in pkgutil.iter_modules([str(base)]))
            help_ = did_you_mean(module_name, modules, "for a file, write ./file.py:Name")
            raise KeyedError(f"no module {module_name}. Received: {reference}", code="GC028", help=help_) from error
        with calling("importing", reference, code):
            raise
    except (Exception, SystemExit):
        with calling("importing", reference, code):
            raise


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Make the modules of `folder` importable inside, and restore `sys.path` and `sys.modules`.

    Modules of the same names from other folders are removed meanwhile; installed packages stay. No bytecode is written,
    so that an edit right after loading takes effect.
    """
    local = {module.name for module in pkgutil.iter_modules([str(folder)])}
    hidden = {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in local and _is_users(name, module) and not _lies_in(module, folder)
    }
    for name in hidden:
        del sys.modules[name]
    before, path, bytecode = set(sys.modules), list(sys.path), sys.dont_write_bytecode
    beside = imports_of(folder)
    sys.modules.update(beside)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.dont_write_bytecode = bytecode
        sys.path[:] = path
        for name in set(sys.modules) - before:
            if _is_users(name, sys.modules[name]) and _lies_in(sys.modules[name], folder):
                beside[name] = sys.modules.pop(name)
        sys.modules.update(hidden)


def _origin(module: ModuleType) -> Path | None:
    """Return the file of `module`, or the folder of a package without one, without triggering lazy modules."""
    attributes = getattr(module, "__dict__", {})
    places = [attributes.get("__file__"), *(attributes.get("__path__") or ())]
    return next((Path(place).resolve() for place in places if place), None)


def _is_users(name: str, module: ModuleType) -> bool:
    """Whether `module` is neither installed, built in, gradcheck's nor a file that `load` keeps."""
    origin, package = _origin(module), name.partition(".")[0]
    kept = package == __name__.partition(".")[0] or package.startswith(_KEPT)
    installed = origin is None or not {"site-packages", "dist-packages"}.isdisjoint(origin.parts)
    return not kept and not installed and package not in sys.stdlib_module_names


def is_users(name: str, module: ModuleType) -> bool:
    """Whether `module` is the user's own: one that is not installed, or a file that `load` keeps."""
    return name.startswith(_KEPT) or _is_users(name, module)


def _lies_in(module: ModuleType, folder: Path) -> bool:
    origin = _origin(module)
    return origin is not None and origin.is_relative_to(folder)
