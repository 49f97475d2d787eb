from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

#: TensorFlow and Keras as far as it matters here: Keras needs TensorFlow, which reads a setting and prints.
PACKAGES = {
    "tensorflow.py": """
        import os, sys
        setting = os.environ.get("SETTING")
        print("chatter", file=sys.stderr)
        class config:
            list_physical_devices = list
    """,
    "keras.py": "from tensorflow import setting\n",
}
SCRIPT = """
import os, sys
os.environ["SETTING"] = "the script's"
watched = sys.modules["gradcheck.auditing.watch"].CountingWatch
print("watched before:", hasattr(watched, "latest"))
import {package} as package
print("watched after:", watched.latest.entered, package.setting)
print(type(package.__loader__).__name__, package.__spec__.loader is package.__loader__)
print([type(finder).__name__ for finder in sys.meta_path])
watched.latest.update()
"""


@pytest.mark.parametrize("package", ["tensorflow", "keras"])
def test_it_begins_when_what_is_watched_has_been_imported(audit: Callable[..., Any], package: str) -> None:
    files = {**PACKAGES, "train.py": SCRIPT.format(package=package)}
    done = audit(files, "--import-tensorflow", "train.py")
    assert done.returncode == 0, done.stderr
    assert "watched before: False\n" in done.stderr
    assert "watched after: ['in'] the script's\n" in done.stderr
    assert "SourceFileLoader True\n" in done.stderr
    assert "Observation" not in done.stderr
    assert "chatter" not in done.stderr
    assert "chatter" in audit(files, "--import-tensorflow", "-v", "train.py").stderr


def test_what_cannot_be_imported_is_the_scripts_error(audit: Callable[..., Any]) -> None:
    files = {**PACKAGES, "keras.py": "import tensorflow\nraise ImportError('no keras here')\n"}
    done = audit({**files, "train.py": "import keras\n"}, "--import-tensorflow", "train.py")
    assert done.returncode == 3
    assert "train.py raised ImportError: no keras here" in done.stderr


def test_a_script_without_tensorflow_proves_nothing(audit: Callable[..., Any]) -> None:
    done = audit({**PACKAGES, "train.py": "print('no model')\n"}, "--import-tensorflow", "train.py")
    assert done.returncode == 4
