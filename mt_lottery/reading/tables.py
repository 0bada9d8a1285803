"""Tables as CSV whose first line names the columns."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence

from mt_lottery.errors import nearest, plural
from mt_lottery.reading.files import Error, read_text, shown
from mt_lottery.reading.lines import text_lines


def read_csv_rows(
    path: str | os.PathLike[str], error: Error, columns: Sequence[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table whose first line names its columns, each with its last line's number.

    Args:
        path: links are followed.
        error: the class to raise.
        columns: those that must be there; more may be.

    Raises:
        error: as :func:`read_text`; a column is missing or there twice, a row has more or
            fewer cells than columns, or a quote does not end.
    """
    return list(parse_csv_rows(read_text(path, error), shown(path), error, columns))


def parse_csv_rows(
    text: str, where: str, error: Error, columns: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """As :func:`read_csv_rows`, of text; messages begin with ``where``."""
    # "\n" alone ends a line, as an editor counts them: a cell may hold "\r"
    return _csv_rows(io.StringIO(text, newline="\n"), where, error, columns)


def csv_rows(path: str | os.PathLike[str], error: Error) -> Iterator[tuple[int, dict[str, str]]]:
    """As :func:`read_csv_rows`, one after the other, of a file of any size or packed by gzip."""
    lines = (f"{line}\n" for _, line in text_lines(path, error))
    return _csv_rows(lines, shown(path), error, ())


def _csv_rows(
    lines: Iterable[str], where: str, error: Error, columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(lines, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            raise error(f"{where}: empty; its first line must name {', '.join(columns)}.")
        if missing := [name for name in columns if name not in header]:
            raise error(
                f"{where}: line 1: no column {missing[0]}."
                f"{nearest(missing[0], header)} Its columns: {', '.join(header)[:200]}."
            )
        if len(set(header)) != len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise error(f"{where}: line 1: the column {twice!r} is there twice.")
        for cells in reader:
            if cells and len(cells) != len(header):
                raise error(
                    f"{where}: line {reader.line_num}: {plural(len(cells), 'cell')}, but the "
                    f"header names {plural(len(header), 'column')}."
                )
            if cells:
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as cause:
        raise error(f"{where}: line {reader.line_num}: damaged: {cause}.") from cause
