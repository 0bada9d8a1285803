"""Which files a Python file imports from its own folder, read without running it."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from mt_lottery.errors import PluginError

#: Level (0: absolute), and dotted name.
Import = tuple[int, str]


def imports_of(file: Path) -> set[Import]:
    """Everything that a file imports, inside functions too; empty where it cannot be read."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # importing it says what is wrong
        return set()
    found: set[Import] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(0, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = f"{node.module}." if node.module else ""
            found |= {(node.level, base + alias.name) for alias in node.names}
    return found


def with_helpers(files: Iterable[Path], root: Path, inside: Path | None = None) -> list[Path]:
    """Files, and all that they import from a folder, directly or through one another; sorted."""
    return sorted(_imports_within(files, root, inside or root))


def _imports_within(files: Iterable[Path], root: Path, inside: Path) -> dict[Path, set[Import]]:
    """What each of the files imports, and each file that it imports from a folder.

    Args:
        files: to begin with.
        root: the folder from which ``import NAME`` reads ``NAME.py`` or ``NAME/``.
        inside: only files of this folder.
    """
    found: dict[Path, set[Import]] = {}
    waiting = [*files]
    while waiting:
        file = waiting.pop()
        if file not in found and file.is_relative_to(inside):
            found[file] = imports_of(file)
            for level, name in found[file]:
                base = file.parents[min(level, len(file.parents)) - 1] if level else root
                waiting += _files_of(base, name)
    return found


def _files_of(base: Path, name: str) -> Iterator[Path]:
    for part in name.split("."):
        base = base / part
        for file in (base.with_name(f"{part}.py"), base / "__init__.py"):
            if file.is_file():
                yield file


def refuse_other_modules(folder: Path, files: list[Path]) -> None:
    """Make sure that ``import NAME`` in a plugin's folder reads the file beside it.

    A Python process has one module per name: a second folder's ``helpers.py`` would be that of
    the first.  A library's name is the library's, as everywhere.

    Args:
        folder: of the plugins.
        files: its Python files that are imported.

    Raises:
        PluginError: it would read a file of another folder; the message names both.
    """
    package = bool(files) and files[0].name == "__init__.py"
    root = folder.parent if package else folder
    for file, imported in sorted(_imports_within(files, root, folder).items()):
        sets_path = b"sys.path" in file.read_bytes()  # it says itself where its modules are
        for level, name in sorted(imported):
            top = name.partition(".")[0]
            if level or (package and top != folder.name) or (sets_path and top not in sys.modules):
                continue
            own, there = _meant_and_found(root, name)
            if own and there and not _is_library(top, there):
                named = own.parent if own.name == "__init__.py" else own
                raise PluginError(
                    f"{file} imports {top}: that would be {there}, not {own}, since a Python "
                    f"process has one module per name. Give {named} another name, and import it "
                    "by that."
                )


def _meant_and_found(root: Path, name: str) -> tuple[Path | None, Path | None]:
    """What ``import NAME`` should read in a folder, and the other thing that it would read."""
    top, _, rest = name.partition(".")
    own, places = _place(root, top), _found(top)
    if own is None or not places or any(own.samefile(place) for place in places):
        return None, None
    if not all(place.is_dir() for place in places):
        same = own.is_file() and own.read_bytes() == places[0].read_bytes()  # a copy
        return (None, None) if same else (own, places[0])
    if not own.is_dir():  # a module wins over folders without an __init__.py
        return own, places[0] if top in sys.modules else None
    sub = rest.partition(".")[0]  # such folders are one package of all their files
    others = (_place(place, sub) for place in places if sub)
    return _place(own, sub) if sub else None, next(filter(None, others), None)


def _place(root: Path, top: str) -> Path | None:
    """The file or folder that ``import TOP`` is meant to read; None if it is not of the folder."""
    if (init := root / top / "__init__.py").is_file():
        return init
    if (file := root / f"{top}.py").is_file():
        return file
    return root / top if any((root / top).glob("*.py")) else None


def _found(top: str) -> list[Path]:
    """What ``import TOP`` reads now: a file, or folders without an ``__init__.py``."""
    module = sys.modules.get(top)
    try:
        spec = None if module is not None else importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    file = getattr(module, "__file__", None) if spec is None else spec.origin
    folders = getattr(module, "__path__", None) if spec is None else spec.submodule_search_locations
    return [
        Path(place) for place in ([file] if file else [*(folders or ())]) if Path(place).exists()
    ]


def _is_library(top: str, file: Path) -> bool:
    return (
        top in sys.stdlib_module_names
        or is_of_library(file)
        or top in importlib.metadata.packages_distributions()
    )


def is_of_library(file: Path) -> bool:
    """Whether a file is of Python, of an installed package or of the toolkit."""
    ours = Path(__file__).parents[1]
    stdlib = Path(importlib.util.__file__).parents[1]
    inside = {"site-packages", "dist-packages"} & {*file.parts}
    return bool(inside) or file.is_relative_to(ours) or file.is_relative_to(stdlib)
