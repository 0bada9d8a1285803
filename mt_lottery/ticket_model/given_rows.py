"""Token ids, however a user has them: a ticket, a tensor, a list, a file."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from mt_lottery.errors import ArgumentError, TuningError, plural
from mt_lottery.tuners.rows.module import check_rows
from mt_lottery.tuners.rows.rows_file import read_rows_file

TICKETS = "tickets.csv"
#: Ids go up to this; how many rows a table has is checked where there is one.
MOST = 2**31


class HasRows(Protocol):
    """What a ticket has: token ids, [k]."""

    @property
    def rows(self) -> Tensor:
        """Token ids, [k]."""
        ...


RowsLike: TypeAlias = Tensor | Iterable[int] | str | os.PathLike[str] | HasRows


def token_ids(rows: RowsLike) -> list[int]:
    """Distinct token ids of whatever was given as rows.

    Args:
        rows: a ticket; token ids [k] as a tensor, an array or a list; a ``tickets.csv`` (its
            selected rows), a file of ids, one a line, or a folder with a ``tickets.csv`` in it.

    Returns:
        k ids, in the order given.

    Raises:
        ArgumentError: nothing in it, an id twice, or something that is no id.

    >>> token_ids([5, 3])
    [5, 3]
    >>> token_ids([5, 5])
    Traceback (most recent call last):
        ...
    mt_lottery.errors.ArgumentError: rows: Token id 5 is given more than once.
    """
    try:
        found = _from_file(rows) if isinstance(rows, str | os.PathLike) else _from_memory(rows)
        return [int(i) for i in check_rows(found, MOST)]
    except TuningError as error:
        text = str(error)
        raise ArgumentError(text if text.startswith("rows=") else f"rows: {text}") from error


def _from_file(path: str | os.PathLike[str]) -> Tensor:
    file = Path(path)
    return read_rows_file(file / TICKETS if file.is_dir() else file, MOST, setting="rows=")


def _from_memory(rows: Any) -> Tensor:
    if not isinstance(rows, Tensor) and hasattr(rows, "rows"):
        rows = rows.rows  # a ticket
    if isinstance(rows, int):
        raise ArgumentError(
            f"rows={rows}: a number, not token ids. Give the ids of a ticket: "
            f"mtl.find_ticket(base, tuned, rows={rows}).rows; for a single row, [{rows}]."
        )
    dimensions = getattr(rows, "ndim", 1)
    if dimensions != 1:
        raise ArgumentError(
            f"rows: token ids are a vector [k], not of {plural(dimensions, 'dimension')}."
        )
    listed = rows.tolist() if hasattr(rows, "tolist") else _listed(rows)
    if listed and all(isinstance(one, bool) for one in listed):
        raise ArgumentError(
            "rows: a mask of True and False, not token ids; those are mask.nonzero().flatten()."
        )
    return torch.tensor([_index(one) for one in listed], dtype=torch.int64)


def _listed(rows: Any) -> list[Any]:
    try:
        return list(rows)
    except TypeError as error:
        raise ArgumentError(
            f"rows: {type(rows).__name__}; allowed: a ticket, token ids (tensor, array, list), or "
            f"the path of a {TICKETS}."
        ) from error


def _index(one: Any) -> int:
    try:
        found = -1 if isinstance(one, bool) else operator.index(one)
    except TypeError:
        found = -1
    if not 0 <= found < MOST:
        raise ArgumentError(f"rows: {one!r} is no token id (a whole number, 0 or above).")
    return found
