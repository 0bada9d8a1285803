"""What fairseq2's reader of configurations refuses, as one message that names the keys."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from fairseq2.error import OperationalError
from fairseq2.recipe import cli
from fairseq2.recipe.error import RecipeConfigParseError
from fairseq2.utils.structured import StandardValueConverter, StructureError

from mt_lottery.errors import ConfigError, shorten, unknown

WORDS: dict[object, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "null",
    Path: "a path", torch.dtype: "a dtype (float32, bfloat16, …)",
}  # fmt: skip


def wanted(kind: Any) -> str:
    """A type of a configuration in words: ``a whole number or null``."""
    inner, origin = typing.get_args(kind), typing.get_origin(kind)
    if kind in WORDS:
        return WORDS[kind]
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, inner))}"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return f"one of {', '.join(each.name for each in kind)}"
    if dataclasses.is_dataclass(kind):
        return f"a mapping of {', '.join(f.name for f in dataclasses.fields(kind))}"
    if origin in (dict, Mapping):
        return "a mapping"
    if origin is None or not inner:
        return str(kind)
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return f"a list of {len(inner)}" if origin is tuple and ... not in inner else "a list"
    return " or ".join(map(wanted, inner))


def refused(schema: type, settings: Mapping[Any, Any]) -> Iterator[str]:
    """What is wrong with the keys that a user gave, a sentence each.

    Args:
        schema: dataclass of the whole configuration.
        settings: nested, as in a file; the values of ``--config`` are in a ``_set_`` of their
            section.
    """
    for path, value in _leaves(settings):
        problem = _problem(schema, path, value)
        if problem is not None:
            yield problem


def _leaves(settings: Mapping[Any, Any], above: tuple[str, ...] = ()) -> Iterator[Any]:
    for key, value in settings.items():
        path = above if key == "_set_" else (*above, str(key))
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, path)
        elif key != "_del_":
            yield path, value


def _problem(kind: Any, path: tuple[str, ...], value: Any) -> str | None:
    for place, part in enumerate(path):
        found = [k for k in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(k)]
        if not found:
            above, origin = ".".join(path[:place]), typing.get_origin(kind)
            free = kind in (object, Any) or origin in (dict, Mapping)  # looked at by whoever has it
            return None if free else f"`{above}` must be {wanted(kind)}, not a mapping."
        hints = typing.get_type_hints(found[0])
        if part not in hints:
            return f"`{'.'.join(path)}`: {unknown('key', part, hints)}"
        kind = hints[part]
    try:
        StandardValueConverter().structure(value, kind)
    except StructureError:
        return f"`{'.'.join(path)}` must be {wanted(kind)}, not {shorten(value)}."
    return None


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """A configuration that fairseq2's command line cannot read is a ConfigError meanwhile."""
    loader: Any = cli._RecipeConfigLoader
    load = loader.load

    def loaded(self: Any, schema: type, file: Path | None, overrides: Any) -> object:
        given = list(overrides or ())
        try:
            return load(self, schema, file, given or None)
        except (RecipeConfigParseError, OperationalError) as error:
            stored: list[Any] = []
            with contextlib.suppress(Exception):  # then the error says what is wrong with the file
                stored = self._yaml_loader.load(file)[:1] if file else []
            problems = [
                problem
                for each in (*stored, *given)
                for problem in (
                    refused(schema, each)
                    if isinstance(each, Mapping)
                    else [f"{file} holds no mapping of keys to values."]
                )
            ]
            raise ConfigError(problems or _reason(error)) from None

    loader.load = loaded
    try:
        yield
    finally:
        loader.load = load


def _reason(error: BaseException) -> str:
    """An error's message, and that of its first cause, a line in all."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    said = dict.fromkeys(" ".join(str(e).split()) or type(e).__name__ for e in (error, first))
    return " ".join(said)
