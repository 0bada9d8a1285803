"""Tables as CSV or TSV whose first line names the columns."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence

from mt_lottery.errors import nearest
from mt_lottery.reading.files import TEXT, Error, read_text, shown


def read_csv_rows(
    path: str | os.PathLike[str],
    error: Error,
    columns: Sequence[str] = (),
    *,
    delimiter: str = ",",
    limit: int = TEXT,
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table whose first line names its columns, each with its last line's number.

    Args:
        path: links are followed.
        error: the class to raise.
        columns: those that must be there; more may be.
        delimiter: what separates two cells.
        limit: the most bytes that are read.

    Raises:
        error: as :func:`read_text`; a column is missing or there twice, a row has more or
            fewer cells than columns, or a quote does not end.
    """
    return list(
        _csv_rows(read_text(path, error, limit=limit), shown(path), error, columns, delimiter)
    )


def _csv_rows(
    text: str, where: str, error: Error, columns: Sequence[str], delimiter: str
) -> Iterator[tuple[int, dict[str, str]]]:
    # "\n" alone ends a line, as an editor counts them: a cell may hold "\r"
    lines = io.StringIO(text, newline="\n")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
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
                    f"{where}: line {reader.line_num}: {len(cells)} cells, but the header "
                    f"names {len(header)} columns."
                )
            if cells:
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as cause:
        raise error(f"{where}: line {reader.line_num}: damaged: {cause}.") from cause
