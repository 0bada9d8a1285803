"""Methods against a chosen one: by how much, in each language and over all of them.

The leaderboard judges every method by the best one.  Here the user names what to compare with
(``embed``, say: is the ticket as good as the whole table?).  The draws are the leaderboard's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mt_lottery.benchmark.board.collect import Results, nothing_finished
from mt_lottery.benchmark.board.compare import (
    Floats,
    Resampler,
    Statistics,
    difference_pvalue,
    holm,
    is_least,
)
from mt_lottery.benchmark.board.leaderboard import Builder
from mt_lottery.errors import ConfigError, RecordError, unknown
from mt_lottery.scoring.significance import percentile_interval

AVERAGE = "average"


@dataclass(frozen=True)
class Gap:
    """A method's score less that of the one it is compared with.

    Attributes:
        difference: in the points that the leaderboard shows.
        ci95: percentile interval over resampled sentences, and seeds where there are several.
        pvalue: two-sided, of no difference, by the paired bootstrap.
        corrected: the same after Holm's correction over the methods of its column.
        least: the p-value is the least that so many resamples can show: it is at most that.
    """

    difference: float
    ci95: tuple[float, float]
    pvalue: float
    corrected: float
    least: bool


@dataclass(frozen=True)
class Compared:
    """One block of a benchmark against one of its methods.

    Attributes:
        against: that method.
        column: heading of the metric.
        which: ``raw`` or ``first_line``.
        columns: languages, and ``average`` behind them where there are several.
        gaps: method → column → gap; a column is missing where a cell is not finished.
    """

    against: str
    column: str
    which: str
    columns: list[str]
    gaps: dict[str, dict[str, Gap]]


def compare_with(
    results: Results,
    against: str,
    *,
    methods: Sequence[str] = (),
    block: str = "runs",
    which: str = "raw",
    metric: str | None = None,
) -> Compared:
    """Compare the methods of a block with one of them.

    Args:
        results: the finished cells.
        against: the method to compare with.
        methods: which to compare; all others if empty.
        block: ``runs`` (recipe settings) or ``tuned``.
        which: ``raw`` or ``first_line``.
        metric: its key; the one that ranks if None.

    Raises:
        RecordError: no cell is done yet, or the metric has no sentence statistics.
        ConfigError: a method, the block or the metric is not in the results.
    """
    if not results.records:
        raise RecordError(nothing_finished(results, "compare"))
    builder = _builder(results, metric)
    assert builder.resampler is not None
    present = [m for m in builder.methods(block) if _finished(builder, block, m)]
    if not present:
        raise ConfigError(f"{results.out}: no method has settings tuned on dev (--tune N).")
    for name in (against, *methods):
        if name not in present:
            raise ConfigError(f"{results.out}: {unknown('method', name, present)}")
    wanted = [m for m in present if m != against and (not methods or m in methods)]
    if not wanted:
        raise ConfigError(f"{results.out}: there is no method to compare with '{against}'.")
    base = _statistics(builder, block, against, which)
    others = {method: _statistics(builder, block, method, which) for method in wanted}
    columns = {lang: [lang] for lang in builder.langs if lang in base}
    if len(columns) > 1:
        columns[AVERAGE] = list(columns)
    found: dict[str, dict[str, Gap]] = {method: {} for method in wanted}
    resampled = {
        method: builder.resampler.scores(own, method)
        for method, own in {against: base, **others}.items()
    }
    for column, langs in columns.items():
        for method, gap in _column(builder.resampler, against, base, others, resampled, langs):
            found[method][column] = gap
    return Compared(against, builder.column, which, list(columns), found)


def _builder(results: Results, metric: str | None) -> Builder:
    known = list(next(iter(results.records.values())).scores)
    if metric is not None and metric not in known:
        raise ConfigError(f"{results.out}: {unknown('metric', metric, known)}")
    builder = Builder(results, metric)
    if builder.resampler is None:
        raise RecordError(
            f"{results.out}: the metric '{builder.metric}' has no sentence statistics: it cannot "
            "be resampled."
        )
    return builder


def _finished(builder: Builder, block: str, method: str) -> bool:
    return any(builder.cells(block, method, lang) for lang in builder.langs)


def _statistics(builder: Builder, block: str, method: str, which: str) -> Statistics:
    """Of the languages that are finished."""
    found: dict[str, Sequence[Floats]] = {}
    for lang in builder.langs:
        if not builder.cells(block, method, lang):
            continue
        own = builder.statistics(block, method, which, [lang])
        if own is None:
            raise RecordError(
                f"{builder.results.out}: {method} {lang} has no sentence scores "
                f"(sentence_scores.jsonl) of '{builder.metric}'."
            )
        found |= own
    return found


def _column(
    resampler: Resampler,
    against: str,
    base: Statistics,
    others: Mapping[str, Statistics],
    resampled: Mapping[str, Mapping[str, Floats]],
    langs: Sequence[str],
) -> list[tuple[str, Gap]]:
    """The gaps of one column; Holm's correction is over its methods."""

    def score(own: Statistics, method: str) -> float:
        part = {lang: own[lang] for lang in langs}
        return resampler.interval(part, resampled[method]).score

    def mean(method: str) -> Floats:
        averaged: Floats = np.mean([resampled[method][lang] for lang in langs], axis=0)
        return averaged

    first, draws = score(base, against), mean(against)
    raw: dict[str, tuple[float, tuple[float, float], float]] = {}
    for method, own in others.items():
        if any(lang not in own for lang in langs):
            continue
        difference, drawn = score(own, method) - first, mean(method) - draws
        raw[method] = (
            difference,
            percentile_interval(drawn),
            difference_pvalue(difference, drawn),
        )
    corrected = holm({method: p for method, (_, _, p) in raw.items()})
    return [
        (method, Gap(difference, interval, p, corrected[method], is_least(p, resampler.resamples)))
        for method, (difference, interval, p) in raw.items()
    ]
