"""The keys of ``key=value`` and what each may be, read from the schemas' source.

A tuner's settings are in its module, whose import takes PyTorch's second; a plugin's module is
the user's code, which the Tab key must not run.  So classes are read, not imported.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mt_lottery import registry
from mt_lottery.config import RunConfig
from mt_lottery.config.recipe_files import REGISTRY_OF, first_comment, recipes_folder
from mt_lottery.errors import ConfigError, MTLotteryError
from mt_lottery.reading import read_yaml

PACKAGE = Path(registry.__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Key:
    """A setting: what it means, and the values that its schema allows by name."""

    text: str
    values: Sequence[str] = ()


def of_schema(schema: type, prefix: str = "") -> Iterator[tuple[str, Key]]:
    """The keys of a settings class that is imported anyway."""
    for f in dataclasses.fields(schema):
        made = None if f.default_factory is dataclasses.MISSING else f.default_factory()
        if dataclasses.is_dataclass(made):
            yield from of_schema(type(made), f"{prefix}{f.name}.")
        else:
            named = ("true", "false") if str(f.type).startswith("bool") else ()
            allowed = f.metadata.get("choices") or named
            yield f"{prefix}{f.name}", Key(f.metadata.get("help", ""), tuple(allowed))


@cache
def _tree(file: Path) -> ast.Module:
    with contextlib.suppress(OSError, SyntaxError, ValueError):
        return ast.parse(file.read_text("utf-8"))
    return ast.Module([], [])


def _resolve(file: Path, name: str) -> tuple[Path, ast.AST] | None:
    """Where a name of a module's top level is defined: followed through the package's imports."""
    for node in _tree(file).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return file, node
        if isinstance(node, ast.Assign) and any(ast.unparse(t) == name for t in node.targets):
            return file, node.value
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mt_lottery."):
            original = {a.asname or a.name: a.name for a in node.names}.get(name)
            if original:
                place = PACKAGE.parent.joinpath(*str(node.module).split("."))
                return _resolve(place.with_suffix(".py"), original)
    return None


def _constant(file: Path, node: ast.AST) -> Any:
    """The value of a literal, or of a name for one; None for what only running would tell."""
    if isinstance(node, ast.Name):
        found = _resolve(file, node.id)
        return None if found is None else _constant(*found)
    if isinstance(node, ast.JoinedStr):
        parts = [p.value if isinstance(p, ast.FormattedValue) else p for p in node.values]
        return "".join(str(_constant(file, part)) for part in parts)
    with contextlib.suppress(ValueError, TypeError):
        return ast.literal_eval(node)  # type: ignore[arg-type]
    return None


def _of_class(file: Path, name: str, prefix: str) -> Iterator[tuple[str, Key]]:
    place = _resolve(file, name)
    if place is None or not isinstance(place[1], ast.ClassDef):
        return  # a base of the configuration itself, whose keys are known
    file, defined = place[0], place[1]
    for base in defined.bases:
        yield from _of_class(file, ast.unparse(base), prefix)
    for line in defined.body:
        if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)):
            continue
        text, values = "", ("true", "false") if ast.unparse(line.annotation) == "bool" else ()
        if isinstance(line.value, ast.Call):
            text = "".join(str(_constant(file, one)) for one in line.value.args[1:2])
            for keyword in line.value.keywords:
                if keyword.arg == "choices":
                    values = tuple(_constant(file, keyword.value) or ())
        yield f"{prefix}{line.target.id}", Key(text, values)


def _registered(file: Path, name: str, prefix: str) -> Iterator[tuple[str, Key]]:
    """The keys of the settings that a module registers with a name."""
    for node in _tree(file).body:
        for call in getattr(node, "decorator_list", ()):
            if isinstance(call, ast.Call) and _constant(file, next(iter(call.args), call)) == name:
                for keyword in call.keywords:
                    if keyword.arg == "dataclass":
                        yield from _of_class(file, ast.unparse(keyword.value), prefix)


def plugin_files(user_dir: Path | None, ending: str, under: str = "") -> list[Path]:
    """A plugin folder's modules, or its recipes (beside them, or in ``recipes/recipe``)."""
    if user_dir is None:
        return []
    return sorted([*user_dir.glob(ending), *user_dir.joinpath("recipes", under).glob(ending)])


def group(name: str, user_dir: Path | None = None) -> dict[str, str]:
    """What ``recipe=``, ``model=`` or ``data=`` may be → the first line of its YAML."""
    found = dict.fromkeys(REGISTRY_OF[name].builtins, "")
    own = plugin_files(user_dir, "*.yaml", name) if name == "recipe" else []
    for file in [*(recipes_folder() / name).glob("*.yaml"), *own]:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found[file.stem] = first_comment(file) or ""
    return dict(sorted(found.items()))


def recipe(name: str, user_dir: Path | None = None) -> dict[str, Any]:
    """What a recipe's YAML says, with that of the recipe that it extends."""
    files = plugin_files(user_dir, f"{name}.yaml", "recipe")
    with contextlib.suppress(MTLotteryError):
        content: dict[str, Any] = read_yaml(
            [*files, recipes_folder() / "recipe" / f"{name}.yaml"][0], ConfigError
        )
        below = [d for d in content.get("defaults", ()) if isinstance(d, str) and d != "_self_"]
        base = recipe(below[0], user_dir) if below else {}
        return {**base, **content, "tuner": {**base.get("tuner", {}), **content.get("tuner", {})}}
    return {}


def known(chosen: dict[str, str], user_dir: Path | None = None) -> dict[str, Key]:
    """Every key of a command line.

    Args:
        chosen: its ``recipe``, ``model`` and ``data``, as far as they are given.
        user_dir: its folder of plugins.
    """
    keys = dict(of_schema(RunConfig))
    names = dict(chosen)
    if "recipe" in names:
        said = recipe(names["recipe"], user_dir)
        names["recipe"] = said.get("tuner", {}).get("name", names["recipe"])
    for kind, section in (("recipe", "tuner"), ("model", "model"), ("data", "data")):
        name = names.get(kind, "")
        module = REGISTRY_OF[kind].builtins.get(name)
        files = plugin_files(user_dir, "*.py")
        if module is not None:
            files = [PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")]
        for file in files:
            keys.update(_registered(file, name, f"{section}."))
    for key in ("recipe", "tuner.name", "model.name", "data.name"):
        keys.pop(key)
    return keys
