"""Where tuned rows act, and what is left of the gain when the model is asked in other words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evidence_parts.results import Row
from evidence_parts.shown.scores import Scores
from evidence_parts.shown.tables import Lines, span, table

#: Template → how its prompt is worded; the last one is of no training.
WORDINGS = {
    "plain": "an instruction, labels",
    "labels": "the labels alone",
    "ask": "a paraphrase, other labels",
    "alpaca": "Alpaca's",
    "say": "a question, which nothing was trained on",
}
#: The run → what its rows were tuned with.
TUNED = {"ks_lottery": "`plain` alone", "four-ks": "four wordings"}
READ = {
    "original": "nowhere: the original model",
    "tuned": "everywhere",
    "bos": "in `<bos>`",
    "instruction": "**in the instruction**",
    "source": "in the source",
    "target": "in what is generated",
}


def _runs(scores: Scores, arm: str, langs: Sequence[str] = ()) -> list[Row]:
    keys = [(arm, x, seed) for x in langs or scores.setting.langs for seed in scores.setting.seeds]
    return [row for key in keys if (row := scores.results.rows.get(key)) is not None]


def _analyses(scores: Scores, of: str, template: str) -> list[Row]:
    """Runs of an arm under a wording; under its own where its places were told apart."""
    trained = of == "ks_lottery" and template == "plain"
    return _runs(scores, f"where-{of}" if trained else f"{of}-asked-{template}")


def _arm(row: Row, name: str) -> dict[str, Any] | None:
    return next((one for one in row["explain"]["arms"] if one["arm"] == name), None)


def _first_lines(rows: list[Row], name: str) -> list[float]:
    """First-line scores of an arm, a run each."""
    found = []
    for row in rows:
        if (one := _arm(row, name)) is not None:
            found.append(float(next(iter(one["scores"].values()))["first_line"]["score"]))
    return found


def _mean(values: list[float], mean: float | None = None) -> str:
    if not values:
        return "—"
    shown = f"{np.mean(values) if mean is None else mean:.1f}"
    return shown if len({f"{v:.1f}" for v in values}) == 1 else (
        f"{shown} ({min(values):.1f} to {max(values):.1f})"
    )  # fmt: skip


def _over_languages(rows: list[Row], name: str) -> float:
    """Mean first-line score of an arm: of the runs of each language, then of the languages."""
    langs = dict.fromkeys(row["lang"] for row in rows if _arm(row, name) is not None)
    own = [_first_lines([row for row in rows if row["lang"] == x], name) for x in langs]
    return float(np.mean([np.mean(one) for one in own]))


def asked_as(scores: Scores) -> Lines:
    """A wording a line: first lines of the original model and of rows tuned with one or four."""
    lines = []
    for template, words in WORDINGS.items():
        known = {of: _analyses(scores, of, template) for of in TUNED}
        if not all(known.values()):
            continue
        every = [row for rows in known.values() for row in rows]
        original = f"{_over_languages(every, 'original'):.1f}"
        cells = [
            _mean(_first_lines(rows, arm), _over_languages(rows, arm))
            for rows in known.values()
            for arm in ("tuned", "instruction")
        ]
        counts = span(
            sum(row["lang"] == lang for row in rows)
            for rows in known.values()
            for lang in dict.fromkeys(row["lang"] for row in every)
        )
        lines.append([f"`{template}`: {words}", counts, original, *cells])
    headings = ["asked with", "runs in a language", "original"]
    for name in TUNED.values():
        headings += [f"tuned with {name}", "read in the instruction alone"]
    return table(headings, lines) if lines else []


def read_where(scores: Scores) -> Lines:
    """An arm a line: first lines, and the part of the gain, by language."""
    known = {x: _runs(scores, "where-ks_lottery", [x]) for x in scores.setting.langs}
    rows = {lang: own for lang, own in known.items() if own}
    lines = []
    for name, words in READ.items():
        cells = []
        for own in rows.values():
            ends = [float(np.mean(_first_lines(own, arm))) for arm in ("original", "tuned")]
            found = _first_lines(own, name)
            if not found:
                continue
            stops = [one["stopped"] for row in own if (one := _arm(row, name)) is not None]
            part = (np.mean(found) - ends[0]) / (ends[1] - ends[0])
            shown = f"{round(float(part), 2) + 0.0:.2f}".replace("-", "−")
            cells += [_mean(found), shown, f"{np.mean(stops):.0%}"]
        if cells:
            lines.append([words, *cells])
    headings = ["the rows are read"]
    for lang in rows:
        headings += [f"{lang}, first line", "of the gain", "stops"]
    return table(headings, lines) if rows else []


def asked_figure(scores: Scores) -> Any:
    """Bars of a wording's first lines, means over languages; a dot a run; None where nothing is."""
    from mt_lottery.report.figures import LEGEND, new_figure, style

    known = [
        name for name in WORDINGS if all(_analyses(scores, of, name) for of in TUNED)
    ]  # fmt: skip
    if not known:
        return None
    figure, axes = new_figure(1, 1, width=6.4, height=3.4)
    kinds = [("original", "ks_lottery", "the original model")]
    kinds += [("tuned", of, f"18 rows tuned with {name.replace('`', '')}")
              for of, name in TUNED.items()]  # fmt: skip
    width = 0.26
    for number, (arm, of, label) in enumerate(kinds):
        color = "#b8b8b8" if number == 0 else style(number)["color"]
        runs = [_analyses(scores, of, name) for name in known]
        means = [_over_languages(rows, arm) for rows in runs]
        each = [_first_lines(rows, arm) for rows in runs]
        places = [i + (number - 1) * width for i in range(len(known))]
        axes.bar(places, means, width * 0.92, color=color, label=label)
        if number:
            dots = [(x, y) for x, one in zip(places, each, strict=True) for y in one]
            axes.plot(*zip(*dots, strict=True), "o", color="#222222", markeredgecolor="white",
                      markeredgewidth=0.5, markersize=4)  # fmt: skip
    axes.set_xticks(range(len(known)), known)
    axes.set_ylabel("first line, BLEU of subwords")
    axes.set_xlabel("asked in the words of")
    axes.legend(**{**LEGEND, "loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncol": 3})
    return figure
