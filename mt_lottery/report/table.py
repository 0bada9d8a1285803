"""A table described once: what its rows are, and what each column shows of one.

Rendered on a terminal, as Markdown, LaTeX and CSV.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mt_lottery.report.numbers import GAP
from mt_lottery.report.plain import csv_text, markdown_table, markdown_text, tex_text

if TYPE_CHECKING:
    from mt_lottery.report.printing import Grid


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        head: its heading for a reader; None: in the CSV only.
        show: row → text for a reader.
        key: its heading in the CSV; None: for a reader only.
        value: row → unrounded number, or text, for the CSV.
        markdown: row → Markdown, where that is more than the text.
        strong: bold in rows that are marked.
    """

    head: str | None
    show: Callable[[Any], str] = str
    key: str | None = None
    value: Callable[[Any], Any] = str
    markdown: Callable[[Any], str] | None = None
    strong: bool = False


def field(
    name: str, head: str | None = None, form: str | Callable[[Any], str] = "", key: str = ""
) -> Column:
    """A column of what a row has under a name: an attribute, or a key of a dictionary.

    Args:
        name: of it.
        head: for a reader; None: in the CSV only.
        form: how a reader sees it, in a format of Python's or by a function; a dash for None.
        key: in the CSV; ``name`` if empty.
    """

    def value(row: Any) -> Any:
        return row[name] if isinstance(row, dict) else getattr(row, name)

    def show(row: Any) -> str:
        found = value(row)
        if found is None:
            return GAP
        return form(found) if callable(form) else format(found, form)

    return Column(head, show, key or name, value)


@dataclass(frozen=True)
class Table:
    """Rows and columns.

    Attributes:
        columns: in order.
        rows: anything that the columns can read.
        title: above it on a terminal.
        left: columns at the left that say what a row is.  Their text, as the heads, may be of
            others and is escaped; the other columns' is ours.
        marked: whether a row is marked: bold.
    """

    columns: Sequence[Column]
    rows: Sequence[Any]
    title: str = ""
    left: int = 1
    marked: Callable[[Any], bool] = lambda _: False

    def _shown(self) -> list[Column]:
        return [column for column in self.columns if column.head is not None]

    def _heads(self) -> list[str]:
        return [str(column.head) for column in self._shown()]

    def grid(self, *, lines: bool = False, section: Callable[[Any], object] | None = None) -> Grid:
        """For a terminal.

        Args:
            lines: a rule between rows.
            section: row → what is equal within a section; a rule between two sections.
        """
        from mt_lottery.report.printing import Grid

        made = Grid(self.title, self._heads(), left=self.left, lines=lines)
        for place, row in enumerate(self.rows):
            if section is not None and place and section(row) != section(self.rows[place - 1]):
                made.section()
            cells = [column.show(row) for column in self._shown()]
            made.add(*cells, style="bold" if self.marked(row) else None)
        return made

    def markdown(self) -> str:
        """As Markdown."""
        heads = [markdown_text(head) for head in self._heads()]
        return markdown_table(heads, map(self._markdown_row, self.rows))

    def _markdown_row(self, row: Any) -> list[str]:
        cells = []
        for place, column in enumerate(self._shown()):
            if column.markdown is not None:
                text = column.markdown(row)
            else:
                text = column.show(row)
                text = markdown_text(text) if place < self.left else text
            cells.append(f"**{text}**" if column.strong and self.marked(row) else text)
        return cells

    def latex(self) -> list[str]:
        """The lines of a ``tabular`` for booktabs."""
        return [
            rf"\begin{{tabular}}{{l{'r' * (len(self._shown()) - 1)}}}",
            r"\toprule",
            " & ".join(map(tex_text, self._heads())) + r" \\",
            r"\midrule",
            *(" & ".join(self._latex_row(row)) + r" \\" for row in self.rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]

    def _latex_row(self, row: Any) -> Iterator[str]:
        for column in self._shown():
            text = tex_text(column.show(row))
            yield rf"\textbf{{{text}}}" if column.strong and self.marked(row) else text

    def csv(self) -> str:
        """As CSV, unrounded."""
        kept = [column for column in self.columns if column.key is not None]
        rows = [[column.value(row) for column in kept] for row in self.rows]
        return csv_text([str(column.key) for column in kept], rows)
