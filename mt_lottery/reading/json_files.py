"""JSON, whole or a line at a time."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from mt_lottery.reading.files import Error, read_text, shown

Kind = type | tuple[type, ...]

#: Bytes of a file, levels of brackets and digits of a whole number at most.
JSON = 256 << 20
DEPTH = 100
DIGITS = 40

_NAMES = {dict: "an object {…}", list: "a list […]", str: "text", int: "a whole number"}


class Refused(ValueError):
    """What JSON can say and we do not take."""


def _whole(text: str) -> int:
    if len(text) > DIGITS:
        raise Refused(f"a whole number of {len(text.lstrip('-')):,} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Refused(f"{text[:40]} is too large a number")
    return value


def _constant(text: str) -> float:
    raise Refused(f"{text} is no number in JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Refused(f"the key {twice!r} twice in one object")
    return content


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _inspect(content: Any, text: str) -> None:
    """Refuse deep nesting and text that cannot be encoded; only where there can be some."""
    if text.count("[") + text.count("{") <= DEPTH and not _SURROGATE.search(text):
        return
    stack = [(content, 1)]
    while stack:
        node, depth = stack.pop()
        if isinstance(node, str):
            try:
                node.encode("utf-8")
            except UnicodeEncodeError:
                raise Refused("half of a surrogate pair, which is no character") from None
        elif isinstance(node, (dict, list)):
            if depth > DEPTH:
                raise Refused(f"nested more than {DEPTH} deep")
            inner = [*node, *node.values()] if isinstance(node, dict) else node
            stack.extend((child, depth + 1) for child in inner)


def json_value(text: str, *, finite: bool = True) -> Any:
    """The value that a JSON text stands for.

    Args:
        text: all of it.
        finite: refuse NaN and Infinity, which Python writes and JSON does not know.

    Raises:
        ValueError: no JSON; a key twice, a number of too many digits, too deep a nesting, half of
            a surrogate pair. The message says which, without a full stop.
    """
    hooks: dict[str, Any] = {"parse_int": _whole, "object_pairs_hook": _unique}
    if finite:
        hooks |= {"parse_float": _finite, "parse_constant": _constant}
    try:
        content = json.loads(text, **hooks)
    except json.JSONDecodeError as cause:
        if not text.strip():
            raise Refused("empty") from cause
        if "\n" in text.strip():
            place = f"line {cause.lineno}, column {cause.colno}"
            raise Refused(f"{place}: not JSON: {cause.msg}") from cause
        raise Refused(f"not JSON: {cause.msg} (column {cause.colno})") from cause
    except RecursionError as cause:
        raise Refused(f"nested more than {DEPTH} deep") from cause
    _inspect(content, text)
    return content


def parse_json(
    text: str | bytes, where: str, error: Error, kind: Kind = dict, *, finite: bool = True
) -> Any:
    """The value that a JSON text stands for.

    Args:
        text: all of it.
        where: what a message begins with: a path, perhaps with a line.
        error: the class to raise.
        kind: the type (or types) of the whole value.
        finite: as :func:`json_value`.

    Raises:
        error: as :func:`json_value`; not UTF-8, or of another type.
    """
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        content = json_value(text, finite=finite)
    except UnicodeDecodeError as cause:
        raise error(f"{where}: not UTF-8 (byte 0x{cause.object[cause.start]:02x}).") from cause
    except Refused as cause:
        raise error(f"{where}: damaged: {cause}.") from cause
    check_kind(content, where, error, kind)
    return content


def check_kind(content: Any, where: str, error: Error, kind: Kind) -> None:
    """Refuse a value of another type; True is no number."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(content, kinds) or (isinstance(content, bool) and bool not in kinds):
        if object in kinds:
            return
        wanted = " or ".join(_NAMES.get(k, k.__name__) for k in kinds)
        found = repr(content)
        found = found if len(found) <= 60 else f"{found[:57]}…"
        raise error(f"{where}: damaged: it must hold {wanted}, not {found}.")


def read_json(
    path: str | os.PathLike[str], error: Error, kind: Kind = dict, *, finite: bool = True
) -> Any:
    """The value in a JSON file.

    Args:
        path: links are followed.
        error: the class to raise.
        kind: the type (or types) of the whole value.
        finite: refuse NaN and Infinity.

    Raises:
        error: as :func:`read_text` and :func:`parse_json`.
    """
    text = read_text(path, error, limit=JSON)
    return parse_json(text, shown(path), error, kind, finite=finite)


def read_json_lines(path: str | os.PathLike[str], error: Error) -> list[tuple[int, Any]]:
    """The objects in a file of one a line, each with its line's number from 1.

    Empty lines are left out.

    Raises:
        error: as :func:`read_json`, with the line's number.
    """
    lines = enumerate(read_text(path, error).split("\n"), 1)
    return [
        (n, parse_json(line, f"{shown(path)}: line {n}", error))
        for n, line in lines
        if line.strip()
    ]
