"""What the learning rate of the probe is worth, and what decides whether copied rows stop."""

from __future__ import annotations

from typing import Any

from evidence_parts.results import Row
from evidence_parts.shown.scores import Scores, interval
from evidence_parts.shown.tables import Lines, table

#: Arms of copied rows and of the whole table, the weaker probe first.
COPIED = {"probe-1e-3-2": "1e-3", "probe-3e-3-2": "3e-3"}
WHOLE = {"whole-1e-3-2": "1e-3", "whole-3e-3-2": "3e-3"}


def _line_break(scores: Scores) -> int | None:
    """Token id of the prompt's line break; None where its row was never tuned alone."""
    rows = [row for lang in scores.setting.langs for row in scores.rows("one_row", lang)]
    return rows[0]["ticket"][0] if rows else None


def probes_by_language(scores: Scores) -> Lines:
    """Scores on dev by the probe's rate, raw and on the first line, and the differences."""
    arms, metric = {**COPIED, **WHOLE}, scores.metric()
    langs = [x for x in scores.setting.langs if scores.in_all(arms, [x]) == [*arms]]
    if metric is None or not langs:
        return []
    chosen, lines = [*([x] for x in langs), langs], []

    def line(name: str, arm: str, other: str | None, which: str = "raw") -> list[str]:
        cells = []
        for one in chosen:
            own = scores.of(arm, one, metric, which)
            assert own is not None
            if other is None:
                cells.append(interval(own.score, own.ci95))
                continue
            less = scores.of(other, one, metric, which)
            assert less is not None
            gap = own.minus(less)
            cells.append(interval(gap.difference, gap.ci95))
        return [name, scores.seeds(arm, langs), *cells]

    for what, both in (("18 rows copied", COPIED), ("the whole table", WHOLE)):
        weak, strong = both
        for arm, rate in both.items():
            lines.append(line(f"{what}, probe at {rate}", arm, None))
        lines.append(line("3e-3 less 1e-3", strong, weak))
        if both is COPIED:  # with the whole table most outputs end, so it would say the same
            lines.append(line("on the first line", strong, weak, "first_line"))
    return table(["on dev", "seeds", *langs, "mean"], lines)


def _copied(scores: Scores) -> list[tuple[str, Row, bool]]:
    """The arm, the cell, and whether the line break's row is among the copied ones."""
    line_break = _line_break(scores)
    return [
        (arm, row, line_break in row["ticket"])
        for arm in COPIED
        for lang in scores.setting.langs
        for row in scores.rows(arm, lang)
        if line_break is not None
    ]


def probes_by_seed(scores: Scores) -> Lines:
    """Copied rows, a cell a line: is the line break's row among them, and does the model stop?

    Then the same rows with it the other way round: taken out, or put in.
    """
    metric = scores.metric()

    def said(row: Row | None) -> list[str]:
        if row is None:
            return ["—"] * 3
        both = (row["scores"][metric][which]["score"] for which in ("raw", "first_line"))
        return [f"{row['generation']['stopped']:.0%}", *(f"{score:.1f}" for score in both)]

    lines = []
    for arm, row, held in _copied(scores):
        other = scores.results.rows.get((f"{arm}-turned", row["lang"], row["seed"]))
        lines.append([COPIED[arm], f"en→{row['lang']}", str(row["seed"]),
                      "yes" if held else "**no**", *said(row), *said(other)])  # fmt: skip
    headings = ["probe at", "", "seed", "the line break's row is in", "stopped", "raw",
                "first line", "the other way round: stopped", "raw", "first line"]  # fmt: skip
    return table(headings, lines, 3) if lines else []


def probes_figure(scores: Scores) -> Any:
    """A dot a ticket: how often the model stops, and its score on the first line."""
    from mt_lottery.report.figures import LEGEND, new_figure, style

    found, metric = _copied(scores), scores.metric()
    if not found:
        return None
    figure, axes = new_figure(1, 1, width=6.4, height=3.6)
    for number, (arm, rate) in enumerate(COPIED.items()):
        for held, how in ((True, "with the line break's row"), (False, "without it")):
            own = [row for known, row, inside in found if (known, inside) == (arm, held)]
            look = {**style(number), "linestyle": "none"}
            look |= {} if held else {"markerfacecolor": "none"}
            axes.plot([100 * row["generation"]["stopped"] for row in own],
                      [row["scores"][metric]["first_line"]["score"] for row in own],
                      label=f"probe at {rate}, {how}", **look)  # fmt: skip
    axes.set_xlabel("outputs that end, %")
    axes.set_ylabel(f"{scores.column(str(metric))}, first line")
    axes.set_ylim(0, None)
    axes.set_xlim(-4, 104)
    axes.legend(loc="lower center", **LEGEND)
    return figure
