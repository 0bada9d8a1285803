"""Tables of named fields in the formats that data sets come in, a record at a time.

Parquet, JSON Lines (or one JSON list), and CSV whose first line names the columns; the last two
packed by gzip too.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from mt_lottery.reading.files import Error, check_regular, shown
from mt_lottery.reading.json_files import parse_json, read_json
from mt_lottery.reading.lines import text_lines
from mt_lottery.reading.parquet_files import ParquetTable
from mt_lottery.reading.tables import csv_rows

#: How their names end.
FORMATS = (".parquet", ".jsonl", ".ndjson", ".json", ".csv")
PACKABLE = FORMATS[1:]


def format_of(name: str | os.PathLike[str]) -> str | None:
    """The ending that says how a file is read, ``.gz`` left out; None for any other file."""
    path = PurePath(name)
    if path.suffix.lower() == ".gz":
        inner = path.with_suffix("").suffix.lower()
        return inner if inner in PACKABLE else None
    return path.suffix.lower() if path.suffix.lower() in FORMATS else None


def value_at(record: dict[str, Any], field: str) -> Any:
    """The value of a field; ``translation.en`` is ``en`` in ``translation``; None if not there."""
    if field in record:
        return record[field]
    for name, inner in record.items():
        if isinstance(inner, dict) and field.startswith(f"{name}."):
            return value_at(inner, field[len(name) + 1 :])
    return None


def _names(record: dict[str, Any]) -> Iterator[str]:
    for name, value in record.items():
        if isinstance(value, dict) and value:
            yield from (f"{name}.{inner}" for inner in _names(value))
        else:
            yield name


class Records:
    """The records of one file.

    Attributes:
        fields: the names that its first record (Parquet: its head) has, those within others
            with dots.
        first: the first record; empty if there is none.

    Args:
        path: links are followed; its ending says how it is read (:func:`format_of`).
        error: the class to raise.

    Raises:
        error: missing, damaged, or of another format.
    """

    def __init__(self, path: str | os.PathLike[str], error: Error) -> None:
        self._path, self._error = path, error
        self._table: ParquetTable | None = None
        if format_of(path) is None:
            raise error(f"{shown(path)}: not one of {', '.join(FORMATS)} (or packed: .jsonl.gz).")
        if format_of(path) == ".parquet":
            self._table = ParquetTable(path, error)
            self.fields = self._table.fields
            tops = list(dict.fromkeys(self._table.tops))
            row = next(self._table.read(tops), None)
            self.first = {} if row is None else dict(zip(tops, row, strict=True))
        else:
            self.first = next((record for _, record in self._rows()), {})
            self.fields = list(_names(self.first))

    def has(self, field: str) -> bool:
        """Whether there is such a field, or one that holds others."""
        return field in self.first or any(
            name == field or name.startswith(f"{field}.") for name in self.fields
        )

    def read(self, fields: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
        """Where each record is, for a message, and its values of some fields.

        Raises:
            error: a record is damaged.
        """
        where = shown(self._path)
        if self._table is not None:
            for number, values in enumerate(self._table.read(fields), 1):
                yield f"{where}: row {number}", values
            return
        for number, record in self._rows():
            yield f"{where}:{number}", [value_at(record, field) for field in fields]

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        path, error, ending = self._path, self._error, format_of(self._path)
        if ending == ".csv":
            yield from csv_rows(path, error)
            return
        if ending == ".json" and self._is_list():
            for number, record in enumerate(read_json(path, error, list), 1):
                if not isinstance(record, dict):
                    raise error(f"{shown(path)}: item {number}: an object {{…}} is needed.")
                yield number, record
            return
        for number, line in text_lines(path, error):
            if line.strip():
                yield number, parse_json(line, f"{shown(path)}: line {number}", error)

    def _is_list(self) -> bool:
        """Whether a JSON file is one list; a packed one is read as lines."""
        check_regular(self._path, self._error)
        with open(self._path, "rb") as file:
            return file.read(256).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
