"""The record's ``scores`` and ``generation``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_data import context, corpus, tokenizer, train_spm

from mt_lottery.decoding import Hypothesis
from mt_lottery.errors import RegistryError, ScoreError
from mt_lottery.registry import METRICS, register_metric
from mt_lottery.scoring import MetricContext, Scored, evaluate, generation_statistics, make_metric
from mt_lottery.scoring.generation import off_target_share

ENGLISH = "The children are singing by the old river this morning."
ROMANIAN = "Copiii cântă lângă râul vechi în această dimineață."
NORWEGIAN = "Barna synger ved den gamle elva denne morgenen, og jeg vet ikke hvorfor."
NYNORSK = "Borna syng ved den gamle elva i dag, og eg veit ikkje kvifor dei gjer det."


def stats(hypotheses: list[Hypothesis], references: list[str], **changes: Any) -> dict[str, Any]:
    settings = {"source": "en", "target": "ro", "beam_size": 1, "max_new_tokens": 8, **changes}
    return generation_statistics(hypotheses, references, **settings)


def test_scores_have_the_form_of_the_record(no_network: Path) -> None:
    train_spm(no_network)
    texts, references = corpus(20)
    hypotheses = [Hypothesis(f"\n {t}\nEnglish: more and more", 9, False) for t in texts]
    names = ["spbleu", "bleu", "chrf"]
    found = evaluate(hypotheses, references, names, context())
    assert list(found) == names
    assert json.loads(json.dumps(found)) == found
    for name in names:
        metric = make_metric(name, context())
        entry = found[name]
        line = metric.score(texts, references)
        assert entry["first_line"] == {"score": line.score, "ci95": list(line.ci95)}
        raw = metric.score([h.text for h in hypotheses], references)
        assert entry["raw"] == {"score": raw.score, "ci95": list(raw.ci95)}
        assert entry["raw"]["score"] < entry["first_line"]["score"]
        assert (entry["signature"], entry["column"]) == (line.signature, metric.column)
        assert set(entry) == {"raw", "first_line", "signature", "column"}


def test_the_fallback_has_its_own_key_and_comes_once() -> None:
    hypotheses, references = corpus(5)
    made = [Hypothesis(text, 5, True) for text in hypotheses]
    found = evaluate(made, references, ["spbleu", "bleu_subword"], context(tokenizer=tokenizer()))
    assert list(found) == ["bleu_subword"]
    assert found["bleu_subword"]["column"] == "BLEU[gemma3 subwords]"


def test_evaluate_refuses() -> None:
    one = [Hypothesis("a", 1, True)]
    with pytest.raises(RegistryError, match="Did you mean 'chrf'"):
        evaluate(one, ["a"], ["chrff"], context())
    with pytest.raises(ScoreError, match="1 hypothesis but 2 references"):
        evaluate(one, ["a", "b"], ["bleu"], context())
    with pytest.raises(ScoreError, match="no sentence"):
        evaluate([], [], ["bleu"], context())


@pytest.fixture
def plugin() -> Iterator[None]:
    @register_metric("exact_match_test")
    class ExactMatch:
        key, column = "exact_match_test", "exact"

        def __init__(self, context: MetricContext) -> None:
            self.calls = 0

        def score(self, hypotheses: list[str], references: list[str]) -> Scored:
            self.calls += 1
            hits = sum(h == r for h, r in zip(hypotheses, references, strict=True))
            return Scored(100 * hits / len(references), (0, 100), f"call:{min(self.calls, 1)}")

    yield
    METRICS._forget("exact_match_test")


@pytest.mark.usefixtures("plugin")
def test_a_third_party_metric() -> None:
    found = evaluate([Hypothesis("a\nb", 2, True)], ["a"], ["exact_match_test"], context())
    entry = found["exact_match_test"]
    assert entry["raw"] == {"score": 0, "ci95": [0, 100]} and entry["first_line"]["score"] == 100


def test_shares_and_length_ratio() -> None:
    hypotheses = [
        Hypothesis(ROMANIAN, 7, True),
        Hypothesis("", 0, True),
        Hypothesis(" \n \n", 3, True),
        Hypothesis(f"{ROMANIAN}\n\nEnglish:  {ENGLISH}", 8, False),
    ]
    found = stats(hypotheses, [ROMANIAN] * 4, beam_size=3)
    # The last raw text is one line of single blanks in the count.
    total = 2 * len(ROMANIAN) + len(f" English: {ENGLISH}")
    assert found == {
        "stopped": 0.75,
        "empty": 0.5,
        "truncated": 0.25,
        "off_target": 0.0,
        "length_ratio": pytest.approx(total / (4 * len(ROMANIAN))),
        "beam_size": 3,
        "max_new_tokens": 8,
    }
    assert stats(hypotheses, [""] * 4)["length_ratio"] is None
    with pytest.raises(ScoreError, match="4 hypotheses but 1 reference"):
        stats(hypotheses, [ROMANIAN])


def test_off_target() -> None:
    def share(*lines: str, target: Any = "ro") -> float | None:
        return off_target_share(lines, source="en", target=target)

    assert share(ROMANIAN, ENGLISH, ROMANIAN, ROMANIAN) == 0.25
    # Nothing to judge is no language; it is counted as empty elsewhere.
    assert share(ROMANIAN, "", "123 — 45 %") == 0
    assert share("", "12") is None
    # Bokmål and Nynorsk are on target for either, under each of their codes; Danish has its own.
    for code in ("no", "nb", "nn"):
        assert share(NORWEGIAN, NYNORSK, target=code) == 0
    assert share(NORWEGIAN, target="ro") == 1
    # A target outside the usual candidates is among them when asked for.
    assert share("Que lo vòstre an novèl siá plan bon, mos amics de totas las tèrras.",
                 target="oc") == 0  # fmt: skip
    assert share(ROMANIAN, target="tlh") is None

    class Language:
        code = "ro"

    assert share(ENGLISH, target=Language()) == 1


def test_off_target_looks_at_the_first_line_only() -> None:
    made = [Hypothesis(f"{ROMANIAN}\n{ENGLISH} {ENGLISH} {ENGLISH}", 8, False)]
    assert stats(made, [ROMANIAN])["off_target"] == 0


def test_sentence_statistics_add_up_to_the_scores(no_network: Path) -> None:
    from mt_lottery.scoring.report import sentence_statistics

    train_spm(no_network)
    texts, references = corpus(20)
    hypotheses = [Hypothesis(f"\n {t}\nEnglish: more and more", 9, False) for t in texts]
    names = ["spbleu", "bleu", "chrf"]
    found = evaluate(hypotheses, references, names, context())
    lines = json.loads(json.dumps(sentence_statistics(hypotheses, references, names, context())))
    assert len(lines) == 20
    for name in names:
        metric: Any = make_metric(name, context())
        for which in ("raw", "first_line"):
            totals = np.array([line[name][which] for line in lines]).sum(axis=0)
            assert metric.corpus_score(totals) == found[name][which]["score"]


def test_each_metric_has_its_own_lists() -> None:
    """A plugin's may lower-case them in place."""
    texts, references = corpus(8)
    hypotheses = [Hypothesis(text.upper(), 9, True) for text in texts]
    wanted = evaluate(hypotheses, references, ["chrf"], context())["chrf"]
    metric = make_metric("chrf", context())

    class Lower:
        key, column = "lower", "lower"

        def score(self, outputs: list[str], references: list[str]) -> Scored:
            outputs[:] = [text.lower() for text in outputs]
            references.clear()
            return Scored(1.0, (1.0, 1.0), "lower")

    found = evaluate(hypotheses, references, [Lower(), metric], context())  # type: ignore[list-item]
    assert found["chrf"]["raw"] == wanted["raw"] and len(references) == 8
