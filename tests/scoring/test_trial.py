"""Metrics are tried before any work: segmenters, contracts, finite numbers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from score_data import context, tokenizer

from mt_lottery.decoding.translation import Hypothesis
from mt_lottery.errors import PluginError, ScoreError
from mt_lottery.registry import METRICS, register_metric
from mt_lottery.scoring import Scored
from mt_lottery.scoring.metric import MetricContext
from mt_lottery.scoring.report import evaluate
from mt_lottery.scoring.trial import LaterTokenizer, doubts_of, try_metric

GOOD = Scored(50.0, (40.0, 60.0), "s:1")


@pytest.fixture
def registered() -> Iterator[Any]:
    """Registers a metric ``mine`` whose ``score`` gives what it is told to."""

    def make(gives: Any = GOOD, **attributes: Any) -> None:
        body: dict[str, Any] = {
            "__init__": lambda self, context: None,
            "score": lambda self, hypotheses, references: gives,
            "key": "mine",
            "column": "Mine",
            **attributes,
        }
        METRICS._forget("mine")
        register_metric("mine")(type("Mine", (), body))

    yield make
    METRICS._forget("mine")


@pytest.mark.parametrize(
    ("gives", "problem"),
    [
        (0.5, r"must return a mt_lottery\.scoring\.metric\.Scored\(.*, not float 0\.5"),
        (None, "not nothing"),
        (
            Scored(float("nan"), (0.0, 1.0), "s"),
            "Scored.score must be a finite.* not float nan",
        ),
        (Scored("7", (0.0, 1.0), "s"), "Scored.score must be .* not str '7'"),  # type: ignore[arg-type]
        (Scored(True, (0.0, 1.0), "s"), "Scored.score must be .* not bool True"),
        (Scored(1.0, 1.0, "s"), "Scored.ci95 must be two numbers, not float 1.0"),  # type: ignore[arg-type]
        (Scored(1.0, (2.0, 1.0), "s"), "the lower bound first"),
        (Scored(1.0, (0.0, float("inf")), "s"), "a bound of Scored.ci95 must be .* not float inf"),
        (Scored(1.0, (0.0, 1.0), ""), "Scored.signature must be text.* not str ''"),
    ],
)
def test_what_is_no_score(registered: Any, gives: Any, problem: str) -> None:
    registered(gives)
    with pytest.raises(PluginError, match=rf"test_trial\.py.*metric 'mine': .*{problem}"):
        try_metric("mine", context())
    with pytest.raises(PluginError, match=problem):  # and where nobody tried it before
        evaluate([Hypothesis("a", 1, True)], ["a"], ["mine"], context())


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"key": ""}, "Mine.key must be text.* not str ''"),
        ({"column": 7}, "Mine.column must be text.* not int 7"),
        ({"statistics": lambda *_: [[1.0]]}, r"finite numbers, \[N, S\], here \[2, S\]"),
        ({"statistics": lambda *_: np.full((2, 1), np.nan)}, "must return finite numbers"),
        ({"statistics": lambda *_: "text"}, "not str 'text'"),
        (
            {"corpus_score": lambda *_: None},
            r"corpus_score\(totals\) must be a finite.* not nothing",
        ),
    ],
)
def test_what_is_no_metric(registered: Any, more: dict[str, Any], problem: str) -> None:
    given = {"statistics": lambda *_: [[1.0], [2.0]], "corpus_score": lambda *_: 1.0, **more}
    registered(GOOD, **given)
    with pytest.raises(PluginError, match=problem):
        try_metric("mine", context())


def test_a_good_metric_and_numpy_numbers(registered: Any) -> None:
    registered(Scored(np.float32(3), (np.int64(1), np.float64(5)), "s"))  # type: ignore[arg-type]
    try_metric("mine", context())


def test_a_metric_with_a_check_of_its_own_is_not_tried(registered: Any) -> None:
    asked: list[Any] = []
    registered(None, check=staticmethod(asked.append))
    try_metric("mine", context(settings="section"))
    assert asked == ["section"]


@pytest.mark.parametrize("code", ["ja", "ko"])
def test_a_segmenter_that_is_not_there(code: str) -> None:
    try:
        import MeCab  # noqa: F401
    except ImportError:
        with pytest.raises(ScoreError, match=rf"pip install 'sacrebleu\[{code}\]'"):
            try_metric("bleu", context(target=code))
        return
    pytest.skip("MeCab is installed here")


@pytest.mark.parametrize("name", ["bleu", "chrf", "spbleu", "bleu_subword"])
@pytest.mark.parametrize("code", ["ro", "th", "zh", "yue"])
def test_ours_pass(name: str, code: str) -> None:
    try_metric(name, context(tokenizer=tokenizer(), target=code))


def test_the_tokenizer_is_loaded_when_a_metric_uses_it(registered: Any) -> None:
    loads: list[int] = []

    def load() -> Any:
        loads.append(1)
        return tokenizer()

    later = LaterTokenizer(load)
    for name in ("chrf", "bleu_subword"):
        try_metric(name, MetricContext(later, "x", "ro"))
    assert not loads
    seen: list[int] = []
    registered(
        GOOD,
        __init__=lambda self, context: seen.extend(context.tokenizer("a b")["input_ids"]),
    )
    try_metric("mine", MetricContext(later, "x", "ro"))
    try_metric("mine", MetricContext(later, "x", "ro"))
    assert seen and loads == [1]
    # one that cannot be had yet is no reason to refuse
    try_metric("mine", MetricContext(LaterTokenizer(lambda: None), "x", "ro"))


@pytest.mark.parametrize(
    ("score", "bounds", "far"),
    [
        (50.0, (1.0, 2.0), True),
        (0.42, (40.0, 44.0), True),
        (50.0, (40.0, 60.0), False),
        (39.0, (40.0, 44.0), False),  # few sentences
        (0.1 + 0.2, (0.3, 0.3), False),  # rounded
    ],
)
def test_a_score_far_outside_of_its_interval(
    registered: Any, score: float, bounds: tuple[float, float], far: bool
) -> None:
    registered(Scored(score, bounds, "s"))
    said = doubts_of(evaluate([Hypothesis("a", 1, True)], ["a"], ["mine"], context()))
    assert len(said) == 2 * far and all("far outside of its interval" in line for line in said)
    import mt_lottery as mtl

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mtl.score(["a"], ["a"], metrics=["mine"], target="ro")
    assert [str(w.message) for w in caught if "interval" in str(w.message)] == said
