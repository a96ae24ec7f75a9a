"""How the package is built: who may import what, how full its root may be, and that a name stands for one thing.

Read from the syntax trees alone: nothing is imported.
"""

from __future__ import annotations

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mmgic"
MAY_USE_RAY = ("mmgic.stages", "mmgic.serving", "mmgic.training.run", "mmgic.training.tuning")
MAY_USE_TOY = ("mmgic.toy", "mmgic.presets", "mmgic.cli", "mmgic.jobs")
MODULES_AT_ROOT = 8


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def is_within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imports(tree: ast.Module, *, at_load: bool) -> set[str]:
    """The absolute names of imported modules and of what is imported from them; `at_load` leaves out functions'."""
    found = set()
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"relative import of {node.module}"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        lazily = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )
        if not (at_load and lazily):
            nodes.extend(ast.iter_child_nodes(node))
    return found


def test_modules_import_each_other_in_no_circle() -> None:
    graph = {name: {other for other in imports(tree, at_load=True) if other in TREES} for name, tree in TREES.items()}
    # a package's own __init__ gathers names of its modules, which therefore do not import it
    circle: list[str] = []
    try:
        TopologicalSorter({name: others - {name} for name, others in graph.items()}).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert circle == []


@pytest.mark.parametrize(
    ("library", "allowed"), [("ray", MAY_USE_RAY), ("mmgic.toy", MAY_USE_TOY)], ids=["ray", "the toy world"]
)
def test_only_these_import(library: str, allowed: tuple[str, ...]) -> None:
    users = {
        name
        for name, tree in TREES.items()
        if any(is_within(imported, (library,)) for imported in imports(tree, at_load=False))
    }
    assert users, f"no module imports {library} any more"
    assert {name for name in users if not is_within(name, allowed)} == set()


def test_the_root_of_the_package_stays_small() -> None:
    modules = [path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]
    assert len(modules) <= MODULES_AT_ROOT, modules


def test_a_class_name_stands_for_one_class() -> None:
    names = Counter(
        node.name
        for tree in TREES.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, count in names.items() if count > 1} == set()


def test_every_module_says_what_it_is_for() -> None:
    assert {name for name, tree in TREES.items() if tree.body and not ast.get_docstring(tree)} == set()
    assert ast.get_docstring(TREES["mmgic"])
