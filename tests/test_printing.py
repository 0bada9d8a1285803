"""Tables at any width: whole words in the heads, and nothing interpreted."""

from __future__ import annotations

import io
import itertools

import pytest
from rich.text import Text

from mt_lottery.report.printing import Grid, printer

HEADS = ("method", "trained", "first line", "Spearman", "ticket above own", "95% of null")


def drawn(grid: Grid | Text | str, width: int) -> str:
    file = io.StringIO()
    printer(width, file=file).print(grid)
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 110, 200])
def test_heads_are_not_broken_inside_words(width: int) -> None:
    grid = Grid("A title", HEADS)
    for number in range(3):
        grid.add(f"method {number}", "268,098,176", "16.2 [15.2, 17.2]", "0.1234", "5 of 18")
    text = drawn(grid, width)
    for word in itertools.chain(*(head.split() for head in HEADS)):
        assert word in text.replace("│", " ").replace("┃", " ").split(), (word, text)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("268,098,176") == 3 == text.count("16.2 [15.2, 17.2]")
    pieces = len(grid.parts(width))
    assert text.count("┏") == pieces and (pieces == 1) == (width >= 60)
    assert text.count("A title") == 1


def test_a_table_goes_without_blanks_before_it_goes_in_parts() -> None:
    grid = Grid("", ["method", "trained", "raw", "stopped"])
    grid.add("none", "0", "16.2 [15.2, 17.2]", "98%")
    assert "│ none   │" in drawn(grid, 60) and "│none  │" in drawn(grid, 42)
    assert [len(grid.parts(width)) for width in (50, 49, 42, 41)] == [1, 1, 1, 2]
    assert "│ none" in drawn(grid, 41)  # in parts there is room


def test_a_long_path_is_folded_not_lost() -> None:
    grid = Grid("", ["run", "D"])
    path = "/home/somebody/" + "x" * 100
    grid.add(path, "0.5")
    text = drawn(grid, 60)
    assert "0.5" in text
    assert "".join(text.split("│")[k].strip() for k in range(1, text.count("│"), 3)) == path


@pytest.mark.parametrize(
    "hostile", ["[red]x[/red]", "[/]", ":smile:", "\x1b[2Jx", "\x07\x9b", "a\rb"]
)
def test_markup_and_controls_are_shown(hostile: str) -> None:
    grid = Grid(hostile, ["method", hostile])
    grid.add(hostile, hostile)
    for thing in (grid, hostile, Text(hostile), Text.assemble((hostile, "bold"), "x")):
        text = drawn(thing, 80)
        assert not set(text) & {"\x1b", "\x07", "\x9b", "\r"}
        if not isinstance(thing, Text):  # rich takes some controls out of its own
            assert hostile.encode("unicode_escape").decode() in text
