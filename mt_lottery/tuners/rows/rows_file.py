"""A file of token ids: one a line, or a ``tickets.csv``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.reading import parse_csv_rows, read_text
from mt_lottery.report.tokens import vocabulary_problem
from mt_lottery.system.values import truth, user_path

ROWS_BYTES = 1 << 30  # of a rows file
DIGITS = 18  # of a token id


def read_rows_file(
    path: str | os.PathLike[str],
    vocab_size: int,
    *,
    setting: str = "tuner.rows_file=",
    tokenizer: Any | None = None,
) -> Tensor:
    """Token ids of a file: one a line (``#`` comments), or a ``tickets.csv``'s selected rows.

    Args:
        path: the file.
        vocab_size: V.
        setting: what gave the path, for messages.
        tokenizer: of the model; the file's tokens, if it has the column ``token``, are compared
            with it.

    Raises:
        TuningError: no such file, a line that is no id, an id out of range or given twice, a
            table that is damaged or cut, or whose tokens are of another vocabulary.
    """
    try:
        text = read_text(user_path(path, TuningError), TuningError, limit=ROWS_BYTES)
    except TuningError as error:
        raise TuningError(f"{setting}{error}") from error
    found: dict[int, int] = {}
    chosen: dict[int, str] = {}  # and the file's token
    for line in _lines(text, f"{setting}{path}"):
        where, word = f"{setting}{path}, line {line.number}", line.word
        # "١٨" is decimal too, and int() reads it
        if not (word.isascii() and word.isdecimal()):
            raise TuningError(f"{where}: '{word[:60]}' is no token id (0 or above).")
        token_id = int(word) if len(word) <= DIGITS else vocab_size
        if line.selected and token_id >= vocab_size:
            raise TuningError(
                f"{where}: token id {word[:60]} is outside the vocabulary: ids go from 0 to "
                f"{vocab_size - 1}."
            )
        if token_id in found:
            raise TuningError(
                f"{where}: token id {token_id} is given more than once (first in line "
                f"{found[token_id]})."
            )
        found[token_id] = line.number
        if line.selected:
            chosen[token_id] = line.token
    if not chosen:
        raise TuningError(f"{setting}{path}: no token id in it; nothing to tune.")
    problem = None if tokenizer is None else vocabulary_problem(chosen, tokenizer)
    if problem is not None:
        raise TuningError(f"{setting}{path}: {problem}")
    return torch.tensor(list(chosen), dtype=torch.int64)


@dataclass(frozen=True)
class _Line:
    """A line of a rows file: the would-be token id, whether it is chosen, and its token."""

    number: int
    word: str
    selected: bool = True
    token: str = ""


def _lines(text: str, where: str) -> Iterator[_Line]:
    """The lines of a list of ids, or of a table whose header names the column ``token_id``.

    Raises:
        TuningError: a damaged table; in one with the column ``selected``, a line without it.
    """
    # R quotes the header, and begins it with the column of row names
    if "token_id" not in text.partition("\n")[0].partition("#")[0].lower():
        yield from (_Line(number, word) for number, word in iterate_rows(text))
        return
    for number, row in parse_csv_rows(text, where, TuningError):
        cells = {name.strip().lower(): cell for name, cell in row.items()}
        if "token_id" not in cells:
            raise TuningError(
                f"{where}: line 1: no column token_id. Its columns: {', '.join(row)[:200]}."
            )
        try:
            selected = truth(cells["selected"]) if "selected" in cells else True
        except ValueError as error:
            raise TuningError(f"{where}, line {number}: `selected` {error}.") from None
        yield _Line(number, cells["token_id"].strip(), selected, cells.get("token", ""))


def iterate_rows(text: str) -> Iterator[tuple[int, str]]:
    """Line number and content of every line that is neither empty nor a comment (``#``)."""
    for number, line in enumerate(text.split("\n"), 1):
        content = line.partition("#")[0].strip()
        if content:
            yield number, content
