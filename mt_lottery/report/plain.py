r"""Text from outside as plain text, in CSV, Markdown, LaTeX and on a terminal.

Names of plugins, reasons of failures, tokens and translations come from others.  Each format has
characters that do something (a formula, a tag, a macro, an escape sequence); here, and nowhere
else, they are made to be seen instead.  What is *read back* by this package (``tickets.csv``) is
written exactly (``exact=True``): there a token ``=`` or ``+1`` is data.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
#: What a spreadsheet takes for the beginning of a formula (full-width forms in some locales).
_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"


def csv_cell(value: Any) -> Any:
    """A cell that no spreadsheet runs: text that begins like a formula gets a ``'`` in front.

    Numbers stay as they are, written as text too (``-0.5``).
    """
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    value = value.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair
    begins = value.lstrip()[:1]
    if value[:1] in ("\t", "\r", "\n") or (begins and begins in _FORMULA):
        return f"'{value}"
    return value


def csv_line(values: Iterable[Any], *, exact: bool = False) -> str:
    """One line of CSV with its end.

    Args:
        values: None is an empty cell.
        exact: written as given, for a file that is read back.
    """
    line = io.StringIO()
    cells = ["" if value is None else value for value in values]
    # before Python 3.13 only the signs of the line end are quoted: a token may be "\r"
    csv.writer(line, lineterminator="\r\n").writerow(
        cells if exact else [csv_cell(cell) for cell in cells]
    )
    return line.getvalue().removesuffix("\r\n") + "\n"


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, exact: bool = False) -> str:
    """A table as CSV.

    Args:
        columns: the heads.
        rows: cells in their order.
        exact: see :func:`csv_line`.
    """
    return "".join(csv_line(line, exact=exact) for line in (columns, *rows))


def csv_records(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    """As :func:`csv_text`, from dictionaries; a missing key is an empty cell.

    Raises:
        ValueError: a key that is no column.
    """
    lines = []
    for row in rows:
        if extra := row.keys() - set(columns):
            raise ValueError(f"no columns for {', '.join(sorted(extra))}")
        lines.append([row.get(column) for column in columns])
    return csv_text(columns, lines)


def visible(text: str, *, newlines: bool = False) -> str:
    r"""Control characters as escapes (``\x1b``), so that a terminal shows and does not obey them.

    Args:
        text: from outside.
        newlines: a line feed stays; else it is written ``\n``.
    """
    if text.isprintable():  # nearly always
        return text
    return "".join(_seen(letter, newlines) for letter in text)


def _seen(letter: str, newlines: bool) -> str:
    if letter == "\n" and newlines:
        return letter
    # controls, halves of surrogate pairs, and marks that turn the direction of the text
    if unicodedata.category(letter) in ("Cc", "Cs") or letter in _DIRECTIONS:
        return letter.encode("unicode_escape", "surrogatepass").decode("ascii")
    return letter


_DIRECTIONS = frozenset(
    map(chr, (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)))
)
_LINES = re.compile(r"\s*[\r\n\x0b\x0c\x85\u2028\u2029]+\s*")
# brackets only where they make a link, an image, a note or a box: "COMET[model]" reads as it is
_MARKUP = re.compile(
    r"[\\`*|~$]|(?<![^\W_])_|_(?![^\W_])|!(?=\[)|\[(?=\^|[ xX]?\])|\](?=[(\[:])|(?<=\])[(\[:]"
)


def markdown_text(text: str) -> str:
    """Text in one line of Markdown, without HTML, links, images or emphasis."""
    one = visible(_LINES.sub(" ", text.strip()))
    one = _MARKUP.sub(lambda found: f"\\{found[0]}", one)
    one = re.sub(r"&(?=#?\w+;)", "&amp;", one).replace("<", "&lt;").replace(">", "&gt;")
    # GitHub makes links of bare addresses
    return re.sub(r"(?i)(?<=[a-z])://|(?<=www)\.", lambda found: f"\\{found[0]}", one)


def markdown_code(text: str, *, cell: bool = False) -> str:
    """Text as a code span.

    Args:
        text: what is in it.
        cell: it is in a table, where even code must not hold a bar.
    """
    one = visible(_LINES.sub(" ", text.strip()))
    if not one or "`" in one or "<" in one or "](" in one:
        return markdown_text(text)  # a renderer that is not strict about code does no harm either
    return f"`{one}`".replace("|", "\\|" if cell else "|")


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; the first column to the left, others right."""
    lines = [list(heads), ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "—": "---", "±": r"$\pm$", "…": r"\dots{}", "’": "'", "α": r"$\alpha$", "≤": r"$\le$",
    "³": r"\textsuperscript{3}",
}  # fmt: skip


def tex_text(text: str) -> str:
    """Text that LaTeX takes literally, in one line."""
    return "".join(_TEX.get(letter, letter) for letter in visible(_LINES.sub(" ", text)))
