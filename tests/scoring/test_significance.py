"""Intervals and comparisons against ``sacrebleu.significance``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sacrebleu
from sacrebleu.significance import PairedTest
from score_data import context, corpus, tokenizer

from mt_lottery.errors import ScoreError
from mt_lottery.scoring import make_metric, paired_bootstrap
from mt_lottery.scoring.significance import (
    Bootstrap,
    average,
    draw_counts,
    least_pvalue,
    over_seeds,
    percentile_interval,
)

PEERS = {"bleu": sacrebleu.BLEU, "chrf": lambda: sacrebleu.CHRF(word_order=2)}


@pytest.fixture(autouse=True)
def usual_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SACREBLEU_SEED", raising=False)


@pytest.mark.parametrize("name", PEERS)
def test_interval_equals_sacrebleus(name: str) -> None:
    hypotheses, references = corpus(40)
    found = make_metric(name, context(bootstrap=1000)).score(hypotheses, references)
    oracle = PEERS[name]().corpus_score(hypotheses, [references], n_bootstrap=1000)
    # The same seed draws the same sentences; sacrebleu sums in float32.
    assert (found.ci95[1] - found.ci95[0]) / 2 == pytest.approx(oracle._ci, rel=1e-4)
    assert sum(found.ci95) / 2 == pytest.approx(oracle._mean, abs=float(oracle._ci) / 3)


@pytest.mark.parametrize("name", PEERS)
def test_interval_of_another_seed_agrees_within_monte_carlo_error(name: str) -> None:
    hypotheses, references = corpus(40)
    metric = make_metric(name, context(bootstrap=1000, seed=7))
    found = metric.score(hypotheses, references)
    assert found == make_metric(name, context(bootstrap=1000, seed=7)).score(hypotheses, references)
    oracle = PEERS[name]().corpus_score(hypotheses, [references], n_bootstrap=1000)
    assert (found.ci95[1] - found.ci95[0]) / 2 == pytest.approx(oracle._ci, rel=0.15)
    assert found.ci95 != make_metric(name, context(bootstrap=1000)).score(
        hypotheses, references
    ).ci95  # fmt: skip


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("noise", [0.2, 0.31, 0.35, 0.6])
def test_pvalue_equals_sacrebleus(name: str, noise: float) -> None:
    baseline, references = corpus(40, noise=0.3)
    system = corpus(40, noise=noise)[0]
    found = paired_bootstrap(make_metric(name, context()), baseline, system, references)
    _, results = PairedTest(
        [("baseline", baseline), ("system", system)],
        {name: PEERS[name]()},
        [references],
        test_type="bs",
    )()
    results.pop("System")
    (first, second) = next(iter(results.values()))
    assert isinstance(first, sacrebleu.significance.Result)
    assert isinstance(second, sacrebleu.significance.Result)
    assert found.difference == pytest.approx(second.score - first.score)
    assert found.pvalue == pytest.approx(second.p_value, abs=0.0021)
    assert found.ci95[0] <= found.difference <= found.ci95[1]


def test_a_system_against_itself_and_against_a_far_better_one() -> None:
    bad, references = corpus(40, noise=0.7)
    metric = make_metric("bleu_subword", context(tokenizer=tokenizer()))
    same = paired_bootstrap(metric, bad, bad, references)
    # Here sacrebleu gives 1 / (n + 1), as if the systems surely differed.
    assert (same.difference, same.ci95, same.pvalue) == (0, (0, 0), 1)
    better = paired_bootstrap(metric, bad, references, references)
    assert better.pvalue < 0.01 and better.ci95[0] > 0
    worse = paired_bootstrap(metric, references, bad, references)
    assert worse.difference == -better.difference and worse.pvalue == better.pvalue


@pytest.mark.parametrize("sentences", [2, 4, 6, 10])
def test_few_sentences_show_no_smaller_p_than_the_exact_test_of_them(sentences: int) -> None:
    from scipy import stats

    bad, references = corpus(sentences, noise=0.9)
    metric = make_metric("chrf", context())
    gains = np.linspace(1.0, 2.0, sentences)  # all one way: the most that so many can show
    exact = stats.permutation_test(
        (gains,), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert least_pvalue(sentences) == pytest.approx(exact)
    found = paired_bootstrap(metric, bad, references, references)
    assert found.difference > 0 and found.pvalue >= exact
    own, other = (
        Bootstrap(metric.corpus_score).scores([metric.statistics(texts, references)], "x")
        for texts in (references, bad)
    )
    assert own.minus(other).pvalue >= exact
    assert average([own, own]).minus(average([other, other])).pvalue >= exact
    assert own.minus(own).pvalue == 1


def test_unequal_sides_and_foreign_metrics() -> None:
    metric = make_metric("bleu", context())
    with pytest.raises(ScoreError, match="1 hypothesis but 2 references"):
        paired_bootstrap(metric, ["a", "b"], ["a"], ["a", "b"])

    class Foreign:
        def score(self, *_: Any) -> None: ...

    with pytest.raises(ScoreError, match="Foreign has no sentence statistics"):
        paired_bootstrap(Foreign(), ["a"], ["a"], ["a"])  # type: ignore[arg-type]


def test_counts_are_of_draws_with_replacement() -> None:
    counts = draw_counts(7, 50, seed=1)
    assert counts.shape == (50, 7)
    assert (counts.sum(1) == 7).all() and counts.max() > 1 and counts.min() == 0
    drawn = np.random.default_rng(1).choice(7, size=(50, 7), replace=True)
    assert (counts[13] == np.bincount(drawn[13], minlength=7)).all()


def test_each_system_draws_its_own_seeds() -> None:
    """The letters of ``lora`` and ``vera`` have one sum: as pairs they would differ too little."""
    seeds = np.array([20.0, 24.0, 28.0])
    each = np.repeat(seeds[:, None], 1000, axis=1)
    found = [over_seeds(seeds, each, name, 10).resamples for name in ("lora", "vera", "lora")]
    assert (found[0] == found[2]).all()
    correlation = float(np.corrcoef(found[0], found[1])[0, 1])
    assert abs(correlation) < 0.15, correlation


def test_percentile_interval() -> None:
    assert percentile_interval(np.arange(1000.0)[::-1]) == (25, 974)
    assert percentile_interval(np.array([3.0])) == (3, 3)
