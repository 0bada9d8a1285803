"""Parts of pages that are made from the code: settings, recipes, the record, the commands' help.

A page has a line ``<!-- generated: NAME -->`` where such a part goes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import os
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import griffe
from mkdocs.exceptions import PluginError
from omegaconf import OmegaConf

JSON = {"None": "null", "False": "false", "True": "true"}
WORDS = {
    **{str: "text", int: "whole number", float: "number", bool: "true or false"},
    **{list: "list", dict: "mapping", type(None): "null", Any: "any"},
}


def in_words(kind: Any) -> str:
    """The type of a setting or of a field of JSON."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(in_words(one) for one in inner)
    if origin is list:
        return f"list of {in_words(inner[0]).replace('text', 'texts')}"
    if origin is typing.Literal:
        return "text"
    if dataclasses.is_dataclass(kind):
        return "object"
    return WORDS[origin or kind]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`").replace("\n", " ")


def _table(heads: list[str], rows: Iterator[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _as_json(text: str) -> str:
    return re.sub(r"\b(None|False|True)\b", lambda m: f"`{JSON[m[0]]}`", text)


def meanings(kind: type) -> dict[str, str]:
    """Field → what the ``Attributes`` of a dataclass's docstring say of it.

    Raises:
        PluginError: a field is not among them.
    """
    docstring = griffe.Docstring(kind.__doc__ or "")
    found = {
        one.name: _as_json(" ".join(one.description.split()))
        for section in docstring.parse("google", warnings=False)
        if section.kind is griffe.DocstringSectionKind.attributes
        for one in section.value
    }
    for field in dataclasses.fields(kind):
        if not found.get(field.name):
            raise PluginError(
                f"{kind.__module__}.{kind.__qualname__}: `{field.name}` has no line under "
                "`Attributes:` in the docstring; docs/run-directory.md shows it"
            )
    return found


def _fields(kind: type) -> str:
    hints, said = typing.get_type_hints(kind), meanings(kind)
    names = [f.name for f in dataclasses.fields(kind) if f.name != "extra"]
    names.sort(key=lambda name: name not in ("schema", "status"))  # as in the file
    rows = ([f"`{name}`", in_words(hints[name]), said[name]] for name in names)
    return _table(["field", "type", "meaning"], rows)


def record() -> str:
    """Every field of ``record.json``."""
    from mt_lottery.runs.folder import sections
    from mt_lottery.runs.folder.directions import DirectionRecord
    from mt_lottery.runs.folder.record import Record

    parts = {
        "The whole file": Record,
        "`model`": sections.ModelRecord,
        "`tickets`": sections.TicketRecord,
        "`data`": sections.DataRecord,
        "`data.train` and `data.test`": sections.SplitRecord,
        "`generation`": sections.GenerationRecord,
        "`cost`": sections.CostRecord,
        "`directions.LANG`, of a run of several directions": DirectionRecord,
    }
    return "\n".join(f"### {title}\n\n{_fields(kind)}" for title, kind in parts.items())


def _settings_of(schema: type, prefix: str, known: frozenset[str]) -> Iterator[list[str]]:
    from mt_lottery.config import allowed, shown

    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        if field.name in known:
            continue
        made = field.default_factory
        value = field.default if made is dataclasses.MISSING else made()
        if not dataclasses.is_dataclass(value):
            kind = (
                "name, or list of names"
                if hints[field.name] is Any
                else in_words(hints[field.name])
            )
            bounds = allowed(field.metadata)
            yield [
                f"`{prefix}{field.name}`",
                f"`{shown(value)}`" if value != "" else "must be given",
                f"{kind}; {bounds}" if bounds else kind,
                str(field.metadata.get("help", "")),
            ]


PROBE = """\
## `probe`: the embedding tuning from which `ks` recipes choose their rows

`probe.` and every key of `train.`, with the same defaults but `probe.optimizer=sparse_adam`.
"""
HEADS = ["key", "default", "allowed", "meaning"]


def _section(title: str, schema: type, prefix: str) -> Iterator[str]:
    # recipe=, model= and data= give the name
    chosen = frozenset({"name"} if prefix in ("tuner.", "model.", "data.") else ())
    rows = list(_settings_of(schema, prefix, chosen))
    if rows:
        yield f"## {title}\n\n{_table(HEADS, iter(rows))}"


def _own(registry: Any, prefix: str, base: type) -> Iterator[str]:
    """The settings that only some tuners, corpora or models have, each schema once."""
    known = frozenset(f.name for f in dataclasses.fields(base))
    owners: dict[type, list[str]] = {}
    for name in registry.names():
        schema = registry.dataclass_of(name)
        if schema is not None and not registry.is_plugin(name):
            owners.setdefault(schema, []).append(name)
    for schema, names in owners.items():
        rows = list(_settings_of(schema, prefix, known))
        if rows:
            listed = ", ".join(f"`{name}`" for name in names)
            yield f"### {registry.kind.capitalize()} {listed}\n\n{_table(HEADS, iter(rows))}"


def settings() -> str:
    """Every key of ``mt-train``."""
    from mt_lottery import config, registry

    parts = [*_section("The run", config.RunConfig, "")]
    own = {
        "tuner": (registry.TUNERS, config.TunerConfig),
        "data": (registry.CORPORA, config.DataConfig),
        "model": (registry.MODELS, config.ModelConfig),
    }
    hints = typing.get_type_hints(config.RunConfig)
    for name, kind in hints.items():
        if dataclasses.is_dataclass(kind):
            assert isinstance(kind, type)
            title = (kind.__doc__ or "").partition("\n")[0].rstrip(".")
            if name == "probe":
                parts.append(PROBE)
                continue
            if kind is config.MetricsConfig:
                kind, title, name = config.CometConfig, "The COMET metric", "metric.comet"
            parts += _section(f"`{name}`: {title[0].lower()}{title[1:]}", kind, f"{name}.")
            if name in own:
                if kind is config.TunerConfig:
                    parts.append("## `tuner`: the settings of each tuner\n")
                parts += _own(own[name][0], f"{name}.", own[name][1])
    return "\n".join(parts)


def _recipe(folder: Path, name: str) -> Any:
    content = OmegaConf.load(folder / f"{name}.yaml")
    parents = [parent for parent in content.pop("defaults", []) if parent != "_self_"]
    return OmegaConf.merge(*(_recipe(folder, parent) for parent in parents), content)


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[str]:
    from mt_lottery.config import shown

    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"`{prefix}{key}={shown(value)}`"


def recipes() -> str:
    """What each built-in recipe sets."""
    from mt_lottery.config.recipe_files import headline, recipes_folder

    folder = recipes_folder() / "recipe"

    def rows() -> Iterator[list[str]]:
        for name in sorted(file.stem for file in folder.glob("*.yaml")):
            content: Any = OmegaConf.to_container(_recipe(folder, name))
            presets = content.pop("presets", {})
            given = [one for one in _flat(content) if one != f"`tuner.name={name}`"]
            given += [f"`preset={key}`: {' '.join(_flat(own))}" for key, own in presets.items()]
            yield [f"`{name}`", headline(name) or "", "<br>".join(given)]

    return _table(["recipe", "what it does", "what it sets"], rows())


def _help(module: str, *arguments: str) -> str:
    command = importlib.import_module(f"mt_lottery.cli.{module}").command
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        command([*arguments, "--help"])
    return out.getvalue().rstrip()


def commands() -> str:
    """What ``--help`` of each command prints."""
    from mt_lottery.cli.bench import subcommands
    from mt_lottery.cli.ticket import COMMANDS

    asked: list[tuple[str, tuple[str, ...]]] = [
        ("train", ()),
        ("bench", ()),
        *(("bench", (name,)) for name in subcommands()),
        ("ticket", ()),
        *(("ticket", (name,)) for name in COMMANDS),
        ("translate", ()),
    ]
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "84"
    try:
        parts = []
        for module, words in asked:
            level = "###" if words else "##"
            title = " ".join([f"mt-{module}", *words])
            parts.append(f"{level} {title}\n\n~~~~~text\n{_help(module, *words)}\n~~~~~\n")
        return "\n".join(parts)
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "recipes": recipes,
    "record": record,
    "settings": settings,
}
