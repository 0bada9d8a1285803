"""Settings held against their ranges, and described for ``--help``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from mt_lottery.errors import ConfigError, check_keywords, nearest, shorten
from mt_lottery.system.values import LARGEST, plain_number

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)


def allowed(meta: Any) -> str:
    """What a setting's metadata allow: ``≥ 1 and ≤ 100``, or the choices; empty for anything."""
    if meta.get("choices"):
        return ", ".join(meta["choices"])
    bounds = [
        f"{sign} {meta[key]:{',' if isinstance(meta[key], int) else 'g'}}"
        for key, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if meta.get(key) is not None
    ]
    return " and ".join(bounds)


def problems(config: Any, prefix: str = "") -> Iterator[str]:
    """Every value of ``config`` (a settings dataclass) that is out of its range.

    Yields:
        one sentence each, with the key, the value and what is allowed.
    """
    for f in dataclasses.fields(config):
        key, value, meta = f"{prefix}{f.name}", getattr(config, f.name), f.metadata
        if dataclasses.is_dataclass(value):
            yield from problems(value, f"{key}.")
        elif isinstance(value, bool) or value is None:
            continue
        elif isinstance(value, (int, float)):
            bounds = allowed(meta)
            most = meta.get("most") or LARGEST
            if isinstance(value, int) and abs(value) > most:  # isfinite would fail on many digits
                least = f"{bounds} and " if bounds else ""
                shown = f"{value:,}" if abs(value) < 10**30 else "a number of many more digits"
                yield f"`{key}` must be {least}≤ {most:,}, not {shown}."
            elif not math.isfinite(value):
                wanted = f"a finite number {bounds}".rstrip()
                yield f"`{key}` must be {wanted}, not {value}."
            elif (
                (meta.get("ge") is not None and value < meta["ge"])
                or (meta.get("gt") is not None and value <= meta["gt"])
                or (meta.get("le") is not None and value > meta["le"])
                or (meta.get("lt") is not None and value >= meta["lt"])
            ):
                yield f"`{key}` must be {bounds}, not {value}."
        elif isinstance(value, str) and meta.get("choices") and value not in meta["choices"]:
            listed = ", ".join(meta["choices"])
            hint = nearest(value, meta["choices"])
            yield f"`{key}` must be one of {listed}, not '{value}'.{hint}"


def revised(function: str, config: T, changes: Mapping[str, Any]) -> T:
    """A settings dataclass with some of its numbers replaced, checked as those of a file are.

    Args:
        function: whose keywords ``changes`` are, for the message.
        config: it is left as it is.
        changes: by name.

    Raises:
        KeywordError: a name that there is not, with the nearest one.
        ConfigError: values of another type, or out of their range; all of them.
    """
    check_keywords(function, changes, [f.name for f in dataclasses.fields(config)])
    found = []
    changes = {name: plain_number(value) for name, value in changes.items()}
    for name, value in changes.items():
        kinds = (int, float) if isinstance(getattr(config, name), float) else int
        if isinstance(value, bool) or not isinstance(value, kinds):
            number = "a number" if kinds is not int else "a whole number"
            found.append(f"`{name}` must be {number}, not {shorten(value)}.")
    made = config if found else dataclasses.replace(config, **changes)
    if found := found or list(problems(made)):
        raise ConfigError(found)
    return made


def describe(schema: type, prefix: str = "", values: Any = None) -> Iterator[tuple[str, str, str]]:
    """Key, value and meaning of every setting of a schema, for ``--help``.

    Args:
        schema: a settings dataclass.
        prefix: of the keys: ``"train."``.
        values: an instance, whose values are shown; the defaults if None.
    """
    for f in dataclasses.fields(schema):
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        value = default if values is None else getattr(values, f.name)
        if dataclasses.is_dataclass(value):
            given = None if values is None else value
            yield from describe(type(value), f"{prefix}{f.name}.", given)
            continue
        meta = f.metadata
        range_ = allowed(meta)
        text = str(meta.get("help", "")) + (f" ({range_})" if range_ else "")
        if not isinstance(value, dict):
            yield f"{prefix}{f.name}", shown(value), text
            continue
        yield f"{prefix}{f.name}.…", "…", text  # free-form: any key, and those that are set
        for name, each in value.items():
            yield f"{prefix}{f.name}.{name}", shown(each), "an option of the method"


def shown(value: Any) -> str:
    """A value as a user writes it on the command line."""
    if value is dataclasses.MISSING or value == "???":  # a plugin's, without a default
        return "must be given"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{shown(one)}' for key, one in value.items())}}}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)
