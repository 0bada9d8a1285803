"""Methods against a chosen one: by how much, in each language and over all of them.

The leaderboard judges every method by the best one.  Here the user names what to compare with
(``embed``, say: is the ticket as good as the whole table?).  The draws are the leaderboard's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mt_lottery.benchmark.board.collect import Results, nothing_finished
from mt_lottery.benchmark.board.leaderboard import Builder
from mt_lottery.errors import ConfigError, RecordError, unknown
from mt_lottery.scoring.significance import Corrected, ResampledScore, average, differences

AVERAGE = "average"


@dataclass(frozen=True)
class Compared:
    """One block of a benchmark against one of its methods.

    Attributes:
        against: that method.
        column: heading of the metric.
        which: ``raw`` or ``first_line``.
        columns: languages, and ``average`` behind them where there are several.
        gaps: method → column → difference in the points that the leaderboard shows, corrected
            over the methods of its column; missing where a cell is not finished.
    """

    against: str
    column: str
    which: str
    columns: list[str]
    gaps: dict[str, dict[str, Corrected]]


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
    present = [m for m in builder.methods(block) if _finished(builder, block, m)]
    if not present:
        raise ConfigError(f"{results.out}: no method has settings tuned on dev (--tune N).")
    for name in (against, *methods):
        if name not in present:
            raise ConfigError(f"{results.out}: {unknown('method', name, present)}")
    wanted = [m for m in present if m != against and (not methods or m in methods)]
    if not wanted:
        raise ConfigError(f"{results.out}: there is no method to compare with '{against}'.")
    scores = {method: _scores(builder, block, method, which) for method in (against, *wanted)}
    columns = {lang: [lang] for lang in builder.langs if lang in scores[against]}
    if len(columns) > 1:
        columns[AVERAGE] = list(columns)
    found: dict[str, dict[str, Corrected]] = {method: {} for method in wanted}
    for column, langs in columns.items():
        there = {
            method: average([own[lang] for lang in langs])
            for method, own in scores.items()
            if all(lang in own for lang in langs)
        }
        for method, difference in differences(there, against).items():
            found[method][column] = difference
    return Compared(against, builder.column, which, list(columns), found)


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


def _finished(builder: Builder, block: str, method: str) -> bool:
    return any(builder.cells(block, method, lang) for lang in builder.langs)


def _scores(builder: Builder, block: str, method: str, which: str) -> dict[str, ResampledScore]:
    """Of the languages that are finished."""
    found = {}
    for lang in builder.langs:
        if not builder.cells(block, method, lang):
            continue
        own = builder.resampled(block, method, which, [lang])
        if own is None:
            raise RecordError(
                f"{builder.results.out}: {method} {lang} has no sentence scores "
                f"(sentence_scores.jsonl) of '{builder.metric}'."
            )
        found[lang] = own
    return found
