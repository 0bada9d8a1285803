"""A run's text: the ids that the functions behind it give, computed once."""

from __future__ import annotations

import tiny

from mt_lottery.data.corpora import Split
from mt_lottery.data.prompts.batches import encode, encode_prompts
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.data.prompts.templates import get_template
from mt_lottery.data.text import Pair
from mt_lottery.languages import parse_pair

PAIRS = (Pair("w3 w4", "w5"), Pair("w6", "w7 w8"))
SPLIT = Split("mine", PAIRS, 2)
PLAIN, EN_ES = get_template("plain"), parse_pair("en-es")


def test_it_is_what_the_functions_give_made_once() -> None:
    tokenizer, text = tiny.tokenizer(), PreparedText(PLAIN, EN_ES)
    found = text.encode(SPLIT, tokenizer, 100)
    assert found == encode(PAIRS, PLAIN, EN_ES, tokenizer, 100)
    assert found.texts == [(PLAIN.prompt(p.source, EN_ES), PLAIN.target(p.target)) for p in PAIRS]
    prompts = text.prompts(SPLIT.sources, tokenizer)
    assert prompts == encode_prompts(["w3 w4", "w6"], PLAIN, EN_ES, tokenizer)
    assert text.counts(SPLIT, tokenizer)[7] == 1
    led = text.prompts(SPLIT.sources, tokenizer, lead="w9 ")
    assert led == encode_prompts(["w3 w4", "w6"], PLAIN, EN_ES, tokenizer, lead="w9 ") != prompts

    # the same text again: what was made, not what is equal to it
    equal = Split("other name", PAIRS, 2)
    assert text.encode(equal, tokenizer, 100) is found
    assert text.prompts(["w3 w4", "w6"], tokenizer) is prompts
    assert text.counts(equal, tokenizer) is text.counts(SPLIT, tokenizer)
    assert text.encode(SPLIT, tokenizer, 99) is not found  # another limit may drop others
    tokenizer.add_tokens(["w3 w4"])
    assert text.prompts(SPLIT.sources, tokenizer) != prompts
