"""Tokens counted by where they stand, against counts made by hand."""

from __future__ import annotations

from collections import Counter

import tiny
from hypothesis import given
from hypothesis import strategies as st

from mt_lottery.data.prompts.batches import encode
from mt_lottery.data.prompts.templates import Plain
from mt_lottery.data.text import Pair
from mt_lottery.languages import parse_pair
from mt_lottery.paper.show.frequencies import count_positions, frequency_ranks


class Words:
    """A template in the words of the tiny tokenizer: w3 w4 SOURCE w5."""

    def prompt(self, source: str, pair: object) -> str:
        return f"w3 w4 {source} w5"

    def target(self, target: str) -> str:
        return f" {target}"


PAIR = parse_pair("en-es")


def test_by_hand() -> None:
    pairs = [Pair("w4 w7 w7", "w8"), Pair("w5", "w3 w9 w9")]
    tokenizer = tiny.tokenizer()
    encoded = encode(pairs, Words(), PAIR, tokenizer, 100)
    found = count_positions(pairs, encoded.examples, Words(), PAIR, tokenizer)
    assert found.template == Counter({3: 2, 4: 2, 5: 2})
    assert found.source == Counter({4: 1, 7: 2, 5: 1})
    assert found.target == Counter({8: 1, 3: 1, 9: 2, 1: 2})  # 1 is EOS
    assert found.text() == found.source + found.target


class Twice(Words):
    """The source two times."""

    def prompt(self, source: str, pair: object) -> str:
        return f"{source} w3 {source}"


class Upper(Words):
    """A template that changes the source beyond recognition: all of it counts as template."""

    def prompt(self, source: str, pair: object) -> str:
        return "w3 " + source.replace("w7", "w9 w9")


def test_other_templates() -> None:
    tokenizer = tiny.tokenizer()
    pairs = [Pair("w3 w7", "w8")]
    encoded = encode(pairs, Twice(), PAIR, tokenizer, 100)
    found = count_positions(pairs, encoded.examples, Twice(), PAIR, tokenizer)
    assert found.template == Counter({3: 1}) and found.source == Counter({3: 2, 7: 2})
    encoded = encode(pairs, Upper(), PAIR, tokenizer, 100)
    found = count_positions(pairs, encoded.examples, Upper(), PAIR, tokenizer)
    assert found.template == Counter({3: 2, 9: 2}) and not found.source


words = st.lists(st.integers(3, 63).map(lambda i: f"w{i}"), min_size=1, max_size=6).map(" ".join)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=5))
def test_the_parts_are_the_training_inputs(texts: list[tuple[str, str]]) -> None:
    pairs = [Pair(*text) for text in texts]
    tokenizer = tiny.tokenizer()
    encoded = encode(pairs, Words(), PAIR, tokenizer, 100)
    found = count_positions(pairs, encoded.examples, Words(), PAIR, tokenizer)
    whole: Counter[int] = Counter()
    for example in encoded.examples:
        whole.update(example.prompt_ids + example.target_ids)
    assert found.template + found.source + found.target == whole
    expected = Counter(int(w[1:]) for source, _ in texts for w in source.split())
    assert found.source == expected


def test_a_source_that_reads_like_the_template() -> None:
    """ "English" in the sentence is the sentence's, "English:" before it is the template's."""
    prompt = Plain().prompt("English: English", PAIR)
    from mt_lottery.paper.show.frequencies import _source_spans

    fixed = Plain().prompt("\ue000", PAIR).split("\ue000")
    ((start, end),) = _source_spans(fixed, "English: English", prompt)
    assert prompt[:start].endswith("English: ") and prompt[start:end] == "English: English"
    assert prompt[end:] == "\nSpanish:"


def test_ranks_of_frequencies() -> None:
    assert frequency_ranks({7: 5, 3: 9, 4: 5, 9: 1, 8: 0}) == {3: 1, 4: 2, 7: 2, 9: 4}
