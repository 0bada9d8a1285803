"""Score against number of rows: a curve's points, its best size on dev, its smallest that will do.

Two questions, two answers.  *Which size would one have chosen?*  The one with the best dev
score (the paper's Table 4); its test score is then the recipe's.  *How many rows are enough?*
The smallest size whose test score is not significantly below that of a reference: the
embedding-tuned model, or the best size of the same curve.  "Not significantly below" is no
proof of equality: on few sentences a large difference passes too, so the difference and its
interval stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mt_lottery.scoring.significance import Difference, Interval


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
        against: ``embed`` and ``best`` → ``raw`` and ``first_line`` → comparison (not
            corrected for the number of sizes).
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
    against: dict[str, dict[str, Difference]] = field(default_factory=dict)

    @property
    def dev_score(self) -> float | None:
        """Mean dev score over seeds."""
        return float(np.mean(self.dev)) if self.dev else None


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


def smallest_sufficient(verdicts: Mapping[int, Difference]) -> int | None:
    """The smallest number of rows that is not significantly below the reference.

    Args:
        verdicts: number of rows → comparison with the reference.

    Returns:
        None if every size is significantly below it, or there is none.
    """
    return min((size for size, verdict in verdicts.items() if not verdict.worse), default=None)
