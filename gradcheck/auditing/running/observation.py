"""The observation of a script, from the moment on at which TensorFlow has been imported."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from dataclasses import replace
from importlib.abc import Loader, MetaPathFinder
from typing import TYPE_CHECKING, Any

from gradcheck.workers.output import startup_held_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from gradcheck.auditing.interface import AuditOptions
    from gradcheck.auditing.watch import Watch

_PACKAGES = ("tensorflow", "keras")


class Observation(MetaPathFinder):
    """Begins to watch as soon as the script has imported TensorFlow or Keras.

    Not before: what a script sets in `os.environ` for them has to be there when they are imported.
    """

    def __init__(
        self, options: AuditOptions, *, end: Callable[[], None], tell: Callable[[str], None], verbose: bool
    ) -> None:
        self._options, self._end, self._tell, self._verbose = options, end, tell, verbose
        self._watch: Watch | None = None
        self._over = False
        self._depth = 0

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Look at what is imported inside."""
        if "tensorflow" in sys.modules:
            self._begin()
        else:
            sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            self._look_no_more()
            if self._watch is not None:
                self._end_of(self._watch)

    @property
    def watch(self) -> Watch | None:
        """The watch; None if the script has not imported TensorFlow so far."""
        return self._watch

    def expect_others(self) -> None:
        """Note what is seen so that it can be joined with what other processes see."""
        self._options = replace(self._options, record=True)
        if self._watch is not None:
            self._watch.crossings.wanted = True

    def abandon(self) -> None:
        """Watch no more and judge nothing: in a process that was forked from the one that is watched."""
        self._look_no_more()
        self._over = True
        if self._watch is not None:
            self._watch.stop()

    def finished(self) -> Watch:
        """Return the watch, which is over: one that has seen nothing if TensorFlow was never imported."""
        if self._watch is None:
            with startup_held_back(verbose=self._verbose):
                self._begin()
        watch = self._begin()
        self._end_of(watch)
        return watch

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find the packages that are waited for, with a loader that begins the observation after them."""
        if name not in _PACKAGES:
            return None
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Noticed(spec.loader, self)
        return spec

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Import one of the packages inside; begin after the outermost, which imports the other."""
        self._depth += 1
        try:
            if self._depth > 1:
                yield
                return
            with startup_held_back(verbose=self._verbose):
                yield
                self._look_no_more()
                self._begin()
        finally:
            self._depth -= 1

    def _begin(self) -> Watch:
        if self._watch is None:
            module = importlib.import_module("gradcheck.auditing.watch")
            self._watch = module.Watch(self._options, end=self._end, tell=self._tell).__enter__()
        return self._watch

    def _end_of(self, watch: Watch) -> None:
        if not self._over:
            self._over = True
            watch.__exit__(None, None, None)

    def _look_no_more(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)


class _Noticed(Loader):
    """A loader in whose place the module's own one is put before it runs."""

    def __init__(self, loader: Loader, observation: Observation) -> None:
        self._loader, self._observation = loader, observation

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with self._observation.importing():
            self._loader.exec_module(module)
