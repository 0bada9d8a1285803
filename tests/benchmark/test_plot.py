"""The plot of a leaderboard: what it draws covers nothing, on the page and in the README."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from page_board import make_board

from mt_lottery.benchmark.page import document
from mt_lottery.benchmark.page.figure import HEIGHT, WIDTH, draw, figure_files, write_figure
from mt_lottery.benchmark.page.labels import Spot, cross, cuts, overlap
from mt_lottery.benchmark.page.plot import Drawing, Line, Point, points
from mt_lottery.cli.bench import command
from mt_lottery.errors import RecordError
from mt_lottery.report.figures import THEMES

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
BOARDS = sorted(RESULTS.glob("*/leaderboard.json"))
SIZES = {"wide": (900, 460), "narrow": (350, 460), "README": (WIDTH, HEIGHT)}


def covered(own: Drawing, spots: list[Spot]) -> list[str]:
    """What is on top of something in a drawing, or a name that touches a line of it."""
    lines = [each for each in own.axes() if isinstance(each, Line) and each.kind != "grid"]
    edges = [(each.x - 2, each.y, each.x2 + 2, each.y2) for each in lines]
    found = [
        f"{point.name}, a line"
        for point, spot in zip(own.points, spots, strict=True)
        if any(overlap(spot.box, edge) for edge in edges)
    ]
    for at, (point, spot) in enumerate(zip(own.points, spots, strict=True)):
        for other, beside in zip(own.points, spots, strict=True):
            drawn = own.drawn(other)
            if other is not point and spot.leader and any(cuts(*spot.leader, b) for b in drawn):
                found.append(f"{point.name}'s leader, {other.name}'s marks")
            if any(overlap(spot.box, box) for box in drawn):
                found.append(f"{point.name}, {other.name}'s marks")
            if beside.leader and other is not point and cuts(*beside.leader, spot.box):
                found.append(f"{other.name}'s leader, {point.name}")
        for beside in spots[:at]:
            if overlap(spot.box, beside.box):
                found.append(f"{point.name}, a name")
            if spot.leader and beside.leader and cross(spot.leader, beside.leader):
                found.append(f"{point.name}'s leader, a leader")
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.parent.name)
def test_names_and_leaders_cover_nothing(path: Path, size: str) -> None:
    for block in json.loads(path.read_text())["blocks"]:
        own = Drawing(points(block["rows"]), "BLEU", *SIZES[size], exact=size == "README")
        assert len(own.points) == len(block["rows"])
        spots = own.spots()
        assert covered(own, spots) == []
        for spot in spots:
            assert spot.box[0] >= 0 and spot.box[2] <= own.width
            assert spot.box[1] >= 0 and spot.box[3] <= own.bottom
        # marks that are moved apart are still in order, and near where they belong
        for one, other in combinations(sorted(own.points, key=lambda p: p.count), 2):
            assert one.count == other.count or one.x < other.x
        assert all(abs(p.x - own.x(p.count)) <= 3 * own.gap for p in own.points)


@settings(max_examples=25, deadline=None)
@given(
    some.lists(
        some.tuples(
            some.sampled_from([0, 1, 6400, 11520, 368640, 10**9]),
            some.floats(0, 40),
            some.floats(-1, 12),
        ),
        min_size=1,
        max_size=7,
    )
)
def test_any_few_recipes_have_names_that_cover_nothing(
    given_points: list[tuple[int, float, float]],
) -> None:
    made = [
        Point(f"recipe_{at}", "", count, raw, raw + more, (raw - 1, raw + 1), None, False)
        for at, (count, raw, more) in enumerate(given_points)
    ]
    made.append(Point("best", "", 92160, 44.0, 44.0, (43.0, 45.0), None, True))  # a full axis
    own = Drawing(made, "BLEU", 900, 460)
    assert covered(own, own.spots()) == []
    for one, other in combinations(made, 2):
        (_, top, _, bottom), (_, top2, _, bottom2) = own.drawn(one)[-1], own.drawn(other)[-1]
        assert abs(one.x - other.x) > 11 or bottom < top2 or bottom2 < top


def test_an_exact_drawing_moves_only_marks_that_hide_each_other() -> None:
    made = [
        Point(name, "", count, raw, raw, (raw - 1, raw + 1), None, False)
        for name, count, raw in (("a", 6400, 3.0), ("b", 6400, 4.0), ("c", 6400, 4.01),
                                 ("d", 6400, 9.0), ("e", 10**6, 10.0))
    ]  # fmt: skip
    for exact in (True, False):
        own = Drawing(made, "BLEU", 900, 460, exact=exact)
        away = [round((point.x - own.x(point.count)) / own.gap, 1) for point in made]
        # the whiskers of a, b and c meet
        assert away == ([0.0, -0.5, 0.5, 0.0, 0.0] if exact else [-1.0, 0.0, 1.0, 0.0, 0.0])


def test_lines_and_boxes() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    assert cuts((-5, 5), (15, 5), box) and cuts((-1, 9), (1, 11), box) is False
    assert cuts((5, 5), (5, 6), box)  # inside
    assert not cuts((-5, 10), (15, 10), box)  # along an edge
    assert not cuts((-5, 5), (-1, 5), box)  # ends before it
    assert cross(((0, 0), (2, 2)), ((0, 2), (2, 0)))
    assert not cross(((0, 0), (2, 2)), ((2, 2), (4, 0)))  # touches


def test_a_figure_has_a_file_for_each_theme(tmp_path: Path) -> None:
    board = json.loads((RESULTS / "small_en-ro_es_ca_no" / "leaderboard.json").read_text())
    assert {p.name for p in write_figure(board, tmp_path / "x")} == {"x-light.svg", "x-dark.svg"}
    for theme, path in figure_files(tmp_path / "x").items():
        assert path.read_text() == draw(board, theme)


@pytest.mark.parametrize("theme", THEMES)
def test_a_figure_is_xml_that_fetches_nothing_and_says_everything_in_words(theme: str) -> None:
    board = make_board()
    text = draw(board, theme)
    tree = ElementTree.fromstring(text)
    assert not re.search(r"(href|src|url\(|@import|<script)", text)
    described = tree.findtext("{http://www.w3.org/2000/svg}desc")
    assert described is not None and "Full tuning: 268,098,176 trained parameters" in described
    names = [e.text for e in tree.iter() if str(e.get("class")).startswith("label")]
    assert {"none", "full", "ks_lottery"} <= {str(name).partition(" ")[0] for name in names}
    *_, width, height = str(tree.get("viewBox")).split()
    inside = [e for e in tree.iter() if e.get("x") and e.get("class") == "key"]
    assert len(inside) == 4 and all(float(e.get("x", 0)) < float(width) - 60 for e in inside)
    assert all(float(e.get("y", 0)) < float(height) for e in tree.iter() if e.get("y"))


def test_hostile_names_stay_text() -> None:
    board = make_board()
    for row in board["blocks"][0]["rows"]:
        row["method"] = row["label"] = "<script>alert(1)</script>&"
    tree = ElementTree.fromstring(draw(board, "light"))
    assert not [e for e in tree.iter() if "script" in e.tag]


def test_nothing_to_draw() -> None:
    board: dict[str, Any] = make_board()
    for blocks in ([], [board["blocks"][0] | {"rows": []}]):
        with pytest.raises(RecordError, match="No recipe has an average score"):
            draw(board | {"blocks": blocks}, "light")


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", THEMES)
def test_contrast(theme: str) -> None:
    colours = THEMES[theme]
    paper = luminance(colours["paper"])

    def contrast(name: str) -> float:
        low, high = sorted((paper, luminance(colours[name])))
        return (high + 0.05) / (low + 0.05)

    assert min(contrast("ink"), contrast("quiet")) >= 4.5
    assert min(contrast("raw"), contrast("first_line"), contrast("edge")) >= 3


def test_the_pages_colours_are_the_figures() -> None:
    style = document._asset("page.css")
    for name, key in (("raw", "raw"), ("first-line", "first_line"), ("ink", "ink")):
        light, dark = (THEMES[theme][key] for theme in ("light", "dark"))
        assert f"--{name}: light-dark({light}, {dark});" in style


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "board"
    folder.mkdir()
    source = RESULTS / "small_en-ro_es_ca_no" / "leaderboard.json"
    (folder / source.name).write_text(source.read_text())
    asked = ["report", str(folder), "--figure", str(tmp_path / "plot")]
    assert command(asked) == 0
    assert str(tmp_path / "plot-light.svg") in capsys.readouterr().out.replace("\n", "")
    assert (tmp_path / "plot-dark.svg").read_text() == draw(json.loads(source.read_text()), "dark")
    with pytest.raises(RecordError, match=r"plot-light\.svg"):
        command(asked)
    assert command([*asked, "--overwrite"]) == 0
