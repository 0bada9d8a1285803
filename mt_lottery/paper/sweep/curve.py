"""Score against number of rows: a curve's points, its best size on dev, its smallest that will do.

Two questions, two answers.  *Which size would one have chosen?*  The one with the best dev
score (the paper's Table 4); its test score is then the method's.  *How many rows are enough?*
The smallest size whose test score is not significantly below that of a reference: the
embedding-tuned model, or the best size of the same curve.  "Not significantly below" is no
proof of equality: on few sentences a large difference passes too, so the difference and its
interval stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mt_lottery.benchmark.board.compare import Interval, Resampler, difference_pvalue
from mt_lottery.scoring.significance import percentile_interval

Floats = NDArray[np.float64]

#: Raw output and first line, in the order of every table.
WHICH = ("raw", "first_line")
LEVEL = 0.05


@dataclass(frozen=True)
class Against:
    """A score against a reference on the same sentences.

    Attributes:
        difference: score less the reference's, means over seeds.
        ci95: 95% bootstrap interval of the difference.
        pvalue: two-sided, of no difference (not corrected for the number of sizes).
    """

    difference: float
    ci95: tuple[float, float]
    pvalue: float

    @property
    def worse(self) -> bool:
        """Significantly below the reference, at 5%."""
        return self.difference < 0 and self.pvalue <= LEVEL


@dataclass
class Point:
    """One number of rows of one curve, over all seeds.

    Attributes:
        size: rows asked for; None for a baseline.
        state: ``done``, ``failed`` (a seed of it failed) or ``missing``.
        reason: why it failed.
        seeds: those that are done.
        rows: rows in the record (for ``ks_freeze`` the frozen ones); None without.
        trainable_parameters: as the paper's Table 2 counts them.
        alpha: nominal p of the last row, first seed; None without a test.
        scores: ``raw`` and ``first_line``.
        stopped: share of sentences that the model ended itself, mean over seeds.
        length_ratio: characters relative to the reference, mean over seeds.
        dev: raw score on the dev set, of each seed; empty where there is none.
        seconds: probe, training and decoding of the test set, mean over seeds.
        against: ``embed`` and ``best`` → ``raw`` and ``first_line`` → comparison.
    """

    size: int | None
    state: str
    reason: str | None = None
    seeds: list[int] = field(default_factory=list)
    rows: int | None = None
    trainable_parameters: int | None = None
    alpha: float | None = None
    scores: dict[str, Interval] = field(default_factory=dict)
    stopped: float | None = None
    length_ratio: float | None = None
    dev: list[float] = field(default_factory=list)
    seconds: float | None = None
    against: dict[str, dict[str, Against]] = field(default_factory=dict)

    @property
    def dev_score(self) -> float | None:
        """Mean dev score over seeds."""
        return float(np.mean(self.dev)) if self.dev else None


def compare(
    own: Sequence[Floats],
    reference: Sequence[Floats],
    resampler: Resampler,
    lang: str,
    names: tuple[str, str] = ("own", "reference"),
) -> Against:
    """A system against a reference, sentences (and seeds) drawn again, the same for both.

    Args:
        own: sentence statistics of each seed, [N, S] each.
        reference: the same of the reference.
        resampler: of the pair's test set.
        lang: the pair.
        names: of the two, which seed the draw of seeds where there are several.
    """
    parts = [{lang: list(own)}, {lang: list(reference)}]
    drawn = [resampler.scores(p, name)[lang] for p, name in zip(parts, names, strict=True)]
    whole = [
        float(np.mean([resampler.corpus_score(one.sum(axis=0)) for one in p[lang]])) for p in parts
    ]
    difference = whole[0] - whole[1]
    resampled = drawn[0] - drawn[1]
    return Against(
        difference, percentile_interval(resampled), difference_pvalue(difference, resampled)
    )


def best_on_dev(points: Sequence[Point]) -> Point | None:
    """The size with the highest dev score, the smaller one of two that are equal (Table 4).

    Only points that are done count, and none if one of them has no dev score.
    """
    done = sorted((p for p in points if p.state == "done"), key=lambda p: p.size or 0)
    if not done or any(p.dev_score is None for p in done):
        return None
    return max(done, key=lambda p: p.dev_score or 0.0)


def best_on_test(points: Sequence[Point], which: str) -> Point | None:
    """The size with the highest test score; the smaller one of two that are equal.

    It is only a reference: chosen by looking at the test set, it is somewhat too good.
    """
    done = sorted((p for p in points if p.state == "done"), key=lambda p: p.size or 0)
    return max(done, key=lambda p: p.scores[which].score, default=None)


def smallest_sufficient(verdicts: Mapping[int, Against]) -> int | None:
    """The smallest number of rows that is not significantly below the reference.

    Args:
        verdicts: number of rows → comparison with the reference.

    Returns:
        None if every size is significantly below it, or there is none.
    """
    return min((size for size, verdict in verdicts.items() if not verdict.worse), default=None)
