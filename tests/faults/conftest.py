"""A prepared problem, its correct split, and what an injection makes wrong in it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.comparing.keys import as_array
from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tensorwise import compare_all
from gradcheck.config.load import load_given
from gradcheck.faults import FAULTS
from gradcheck.faults.injection import Replays
from gradcheck.numerics import TolerancePolicy
from gradcheck.problem.prepare import prepare, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.faults.interface import Injection
    from gradcheck.problem.problem import Problem


@dataclass
class Study:
    """One problem, with its correct gradients both ways."""

    problem: Problem
    reference: Reference
    replays: Replays

    def injections(self, code: str, **wanted: str) -> list[Injection]:
        """Those of one fault; `place` and `effect` narrow them by a part of their texts."""
        (fault,) = (fault for fault in FAULTS if fault.code == code)
        found = list(fault.injections(self.problem))
        place, effect = wanted.get("place", ""), wanted.get("effect", "")
        return [i for i in found if place in i.place.text and effect in i.effect]

    def one(self, code: str, **wanted: str) -> Injection:
        """The one that `wanted` describes."""
        found = self.injections(code, **wanted)
        assert len(found) == 1, [(i.place.text, i.effect) for i in found]
        return found[0]

    def wrong(self, injection: Injection | None) -> dict[str, str]:
        """What differs from the monolithic model: status by `kind:path`. None injects nothing."""
        found = self.replays.right if injection is None else self.replays.gradients(injection)
        rows = compare_all(self.problem, self.reference, found, TolerancePolicy(), noise=False)
        return {f"{row.kind}:{row.path}": row.status for row in rows if row.failed}

    def wrong_weights(self, injection: Injection) -> set[str]:
        """The paths of the weights whose gradients are wrong."""
        return {key.partition(":")[2] for key in self.wrong(injection) if key.startswith("weight:")}

    def weights(self, injection: Injection | None = None) -> dict[str, Any]:
        """The gradients of the weights by path, as arrays."""
        found = self.replays.right if injection is None else self.replays.gradients(injection)
        return {key.path: as_array(value) for key, value in found.tensors.items() if key.kind == "weight"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Study]]:
    """Prepares the problem of a config, once for each text in a module."""
    known: dict[str, Study] = {}
    with ExitStack() as sessions:

        def made(config: str, files: dict[str, str] | None = None) -> Study:
            if config not in known:
                folder = tmp_path_factory.mktemp("study")
                for name, text in (files or {}).items():
                    (folder / name).write_text(dedent(text), encoding="utf-8")
                (folder / "config.yaml").write_text(dedent(config), encoding="utf-8")
                loaded = load_given(folder / "config.yaml", {})
                sessions.enter_context(session(loaded.config))
                problem = prepare(loaded.config, loaded.base)
                known[config] = Study(problem, Reference(problem), Replays(problem))
                assert known[config].wrong(None) == {}
            return known[config]

        yield made


@pytest.fixture(scope="session")
def same() -> Callable[[Any, Any], None]:
    """Asserts that two mappings of gradients are equal but for rounding; None equals None only."""

    def check(found: dict[str, Any], expected: dict[str, Any]) -> None:
        assert found.keys() == expected.keys()
        for path, value in expected.items():
            if value is None:
                assert found[path] is None, path
            else:
                np.testing.assert_allclose(found[path], np.asarray(value), rtol=1e-5, atol=1e-7, err_msg=path)

    return check
