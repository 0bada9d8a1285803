"""Text a line at a time, plain or packed by gzip: a corpus may have gigabytes."""

from __future__ import annotations

import codecs
import gzip
import os
import zlib
from collections.abc import Iterator
from typing import IO

from mt_lottery.errors import plural
from mt_lottery.reading.files import Error, check_regular, reason, shown

LONGEST = 8 << 20  # bytes of a line

#: First bytes of packed files, none of them the start of a text.
PACKED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh91AY&SY": "bzip2",
    b"PK\x03\x04": "zip",
}
#: A packed text that unpacks to more than both is none that anybody wrote.
UNPACKED = 1 << 30  # bytes
RATIO = 200  # times its size


def raw_lines(
    path: str | os.PathLike[str], error: Error, *, packed: bool = False
) -> Iterator[bytes]:
    """The lines of a file without their ends, a byte order mark left out.

    Args:
        path: a regular file; links are followed.
        error: the class to raise.
        packed: unpack gzip; otherwise it is refused as every other packing.

    Raises:
        error: as :func:`~mt_lottery.reading.check_regular`; empty, UTF-16, packed, a line longer
            than :data:`LONGEST`; a packed file that is cut short, damaged, or unpacks to far more
            than a text does.
    """
    check_regular(path, error)
    where = shown(path)
    try:
        with open(path, "rb") as file:
            start = file.read(16)
            file.seek(0)
            unpack = packed and start.startswith(b"\x1f\x8b")
            for first, kind in PACKED.items():
                if start.startswith(first) and not unpack:
                    raise error(f"{where}: the file is packed ({kind}); unpack it first.")
            if not unpack:
                yield from _lines(file, where, error)
                return
            size = os.fstat(file.fileno()).st_size
            with gzip.open(file) as text:
                yield from _lines(text, where, error, size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as cause:
        raise error(f"{where}: damaged: not all of it can be unpacked ({cause}).") from cause
    except OSError as cause:
        raise error(f"{where}: cannot be read: {reason(cause, path)}.") from cause


def _lines(
    file: IO[bytes] | gzip.GzipFile, where: str, error: Error, size: int | None = None
) -> Iterator[bytes]:
    start = file.read(len(codecs.BOM_UTF8))
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise error(f"{where}:1: the file is UTF-16; save it as UTF-8.")
    file.seek(len(codecs.BOM_UTF8) if start == codecs.BOM_UTF8 else 0)
    number = total = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        total += len(line)
        if len(line) > LONGEST and not line.endswith(b"\n"):
            raise error(
                f"{where}:{number}: the line is longer than {LONGEST:,} bytes; a text has "
                "one sentence a line."
            )
        if number == 1 and not line.endswith(b"\n") and b"\r" in line.rstrip(b"\r"):
            raise error(
                f"{where}:1: lines end in a carriage return alone (old Macintosh files); "
                "save it with line feeds."
            )
        if size is not None and total > max(UNPACKED, RATIO * size):
            raise error(
                f"{where}: {plural(size, 'byte')} that unpack to more than {total:,}: no text "
                "does that."
            )
        yield line.removesuffix(b"\n")
    if not number:
        raise error(f"{where}: the file is empty.")


def text_lines(path: str | os.PathLike[str], error: Error) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line of a UTF-8 file, plain or packed, without its end.

    Raises:
        error: as :func:`raw_lines`; or a line is not UTF-8, or holds a NUL character.
    """
    for number, line in enumerate(raw_lines(path, error, packed=True), 1):
        where = f"{shown(path)}:{number}"
        if b"\0" in line:
            raise error(f"{where}: a NUL character: this is not a text file in UTF-8.")
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError as cause:
            byte = f"byte 0x{line[cause.start]:02x} at position {cause.start + 1}"
            raise error(f"{where}: not valid UTF-8 ({byte}).") from cause
