"""The lines of a run directory, read back: each field checked, with path and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mt_lottery.errors import RecordError
from mt_lottery.reading import read_json, read_json_lines

_FIELDS: dict[str, type] = {
    **dict.fromkeys(("source", "reference", "hypothesis", "first_line"), str),
    "stopped": bool,
    "tokens": int,
}
_NAMES = {str: "text", bool: "true or false", int: "a whole number ≥ 0"}


def read_hypotheses(path: Path, sentences: int | None = None) -> list[dict[str, Any]]:
    """The lines of a ``hypotheses.jsonl``.

    Args:
        path: the file.
        sentences: how many the record says there are; None if nothing says so.

    Raises:
        RecordError: missing or damaged, or of another number of sentences.
    """
    lines = read_json_lines(path, RecordError)
    for number, line in lines:
        for key, kind in _FIELDS.items():
            value = line.get(key)
            good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
            if not good or (kind is int and value < 0):
                what = f"not {value!r:.60}" if key in line else "but is missing"
                raise RecordError(
                    f"{path}: line {number}: damaged: `{key}` must be {_NAMES[kind]}, {what}."
                )
    if sentences is not None and len(lines) != sentences:
        raise RecordError(
            f"{path}: damaged: {len(lines)} sentences, but the run's record says {sentences}."
        )
    return [line for _, line in lines]


def read_state(path: Path) -> str:
    """The ``config_hash`` in a run's ``.run.json``.

    Raises:
        RecordError: damaged.
    """
    found = read_json(path, RecordError).get("config_hash")
    if not isinstance(found, str):
        raise RecordError(f"{path}: damaged: `config_hash` must be text, not {found!r:.60}.")
    return found
