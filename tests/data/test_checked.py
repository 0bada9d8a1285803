"""Corpora and templates of third parties: what they give back is checked, with their file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mt_lottery.config import DataConfig
from mt_lottery.data.corpora import load_corpora
from mt_lottery.data.prompts.templates import check_template
from mt_lottery.data.text import Pair
from mt_lottery.errors import DataError, PluginError
from mt_lottery.languages import parse_pair
from mt_lottery.registry import CORPORA, TEMPLATES, register_corpus, register_template

EN_RO = parse_pair("en-ro")
ALL = ("train", "dev", "test")


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    CORPORA._forget("mine")
    TEMPLATES._forget("mine")


def corpus(gives: Any, pool: Any = "all", **more: Any) -> DataConfig:
    body = {
        "__init__": lambda self, path, config: None,
        "pool": lambda self, role: pool,
        "read": lambda self, pool, pair: gives,
        **more,
    }
    register_corpus("mine")(type("Mine", (), body))
    return DataConfig(name="mine")


@pytest.mark.parametrize(
    ("gives", "problem"),
    [
        (None, r"read\('all', en-ro\) must return a list of .*Pair.*, not nothing"),
        ("text", "not str 'text'"),
        ({"a": "b"}, "not dict"),
        (iter([Pair("a", "b")]), "not list_iterator"),
        ([("a", "b")], r"pair 0 must be .*Pair.*, not tuple \('a', 'b'\)"),
        ([Pair("a", "b"), Pair("a", 7)], "the target of pair 1 must be .*, not int 7"),  # type: ignore[arg-type]
        ([Pair("a", "b"), Pair(" ", "b")], "the source of pair 1 must be .*, not str ' '"),
        ([Pair("a", "\u200b")], "the target of pair 0 must be"),
        ([Pair("a", None)], "the target of pair 0 must be .*, not nothing"),  # type: ignore[arg-type]
        ([Pair("a", "\ud800")], "the target of pair 0 .* that UTF-8 can hold"),
    ],
)
def test_what_is_no_corpus(gives: Any, problem: str) -> None:
    with pytest.raises(PluginError, match=rf"test_checked\.py.*corpus 'mine': .*{problem}"):
        load_corpora(corpus(gives), EN_RO, ALL)


def test_pool_report_and_emptiness() -> None:
    with pytest.raises(PluginError, match=r"pool\('train'\) must return text, not int 3"):
        load_corpora(corpus([Pair("a", "b")] * 9, pool=3), EN_RO, ALL)
    CORPORA._forget("mine")
    with pytest.raises(PluginError, match=r"report\('all'\) must return .*Report.*, not str"):
        load_corpora(corpus([Pair("a", "b")] * 9, report=lambda self, pool: "fine"), EN_RO, ALL)
    CORPORA._forget("mine")
    with pytest.raises(DataError, match="'mine' has no pairs for en-ro"):
        load_corpora(corpus([]), EN_RO, ALL)
    CORPORA._forget("mine")
    found = load_corpora(corpus(tuple(Pair(f"a{i}", "b") for i in range(9))), EN_RO, ALL)
    assert found.train and found.train.pairs[0] == Pair("a0", "b")


@pytest.mark.parametrize(
    ("begin", "end", "problem"),
    [
        (None, "x", r"prompt\(source, pair\) must return text, not nothing"),
        ("Translate:", None, "prompt.* gives the same text for any sentence: 'Translate:'"),
        (["{}"], "{}", r"not list \['\{\}'\]"),
        ("{}", 7, r"target\(target\) must return text, not int 7"),
        ("{}", "", r"target\(target\) must return text, not str ''"),
        ("{}", "done", r"target\(target\) gives the same text"),
    ],
)
def test_what_is_no_template(begin: Any, end: Any, problem: str) -> None:
    def fill(wording: Any, text: str) -> Any:
        return wording.format(text) if isinstance(wording, str) else wording

    class Mine:
        def prompt(self, source: str, pair: Any) -> Any:
            return fill(begin, source)

        def target(self, target: str) -> Any:
            return fill(end, target)

    register_template("mine")(Mine)
    with pytest.raises(PluginError, match=rf"test_checked\.py.*template 'mine': .*{problem}"):
        check_template("mine", EN_RO)


@pytest.mark.parametrize("name", ["plain", "alpaca"])
def test_ours_pass(name: str) -> None:
    assert check_template(name, EN_RO).prompt("a", EN_RO)
