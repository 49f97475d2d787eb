"""Running the scripts of `tests/auditing/scripts` in this process, watched or not, and the weights they end with."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import runpy
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from gradcheck.auditing.interface import AuditOptions
from gradcheck.auditing.watch import Watch
from gradcheck.workers.task import silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.results.report import RunReport

SCRIPTS = Path(__file__).parent / "scripts"


def scripts(kind: str) -> list[Path]:
    """The scripts of one folder that start no processes."""
    found = sorted((SCRIPTS / kind).glob("*.py"))
    return [path for path in found if "multiprocessing" not in path.read_text(encoding="utf-8")]


def allowed(path: Path) -> tuple[str, ...]:
    """The codes that a script's first line asks to be accepted."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return tuple(first.partition("--allow")[2].split()) if first.startswith("# audit:") else ()


@contextlib.contextmanager
def fresh() -> Iterator[None]:
    """Run the body as in a new process, as far as scripts can tell."""
    argv, path, folder = list(sys.argv), list(sys.path), Path.cwd()
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.backend.clear_session()
    tf.random.set_seed(0)
    random.seed(0)
    np.random.seed(0)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            sys.argv[:], sys.path[:] = argv, path
            os.chdir(folder)
            keras.config.set_dtype_policy(policy)
            keras.config.set_floatx(floatx)
            tf.config.run_functions_eagerly(False)  # noqa: FBT003 - its signature


def plain(path: Path) -> dict[str, str]:
    """The weights at the end of a script that nobody watches."""
    with fresh():
        sys.argv[:] = [str(path)]
        return digests(runpy.run_path(str(path), run_name="__main__"))


def watched(path: Path, **options: Any) -> tuple[RunReport, dict[str, str]]:
    """The report on all of a script, and the weights at its end."""
    watch = Watch(AuditOptions(**{"steps": None, "allow": allowed(path), **options}), end=silent, tell=silent)
    with fresh():
        sys.argv[:] = [str(path)]
        with watch:
            names = runpy.run_path(str(path), run_name="__main__")
        found = digests(names)
    return watch.report(name=path.stem, file=str(path), seconds=0.0), found


def digests(names: dict[str, Any]) -> dict[str, str]:
    """A digest of every variable that is reached from the global names of a script, by the way to it."""
    found: dict[str, str] = {}
    seen: set[int] = set()
    waiting = [(name, value) for name, value in names.items() if not name.startswith("__")]
    while waiting:
        name, value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, (tf.Variable, keras.Variable)):
            array = np.asarray(tf.convert_to_tensor(value))
            found[name] = hashlib.sha256(array.tobytes()).hexdigest()
        elif isinstance(value, (keras.Model, keras.Layer, keras.optimizers.Optimizer)):
            waiting += [(f"{name}[{i}]", v) for i, v in enumerate(value.variables)]
            waiting += [(f"{name}.{key}", v) for key, v in vars(value).items() if key != "_tracker"]
        elif isinstance(value, dict):
            waiting += [(f"{name}[{key!r}]", v) for key, v in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [(f"{name}[{i}]", v) for i, v in enumerate(value)]
        elif type(value).__module__ in (names["__name__"], "__main__", "<run_path>") and hasattr(value, "__dict__"):
            waiting += [(f"{name}.{key}", v) for key, v in vars(value).items()]
        elif isinstance(value, tf.Module):
            waiting += [(f"{name}[{i}]", v) for i, v in enumerate(value.variables)]
    return found
