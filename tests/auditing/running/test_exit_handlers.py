from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

from gradcheck.auditing.running.exit_handlers import ExitHandlers

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def test_they_run_once_the_last_one_first() -> None:
    calls: list[Any] = []
    functions = atexit.register, atexit.unregister
    with ExitHandlers() as handlers:

        @atexit.register
        def first() -> None:
            calls.append("first")

        atexit.register(calls.append, 1)
        assert atexit.register(calls.extend, ("a", "b")) == calls.extend
        atexit.register(lambda **named: calls.append(named), key="word")
        atexit.register(lambda: atexit.register(calls.append, "late"))
        atexit.unregister(calls.append)
        handlers.run()
    first()
    assert calls == ["late", {"key": "word"}, "a", "b", "first", "first"]
    assert (atexit.register, atexit.unregister) == functions


def test_what_one_raises_keeps_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda about: seen.append((about.err_msg, about.exc_type)))
    calls: list[str] = []
    with ExitHandlers():
        atexit.register(calls.append, "called")
        atexit.register(sys.exit, 3)
    assert seen == [("Exception ignored in atexit callback", SystemExit)]
    assert calls == ["called"]


def test_they_see_the_script_and_print_beside_the_report(audit: Callable[..., Any]) -> None:
    script = """
        import atexit, os, sys
        from gradcheck.auditing.watch import update

        def last():
            print("last", os.path.basename(sys.argv[0]), sys.modules["__main__"].last is last)

        atexit.register(last)
        while True:
            update()
    """
    done = audit(script, "--format", "json", "train.py")
    assert done.stderr.endswith("last train.py True\n")
    assert done.stderr.count("last") == 1
    assert done.stdout.endswith("}\n")
