"""How much of a gain an arm recovers: R = (arm − original) / (tuned − original)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mt_lottery.scoring.significance import ResampledScore, percentile_interval


@dataclass(frozen=True)
class Measured:
    """A number and its 95% interval over resampled sentences."""

    value: float
    ci95: tuple[float, float]


def gain_of(tuned: ResampledScore, original: ResampledScore) -> Measured:
    """The difference of two scores."""
    found = tuned.minus(original)
    return Measured(found.difference, found.ci95)


def recovery(
    arm: ResampledScore, original: ResampledScore, tuned: ResampledScore
) -> Measured | None:
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
