"""Layout of the figures: no text outside, none on another, no letter a box, nothing cut at 0."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Collection
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mt_lottery.paper.certify.figure import checks_figure, levels_figure
from mt_lottery.paper.compare.comparison import Pair
from mt_lottery.paper.compare.figures import draw as draw_comparison
from mt_lottery.paper.compare.files import Comparison
from mt_lottery.paper.compare.nulls import Null
from mt_lottery.paper.explain.files import ArmScores, Report, draw
from mt_lottery.paper.explain.recovery import Measured
from mt_lottery.paper.layers.figure import draw_layers
from mt_lottery.paper.layers.parameters import KINDS, Layers
from mt_lottery.paper.show.figure import figure_of
from mt_lottery.paper.show.ticket_report import TicketReport, TokenLine
from mt_lottery.paper.sweep.curve import Point
from mt_lottery.paper.sweep.figure import draw as draw_sweep
from mt_lottery.report.figures import save_figure
from mt_lottery.scoring.significance import Interval
from mt_lottery.ticket.rows import Histogram

pytest.importorskip("matplotlib", reason="matplotlib is in the extra `plot`")
from matplotlib.text import Text

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def ticks(figure: Any) -> set[str]:
    """Labels of ticks beyond the end of an axis: matplotlib has them, and does not draw them."""
    beyond = set()
    for axes in figure.axes:
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not min(low, high) <= tick.get_loc() <= max(low, high):
                    beyond |= {id(tick.label1), id(tick.label2)}
    return beyond


def check_layout(figure: Any, tilted: Collection[str] = ()) -> None:
    """All text is inside the figure, and none is on another; ``tilted`` ones are in a row."""
    tilted = set(tilted)
    figure.draw_without_rendering()
    beyond = ticks(figure)
    boxes = [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and id(text) not in beyond
    ]
    assert len(boxes) > 5
    for words, box in boxes:
        assert box.x0 >= -1 and box.y0 >= -1, words
        assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, words
    for (words, box), (others, other) in combinations(boxes, 2):
        if {words, others} <= tilted:  # their boxes meet where their letters do not
            continue
        across = min(box.x1, other.x1) - max(box.x0, other.x0)
        down = min(box.y1, other.y1) - max(box.y0, other.y0)
        assert across <= 1 or down <= 1, (words, others)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "Glyph … missing from font(s)"
        figure.canvas.draw()


TOKENS = ("▁привіт", "ві", "Х", ".", "<bos>", "世界", "▁مرحبا", "नमस्ते", "$a$", "▁una", "”.")


def ticket(seed: int, tokens: tuple[str, ...] = TOKENS) -> TicketReport:
    drawn = random.Random(seed)
    lines = [
        TokenLine(at, tokens[at] if at < len(tokens) else "x", drawn.randint(1, 24) / 640,
                  0.5, at < 18, None, {"corpus": int(drawn.paretovariate(0.6))})
        for at in range(300)
    ]  # fmt: skip
    lines.sort(key=lambda line: (-line.statistic, line.token_id))
    edges = [0.01 * i for i in range(5)]
    return TicketReport("x", 900, 640, "text", None, lines, Histogram(edges, [200, 80, 15, 5], 0))


@pytest.mark.parametrize("seed", range(2))
def test_the_ticket(seed: int) -> None:
    report = ticket(seed)
    # the names are of tokens in every script, whichever are the most changed
    for line, token in zip(report.lines, TOKENS, strict=False):
        line.token = token
    figure = figure_of(report)
    check_layout(figure)
    names = [t.get_text() for t in figure.findobj(Text) if t.get_gid() == "name"]
    assert names and "привіт" in " ".join(names)
    leaders = [line for line in figure.axes[1].lines if line.get_gid() == "leader"]
    assert len(leaders) == len(names)
    for one, two in combinations(leaders, 2):
        assert not one.get_path().intersects_path(two.get_path())
    # the end of each leader is below its name, whatever the layout became
    for line, text in zip(leaders, [t for t in figure.axes[1].texts if t.get_gid()], strict=True):
        x = line.get_transform().transform(line.get_xydata())[-1][0]
        box = text.get_window_extent()
        assert (box.x0 + box.x1) / 2 == pytest.approx(x, abs=1)


def test_a_figure_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    report = ticket(0)
    report.lines = report.lines[:20]
    first, second = (save_figure(figure_of(report), tmp_path / name) for name in "ab")
    assert first[0].read_bytes()[:4] == b"\x89PNG"
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_a_ticket_of_one_row_and_one_without_frequencies() -> None:
    report = ticket(0)
    report.lines = report.lines[:1]
    check_layout(figure_of(report))
    for line in report.lines:
        line.counts = {}
    check_layout(figure_of(report))


def explained(name: str) -> tuple[Any, Report]:
    """What a committed result holds."""
    content = json.loads((RESULTS / f"{name}.json").read_text())

    def measured(of: dict[str, Any] | None, key: str) -> Measured | None:
        return None if of is None else Measured(of[key], tuple(of["ci95"]))

    arms = []
    for arm in content["arms"]:
        scores, shares = (
            {
                key: {
                    way: measured(one if which == "score" else one[which], which_key)
                    for way, one in ways.items()
                }
                for key, ways in arm["scores"].items()
            }
            for which, which_key in (("score", "score"), ("recovery", "value"))
        )
        arms.append(ArmScores(arm["arm"], arm["stopped"], arm["length_ratio"], scores, shares))
    kinds = [SimpleNamespace(random=int(a.name.startswith("random-")) or None) for a in arms]
    found = SimpleNamespace(sources=[""] * content["test"]["sentences"], arms=kinds)
    return found, Report(arms, {}, content["columns"])


@pytest.mark.parametrize("name", ["explain_en-es", "explain_en-ro", "explain_en-es_alpaca"])
@pytest.mark.parametrize("shift", [0.0, -6.0])
def test_the_arms(name: str, shift: float) -> None:
    found, made = explained(name)
    for arm in made.arms:
        for ways in arm.scores.values():
            for way, one in ways.items():  # COMET, say, is below 0
                low, high = one.ci95
                ways[way] = Measured(one.value + shift, (low + shift, high + shift))
        for ways_of in arm.recovery.values():
            for way, share in ways_of.items():
                if shift and share is not None and arm.name == "source":
                    ways_of[way] = Measured(share.value - 3, (share.value - 40, share.value + 40))
    figure = draw(found, made)
    check_layout(figure)
    key, shown = next(iter(made.columns)), [a for a in made.arms if "random-" not in a.name]
    (left, right) = figure.axes[:2]
    for arm in shown:
        for way in ("raw", "first_line"):
            low, high = left.get_xlim()
            assert low < arm.scores[key][way].ci95[0] and arm.scores[key][way].ci95[1] < high
            share, (low, high) = arm.recovery[key][way], right.get_xlim()
            assert share is None or low < share.value < high
    arrows = [line.get_marker() for line in right.lines if line.get_gid() == "cut"]
    cut = any(a.name == "source" and a.recovery[key]["raw"] for a in shown) and shift
    assert bool(arrows) == bool(cut) and set(arrows) <= {"<", ">"}


@pytest.mark.parametrize("lang", ["en-es", "en-ro"])
def test_the_certificate(lang: str) -> None:
    content = json.loads((RESULTS / f"certify_{lang}.json").read_text())
    levels = [SimpleNamespace(certification=SimpleNamespace(**x), **x) for x in content["levels"]]
    for level in levels:
        level.tau_analytic = float("inf") if level.tau_analytic is None else level.tau_analytic
    given: Any = SimpleNamespace(
        run=SimpleNamespace(record=SimpleNamespace(
            model=SimpleNamespace(name=content["model"]["name"]), lang=lang)),
        settings=SimpleNamespace(tau=content["tau"], margin=content["margin"]),
        levels=levels,
        checks=[SimpleNamespace(**x) for x in content["checks"]],
        positions=SimpleNamespace(references=range(content["positions"]),
                                  examples=range(content["sentences"])),
        embed=content["accuracy_embed"],
        original=content["accuracy_original"],
        partial={x["alpha"]: SimpleNamespace(predictions=x["accuracy_partial"])
                 for x in content["levels"] if x["accuracy_partial"] is not None},
        accuracy=lambda share: share,
    )  # fmt: skip
    figure = levels_figure(given)
    check_layout(figure)
    low, high = figure.axes[0].get_ylim()
    assert low < 0 and high > 100  # whole marks at both ends
    figure = checks_figure(given)
    check_layout(figure)
    # the numbers are not on the whiskers
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        for bars in figure.axes[0].collections:
            for segment in bars.get_segments():
                (x, low), (_, high) = figure.axes[0].transData.transform(segment)
                assert not (box.x0 < x < box.x1 and low < box.y1 and box.y0 < high)


NAMES = (
    "ks_lottery en-ro, 2,000 pairs",
    "ks_lottery en-es",
    "grad_lottery en-ca",
    "embed, Qwen3-0.6B",
)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_comparison(count: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    draws = torch.Generator().manual_seed(count)
    figures: dict[str, Any] = {}
    monkeypatch.setattr(
        "mt_lottery.paper.compare.figures.save_figure",
        lambda figure, stem: figures.setdefault(stem.name, figure) and [],
    )
    runs: Any = [SimpleNamespace(label=name, rows=range(18)) for name in NAMES[:count]]
    pairs = [
        Pair(one, other, (), 12, 0.5, 0.7, 0.1, 0.6, 400, 0.6, 300,
             {k: min(1.0, k / 900) for k in (1, 10, 18, 100, 400, 1000)})
        for one, other in combinations(NAMES[:count], 2)
    ]  # fmt: skip
    alphas = (0.0, 0.01, 0.05, 0.5, 1.0)
    unchanged: Any = [
        SimpleNamespace(run=name, levels=[SimpleNamespace(alpha=a, share=a, compared=int(1e5 * a))
                                          for a in alphas])
        for name in NAMES[:count]
    ]  # fmt: skip
    moved = torch.randint(0, 640, (3, 500), generator=draws).double() / 640
    null = Null(NAMES[0], "shuffled", 1, *moved, torch.arange(500), tuple(range(18)))
    found = Comparison(runs, pairs=pairs, unchanged=unchanged, nulls=[null])
    draw_comparison(found, tmp_path)
    wanted = {"unchanged", "null", *(["stability"] if count > 1 else [])}
    assert {*figures} == wanted | ({"overlap"} if count > 2 else set())
    for figure in figures.values():
        check_layout(figure, NAMES)


@pytest.mark.parametrize("layers", [0, 1, 3, 40])
def test_the_layers(layers: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(
        "mt_lottery.paper.layers.figure.save_figure", lambda figure, stem: figures.append(figure)
    )
    change = SimpleNamespace(rows=262_144, rejected=2_000, tied=40, largest=0.5)
    places: list[int | None] = [*range(layers), None]
    parameters: Any = [
        SimpleNamespace(layer=layer, kind=kind, change=change)
        for layer in places
        for kind in (KINDS if layer is not None else ("embedding", "head", "norm"))
        if kind in KINDS
    ]
    draw_layers(Layers("before", "after", 0.05, parameters), tmp_path / "layers")
    check_layout(figures[0])


@pytest.mark.parametrize("series", [1, 3, 7])
@pytest.mark.parametrize("sizes", [[18], [1, 10, 18, 100, 400, 1000], [16, 18, 20, 100_000]])
def test_the_sweep(series: int, sizes: list[int]) -> None:
    def point(size: int | None, score: float) -> Point:
        value = Interval(score, None, (score - 2, score + 2))
        return Point(size, "done", scores={"raw": value, "first_line": value})

    selectors = ("ks", "cos", "absolute", "relative", "ratio", "kl", "gradient")[:series]
    chosen = [SimpleNamespace(recipe="ks_lottery", selector=name) for name in selectors]
    record = SimpleNamespace(
        scores={"bleu_subword": {"column": "BLEU[gemma3 subwords]"}},
        data=SimpleNamespace(test=SimpleNamespace(pairs=1012)),
        model=SimpleNamespace(name="gemma3_270m"),
    )
    curves: Any = SimpleNamespace(
        curves=[
            SimpleNamespace(lang="en-ro", series=one, chosen=sizes[-1],
                            points=[point(size, 10.0 + at) for size in sizes])
            for at, one in enumerate(chosen)
        ],
        baselines={"en-ro": {"none": point(None, 4.0), "embed": point(None, 18.0)}},
        sweep=SimpleNamespace(sizes=sizes, series=chosen),
        results=SimpleNamespace(records={"one": record}, metric="bleu_subword"),
    )  # fmt: skip
    check_layout(draw_sweep(curves, "en-ro"))
