"""The tables and lines of a run directory, read back: each field checked, with path and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mt_lottery.errors import RecordError
from mt_lottery.reading import read_csv_rows, read_json, read_json_lines
from mt_lottery.system import values

TICKET_COLUMNS = ("token_id", "token", "statistic", "pvalue", "selected", "train_frequency")
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


def _whole(text: str) -> int | None:
    try:
        return values.whole(text)
    except ValueError:
        return None


def _number(text: str) -> float | None:
    try:
        return values.number(text)
    except ValueError:
        return None


def read_tickets(path: Path, vocab_size: int | None = None) -> list[dict[str, str]]:
    """The rows of a ``tickets.csv``, as text that was checked.

    Args:
        path: the file.
        vocab_size: what a token id must be below, where that is known.

    Raises:
        RecordError: missing or damaged: a column, an id, a number out of its range.
    """
    seen: dict[int, int] = {}
    rows = []
    for line, row in read_csv_rows(path, RecordError, TICKET_COLUMNS):
        where = f"{path}: line {line}: damaged:"
        token_id = _whole(row["token_id"])
        if token_id is None:
            raise RecordError(f"{where} {row['token_id']!r:.60} is no token id.")
        if vocab_size is not None and token_id >= vocab_size:
            raise RecordError(
                f"{where} token id {token_id} is outside the vocabulary of {vocab_size:,} rows."
            )
        if token_id in seen:
            raise RecordError(
                f"{where} token id {token_id} is there twice (first in line {seen[token_id]})."
            )
        seen[token_id] = line
        tested = row["pvalue"] != ""
        # without a p-value the measure is another selector's, which may have any range
        for column, lowest, highest, bounded in (
            ("statistic", 0.0, 1.0, tested),
            ("pvalue", 0.0, 1.0, True),
        ):
            value = _number(row[column]) if row[column] else 0.0
            if value is None or (bounded and not lowest <= value <= highest):
                allowed = f"a number from {lowest:g} to {highest:g}" if bounded else "a number"
                raise RecordError(f"{where} `{column}` must be {allowed}, not {row[column]!r:.60}.")
        if row["selected"] not in ("true", "false"):
            raise RecordError(
                f"{where} `selected` must be true or false, not {row['selected']!r:.60}."
            )
        if row["train_frequency"] and _whole(row["train_frequency"]) is None:
            raise RecordError(
                f"{where} `train_frequency` must be a whole number ≥ 0, not "
                f"{row['train_frequency']!r:.60}."
            )
        rows.append(row)
    return rows


def read_state(path: Path) -> str:
    """The ``config_hash`` in a run's ``.run.json``.

    Raises:
        RecordError: damaged.
    """
    found = read_json(path, RecordError).get("config_hash")
    if not isinstance(found, str):
        raise RecordError(f"{path}: damaged: `config_hash` must be text, not {found!r:.60}.")
    return found
