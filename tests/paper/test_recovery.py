"""R = (arm − original) / (tuned − original): hand-computed, and against our own intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mt_lottery.paper.explain.recovery import gain_of, recovery
from mt_lottery.scoring.metric import (
    CorpusMetric,
    Floats,
    MetricContext,
    can_be_resampled,
    make_metric,
)
from mt_lottery.scoring.significance import (
    Bootstrap,
    ResampledScore,
    paired_bootstrap,
)

REFERENCES = [f"the {word} of the house is {i} metres high" for i, word in enumerate("abcdefgh")]
TUNED = [line.replace("metres", "feet") for line in REFERENCES]
ORIGINAL = [line + " and the rest of it goes on and on" for line in TUNED]
HALF = ORIGINAL[:4] + TUNED[4:]


def scores_of(
    metric: CorpusMetric, outputs: Sequence[Sequence[str]], references: Sequence[str]
) -> ResampledScore:
    bootstrap = Bootstrap(metric.corpus_score)
    return bootstrap.scores([metric.statistics(texts, references) for texts in outputs])


class Length:
    """The mean number of words: linear, so that R can be computed by hand."""

    key = column = "length"

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
        return np.array([[len(h.split()), 1] for h in hypotheses], dtype=np.float64)

    def corpus_score(self, totals: Floats) -> float:
        return float(totals[0] / totals[1])


def test_by_hand() -> None:
    original, tuned = (["a"] * 4, ["a b c d e"] * 4)
    arm = ["a", "a b c d e", "a b c", "a"]  # 0, 4, 2, 0 of 4 words more
    made = [scores_of(Length(), [x], ["r"] * 4) for x in (original, tuned, arm)]
    found = recovery(made[2], made[0], made[1])
    assert found is not None and found.value == 6 / 16
    # each resample's R is the mean of 0, 1, 0.5, 0 as drawn
    drawn = np.random.default_rng(12345).choice(4, size=(1000, 4), replace=True)
    ratios = np.sort(np.array([0, 1, 0.5, 0])[drawn].mean(1))
    assert found.ci95 == pytest.approx((ratios[25], ratios[974]))


def test_the_ends_are_exact() -> None:
    metric = make_metric("chrf", MetricContext(None, "", "es"))
    assert can_be_resampled(metric)
    original, tuned, half = (
        scores_of(metric, [x], REFERENCES) for x in (ORIGINAL, TUNED, HALF)
    )  # fmt: skip
    zero, one = recovery(original, original, tuned), recovery(tuned, original, tuned)
    assert zero and one and (zero.value, *zero.ci95) == (0, 0, 0)
    assert (one.value, *one.ci95) == (1, 1, 1)
    middle = recovery(half, original, tuned)
    assert middle and 0 < middle.ci95[0] < middle.value < middle.ci95[1] < 1


def test_scores_and_gain_equal_those_of_the_leaderboard() -> None:
    metric = make_metric("chrf", MetricContext(None, "", "es"))
    assert can_be_resampled(metric)
    scored = metric.score(TUNED, REFERENCES)  # type: ignore[attr-defined]
    made = scores_of(metric, [TUNED], REFERENCES)
    assert made.score == pytest.approx(scored.score) and made.ci95 == pytest.approx(scored.ci95)
    gain = gain_of(made, scores_of(metric, [ORIGINAL], REFERENCES))
    wanted = paired_bootstrap(metric, ORIGINAL, TUNED, REFERENCES)  # type: ignore[arg-type]
    assert gain.value == pytest.approx(wanted.difference)
    assert gain.ci95 == pytest.approx(wanted.ci95)


def test_no_gain_nothing_to_recover() -> None:
    same = scores_of(Length(), [["a b"] * 4], ["r"] * 4)
    assert recovery(same, same, same) is None
    unclear = scores_of(Length(), [["a", "a b c", "a", "a b c"]], ["r"] * 4)
    assert recovery(same, same, unclear) is None


def test_a_loss_is_no_gain() -> None:
    original, tuned = (scores_of(Length(), [[x] * 5], ["r"] * 5) for x in ("a b c", "a"))
    assert tuned.minus(original).ci95 == (-2, -2)
    assert recovery(original, original, tuned) is None


def test_several_seeds_are_averaged_on_each_resample() -> None:
    one, other = ["a"] * 3 + ["a b c d"], ["a b c d"] * 4
    both = scores_of(Length(), [one, other], ["r"] * 4)
    apart = [scores_of(Length(), [x], ["r"] * 4) for x in (one, other)]
    assert both.score == (7 / 4 + 4) / 2
    wanted = (apart[0].resamples + apart[1].resamples) / 2
    assert np.array_equal(both.resamples, wanted)


def test_a_resample_without_gain_is_cut_off() -> None:
    resamples = np.full(1000, 2.0)
    resamples[:10] = 1.0  # no gain in 10 of 1,000
    tuned, original = ResampledScore(2.0, resamples), ResampledScore(1.0, np.ones(1000))
    found = recovery(ResampledScore(1.5, np.full(1000, 1.5)), original, tuned)
    assert found and (found.value, *found.ci95) == (0.5, 0.5, 0.5)
