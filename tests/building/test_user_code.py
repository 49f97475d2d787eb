from __future__ import annotations

import linecache
import os
import py_compile
import sys
from typing import TYPE_CHECKING

import pytest

from gradcheck.building import user_code
from gradcheck.errors import ConfigError, GradcheckError, RunError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python writes bytecode, whatever the environment says."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_a_name_in_a_file_beside_the_config(tmp_path: Path) -> None:
    write(tmp_path, model="def build():\n    return 7\n")
    assert user_code.load("./model.py:build", tmp_path)() == 7


def test_a_dotted_name(tmp_path: Path) -> None:
    write(tmp_path, model="class Net:\n    class Inner:\n        depth = 3\n")
    assert user_code.load("./model.py:Net.Inner.depth", tmp_path) == 3


def test_two_folders_with_files_of_the_same_names_do_not_mix(tmp_path: Path) -> None:
    one = write(tmp_path / "one", model="import helper\nvalue = helper.value\n", helper="value = 1\n")
    two = write(tmp_path / "two", model="import helper\nvalue = helper.value\n", helper="value = 2\n")
    assert [user_code.load("./model.py:value", folder) for folder in (one, two, one)] == [1, 2, 1]


def test_a_package_beside_the_file_is_forgotten_too(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = write(tmp_path / str(number), model="from parts.deep import value\n")
        write(folder / "parts", __init__="", deep=f"value = {number}\n")
        assert user_code.load("./model.py:value", folder) == number
    assert not [name for name in sys.modules if name.partition(".")[0] == "parts"]


def test_an_edit_within_the_same_second_and_of_the_same_size_is_seen(tmp_path: Path) -> None:
    write(tmp_path, model="import helper\nvalue = 1, helper.value\n", helper="value = 1\n")
    assert user_code.load("./model.py:value", tmp_path) == (1, 1)
    write(tmp_path, model="import helper\nvalue = 2, helper.value\n", helper="value = 2\n")
    assert user_code.load("./model.py:value", tmp_path) == (2, 2)


def test_bytecode_that_the_user_left_behind_is_not_believed(tmp_path: Path) -> None:
    write(tmp_path, model="value = 1\n")
    path = tmp_path / "model.py"
    times = path.stat()
    py_compile.compile(str(path))
    write(tmp_path, model="value = 2\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert user_code.load("./model.py:value", tmp_path) == 2


def test_loading_leaves_no_trace_in_path_modules_or_folder(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "own", model="import sys, helper\nsys.path.append('elsewhere')\nvalue = 1\n", helper="value = 1\n"
    )
    path, bytecode = list(sys.path), sys.dont_write_bytecode
    user_code.load("./model.py:value", folder)
    assert (sys.path, sys.dont_write_bytecode) == (path, bytecode)
    assert "helper" not in sys.modules
    assert sorted(p.name for p in folder.iterdir()) == ["helper.py", "model.py"]


def test_a_module_of_the_same_name_that_is_in_use_elsewhere_comes_back(tmp_path: Path) -> None:
    other = write(tmp_path / "other", helper="value = 'other'\n")
    own = write(tmp_path / "own", model="import helper\nvalue = helper.value\n", helper="value = 'own'\n")
    sys.path.insert(0, str(other))
    try:
        import helper  # type: ignore[import-not-found]

        assert user_code.load("./model.py:value", own) == "own"
        assert sys.modules["helper"] is helper
    finally:
        sys.path.remove(str(other))
        del sys.modules["helper"]


def test_a_dataclass_finds_its_module(tmp_path: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Size:\n    n: int\n"
    )
    write(tmp_path, model=text)
    assert user_code.load("./model.py:Size", tmp_path)(3).n == 3


def test_a_module_by_name_may_be_installed_or_lie_beside_the_config(tmp_path: Path) -> None:
    write(tmp_path / "package", __init__="", model="value = 5\n")
    assert user_code.load("package.model:value", tmp_path) == 5
    assert user_code.load("json:dumps", tmp_path)([1]) == "[1]"


@pytest.mark.parametrize(
    ("reference", "message", "help_"),
    [
        ("./modle.py:build", "no such file", "did you mean `model.py`?"),
        ("./model.py:biuld", "has no biuld", "did you mean `build`?"),
        ("./model.py:build.x", "has no x", "define x"),
        ("./model.py:maths", "has no maths", "define maths in ./model.py"),  # `math` is another module
        ("modle:build", "no module modle", "did you mean `model`?"),
        ("json.nowhere:build", "no module json.nowhere", "write ./file.py:Name"),
    ],
)
def test_what_is_not_found_names_the_nearest(tmp_path: Path, reference: str, message: str, help_: str) -> None:
    write(tmp_path, model="import math\ndef build():\n    return 7\n")
    with pytest.raises(ConfigError, match=message) as caught:
        user_code.load(reference, tmp_path)
    assert caught.value.code == "GC028"
    assert help_ in (caught.value.help or "")
    assert reference in caught.value.message


@pytest.mark.parametrize("reference", ["./model.py:build", "model:build"])
def test_an_import_that_raises_is_located_in_the_file(tmp_path: Path, reference: str) -> None:
    write(tmp_path, model="x = 1\nimport not_there_at_all\n")
    with pytest.raises(RunError, match="not_there_at_all") as caught:
        user_code.load(reference, tmp_path, code="GC051")
    location = caught.value.location
    assert caught.value.code == "GC051"
    assert location is not None
    assert (location.path.name, location.line, location.excerpt) == ("model.py", 2, "import not_there_at_all")
    assert not [name for name, module in sys.modules.items() if getattr(module, "__file__", "") == str(location.path)]


def test_a_syntax_error_is_located_at_its_own_place(tmp_path: Path) -> None:
    write(tmp_path, model="x = 1\ny = = 2\n")
    with pytest.raises(RunError, match="SyntaxError") as caught:
        user_code.load("./model.py:x", tmp_path)
    location = caught.value.location
    assert location is not None
    assert (location.line, location.column, location.excerpt) == (2, 5, "y = = 2")


def call(folder: Path, text: str, *, base: Path | None = None) -> GradcheckError:
    """The error that calling `build` of a file with `text` ends in."""
    write(folder, model=text)
    linecache.clearcache()
    function = user_code.load("./model.py:build", folder)
    with pytest.raises(RunError) as caught, user_code.calling("factory", "./model.py:build", "GC051", base):
        function()
    return caught.value


def test_an_exception_names_the_call_the_line_and_the_cause(tmp_path: Path) -> None:
    error = call(tmp_path, "def build():\n    width = -1\n    raise ValueError(f'width is {width}')\n")
    assert error.message == "factory ./model.py:build raised ValueError: width is -1"
    assert error.code == "GC051"
    assert isinstance(error.__cause__, ValueError)
    location = error.location
    assert location is not None
    assert (location.path, location.line) == (tmp_path / "model.py", 3)
    assert location.excerpt == "    raise ValueError(f'width is {width}')"


def test_the_line_is_the_users_last_not_the_librarys(tmp_path: Path) -> None:
    error = call(tmp_path, "import numpy as np\ndef build():\n    return np.zeros((2, 3)) @ np.zeros((2, 3))\n")
    assert error.location is not None
    assert error.location.line == 3
    error = call(tmp_path, "import json\ndef build():\n    return json.loads('{')\n")
    assert error.location is not None
    assert (error.location.path.name, error.location.line) == ("model.py", 3)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tracebacks have columns from Python 3.11 on")
def test_the_expression_is_underlined(tmp_path: Path) -> None:
    location = call(tmp_path, "def build():\n    return 1 + (2 / 0)\n").location
    assert location is not None
    assert (location.column, location.length) == (17, len("2 / 0"))


def test_the_message_leaves_out_what_keras_wraps_around_it(tmp_path: Path) -> None:
    text = "import keras\ndef build():\n    return keras.layers.Reshape((5, 5))(keras.Input((4, 3)))\n"
    error = call(tmp_path, text)
    assert error.message == (
        "factory ./model.py:build raised ValueError: The total size of the tensor must be unchanged. "
        "Received: input_shape=(4, 3), target_shape=(5, 5)"
    )


def test_leaving_the_program_is_an_error_an_interrupt_is_not(tmp_path: Path) -> None:
    assert "SystemExit" in call(tmp_path, "import sys\ndef build():\n    sys.exit(3)\n").message
    with pytest.raises(KeyboardInterrupt), user_code.calling("factory", "./model.py:build", "GC051"):
        raise KeyboardInterrupt


def test_gradchecks_own_errors_pass_through() -> None:
    own = ConfigError("wrong", code="GC004")
    with pytest.raises(ConfigError) as caught, user_code.calling("factory", "./model.py:build", "GC051"):
        raise own
    assert caught.value is own


def test_a_function_that_imports_late_finds_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, model="def build():\n    import helper\n    return helper.value\n", helper="value = 4\n")
    function = user_code.load("./model.py:build", tmp_path)
    with user_code.calling("factory", "./model.py:build", "GC051", tmp_path):
        assert function() == 4
    assert "helper" not in sys.modules
