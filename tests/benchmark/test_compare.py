"""The comparison with the best: against sacrebleu's bootstrap, Holm by hand, and invariants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt_lottery.scoring.metric import MetricContext, make_metric
from mt_lottery.scoring.significance import (
    Bootstrap,
    average,
    holm,
)
from mt_lottery.scoring.verdicts import Verdict, compare_with_best

WORDS = ["the", "cat", "sat", "on", "a", "red", "mat", "while", "dogs", "ran", "home"]


def corpus(count: int, quality: float, seed: int) -> tuple[list[str], list[str]]:
    """References, and hypotheses in which a share of the words is right."""
    rng = np.random.default_rng(seed)
    references, hypotheses = [], []
    for _ in range(count):
        words = list(rng.choice(WORDS, size=8))
        references.append(" ".join(words))
        kept = [w if rng.random() < quality else "x" for w in words]
        hypotheses.append(" ".join(kept))
    return hypotheses, references


METRIC: Any = make_metric("bleu", MetricContext(None, "any", "en"))


def statistics(quality: float, seed: int, count: int = 60, draw: int = 0) -> Any:
    """Sentence statistics of hypotheses for the references of ``draw``."""
    _, references = corpus(count, 1.0, draw)
    rng = np.random.default_rng([seed, draw])
    hypotheses = [
        " ".join(w if rng.random() < quality else "x" for w in r.split()) for r in references
    ]
    return METRIC.statistics(hypotheses, references)


def judged(methods: dict[str, Any], resamples: int = 500) -> dict[str, Verdict]:
    """Verdicts on methods, each with the statistics of its seeds in each language."""
    bootstrap = Bootstrap(METRIC.corpus_score, resamples)
    scores = {
        name: average([bootstrap.scores(seeds, name) for seeds in own.values()])
        for name, own in methods.items()
    }
    return compare_with_best(scores)


def test_interval_of_one_seed_is_that_of_the_record() -> None:
    own = statistics(0.7, 1)
    made = Bootstrap(METRIC.corpus_score)
    found = made.scores([own], "lora").interval
    hypotheses, references = corpus(60, 0.7, 3)
    scored = METRIC.score(hypotheses, references)
    other = METRIC.statistics(hypotheses, references)
    again = made.scores([other], "anything at all").interval
    assert (again.score, again.ci95) == (scored.score, scored.ci95) and again.sd is None
    assert found.ci95[0] < found.score < found.ci95[1]


def test_pvalue_agrees_with_sacrebleus_paired_bootstrap() -> None:
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest

    one, references = corpus(80, 0.75, 5)
    other = [
        " ".join("x" if (i + j) % 9 == 0 else w for j, w in enumerate(h.split()))
        for i, h in enumerate(one)
    ]
    test: Any = PairedTest(
        [("one", one), ("other", other)], {"BLEU": BLEU(force=True)}, [references],
        test_type="bs", n_samples=1000,
    )  # fmt: skip
    theirs = test()[1]["BLEU"][1].p_value
    own = {"one": METRIC.statistics(one, references), "other": METRIC.statistics(other, references)}
    verdicts = judged({name: {"en-ro": [x], "en-es": [x]} for name, x in own.items()}, 1000)
    assert verdicts["one"].best
    assert verdicts["other"].pvalue == pytest.approx(theirs, abs=0.02)


def test_marks() -> None:
    # three seeds; good and good2 differ by chance only, bad is clearly worse
    made = {
        name: {
            lang: [statistics(quality, 10 * place + seed, draw=i) for seed in range(3)]
            for i, lang in enumerate(("en-ro", "en-es"))
        }
        for place, (name, quality) in enumerate([("good", 0.8), ("good2", 0.8), ("bad", 0.5)])
    }
    verdicts = judged(made)
    assert {n: v.mark for n, v in verdicts.items()} == {"good": True, "good2": True, "bad": False}
    assert sum(v.best for v in verdicts.values()) == 1
    assert verdicts["bad"].difference < -5 and verdicts["bad"].pvalue < 0.05
    alone = {name: {lang: seeds[:1] for lang, seeds in own.items()} for name, own in made.items()}
    single = judged(alone)
    assert {v.mark for v in single.values()} == {None}  # one seed: nothing is bold
    assert compare_with_best({}) == {}


def test_seeds_count_in_the_comparison() -> None:
    """One lucky seed of three is no proof: with the seeds drawn too, p grows."""
    steady = [statistics(0.6, s, 300) for s in range(3)]
    wild = [statistics(q, 7 + i, 300) for i, q in enumerate((0.95, 0.6, 0.6))]
    many = judged({"steady": {"en-ro": steady}, "wild": {"en-ro": wild}})
    averaged = judged({"steady": {"en-ro": [sum(steady) / 3]}, "wild": {"en-ro": [sum(wild) / 3]}})
    assert many["wild"].best and averaged["wild"].best
    assert averaged["steady"].pvalue < 0.01 < many["steady"].pvalue


def test_identical_methods_do_not_differ() -> None:
    own = {"en-ro": [statistics(0.7, 1)]}
    verdicts = judged({"a": own, "b": own})
    assert [v.pvalue for v in verdicts.values()] == [1.0, 1.0]
    assert [v.difference for v in verdicts.values()] == [0.0, 0.0]


def test_holm_by_hand() -> None:
    # 0.01·4, max(0.04, 0.02·3), max(0.06, 0.03·2), 0.5
    found = holm({"c": 0.03, "a": 0.01, "d": 0.5, "b": 0.02})
    assert found == pytest.approx({"a": 0.04, "b": 0.06, "c": 0.06, "d": 0.5})
    assert holm({}) == {}


@given(st.dictionaries(st.text(min_size=1), st.floats(0, 1), max_size=8))
@settings(deadline=None)
def test_holm_invariants(pvalues: dict[str, float]) -> None:
    found = holm(pvalues)
    assert found.keys() == pvalues.keys()
    for name, p in pvalues.items():
        assert p <= found[name] <= min(1.0, p * len(pvalues)) or found[name] == max(
            found[n] for n in pvalues if pvalues[n] <= p
        )
    ordered = sorted(pvalues, key=lambda n: pvalues[n])
    assert [found[n] for n in ordered] == sorted(found.values())
