"""How much of a gain an arm recovers: R = (arm − original) / (tuned − original)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mt_lottery.scoring.significance import (
    Floats,
    Resampled,
    draw_counts,
    percentile_interval,
    resampled_scores,
)


@dataclass(frozen=True)
class Measured:
    """A number and its 95% interval over resampled sentences."""

    value: float
    ci95: tuple[float, float]


class Scores:
    """Corpus scores of an arm on the test set and on resamples of it.

    Args:
        score: on the test set.
        resamples: on each resample, [R]; the same sentences are drawn for every arm.
    """

    def __init__(self, score: float, resamples: Floats) -> None:
        self.score = score
        self.resamples = resamples

    def measured(self) -> Measured:
        """The score with its interval."""
        return Measured(self.score, percentile_interval(self.resamples))

    def minus(self, other: Scores) -> Measured:
        """The difference, sentences drawn alike for both."""
        return Measured(
            self.score - other.score, percentile_interval(self.resamples - other.resamples)
        )


def scores_of(
    metric: Resampled,
    outputs: Sequence[Sequence[str]],
    references: Sequence[str],
    resamples: int = 1000,
    seed: int = 12345,
) -> Scores:
    """Scores of an arm; of several outputs (seeds of a control) the mean, on every resample.

    Args:
        metric: one with sentence statistics.
        outputs: one list of N hypotheses a seed.
        references: N.
        resamples: how many.
        seed: of the drawing; equal seeds draw equal sentences.
    """
    counts = draw_counts(len(references), resamples, seed)
    scores, drawn = [], []
    for hypotheses in outputs:
        statistics = metric.statistics(hypotheses, references)
        scores.append(metric.corpus_score(statistics.sum(0)))
        drawn.append(resampled_scores(statistics, metric.corpus_score, counts))
    return Scores(float(np.mean(scores)), np.mean(drawn, axis=0))


def recovery(arm: Scores, original: Scores, tuned: Scores) -> Measured | None:
    """R of an arm with its paired bootstrap interval over sentences.

    0 is the original, 1 the tuned model; it may lie outside.

    Returns:
        None where the gain itself is not clear of 0 (its 95% interval reaches 0 or below):
        there is nothing to recover a share of, and the ratio's interval would mean nothing.
    """
    if tuned.minus(original).ci95[0] <= 0.0:
        return None
    gain = tuned.score - original.score
    gains = tuned.resamples - original.resamples
    # a gain of exactly 0 in a resample (few sentences) says nothing: an infinite ratio, cut off
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (arm.resamples - original.resamples) / gains
    ratios = np.where(np.isnan(ratios), np.inf, ratios)
    return Measured((arm.score - original.score) / gain, percentile_interval(ratios))
