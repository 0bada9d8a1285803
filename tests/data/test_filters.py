"""Filters: what stays, and under which reason the rest is counted."""

from __future__ import annotations

from typing import Any

import pytest

from mt_lottery.config import DataConfig
from mt_lottery.config.compose import compose
from mt_lottery.data.filters import FilterConfig, PairFilter, Report, settings_for
from mt_lottery.data.hub.lego_mt import LegoMTConfig
from mt_lottery.data.hub.opus100 import Opus100Config
from mt_lottery.data.text import Pair
from mt_lottery.errors import ConfigError

OFF: dict[str, Any] = {
    "max_chars": None,
    "max_words": None,
    "max_ratio": None,
    "drop_identical": False,
    "duplicates": "keep",
}


def filtered(*texts: tuple[str, str], **settings: Any) -> tuple[list[str], dict[str, int]]:
    """Sources that stay, and the counts; filters that are not given are off."""
    keep = PairFilter(FilterConfig(**(OFF | settings)))
    kept = keep(Pair(source, target) for source, target in texts)
    return [pair.source for pair in kept], keep.counts


def test_empty_sides_go_always() -> None:
    texts = ("a", ""), (" \u00a0", "b"), ("c", "d"), ("e", "\ufeff\u200b \u2060"), ("\u200d", "f")
    assert filtered(*texts) == (["c"], {"empty": 4})
    published = PairFilter(None)  # a test set: nothing else is touched
    kept = published(Pair(s, t) for s, t in (*texts, ("same", "same"), ("same", "same")))
    assert [p.source for p in kept] == ["c", "same", "same"]
    assert published.counts == {"empty": 4}
    # within a text they are a part of it
    joined = (
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\ufeffI want\u200b",
    )  # part of a text
    assert filtered(joined) == ([joined[0]], {"empty": 0})


def test_identical_sides() -> None:
    texts = ("Hello  World", "hello world "), ("Hello", "Hallo")
    assert filtered(*texts, drop_identical=True) == (["Hello"], {"empty": 0, "identical": 1})


@pytest.mark.parametrize(
    ("settings", "kept", "reason"),
    [
        ({"min_chars": 3}, ["abc", "abcdefghij"], "too_short"),
        ({"max_chars": 9}, ["ab", "abc"], "too_long"),
        ({"max_chars": 10}, ["ab", "abc", "abcdefghij"], "too_long"),
    ],
)
def test_lengths_in_characters(settings: dict[str, int], kept: list[str], reason: str) -> None:
    texts = ("ab", "abcd"), ("abc", "defg"), ("abcdefghij", "1234")
    sources, counts = filtered(*texts, **settings)
    assert sources == kept
    assert counts == {"empty": 0, reason: 3 - len(kept)}
    turned, same = filtered(*((b, a) for a, b in texts), **settings)  # either side counts
    assert len(turned) == len(kept) and same == counts


def test_length_in_words() -> None:
    texts = ("a b c", "1 2"), ("a", "1  2\t3 4"), ("a b c d", "1")
    assert filtered(*texts, max_words=3) == (["a b c"], {"empty": 0, "too_long": 2})


def test_ratio_of_lengths() -> None:
    texts = ("abcd", "ab"), ("ab", "abcde"), ("abcde", "ab")
    assert filtered(*texts, max_ratio=2.0) == (["abcd"], {"empty": 0, "ratio": 2})
    assert filtered(*texts, max_ratio=2.5)[1]["ratio"] == 0


def test_duplicates() -> None:
    texts = ("a b", "1"), ("A  b ", "1"), ("a b", "2"), ("c", "1"), ("c", "1")
    assert filtered(*texts) == (["a b", "A  b", "a b", "c", "c"], {"empty": 0})
    assert filtered(*texts, duplicates="pair") == (
        ["a b", "a b", "c"],
        {"empty": 0, "duplicate": 2},
    )
    assert filtered(*texts, duplicates="source") == (["a b", "c"], {"empty": 0, "duplicate": 3})
    # the boundary between the sides counts
    assert len(filtered(("a", "b c"), ("a b", "c"), duplicates="pair")[0]) == 2


def test_one_reason_a_pair_and_every_filter_by_default() -> None:
    keep = PairFilter(FilterConfig())
    long = "x" * 1001
    texts = (
        *(("", ""), ("Same", "same"), (long, "y"), ("a" * 6, "b"), ("w " * 201, "z " * 201)),
        *(("Bon dia", "Good day"), ("bon dia", "good day"), ("Bon dia", "Hello")),
    )
    kept = keep(Pair(s, t) for s, t in texts)
    assert [(p.source, p.target) for p in kept] == [("Bon dia", "Good day"), ("Bon dia", "Hello")]
    assert keep.counts == {"empty": 1, "identical": 1, "too_long": 2, "ratio": 1, "duplicate": 1}


def test_text_stays_as_it_is_but_for_its_end() -> None:
    keep = PairFilter(FilterConfig())
    (pair,) = keep([Pair("  - Què?\u2028e\u0301 \t", "What?\n")])
    assert pair == Pair("  - Què?\u2028e\u0301", "What?")


def test_report() -> None:
    report = Report("x/ca.jsonl", "en-ca", 10_000, 935, {"empty": 0, "too_long": 12, "ratio": 3})
    assert report.left == 920
    assert str(report) == (
        "x/ca.jsonl: 935 of 10,000 records are en-ca; left out: 12 too_long, 3 ratio; "
        "920 pairs left."
    )
    assert str(Report("x", "en-ca", 6, 6, {"empty": 0})) == "x: 6 pairs of en-ca; 6 pairs left."


def test_settings_of_a_corpus_that_another_one_gave_the_schema_for() -> None:
    own = LegoMTConfig(repo="me/mine", source_field="a")
    assert settings_for(own, LegoMTConfig) is own
    other = settings_for(
        Opus100Config(repo="me/mine", max_chars=7, template="alpaca"), LegoMTConfig
    )
    assert (other.repo, other.source_field) == ("Lego-MT/Parallel_Dataset", "src")
    assert (other.max_chars, other.template) == (7, "alpaca")
    assert settings_for(DataConfig(train_pairs=3), LegoMTConfig) == LegoMTConfig(train_pairs=3)


def test_settings_on_the_command_line() -> None:
    start = ["recipe=none", "lang=en-ca"]
    data = compose([*start, "data=lego_mt", "data.source_field=a", "data.max_ratio=null"]).data
    assert isinstance(data, LegoMTConfig)
    assert (data.source_field, data.max_ratio, data.name) == ("a", None, "lego_mt")
    with pytest.raises(ConfigError) as caught:
        compose(
            [
                *(*start, "data=opus100", "data.max_chars=0", "data.max_ratio=0.5"),
                *("data.duplicates=pairs", "data.sourcefield=a"),
            ]
        )
    message = str(caught.value)
    for said in (
        "`data.max_chars` must be ≥ 1, not 0",
        "`data.max_ratio` must be ≥ 1, not 0.5",
        "`data.duplicates` must be one of pair, source, keep, not 'pairs'.",
        "`data.min_chars` (1) must be at most `data.max_chars` (0)",
        "Unknown key 'data.sourcefield'",
    ):
        assert said in message
    with pytest.raises(ConfigError, match=r"Unknown key 'data\.max_chars'"):
        compose([*start, "data=ntrex", "data.max_chars=9"])
