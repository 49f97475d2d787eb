from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

USER_OUTPUT = """
import ctypes, os, sys
from gradcheck.workers.output import user_output_to_stderr
kept = sys.stdout
print("before")
with user_output_to_stderr():
    print("python")
    kept.write("kept\\n")
    os.write(1, b"descriptor\\n")
    os.system("echo child")
    ctypes.CDLL(None).printf(b"c\\n")
print("after")
"""
NO_C_LIBRARY = """
import ctypes, os
def windows(name):
    raise TypeError("argument of type 'NoneType' is not iterable")
ctypes.CDLL = windows
from gradcheck.workers.output import user_output_to_stderr
with user_output_to_stderr():
    print("python")
print("after")
"""
HELD_BACK = """
import os, sys, types
from gradcheck.workers import output as streams
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "tensorflow":
            os.write(2, b"chatter\\n")
            {action}
sys.meta_path.insert(0, Finder)
try:
    streams.quiet_tensorflow(verbose={verbose})
except ImportError as error:
    print(error)
print("told", file=sys.stderr)
print(os.environ.get("TF_CPP_MIN_LOG_LEVEL"))
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter: these tests are about descriptors, which pytest has its own plans for."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=ROOT,
        env={"PATH": ""},
    )


def test_what_user_code_prints_goes_to_standard_error() -> None:
    done = run(USER_OUTPUT)
    assert done.stdout.splitlines() == ["before", "after"]
    assert sorted(done.stderr.splitlines()) == sorted(["python", "kept", "descriptor", "child", "c"])


def test_where_there_is_no_c_library_by_that_name_as_on_windows() -> None:
    done = run(NO_C_LIBRARY)
    assert (done.stdout, done.stderr) == ("after\n", "python\n")


def test_the_chatter_of_an_import_is_dropped() -> None:
    done = run(HELD_BACK.format(action="sys.modules[name] = types.ModuleType(name)", verbose=False))
    assert done.stderr == "told\n"
    assert done.stdout.splitlines()[-1] == "3"


def test_an_import_that_fails_shows_it() -> None:
    done = run(HELD_BACK.format(action="raise ImportError('broken')", verbose=False))
    assert done.stdout.splitlines() == ["broken", "3"]
    assert done.stderr == "chatter\ntold\n"


def test_verbose_shows_it() -> None:
    done = run(HELD_BACK.format(action="raise ImportError('broken')", verbose=True))
    assert done.stdout.splitlines() == ["broken", "None"]
    assert done.stderr == "chatter\ntold\n"
