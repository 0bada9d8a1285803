"""Text from outside does nothing in CSV, Markdown, LaTeX and on a terminal."""

from __future__ import annotations

import csv
import io

import pytest

from mt_lottery.report.plain import (
    csv_records,
    csv_text,
    markdown_code,
    markdown_table,
    markdown_text,
    tex_text,
    visible,
)

FORMULAS = [
    *("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1"),
    *("＝1+1", "=", "-", "+", "@"),
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_like_a_formula(text: str) -> None:
    head, line = csv.reader(io.StringIO(csv_text([text], [[text]]), newline=""))
    assert head == line == [f"'{text}"]


@pytest.mark.parametrize("number", [-0.5, -3, 1e-9, "-0.5", "+1", "-1.5e-07", ".5"])
def test_numbers_stay_numbers(number: float | str) -> None:
    line = list(csv.reader(io.StringIO(csv_text(["x"], [[number]]))))[1]
    assert float(line[0]) == float(number)


def test_what_is_read_back_is_exact() -> None:
    tokens = [*FORMULAS, "\r", "\n", '"', "a,b", "+1", "'=", ""]
    text = csv_text(["token", "id"], [[token, 1] for token in tokens], exact=True)
    assert [x["token"] for x in csv.DictReader(io.StringIO(text, newline=""))] == tokens


def test_records_of_unknown_columns_are_refused() -> None:
    assert csv_records(["a", "b"], [{"a": None}]) == "a,b\n,\n"
    with pytest.raises(ValueError, match="c"):
        csv_records(["a"], [{"c": 1}])


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>", "</td><script>", "[click](http://evil.example)",
        "![x](http://evil.example/x.png)", "a | b", "line\nline", "line\r\n# heading",
        "`code`", "**bold**", "_it_", "~~gone~~", "https://evil.example", "[x]: http://evil",
        "www.evil.example", "&lt;script&gt;", "$x$",
    ],
)  # fmt: skip
def test_markdown_shows_text_as_it_is(text: str) -> None:
    markdown_it = pytest.importorskip("markdown_it")
    table = markdown_table(["name", "b"], [[markdown_text(text), "1"], [markdown_code(text), "2"]])
    assert table.count("\n") == 3
    shown = " ".join(text.split())
    page = markdown_it.MarkdownIt("commonmark", {"linkify": False}).enable("table").render
    for line in (markdown_text(text), f"- {markdown_text(text)}", markdown_code(text)):
        inline = [
            child
            for token in markdown_it.MarkdownIt("commonmark").parse(line)
            for child in token.children or []
        ]
        assert {child.type for child in inline} <= {"text", "text_special", "code_inline"}, line
        assert "".join(child.content for child in inline) == shown
    html = page(table)
    for tag in ("<img", "<script", "<a ", "<strong", "<em", "<s>"):
        assert tag not in html
    assert html.count("<tr>") == 3


def test_markdown_leaves_plain_text_plain() -> None:
    for text in ("COMET[m] ×100", "KS-Lottery, partial tuning", "ks_lottery & 50% of_it"):
        assert markdown_text(text) == text


def test_latex_takes_text_literally() -> None:
    assert tex_text("\\input{/etc/passwd}\n%<x>|") == (
        r"\textbackslash{}input\{/etc/passwd\} \%\textless{}x\textgreater{}\textbar{}"
    )


def test_a_terminal_is_sent_no_controls() -> None:
    assert visible("\x1b[2Jgone\x07\x9b1m\r\u202eabc") == (r"\x1b[2Jgone\x07\x9b1m\r\u202eabc")
    assert visible("a\nb") == r"a\nb"
    assert visible("a\nb", newlines=True) == "a\nb"
    assert visible("\ud83d") == r"\ud83d"
    for text in ("de la «țară» 日本 ▁the", "[red]no[/red]"):
        assert visible(text) == text
