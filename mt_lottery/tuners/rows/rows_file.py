"""A file of token ids: one a line, or a ``tickets.csv``."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator

import torch
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.reading import read_text
from mt_lottery.system.values import user_path

ROWS_BYTES = 1 << 30  # of a rows file
DIGITS = 18  # of a token id


def read_rows_file(
    path: str | os.PathLike[str], vocab_size: int, *, setting: str = "tuner.rows_file="
) -> Tensor:
    """Token ids of a file: one a line (``#`` comments), or a ``tickets.csv``'s selected rows.

    Args:
        path: the file.
        vocab_size: V.
        setting: what gave the path, for messages.

    Raises:
        TuningError: no such file, a line that is no id, an id out of range or given twice.
    """
    try:
        text = read_text(user_path(path, TuningError), TuningError, limit=ROWS_BYTES)
    except TuningError as error:
        raise TuningError(f"{setting}{error}") from error
    try:
        words = list(_words(text))
    except ValueError as error:
        raise TuningError(f"{setting}{path}, {error}") from error
    found: dict[int, int] = {}
    for number, word in words:
        where = f"{setting}{path}, line {number}"
        # "١٨" is decimal too, and int() reads it
        if not (word.isascii() and word.isdecimal()):
            raise TuningError(f"{where}: '{word[:60]}' is no token id (0 or above).")
        token_id = int(word) if len(word) <= DIGITS else vocab_size
        if token_id >= vocab_size:
            raise TuningError(
                f"{where}: token id {word[:60]} is outside the vocabulary: ids go from 0 to "
                f"{vocab_size - 1}."
            )
        if token_id in found:
            raise TuningError(
                f"{where}: token id {token_id} is given more than once (first in line "
                f"{found[token_id]})."
            )
        found[token_id] = number
    if not found:
        raise TuningError(f"{setting}{path}: no token id in it; nothing to tune.")
    return torch.tensor(list(found), dtype=torch.int64)


def _words(text: str) -> Iterator[tuple[int, str]]:
    """Line number and content of each would-be token id of a rows file.

    Raises:
        ValueError: a table without the columns of a ``tickets.csv``, or a damaged one.
    """
    if not text.startswith("token_id"):
        yield from iterate_rows(text)
        return
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        if "token_id" not in (reader.fieldnames or ()):
            raise ValueError("line 1: a table whose header has no column token_id.")
        for record in reader:
            selected = (record.get("selected") or "true").strip().lower()
            if selected not in ("true", "false"):
                raise ValueError(
                    f"line {reader.line_num}: selected is '{selected[:40]}', not true or false."
                )
            if selected == "true":
                yield reader.line_num, (record["token_id"] or "").strip()
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num + 1}: damaged: {error}.") from error


def iterate_rows(text: str) -> Iterator[tuple[int, str]]:
    """Line number and content of every line that is neither empty nor a comment (``#``)."""
    for number, line in enumerate(text.split("\n"), 1):
        content = line.partition("#")[0].strip()
        if content:
            yield number, content
