"""Pairs in two columns, with or without a heading that says which is which."""

from __future__ import annotations

import re
from pathlib import Path

from mt_lottery.data.text import Pair, Problems, is_empty, read_lines, why_empty
from mt_lottery.errors import DataError
from mt_lottery.languages import Language, LanguagePair, find_language, names

_SOURCE, _TARGET = {"source", "src"}, {"target", "tgt", "trg"}
#: Words beside those in a heading: ``source_text``, ``English sentence``.
_BESIDE = {"text", "texts", "sentence", "sentences", "segment", "segments", "lang", "language"}


def _columns(header: list[str], pair: LanguagePair) -> tuple[int, int] | None:
    """Positions of source and target if this row is a header, else None.

    Raises:
        ValueError: it is the header of another pair.
    """
    header = [_heading(cell) for cell in header]
    found = [find_language(cell) for cell in header]
    for alike in (names, _variety_of):  # "en-US" is English, unless the other column is
        source, target = (
            [cell.lower() in words or alike(cell, language) for cell in header]
            for words, language in ((_SOURCE, pair.source), (_TARGET, pair.target))
        )
        if source[0] and target[1]:
            return 0, 1
        if source[1] and target[0]:
            return 1, 0
    if None not in found and found[0] != found[1] and {pair.source, pair.target} & {*found}:
        named = " and ".join(f"'{cell}'" for cell in header)
        raise ValueError(f"the header names {named}, but lang={pair} is asked for.")
    return None


def _heading(cell: str) -> str:
    """What a cell names if it is a heading: ``source`` of ``source_text``."""
    words = re.split(r"[\s_]+", cell.strip())
    named = [word for word in words if word.lower() not in _BESIDE]
    return named[0] if len(named) == 1 else cell.strip()


def _variety_of(written: str, language: Language) -> bool:
    found = find_language(written)
    return found is not None and found.iso3 == language.iso3


def read_tsv(path: Path, pair: LanguagePair) -> list[Pair]:
    """Read a file of two columns.

    Raises:
        DataError: a line without two columns, an empty side, invalid UTF-8.
    """
    problems = Problems()
    lines = read_lines(path, problems)
    problems.raise_if_any()
    order, pairs = (0, 1), []
    for number, line in enumerate(lines, 1):
        cells = line.split("\t")
        if len(cells) != 2:
            empty_target = len(cells) == 1 and bool(line)
            problems.add(
                path,
                number,
                "the line is empty."
                if not line
                else f"2 columns separated by a tab are needed, found {len(cells)}"
                + (" (no tab, or nothing after it)." if empty_target else "."),
            )
            continue
        try:
            found = _columns(cells, pair) if number == 1 else None
        except ValueError as error:
            raise DataError(f"{path}:1: {error}") from None
        if found is not None:
            order = found
            continue
        source, target = (cells[i].rstrip() for i in order)
        for side, text in (("source", source), ("target", target)):
            if is_empty(text):
                problems.add(path, number, f"the {side} {why_empty(text)}.")
        pairs.append(Pair(source, target))
    problems.raise_if_any()
    if not pairs:
        raise DataError(f"{path}: no pairs, only a header.")
    if len(pairs) > 1 and all(
        _is_quoted(text) for one in pairs for text in (one.source, one.target)
    ):
        raise DataError(
            f"{path}: every cell is in double quotes, which would be a part of each text: write "
            "the file without quoting."
        )
    return pairs


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == '"'
