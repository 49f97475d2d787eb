"""What is built and released: the wheel's contents, its metadata, and that it works where it alone is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gradcheck"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree."""
    pytest.importorskip("hatchling", reason="it builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    done(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel alone, for PYTHONPATH; what it needs is that of this environment."""
    pytest.importorskip("pip", reason="it installs the wheel")
    folder = tmp_path_factory.mktemp("installed")
    done(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    return folder


def done(*command: str, cwd: Path | None = None, **environment: str) -> str:
    """The output of a command that succeeds."""
    ran = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def metadata(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [path for path in archive.namelist() if path.endswith(f".dist-info/{name}")]
        return archive.read(path).decode("utf-8")


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert packed == {path.relative_to(ROOT).as_posix() for path in files}
    needed = (
        "py.typed",
        "config/template.yaml",
        "catalogue/boundary.yaml",
        "reporters/pages/base.html.j2",
        "config/keras_table.json",
    )
    assert {f"gradcheck/{name}" for name in needed} <= packed


def test_the_metadata_says_what_is_known(wheel: Path) -> None:
    found = Parser().parsestr(metadata(wheel, "METADATA"))
    assert (found["Name"], found["License-Expression"], found["Requires-Python"]) == (
        "gradcheck",
        "Apache-2.0",
        ">=3.10",
    )
    assert "Framework :: Pytest" in found.get_all("Classifier", [])
    assert metadata(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert found.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    scripts = metadata(wheel, "entry_points.txt")
    assert "[console_scripts]\ngradcheck = gradcheck.__main__:run\n" in scripts
    assert "[pytest11]\ngradcheck = gradcheck.pytest_plugin\n" in scripts


@pytest.mark.on_request
def test_the_wheel_alone_writes_a_config_and_runs_it(installed: Path, tmp_path: Path) -> None:
    command, environment = (sys.executable, "-m", "gradcheck"), {"PYTHONPATH": str(installed)}
    where = done(sys.executable, "-c", "import gradcheck; print(gradcheck.__file__)", cwd=tmp_path, **environment)
    assert Path(where.strip()).is_relative_to(installed)
    done(*command, "init", cwd=tmp_path, **environment)
    assert "PASS" in done(*command, "run", "gradcheck.yaml", cwd=tmp_path, **environment)


def test_pytest_finds_the_plugin_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    template = (PACKAGE / "config" / "template.yaml").read_text(encoding="utf-8")
    (tmp_path / "mine.gradcheck.yaml").write_text(template, encoding="utf-8")
    command = (sys.executable, "-m", "pytest", "-p", "gradcheck", "--collect-only", "-q")
    environment = {"PYTHONPATH": str(installed), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # others take their time
    collected = done(*command, cwd=tmp_path, **environment)
    assert collected.startswith("mine.gradcheck.yaml::vjp\n")


#: An installation by our name alone. A direct reference, `gradcheck @ git+https://...`, asks no index.
BY_NAME = re.compile(
    r"(?:pip|uv|pipx|conda)\s+(?:\w+\s+)*install\s+(?:-\S+\s+)*['\"]?gradcheck(?!(?:\[[\w,]+\])? @ git\+https://)"
)


def test_no_text_installs_by_a_name_on_the_package_index() -> None:
    """The name is not known to be free there: advice names the package that is missing, this tree or a repository."""
    texts = [path for folder in ("gradcheck", "docs") for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts += [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
    written = (path for path in texts if path.suffix in (".py", ".yaml", ".md", ".j2"))
    found = {path.relative_to(ROOT).as_posix() for path in written if BY_NAME.search(path.read_text(encoding="utf-8"))}
    assert found == set()


@pytest.mark.parametrize(
    ("line", "by_name"),
    [
        ("pip install gradcheck", True),
        ("pip install -U 'gradcheck[html]'", True),
        ("uv pip install gradcheck==0.1.0", True),
        ("pip install gradcheck @", True),
        ('pip install "gradcheck @ git+https://github.com/OWNER/gradcheck@v0.1.0"', False),
        ('pip install "gradcheck[html,images] @ git+https://github.com/OWNER/gradcheck@v0.1.0"', False),
        ("pip install .", False),
    ],
)
def test_an_installation_by_name_is_told_from_a_direct_reference(line: str, by_name: bool) -> None:
    assert bool(BY_NAME.search(line)) is by_name
