from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.auditing.running.script import as_main, execute, script_file, script_module
from gradcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

#: All that a script may ask of its surroundings.
LOOK = """
'''What it is for.'''
from __future__ import annotations
import os, sys
here = {name: repr(value).split(" object at")[0] for name, value in sorted(globals().items()) if name.startswith("__")}
print(here)
print(sys.argv, sys.path[0], os.getcwd(), sys.modules["__main__"].__dict__ is globals(), file=sys.stdout)
print(f"{sys.stdin.read()!r} {__name__ == '__main__'} {sys._getframe().f_code.co_filename}")
"""
PACKAGE = {
    "package/__init__.py": "import sys; print('the package', sys.argv, sys.path[0])",
    "package/__main__.py": LOOK,
    "package/inner/train.py": LOOK,
    "package/inner/__init__.py": "",
    "folder/train.py": LOOK,
    "train.py": LOOK,
}


@pytest.mark.parametrize(
    "arguments",
    [
        ["train.py", "--steps", "3", "--", "-m"],
        ["folder/train.py"],
        ["./folder/../train.py", "-v"],
        ["link.py"],
        ["-m", "package", "--epochs", "1"],
        ["-m", "package.inner.train", "--", "-q"],
        ["-m", "train"],
    ],
    ids=" ".join,
)
def test_it_sees_what_python_shows_it(
    audit: Callable[..., Any], write: Callable[[dict[str, str]], Path], arguments: list[str]
) -> None:
    folder = write(PACKAGE)
    (folder / "link.py").symlink_to(folder / "folder" / "train.py")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    plain = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        input="words",
        capture_output=True,
        text=True,
        check=True,
    )
    seen = audit({}, "-q", *arguments, input="words")
    assert plain.stdout.count("\n") >= 3
    assert seen.stderr == plain.stdout + plain.stderr
    assert seen.returncode == 4


def test_spawned_processes_and_pickles_find_it(audit: Callable[..., Any]) -> None:
    script = """
        import multiprocessing, pickle

        class Batch:
            size = 3

        def send(pipe):
            pipe.send((Batch(), __name__))

        if __name__ == "__main__":
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.get_context("spawn").Process(target=send, args=(theirs,))
            process.start()
            batch, name = ours.recv()
            process.join()
            print(batch.size, name, type(batch) is Batch, type(pickle.loads(pickle.dumps(batch))) is Batch)
    """
    done = audit(script)
    assert "3 __mp_main__ True True" in done.stderr, done.stderr


def test_processes_that_it_forks_end_as_usual(audit: Callable[..., Any]) -> None:
    script = """
        import multiprocessing, os, time
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(100,))
        child.start()
        child.terminate()
        child.join()
        print("ended by", child.exitcode)
        if os.fork() == 0:
            print("a child goes on to the end")
        else:
            os.wait()
    """
    done = audit(script)
    assert "ended by -15\n" in done.stderr
    assert done.stderr.count("a child goes on to the end") == done.stderr.count("1 script:") == 1
    assert done.returncode == 4


def test_what_it_prints_is_not_in_the_report(audit: Callable[..., Any]) -> None:
    script = """
        import os, sys
        print("by Python")
        sys.stdout.write("written")
        sys.__stdout__.write("to the first")
        os.write(1, b"to the descriptor")
        os.system("echo by a child")
    """
    done = audit(script, "--format", "json", "train.py")
    assert done.stdout.startswith("{")
    assert done.stdout.endswith("}\n")
    for text in ("by Python", "written", "to the first", "to the descriptor", "by a child"):
        assert text in done.stderr


def test_a_declared_encoding_is_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_bytes(b"# -*- coding: latin-1 -*-\nprint('\xe9t\xe9')\n")
    script = script_file(str(tmp_path / "a.py"), ())
    with as_main(script):
        execute(script)
    assert capsys.readouterr().out == "été\n"


def test_all_is_put_back(write: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    changing = """
        import os, signal, sys
        import helper
        sys.argv = ["other"]
        sys.path = ["nowhere"]
        sys.excepthook = print
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.chdir("/")
    """
    folder = write({"train.py": changing, "helper.py": "answer = 1"})
    monkeypatch.chdir(folder)

    def state() -> tuple[Any, ...]:
        main = sys.modules["__main__"], "helper" in sys.modules
        return sys.argv, sys.path, list(sys.path), sys.excepthook, Path.cwd(), main, signal.getsignal(signal.SIGINT)

    import signal

    before = state()
    for answer in (1, 2):
        (folder / "helper.py").write_text(f"answer = {answer}\nprint({answer})\n", encoding="utf-8")
        script = script_file("train.py", ())
        with as_main(script):
            execute(script)
            assert sys.modules["helper"].answer == answer
        assert state() == before
        assert state()[1] is before[1]


@pytest.mark.parametrize(
    ("path", "message", "help_"),
    [
        ("missing.py", "no such script: missing.py", "a module is run by -m NAME"),
        ("trian.py", "no such script: trian.py", "did you mean `train.py`?"),
        ("folder", "folder is a folder, not a script", "name a script in it, or run a package by -m folder"),
        ("image.py", "image.py is not valid Python: source code string cannot contain null bytes", "source text"),
        ("wrong.py", "wrong.py is not valid Python: invalid syntax", "source text"),
    ],
)
def test_what_is_no_script(
    write: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch, path: str, message: str, help_: str
) -> None:
    folder = write({"train.py": "", "folder/a.py": "", "wrong.py": "a = 1\nb = = 2\n"})
    (folder / "image.py").write_bytes(b"\x89PNG\r\n\0\0")
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError) as raised:
        script_file(path, ())
    assert message in raised.value.message
    assert help_ in (raised.value.help or "")
    line = raised.value.location and raised.value.location.line
    assert line == (2 if path == "wrong.py" else None)


@pytest.mark.parametrize(
    ("name", "message", "help_"),
    [
        ("missing", "no module named missing that can be run", "as `python -m` does"),
        ("package.missing", "no module named package.missing that can be run", "as `python -m` does"),
        ("package.inner", "the package package.inner has no __main__", "-m package.inner.MODULE"),
        ("train.py", "no module named train.py that can be run", "a file is run without -m: train.py"),
    ],
)
def test_what_is_no_module(
    write: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch, name: str, message: str, help_: str
) -> None:
    monkeypatch.chdir(write(PACKAGE))
    with pytest.raises(UsageError) as raised:
        script_module(name, ())
    assert message in raised.value.message
    assert help_ in (raised.value.help or "")
    assert "package" not in sys.modules


def test_a_module_is_found_without_being_imported(
    write: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(PACKAGE)
    monkeypatch.chdir(folder)
    found = script_module("package", ("a",))
    assert (found.name, found.file) == ("package", str(folder / "package" / "__main__.py"))
    assert "package" not in sys.modules
