"""How scores grow with the number of training pairs."""

from __future__ import annotations

from typing import Any

from evidence_parts.cells import Arm
from evidence_parts.questions import Question
from evidence_parts.shown.scores import Scores, interval
from evidence_parts.shown.tables import Lines, table
from mt_lottery.scoring.significance import ResampledScore

#: First word of an arm's name → what is tuned.
TUNED = {
    "one_row": "one row: the line break's",
    "ks_lottery": "18 rows by the KS test",
    "gradient": "18 rows by one backward pass",
    "embed": "the whole table",
    "lora": "LoRA",
}


def _sizes(arms: list[Arm]) -> list[int]:
    return sorted({int(str(arm.settings["data.train_pairs"])) for arm in arms})


def _langs(arms: list[Arm], scores: Scores) -> list[str]:
    return [x for x in scores.setting.langs if any(scores.rows(arm.name, x) for arm in arms)]


def _found(
    arms: list[Arm], lang: str, name: str, scores: Scores
) -> dict[int, ResampledScore | None]:
    """Number of pairs → the raw score there; None where it is not done."""
    metric = scores.metric()
    assert metric is not None
    return {n: scores.of(f"{name}-{n}-pairs", [lang], metric) for n in _sizes(arms)}


def amounts(question: Question, scores: Scores) -> Lines:
    """Raw scores: a line a language and what is tuned, a column a number of pairs."""
    metric, arms, lines = scores.metric(), question.arms, []
    if metric is None:
        return []
    for lang in _langs(arms, scores):
        for name, tuned in TUNED.items():
            found = _found(arms, lang, name, scores).values()
            if any(found):
                shown = ["—" if one is None else interval(one.score, one.ci95) for one in found]
                lines.append([lang, tuned, *shown])
    headings = ["English to", "tuned", *(f"{size:,} pairs" for size in _sizes(arms))]
    note = f"{scores.column(metric)}, raw. Brackets: 95%, over sentences and the seeds there are."
    return [*table(headings, lines, 2), note, ""] if lines else []


def curves(arms: list[Arm], scores: Scores) -> Any:
    """The same, a panel a language; None where nothing is done."""
    from mt_lottery.report.figures import LEGEND, logarithmic, new_figure, style, whiskers

    metric, langs, sizes = scores.metric(), _langs(arms, scores), _sizes(arms)
    if not langs or metric is None:
        return None
    figure, _ = new_figure(1, len(langs), width=1.4 + 3.6 * len(langs), height=3.8)
    for axes, lang in zip(figure.axes, langs, strict=True):
        for number, (name, tuned) in enumerate(TUNED.items()):
            found = _found(arms, lang, name, scores).items()
            known = [(size, score) for size, score in found if score is not None]
            spread = whiskers([s.score for _, s in known], [s.ci95 for _, s in known])
            if known:
                axes.errorbar([n for n, _ in known], [s.score for _, s in known], yerr=spread,
                              label=tuned, **style(number))  # fmt: skip
        logarithmic(axes, sizes)
        axes.set_xlim(0.8 * sizes[0], 1.25 * sizes[-1])
        axes.set_ylim(0, None)
        axes.set_title(f"English to {lang}", fontsize=9)
        axes.set_xlabel("training pairs")
    figure.axes[0].set_ylabel(f"{scores.column(metric)}, raw")
    figure.axes[0].legend(loc="lower right", **LEGEND)
    return figure
