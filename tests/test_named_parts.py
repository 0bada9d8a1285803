"""What tests, benchmarks, examples and scripts import of the package is there.

Most of them run rarely (a GPU's, those of hours) or late: a name that has moved is found here.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    file for folder in ("benchmarks", "examples", "scripts", "tests")
    for file in (ROOT / folder).rglob("*.py")
)  # fmt: skip
DOTTED = re.compile(r"mt_lottery(\.\w+)+")


def named(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of what is imported, and of what monkeypatch replaces by its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mt_lottery"):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "setattr":
            target = node.args[0] if node.args else None
            if isinstance(target, ast.Constant) and DOTTED.fullmatch(str(target.value)):
                yield node.lineno, target.value


def source(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


@cache
def defined(file: Path) -> set[str]:
    """The names of a module, those that it defines in a block (if, try, with) too."""
    names: set[str] = set()
    left: list[ast.AST] = [ast.parse(file.read_text("utf-8"))]
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        else:
            left.extend(ast.iter_child_nodes(node))
    return names


def is_there(name: str) -> bool:
    """Whether a dotted name is a module, or one's own; read, where that is enough, not imported."""
    if source(name) or (ROOT / Path(*name.split("."))).is_dir():
        return True
    module, _, last = name.rpartition(".")
    file = source(module)
    if file is None:  # the attribute of a class
        return bool(module) and is_there(module)
    return last in defined(file) or hasattr(importlib.import_module(module), last)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_it_names_is_there(file: Path) -> None:
    found = named(ast.parse(file.read_text("utf-8")))
    ours = [(line, name) for line, name in found if name.split(".")[0] == "mt_lottery"]
    assert [f"{file}:{line}: {name}" for line, name in ours if not is_there(name)] == []
