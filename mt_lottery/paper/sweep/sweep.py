"""Do a sweep with the runner of ``mt-bench``, and read its records as curves.

Every point is a separate run directory, so a sweep is continued, spread over processes and
added to as a benchmark is.  A run of the sweep is one trial of the search on dev (``tune=1``,
the settings as they are): it trains once, translates the dev set, and then the test set with
the very same parameters.  So each size has a dev score, and choosing the best size on dev
(the paper's Table 4) takes no second training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mt_lottery.benchmark.board.collect import Results, collect_cells
from mt_lottery.benchmark.board.leaderboard import bootstrap_of, mean
from mt_lottery.benchmark.board.terminal import time_line
from mt_lottery.benchmark.executors.runner import DONE, Status, held, statuses_of
from mt_lottery.benchmark.plan import Cell, probe_group
from mt_lottery.benchmark.run import do_cells
from mt_lottery.errors import plural
from mt_lottery.paper.sweep.curve import (
    Point,
    best_on_dev,
    best_on_test,
    smallest_sufficient,
)
from mt_lottery.paper.sweep.grid import BASELINES, Series, Sweep
from mt_lottery.runs.folder.record import Record
from mt_lottery.scoring.metric import WHICH
from mt_lottery.scoring.significance import (
    Bootstrap,
    Difference,
    Interval,
    ResampledScore,
    resampled,
)


@dataclass
class Curve:
    """Score against number of rows, of one series and language pair.

    Attributes:
        lang: ``en-es``.
        series: recipe and selector.
        points: by size, ascending.
        chosen: size that is best on dev; None without dev scores.
        enough: ``embed`` and ``best`` → ``raw`` and ``first_line`` → the smallest size that is
            not significantly below it; None where every size is.
    """

    lang: str
    series: Series
    points: list[Point]
    chosen: int | None
    enough: dict[str, dict[str, int | None]]


@dataclass
class Curves:
    """What a sweep found.

    Attributes:
        sweep: what was asked for.
        results: the records.
        baselines: pair → ``none`` and ``embed`` → point.
        curves: one a pair and series.
    """

    sweep: Sweep
    results: Results
    baselines: dict[str, dict[str, Point]]
    curves: list[Curve]


def describe(sweep: Sweep, jobs: int) -> str:
    """The plan as ``--dry-run`` prints it."""
    bench = sweep.bench
    statuses = statuses_of(bench, bench.cells())
    todo = [s for s in statuses if s.state != DONE]
    lines = [f"{bench.out}: {plural(len(statuses), 'run')}, {len(statuses) - len(todo)} done"]
    by_cell = {s.cell: s.state for s in statuses}
    several = len(bench.seeds) > 1
    for lang in bench.langs:
        used = sweep.used.get(lang)
        known = "" if used is None else f" ({plural(used, 'token')} occur in its training inputs)"
        lines.append(f"  {lang}{known}")
        states = [(name, by_cell[c]) for c in by_cell for name in BASELINES
                  if (c.lang, c.recipe) == (lang, name)]  # fmt: skip
        lines.append("    baselines: " + ", ".join(_marked(n, s) for n, s in states))
        for series in sweep.series:
            marked = [
                _marked(f"{size}{f'/{seed}' if several else ''}", by_cell[cell])
                for size in sweep.sizes
                for seed in bench.seeds
                if (cell := sweep.cell(series, size, lang, seed)) in by_cell
            ]
            lines.append(f"    {series}: {', '.join(marked)} rows")
    probes = {g for s in statuses if (g := probe_group(bench, s.cell)) is not None}
    lines.append(
        f"  shared: {len(probes)} embedding-tuned probe{'s' * (len(probes) != 1)}; • is done"
    )
    if sweep.dev:
        lines.append("  each run also translates the dev set, on which the best size is chosen")
    return "\n".join([*lines, *time_line(todo, jobs, "run")])


def _marked(name: str, state: str) -> str:
    return f"{name}•" if state == DONE else name


def execute(sweep: Sweep, given: Any) -> tuple[Curves | None, list[Status]]:
    """Do the runs that are not done, and read all of them.

    Args:
        sweep: what was asked for.
        given: ``jobs``, ``force``, ``command_line``.

    Returns:
        the curves (None where no run is done), and the runs that failed.

    Raises:
        MTLotteryError: the folder is held, or holds something else.
    """
    bench = sweep.bench
    with held(bench.out):
        failed = do_cells(bench, given)
        results = collect_cells(bench.out, bench.cells())
    return (curves_of(sweep, results) if results.records else None), failed


def curves_of(sweep: Sweep, results: Results) -> Curves:
    """The curves of the records that are there."""
    reader = _Reader(sweep, results, bootstrap_of(results))
    found = Curves(sweep, results, {}, [])
    for lang in sweep.bench.langs:
        lines = {name: reader.point(lang, Series(name), None) for name in BASELINES}
        found.baselines[lang] = lines
        found.curves += [reader.curve(lang, series, lines["embed"]) for series in sweep.series]
    return found


class _Reader:
    """Turns the records of a point's seeds into numbers."""

    def __init__(self, sweep: Sweep, results: Results, bootstrap: Bootstrap | None) -> None:
        self.sweep = sweep
        self.results = results
        self.bootstrap = bootstrap
        self._resampled: dict[tuple[tuple[Cell, ...], str], ResampledScore | None] = {}

    def cells(self, lang: str, series: Series, size: int | None) -> list[Cell]:
        variant = "" if size is None else series.variant(size)
        return [
            cell
            for cell in self.sweep.bench.cells()
            if (cell.lang, cell.recipe, cell.variant) == (lang, series.recipe, variant)
        ]

    def point(self, lang: str, series: Series, size: int | None) -> Point:
        cells = self.cells(lang, series, size)
        failed = [self.results.failures[c] for c in cells if c in self.results.failures]
        if failed:
            return Point(size, "failed", reason=failed[0].partition("\n")[0])
        done = [c for c in cells if c in self.results.records]
        if len(done) < len(cells):
            return Point(size, "missing")
        records = [self.results.records[c] for c in done]
        first = records[0]
        ticket = first.tickets
        return Point(
            size,
            "done",
            seeds=[c.seed for c in done],
            rows=None if ticket is None else ticket.count,
            trainable_parameters=max(r.trainable_parameters for r in records),
            alpha=None if ticket is None else ticket.alpha,
            scores={which: self.interval(done, records, which) for which in WHICH},
            stopped=float(np.mean([r.generation.stopped for r in records])),
            length_ratio=mean([r.generation.length_ratio for r in records]),
            dev=_dev_scores(records),
            seconds=float(np.mean([_seconds(r) for r in records])),
        )

    def resampled(self, cells: Sequence[Cell], which: str) -> ResampledScore | None:
        """The score over the seeds, resampled; None where one has no sentence statistics."""
        key = (tuple(cells), which)
        if key not in self._resampled:
            parts = [self.results.statistics(c, self.results.metric, which) for c in cells]
            self._resampled[key] = resampled(self.bootstrap, parts, cells[0].name)
        return self._resampled[key]

    def interval(self, cells: Sequence[Cell], records: Sequence[Record], which: str) -> Interval:
        found = self.resampled(cells, which)
        if found is not None:
            return found.interval
        own = [r.scores[self.results.metric][which] for r in records]
        low, high = own[0]["ci95"]
        sd = float(np.std([o["score"] for o in own], ddof=1)) if len(own) > 1 else None
        return Interval(float(np.mean([o["score"] for o in own])), sd, (low, high))

    def against(
        self, point: Point, mine: Sequence[Cell], theirs: Sequence[Cell], which: str
    ) -> Difference | None:
        """A point against a reference; None where it is not done, or cannot be compared."""
        if point.state != "done":
            return None
        own, other = self.resampled(mine, which), self.resampled(theirs, which)
        return None if own is None or other is None else own.minus(other)

    def curve(self, lang: str, series: Series, embed: Point) -> Curve:
        points = [self.point(lang, series, size) for size in self.sweep.sizes]
        enough: dict[str, dict[str, int | None]] = {}
        for which in WHICH:
            best = best_on_test(points, which)
            references = {"embed": (embed, Series("embed")), "best": (best, series)}
            for name, (reference, owner) in references.items():
                if reference is None or reference.state != "done":
                    continue
                theirs = self.cells(lang, owner, reference.size)
                verdicts = {}
                for point in points:
                    mine = self.cells(lang, series, point.size)
                    verdict = self.against(point, mine, theirs, which)
                    if verdict is not None and point.size is not None:
                        verdicts[point.size] = verdict
                        point.against.setdefault(name, {})[which] = verdict
                if verdicts:
                    enough.setdefault(name, {})[which] = smallest_sufficient(verdicts)
        chosen = best_on_dev(points)
        return Curve(lang, series, points, None if chosen is None else chosen.size, enough)


def _dev_scores(records: Sequence[Record]) -> list[float]:
    """The raw score of the one trial on dev of each record; empty if one has none."""
    tried = [(r.tuning or {}).get("tried") or [{}] for r in records]
    scores = [float(t[0]["score"]) for t in tried if "score" in t[0]]
    return scores if len(scores) == len(records) else []


def _seconds(record: Record) -> float:
    cost = record.cost
    return cost.probe_seconds + cost.train_seconds + cost.decode_seconds
