"""The folders as a whole: their size, no cycle between files, one name for one thing, one door to Keras."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gradcheck"
MODULES = {
    ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in PACKAGE.rglob("*.py")
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
MOST_MODULES = 16

#: Subjects that recur through the layers under one name.
RECURRING_MODULES = {
    "errors",  # the tree of errors, and their rendering at a terminal
    "bench", "difference", "explain", "init", "layer", "mutation", "plan", "schema", "sweep",  # a command, its report
    "exempt", "training",  # what is compared or run, and the words for it
    "schedule",  # the order of micro-batches, and its record
    "data", "factory", "layers", "loss", "methods", "model", "numpy_layer",  # in a config, and what is made of it
    "custom_gradients",  # watching them, and diagnosing them
    "files",
    "live",  # sections of a config that hold objects, and the source of a model that is one
    "interface",  # what a method, a fault, a reporter and the options of an audit are
    "records",  # of a trace, and of the processes of an audit
}  # fmt: skip
RECURRING_CLASSES = {
    "NumpyLayer",  # the section of a config, and the layer that it asks for
    "Watch",  # of functions under tf.custom_gradient, and of training code: what is called is noted while it runs
}


def imported(name: str) -> set[str]:
    """The modules that a module imports when it is loaded or called, without those for types alone."""
    found: set[str] = set()
    tree = TREES[name]
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in for_types:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {n if n in MODULES else node.module for n in names}
    return (found & MODULES.keys()) - {name}


def test_no_folder_has_more_modules_than_a_reader_can_survey() -> None:
    sizes = {folder: len([*folder.glob("*.py")]) - 1 for folder in {path.parent for path in MODULES.values()}}
    assert {str(folder): size for folder, size in sizes.items() if size > MOST_MODULES} == {}


def test_every_folder_says_what_lives_there() -> None:
    packages = [name for name, path in MODULES.items() if path.name == "__init__.py"]
    assert [name for name in packages if not ast.get_docstring(TREES[name])] == []


def test_no_cycle_between_files() -> None:
    done: set[str] = set()
    on_the_way: list[str] = []

    def visit(name: str) -> None:
        assert name not in on_the_way, [*on_the_way[on_the_way.index(name) :], name]
        if name in done:
            return
        on_the_way.append(name)
        for other in sorted(imported(name)):
            visit(other)
        on_the_way.pop()
        done.add(name)

    for name in sorted(MODULES):
        visit(name)
    assert len(done) > 200


def test_one_name_for_one_module() -> None:
    places = defaultdict(list)
    for name, path in MODULES.items():
        if path.name not in ("__init__.py", "__main__.py"):
            places[name.rpartition(".")[2]].append(name)
    assert {leaf: found for leaf, found in places.items() if len(found) > 1 and leaf not in RECURRING_MODULES} == {}


def test_one_name_for_one_public_class() -> None:
    places = defaultdict(list)
    for name, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    assert {cls: found for cls, found in places.items() if len(found) > 1 and cls not in RECURRING_CLASSES} == {}


#: Private names of Keras, as code would write them; `_trainable` is also an attribute of our own.
PRIVATE = re.compile(
    r"""[."'](_keras_(?!call_info)\w+|_flatten_layers|_nodes_by_depth|_functional|_run_through_graph|_metrics)\b"""
)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_keras_is_reached_through_its_public_names(name: str) -> None:
    imports = [n.module or "" for n in ast.walk(TREES[name]) if isinstance(n, ast.ImportFrom)]
    private = [module for module in imports if module.startswith("keras.src")]
    private += PRIVATE.findall(MODULES[name].read_text(encoding="utf-8"))
    assert bool(private) == (name == "gradcheck.keras_private"), private
