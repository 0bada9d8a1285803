"""Tables and lines on a terminal: as wide as they may be, whole words, nothing interpreted.

What is shown holds tokens, translations and names of others: a token ``[red]`` is no markup, and
an escape character is written ``\\x1b``.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from html import escape
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from mt_lottery.report.plain import visible


class PlainConsole(Console):
    """A console that shows text as it is: no markup, no emoji codes, no control characters."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """See rich."""
        if isinstance(renderable, Text):
            renderable = _harmless(renderable)
        return super().render(renderable, options)

    def render_str(self, text: str, **how: Any) -> Text:
        """See rich."""
        return super().render_str(visible(text, newlines=True), **how)


def _harmless(text: Text) -> Text:
    shown = visible(text.plain, newlines=True)
    if shown == text.plain:
        return text
    # the styles of parts go: their places are those of the text as it was
    return Text(shown, style=text.style, justify=text.justify, overflow=text.overflow, end=text.end)


def printer(width: int = 110, *, file: IO[str] | None = None, stderr: bool = False) -> Console:
    """The console of every command.

    Args:
        width: columns where the output is a file or a pipe; a terminal has its own.
        file: where to; standard output if None.
        stderr: to standard error.
    """
    stream = file or (sys.stderr if stderr else sys.stdout)
    return PlainConsole(
        file=file,
        stderr=stderr,
        width=None if stream.isatty() else width,
        highlight=False,
        markup=False,
        emoji=False,
    )


def as_text(table: RenderableType, width: int = 110) -> str:
    """A table as the lines that :func:`printer` writes to a file."""
    stream = io.StringIO()
    printer(width, file=stream).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip("\n").split("\n"))


class Grid:
    """A table whose heads are never broken inside a word.

    Where it is wider than the terminal, it goes without blanks beside its rules; where that is not
    enough, its columns come in several tables, each with the first columns again.

    Args:
        title: above it.
        columns: heads; a line feed in one breaks it there.
        left: columns at the left that say what a row is, and come again.
        lines: a rule between rows.
    """

    def __init__(
        self, title: str, columns: Iterable[str], *, left: int = 1, lines: bool = False
    ) -> None:
        self.title = title
        self.columns = list(columns)
        self.left = left
        self.lines = lines
        self._rows: list[tuple[list[Text], str | None]] = []
        self._ends: set[int] = set()

    def add(self, *cells: str | Text | None, style: str | None = None) -> None:
        """A row; a cell without an entry stays empty."""
        made = [
            cell if isinstance(cell, Text) else Text(visible(cell or "", newlines=True))
            for cell in cells
        ]
        made += [Text("")] * (len(self.columns) - len(made))
        self._rows.append(([_harmless(cell) for cell in made], style))

    def section(self) -> None:
        """A rule below the last row."""
        self._ends.add(len(self._rows) - 1)

    def _least(self, place: int) -> int:
        """Columns of the terminal that a column needs: its longest word, for the names a few."""
        heads = [cell_len(word) for word in self.columns[place].split()]
        texts = [row[place].plain for row, _ in self._rows]
        words = max((cell_len(word) for text in texts for word in text.split()), default=0)
        if place < self.left:  # a path or a token may be longer than any terminal
            return max([*heads, min(words, 24), 1])
        whole = max((cell_len(line) for text in texts for line in text.split("\n")), default=0)
        return max([*heads, min(words, 60), min(whole, 28), 1])

    def parts(self, width: int) -> list[list[int]]:
        """The columns of each table that is drawn at some width."""
        return self._laid_out(width)[0]

    def _laid_out(self, width: int) -> tuple[list[list[int]], int]:
        """The columns of each table, and what a column takes beside its text: a rule, blanks."""
        roomy = self._divided(width, 3)
        if len(roomy) > 1 and len(self._divided(width, 1)) == 1:
            return self._divided(width, 1), 1
        return roomy, 3

    def _divided(self, width: int, beside: int) -> list[list[int]]:
        names = list(range(self.left))
        used = sum(self._least(place) + beside for place in names) + 1
        made: list[list[int]] = [[]]
        room = width - used
        for place in range(self.left, len(self.columns)):
            need = self._least(place) + beside
            if made[-1] and need > room:
                made.append([])
                room = width - used
            made[-1].append(place)
            room -= need
        return [[*names, *places] for places in made]

    def _widths(self, places: list[int], room: int, beside: int) -> list[int]:
        """What each column gets: all that it wants, or its least and a share of what is left."""
        widths = [self._least(place) for place in places]
        texts = [[self.columns[p], *(row[p].plain for row, _ in self._rows)] for p in places]
        wanted = [
            max(max((cell_len(line) for text in own for line in text.split("\n")), default=1), one)
            for own, one in zip(texts, widths, strict=True)
        ]
        left = room - 1 - beside * len(places) - sum(widths)
        while left > 0 and widths != wanted:
            behind = [i for i, width in enumerate(widths) if width < wanted[i]]
            index = min(behind, key=lambda i: widths[i])
            widths[index] += 1
            left -= 1
        return widths

    def html(self) -> str:
        """The table for a notebook; nothing in a cell is markup."""
        heads = "".join(f"<th>{escape(visible(head, newlines=True))}</th>" for head in self.columns)
        lines = []
        for row, style in self._rows:
            kind = "strong" if style == "bold" else "span"
            cells = [
                f'<td style="text-align:{"left" if place < self.left else "right"}">'
                f"<{kind}>{escape(cell.plain)}</{kind}></td>"
                for place, cell in enumerate(row)
            ]
            lines.append(f"<tr>{''.join(cells)}</tr>")
        title = f"<caption>{escape(visible(self.title))}</caption>" if self.title else ""
        return (
            f"<table>{title}<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        parts, beside = self._laid_out(options.max_width)
        for number, places in enumerate(parts):
            title = None if number or not self.title else Text(visible(self.title))
            table = Table(
                title=title,
                title_justify="left",
                show_lines=self.lines,
                padding=(0, (beside - 1) // 2),
            )
            widths = self._widths(places, options.max_width, beside)
            for place, width in zip(places, widths, strict=True):
                table.add_column(
                    Text(self.columns[place]),
                    justify="left" if place < self.left else "right",
                    overflow="fold",
                    width=width,
                )
            for index, (row, style) in enumerate(self._rows):
                cells = [row[place] for place in places]
                table.add_row(*cells, style=style, end_section=index in self._ends)
            yield table
