"""Parquet, a few rows of a few columns at a time; pyarrow is imported when a file is read.

pyarrow runs no code that a file brings since 14.0.1 (CVE-2023-47248), which is why an older one
is refused.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any

from mt_lottery.errors import nearest, plural
from mt_lottery.reading.files import Error, check_regular, shown
from mt_lottery.reading.lines import LONGEST

ROWS = 128  # converted at a time
LARGEST = 1 << 30  # bytes of those rows, where each may repeat the one before
NEEDS = "pyarrow>=15"


def pyarrow_problem() -> str | None:
    """What must be installed before a Parquet file can be read; None if all is there."""
    from importlib import metadata

    with contextlib.suppress(metadata.PackageNotFoundError, ValueError):
        if int(metadata.version("pyarrow").partition(".")[0]) >= 15:
            return None
    return f"Parquet needs {NEEDS}: pip install '{NEEDS}' (or the extra 'mt-lottery[hub]')"


class ParquetTable:
    """The head of a Parquet file.

    Attributes:
        fields: names of its columns, those within others with dots: ``translation.en``.
        tops: names of the columns, whatever is in them but bytes.
        rows: how many it has.

    Args:
        path: links are followed.
        error: the class to raise.

    Raises:
        error: as :func:`~mt_lottery.reading.check_regular`; pyarrow is missing, or the file is
            damaged or no Parquet.
    """

    def __init__(self, path: str | os.PathLike[str], error: Error) -> None:
        check_regular(path, error)
        self._path, self._error = path, error
        if problem := pyarrow_problem():
            raise error(f"{shown(path)}: {problem}.")
        with self._reading():
            from pyarrow import parquet

            # no pre_buffer: pages one by one, whatever the size of a row group
            self._file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16)
            self.rows: int = self._file.metadata.num_rows
            columns = self._file.schema
            self.fields = [columns.column(i).path for i in range(len(columns))]
            # not pictures and sounds, which may be large
            found = [f for f in self._file.schema_arrow if "binary" not in str(f.type)]
            self.tops: list[str] = [f.name for f in found]

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        where = shown(self._path)
        try:
            yield
        except UnicodeDecodeError as cause:
            found = cause.object[max(0, cause.start - 20) : cause.end]
            raise self._error(f"{where}: not valid UTF-8: {found!r}.") from cause
        except Exception as cause:
            if isinstance(cause, self._error):
                raise
            what = " ".join(str(cause).split())[:300].rstrip(".")
            raise self._error(
                f"{where}: cannot be read as Parquet ({type(cause).__name__}: {what}): damaged, "
                "or not downloaded whole."
            ) from cause

    def read(self, fields: Sequence[str]) -> Iterator[list[Any]]:
        """The values of some columns, a row at a time; what no column of it has is not read.

        Args:
            fields: of :attr:`fields`, or columns that hold others (then the value is a dict).

        Raises:
            error: a page is damaged, a text is not UTF-8 or longer than
                :data:`~mt_lottery.reading.lines.LONGEST` bytes.
        """
        for field in fields:
            if not any(n == field or n.startswith(f"{field}.") for n in self.fields):
                raise self._error(
                    f"{shown(self._path)}: no column '{field}'.{nearest(field, self.fields)} "
                    f"Its columns are: {', '.join(self.fields)[:500]}."
                )
        for group in range(self._file.metadata.num_row_groups):
            with self._reading():
                batches = self._file.iter_batches(
                    self._rows_at_once(group, fields),
                    row_groups=[group],
                    columns=list(dict.fromkeys(fields)),
                    use_threads=False,
                )
            while True:
                with self._reading():
                    batch = next(batches, None)
                    if batch is None:
                        break
                    columns = [self._values(batch, field) for field in fields]
                yield from map(list, zip(*columns, strict=True))

    def _rows_at_once(self, group: int, fields: Sequence[str]) -> int:
        """Few enough that no packing can make them many times larger than they are in the file."""
        head = self._file.metadata.row_group(group)
        rows = ROWS
        for i in range(head.num_columns):
            column = head.column(i)
            name = column.path_in_schema
            if not any(name == field or name.startswith(f"{field}.") for field in fields):
                continue
            if column.total_uncompressed_size <= LONGEST:
                continue
            if "DELTA_BYTE_ARRAY" in column.encodings:  # each may repeat the start of the last
                rows = min(rows, max(1, LARGEST // column.total_uncompressed_size))
            if column.has_dictionary_page and column.physical_type == "BYTE_ARRAY":
                self._check_dictionary(group, name)
        return rows

    def _check_dictionary(self, group: int, name: str) -> None:
        """One long text in a dictionary stands for as many rows as one likes."""
        import pyarrow.compute as pc
        from pyarrow import parquet

        file = parquet.ParquetFile(
            self._path, pre_buffer=False, buffer_size=1 << 16, read_dictionary=[name]
        )
        values = next(file.iter_batches(1, row_groups=[group], columns=[name])).column(0)
        while not hasattr(values, "dictionary"):
            if not values.type.num_fields:
                return
            values = values.field(0) if hasattr(values, "field") else values.values
        self._refuse_long(pc.max(pc.binary_length(values.dictionary)).as_py() or 0, name)

    def _refuse_long(self, longest: int, name: str) -> None:
        if longest > LONGEST:
            raise self._error(
                f"{shown(self._path)}: a value of '{name}' has {plural(longest, 'byte')}; a text "
                f"may have {LONGEST:,}."
            )

    def _values(self, batch: Any, field: str) -> list[Any]:
        import pyarrow as pa
        import pyarrow.compute as pc

        names, take, rest = batch.schema.names, batch.column, field
        while True:  # a name may have a dot itself
            fits = [n for n in names if rest == n or rest.startswith(f"{n}.")]
            step = max(fits, key=len)
            values, rest = take(step), rest[len(step) + 1 :]
            if not rest:
                break
            names = [values.type.field(i).name for i in range(values.type.num_fields)]
            take = functools.partial(pc.struct_field, values)
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            self._refuse_long(pc.max(pc.binary_length(values)).as_py() or 0, field)
        found: list[Any] = values.to_pylist()
        return found
