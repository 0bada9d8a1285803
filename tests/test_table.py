"""A table that is described once, in each of its formats."""

from __future__ import annotations

import io

from mt_lottery.report.printing import printer
from mt_lottery.report.table import Column, Table, field

ROWS = [{"name": "a_[b](c)", "score": 1.25, "best": True}, {"name": "=d", "score": None, "best": 0}]
COLUMNS = [
    Column("name", lambda row: str(row["name"]), "name", lambda row: row["name"], strong=True),
    field("score", "score <b>", ".1f", "points"),
    field("best"),
]
TABLE = Table(COLUMNS, ROWS, "title", marked=lambda row: bool(row["best"]))


def test_markdown_escapes_names_and_marks_rows() -> None:
    assert TABLE.markdown() == (
        "| name | score &lt;b&gt; |\n| --- | --: |\n| **a\\_[b\\]\\(c)** | 1.2 |\n| =d | — |"
    )


def test_latex() -> None:
    found = TABLE.latex()
    assert found[0] == r"\begin{tabular}{lr}" and found[-1] == r"\end{tabular}"
    assert found[2] == r"name & score \textless{}b\textgreater{} \\"
    assert found[4:6] == [r"\textbf{a\_[b](c)} & 1.2 \\", r"=d & --- \\"]


def test_csv_is_unrounded_and_has_what_a_reader_is_not_shown() -> None:
    assert TABLE.csv() == "name,points,best\na_[b](c),1.25,True\n'=d,,0\n"


def test_terminal() -> None:
    out = io.StringIO()
    printer(40, file=out).print(TABLE.grid(section=lambda row: row["name"]))
    said = out.getvalue()
    assert "title" in said and "a_[b](c)" in said and "1.2" in said and "best" not in said
    assert said.count("├") == 1
