"""Where third parties' code comes from: entry points, and folders given as ``user_dir``."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mt_lottery.errors import PluginError, RegistryError
from mt_lottery.registry.imports import refuse_other_modules, with_helpers

ENTRY_POINT_GROUP = "mt_lottery.plugins"


@dataclass(frozen=True)
class Origin:
    """Where something was registered.

    Attributes:
        file: Python file.
        line: of the registration, from 1.
        target: name of the class or function in it.
    """

    file: str
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


def caller(target: str = "") -> Origin:
    """The place that called the function that asks; ``target`` is registered there."""
    frame = sys._getframe(2)
    return Origin(frame.f_code.co_filename, frame.f_lineno, target)


_registered: list[tuple[Origin, Callable[[], None]]] = []
_plugin_folders: dict[str, Path] = {}
_plugin_sources: list[Path] = []  # folders and files whose code is a plugin's
_plugin_code: dict[Path, dict[Path, str | None]] = {}  # folder → its files as they were imported
_brought: dict[Path | None, set[Origin]] = {}  # folder (None: what is installed) → registered
_entry_points_loaded = False
#: Other threads wait; a plugin may ask a registry while it is imported.
_importing = threading.RLock()


def registered(place: Origin, forget: Callable[[], None]) -> None:
    """Note that something was registered, and how that is undone where its module fails."""
    _registered.append((place, forget))


def _import(describe: str, load: Callable[[], Any], advice: str = "") -> Any:
    """Import a plugin's module; what it registered before it failed is forgotten.

    What it prints goes to standard error: standard output is a command's result.
    """
    before = len(_registered)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return load()
    except BaseException as error:
        for place, forget in _registered[before:]:
            if not is_ours(place.file):  # a built-in that it imported stays imported
                forget()
        _registered[before:] = [each for each in _registered[before:] if is_ours(each[0].file)]
        if not isinstance(error, Exception | SystemExit):  # Ctrl-C: it can be imported later
            raise
        # a script may end with sys.exit()
        if isinstance(error, RegistryError) or (isinstance(error, PluginError) and not advice):
            raise
        if isinstance(error, PluginError):
            raise PluginError(f"The plugin {describe} cannot be used: {error}{advice}") from error
        raise PluginError(
            f"The plugin {describe} cannot be imported: {_place_of(error)}"
            f"{type(error).__name__}: {error}{advice}"
        ) from error


def _place_of(error: BaseException) -> str:
    """The innermost line of a file that is no part of Python's import machinery or of ours."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<frozen") and Path(file) not in (Path(__file__), *_IMPORTERS):
            place = f"{file}, line {trace.tb_lineno}: "
        trace = trace.tb_next
    return place


_IMPORTERS = tuple(Path(str(m.__file__)) for m in (importlib, importlib.metadata))


def load_entry_points() -> None:
    """Import every installed plugin (entry points of ``mt_lottery.plugins``), once.

    Raises:
        PluginError: one of them cannot be imported; the message names it.
    """
    with _importing:
        if not _entry_points_loaded:
            _load_entry_points()


def _load_entry_points() -> None:
    global _entry_points_loaded
    _entry_points_loaded = True  # now: a plugin may ask a registry while it is imported
    try:
        for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
            package = entry.dist.name if entry.dist is not None else entry.name
            advice = f" (installed with {package}; 'pip uninstall {package}' removes it)"
            before = len(_registered)
            loaded = _import(f"'{entry.name}' ({entry.value})", entry.load, advice)
            _note_brought(None, before)
            module = sys.modules.get(getattr(loaded, "__module__", entry.module), None) or loaded
            file = getattr(module, "__file__", None)
            if file:
                _plugin_folders[f"{entry.name} = {entry.value}"] = Path(file).parent
                top = getattr(sys.modules.get(entry.module.partition(".")[0]), "__file__", file)
                # a module beside others (in site-packages) is one file, a package a folder
                whole = Path(top or file).name == "__init__.py"
                _plugin_sources.append(Path(top or file).parent if whole else Path(file))
    except BaseException:
        _entry_points_loaded = False  # the next call says so again
        raise


def _origin(name: str) -> str | None:
    """The file that ``import name`` would read; None if there is no such module."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) or name
    spec = importlib.util.find_spec(name)
    return None if spec is None else spec.origin


def load_user_dir(folder: str | Path) -> None:
    """Import a folder of plugins: a package (``__init__.py``) or loose ``*.py`` files.

    Raises:
        PluginError: no such folder, a file in it cannot be imported, or one has changed since it
            was: this process would go on with what it was.
    """
    with _importing:
        _load_user_dir(folder)


def _load_user_dir(folder: str | Path) -> None:
    path = Path(folder).expanduser().resolve()
    if str(path) in _plugin_folders:
        _refuse_changed(path)
        return
    if not path.is_dir():
        raise PluginError(f"user_dir={folder}: no such folder.")
    files = (
        [path / "__init__.py"] if (path / "__init__.py").is_file() else sorted(path.glob("*.py"))
    )
    if not files and not any(path.rglob("*.yaml")):
        raise PluginError(f"user_dir={folder}: neither a Python file nor a recipe (YAML) in it.")
    refuse_other_modules(path, files)
    before = len(_registered)
    if files and files[0].name != "__init__.py":
        sys.path.append(str(path))  # loose files may import each other; last, to hide nothing
    for file in files:
        package = file.name == "__init__.py"
        name = path.name if package else file.stem
        if getattr(sys.modules.get(name), "__file__", None) == str(file):
            continue  # imported by a file before it
        if "." in name or _origin(name) not in (None, str(file)):
            name = f"mt_lottery_user_dir_{abs(hash(str(file)))}"  # must not hide a library
        spec = importlib.util.spec_from_file_location(
            name, file, submodule_search_locations=[str(path)] if package else None
        )
        if spec is None or spec.loader is None:
            raise PluginError(f"user_dir={folder}: cannot import {file}.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        loader = spec.loader
        try:
            _import(str(file), lambda: loader.exec_module(module))  # noqa: B023
        except BaseException:
            sys.modules.pop(name, None)
            raise
    _plugin_folders[str(path)] = path
    _plugin_sources.append(path)
    _note_brought(path, before)
    _plugin_code[path] = {file: digest(file) for file in _modules_of(path)}


def _modules_of(folder: Path) -> list[Path]:
    """The Python files of a folder, or of one below it, that are imported."""
    files = {Path(f) for m in [*sys.modules.values()] if (f := getattr(m, "__file__", None))}
    return sorted(f for f in files if f.is_relative_to(folder) and is_plugin_file(f))


def digest(file: str | Path) -> str | None:
    """sha256 of a file; None where it cannot be read."""
    from mt_lottery.reading import sha256_of

    try:
        return sha256_of(file, PluginError)
    except PluginError:
        return None


def with_helpers_of(file: str, code: str) -> str:
    """A hash of a plugin's file, together with those of its folder that it imports.

    Args:
        file: that registered something.
        code: its hash when it was imported; the answer, where it imports none of its folder.
    """
    path = Path(file)
    holders = [each for each in _plugin_sources if each.is_dir() and path.is_relative_to(each)]
    if not holders:
        return code
    folder = max(holders, key=lambda each: len(each.parts))
    root = folder.parent if (folder / "__init__.py").is_file() else folder
    known = _plugin_code.get(folder, {})
    helpers = [each for each in with_helpers([path], root, folder) if each != path]
    said = [f"{each.relative_to(root)} {known.get(each) or digest(each)}" for each in helpers]
    return sha256("\n".join([code, *said]).encode()).hexdigest() if said else code


def _refuse_changed(folder: Path) -> None:
    for file, before in _plugin_code.get(folder, {}).items():
        if digest(file) != before:
            raise PluginError(
                f"{file} has changed since this Python imported it, and would go on with what it "
                "was. Start Python (or the notebook's kernel) anew."
            )


def _note_brought(folder: Path | None, before: int) -> None:
    _brought.setdefault(folder, set()).update(place for place, _ in _registered[before:])


def is_anywhere(place: Origin, user_dir: str | Path | None) -> bool:
    """Whether a process that is given a folder of plugins has what was registered at a place.

    A notebook's cell, or a module that a script imported, is of its own process alone.
    """
    folder = None if user_dir is None else Path(user_dir).expanduser().resolve()
    if is_ours(place.file) or any(place in _brought.get(each, ()) for each in (None, folder)):
        return True
    # imported before, by something else
    installed = [source for source in _plugin_sources if source not in _plugin_code]
    return any(Path(place.file).is_relative_to(each) for each in (*installed, folder) if each)


def is_ours(file: str | Path) -> bool:
    """Whether a Python file is one of the toolkit itself."""
    return Path(file).is_relative_to(Path(__file__).parents[1])


def is_plugin_file(file: str | Path) -> bool:
    """Whether a Python file is a plugin's: in its folder, or one that registered something."""
    path = Path(file)
    if is_ours(file) or "site-packages" in _below_sources(path):
        return False
    if any(path == source or path.is_relative_to(source) for source in _plugin_sources):
        return True
    return any(place.file == str(file) for place, _ in _registered)


def _below_sources(path: Path) -> tuple[str, ...]:
    """The parts of a path below the plugin's folder that holds it (a .venv may lie there)."""
    holders = [s for s in _plugin_sources if path.is_relative_to(s)]
    return path.relative_to(max(holders, key=lambda s: len(s.parts))).parts if holders else ()


def plugin_folders() -> list[Path]:
    """Folders of the loaded plugins, where their recipes may lie."""
    return list(dict.fromkeys(_plugin_folders.values()))
