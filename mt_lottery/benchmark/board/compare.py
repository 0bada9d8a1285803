"""Recipes against a chosen one: by how much, in each language and over all of them.

The leaderboard judges every recipe by the best one.  Here the user names what to compare with
(``embed``, say: is the ticket as good as the whole table?).  The draws are the leaderboard's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mt_lottery.benchmark.board.collect import Results, nothing_finished
from mt_lottery.benchmark.board.leaderboard import Builder
from mt_lottery.benchmark.recipes import unknown_recipe
from mt_lottery.errors import ConfigError, RecordError, unknown
from mt_lottery.scoring.significance import Corrected, ResampledScore, average, differences
from mt_lottery.scoring.verdicts import Equivalence, equivalence

AVERAGE = "average"


@dataclass(frozen=True)
class Compared:
    """One block of a benchmark against one of its recipes.

    Attributes:
        against: that recipe.
        column: heading of the metric.
        which: ``raw`` or ``first_line``.
        columns: languages, and ``average`` behind them where there are several.
        gaps: recipe → column → difference in the points that the leaderboard shows, corrected
            over the recipes of its column; missing where a cell is not finished.
        sentences: column → how many sentences the test set has.
        equivalence: likewise, whether a recipe is as good up to a margin; empty without one.
    """

    against: str
    column: str
    which: str
    columns: list[str]
    gaps: dict[str, dict[str, Corrected]]
    sentences: dict[str, int | None]
    equivalence: dict[str, dict[str, Equivalence]] = field(default_factory=dict)


def compare_with(
    results: Results,
    against: str,
    *,
    recipes: Sequence[str] = (),
    block: str = "runs",
    which: str = "raw",
    metric: str | None = None,
    margin: float | None = None,
) -> Compared:
    """Compare the recipes of a block with one of them.

    Args:
        results: the finished cells.
        against: the recipe to compare with.
        recipes: which to compare; all others if empty.
        block: ``runs`` (recipe settings) or ``tuned``.
        which: ``raw`` or ``first_line``.
        metric: its key; the one that ranks if None.
        margin: in points, to judge equivalence by; None for not at all.

    Raises:
        RecordError: no cell is done yet, or the metric has no sentence statistics.
        ConfigError: a recipe, the block or the metric is not in the results.
    """
    if not results.records:
        raise RecordError(nothing_finished(results, "compare"))
    builder = _builder(results, metric)
    present = [m for m in builder.recipes(block) if _finished(builder, block, m)]
    if not present:
        raise ConfigError(f"{results.out}: no recipe has settings tuned on dev (--tune N).")
    for name in (against, *recipes):
        if name not in present:
            raise ConfigError(f"{results.out}: {unknown_recipe(name, present)}")
    wanted = [m for m in present if m != against and (not recipes or m in recipes)]
    if not wanted:
        raise ConfigError(f"{results.out}: there is no recipe to compare with '{against}'.")
    scores = {recipe: _scores(builder, block, recipe, which) for recipe in (against, *wanted)}
    columns = {lang: [lang] for lang in builder.langs if lang in scores[against]}
    if len(columns) > 1:
        columns[AVERAGE] = list(columns)
    found: dict[str, dict[str, Corrected]] = {recipe: {} for recipe in wanted}
    sentences = {}
    alike: dict[str, dict[str, Equivalence]] = {recipe: {} for recipe in wanted if margin}
    for column, langs in columns.items():
        there = {
            recipe: average([own[lang] for lang in langs])
            for recipe, own in scores.items()
            if all(lang in own for lang in langs)
        }
        sentences[column] = there[against].sentences
        for recipe, difference in differences(there, against).items():
            found[recipe][column] = difference
            if margin:
                alike[recipe][column] = equivalence(
                    there[recipe], there[against], margin, difference.corrected
                )
    return Compared(against, builder.column, which, list(columns), found, sentences, alike)


def _builder(results: Results, metric: str | None) -> Builder:
    known = list(next(iter(results.records.values())).scores)
    if metric is not None and metric not in known:
        raise ConfigError(f"{results.out}: {unknown('metric', metric, known)}")
    builder = Builder(results, metric)
    if builder.bootstrap is None:
        raise RecordError(
            f"{results.out}: the metric '{builder.metric}' has no sentence statistics: it cannot "
            "be resampled."
        )
    return builder


def _finished(builder: Builder, block: str, recipe: str) -> bool:
    return any(builder.cells(block, recipe, lang) for lang in builder.langs)


def _scores(builder: Builder, block: str, recipe: str, which: str) -> dict[str, ResampledScore]:
    """Of the languages that are finished."""
    found = {}
    for lang in builder.langs:
        if not builder.cells(block, recipe, lang):
            continue
        own = builder.resampled(block, recipe, which, [lang])
        if own is None:
            raise RecordError(
                f"{builder.results.out}: {recipe} {lang} has no sentence scores "
                f"(sentence_scores.jsonl) of '{builder.metric}'."
            )
        found[lang] = own
    return found
