"""Equivalence up to a margin: its error rates by simulation, and the two one-sided t-tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mt_lottery.scoring.significance import Bootstrap, ResampledScore
from mt_lottery.scoring.verdicts import equivalence

SENTENCES, MARGIN, TIMES = 200, 1.0, 400


def mean_of(totals: np.ndarray) -> float:
    """A corpus score that is the mean of the sentences': its sampling is known."""
    return float(totals[0] / totals[1])


def two_systems(
    difference: float, rng: np.random.Generator, seeds: int = 1, between: float = 0.0
) -> tuple[ResampledScore, ResampledScore, np.ndarray]:
    """Two systems on the same sentences, the true difference, and the sentences' differences.

    Args:
        difference: expected.
        rng: of the sentences.
        seeds: of each system.
        between: standard deviation of a system's scores between seeds.
    """
    bootstrap = Bootstrap(mean_of, 400)
    hard = rng.normal(0, 10, SENTENCES)
    own = [
        [level + hard + rng.normal(0, 4, SENTENCES) + rng.normal(0, between) for _ in range(seeds)]
        for level in (30 + difference, 30)
    ]
    ones = np.ones(SENTENCES)
    scores = [
        bootstrap.scores([np.stack([each, ones], 1) for each in system], name)
        for system, name in zip(own, ("one", "other"), strict=True)
    ]
    return scores[0], scores[1], np.mean(own[0], axis=0) - np.mean(own[1], axis=0)


def rate(verdict: str, difference: float, **more: float) -> float:
    """How often a verdict is given."""
    rng = np.random.default_rng(1)
    said = [
        equivalence(*two_systems(difference, rng, **more)[:2], MARGIN).verdict  # type: ignore[arg-type]
        for _ in range(TIMES)
    ]
    return said.count(verdict) / TIMES


def test_a_loss_of_the_margin_is_called_equivalent_in_one_case_of_twenty() -> None:
    # three standard errors of a rate of 5% above it
    assert rate("equivalent", -MARGIN) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / TIMES)
    assert rate("equivalent", MARGIN) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / TIMES)
    assert rate("equivalent", -MARGIN) > 0.02  # and the test is no stricter than it says


def test_equal_systems_are_told_and_a_clear_loss_too() -> None:
    assert rate("equivalent", 0.0) > 0.5
    assert rate("worse", -2.0) > 0.95 and rate("better", 2.0) > 0.95


def test_seeds_that_differ_do_not_make_it_wrong_more_often() -> None:
    wrong = rate("equivalent", -MARGIN, seeds=3, between=0.4)
    assert wrong < 0.05 + 3 * np.sqrt(0.05 * 0.95 / TIMES)


def test_it_agrees_with_two_one_sided_t_tests() -> None:
    rng = np.random.default_rng(2)
    alike = 0
    for difference in np.linspace(-1.5, 1.5, 60):
        one, other, each = two_systems(float(difference), rng)
        worst = max(
            stats.ttest_1samp(each, -MARGIN, alternative="greater").pvalue,
            stats.ttest_1samp(each, MARGIN, alternative="less").pvalue,
        )
        told = equivalence(one, other, MARGIN).verdict == "equivalent"
        alike += told == (worst <= 0.05)
    assert alike >= 56


@pytest.mark.parametrize(
    ("loss", "pvalue", "verdict"),
    [(0.5, 0.001, "equivalent"), (2.0, 0.001, "worse"), (2.0, 0.2, "undecided")],
)
def test_known_resamples(loss: float, pvalue: float, verdict: str) -> None:
    other = ResampledScore(20.0, np.full(1000, 20.0), np.array([20.0]))
    spread = np.linspace(-0.4, 0.4, 1000)
    system = ResampledScore(20.0 - loss, 20.0 - loss + spread, np.array([20.0 - loss]))
    found = equivalence(system, other, MARGIN, pvalue)
    assert found.verdict == verdict
    assert found.ci90 == pytest.approx((-loss - 0.36, -loss + 0.36), abs=0.002)
    assert found.shown == ("equivalent within 1" if verdict == "equivalent" else verdict)
