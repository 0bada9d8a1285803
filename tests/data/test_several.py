"""``data.train_templates``: the pairs of each wording are what that wording alone makes of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import published_chats as published
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from mt_lottery.config import DataConfig
from mt_lottery.data.prompts.batches import encode, encode_prompts
from mt_lottery.data.prompts.chat import Chat
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.data.prompts.several import training_template_of
from mt_lottery.data.prompts.templates import Own, Several, get_template, one_line
from mt_lottery.data.prompts.wording import prompts_of, sentences_of
from mt_lottery.data.text import Pair
from mt_lottery.errors import ConfigError, ModelError
from mt_lottery.languages import parse_pair
from mt_lottery.runs.context import prompt_ids

EN_RO = parse_pair("en-ro")
SAY = "How does one say this in {target_language}?\n{source}\nAnswer:"


def several(*names: str, template: str = "plain", system: str | None = None) -> Any:
    return training_template_of(
        DataConfig(name="mini", template=template, train_templates=[*names], system=system)
    )


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), max_size=8))
def test_each_pair_is_worded_as_by_its_wording_alone(sentences: list[str]) -> None:
    template, own = several("plain", "alpaca", SAY), [*map(get_template, ("plain", "alpaca"))]
    own.append(Own(SAY))
    for sentence, made in zip(sentences, prompts_of(template, sentences, EN_RO), strict=True):
        (alone,) = prompts_of(own[len(one_line(sentence)) % 3], [sentence], EN_RO)
        assert (made, sentences_of(made)) == (alone, sentences_of(alone))
        assert made == template.prompt(sentence, EN_RO)


def test_training_pairs_alone_are_worded_in_turn() -> None:
    tokenizer = tiny.tokenizer()
    pairs = [Pair("w3 w4 w5"[: 2 + 3 * i], "w6 w7") for i in range(3)] * 2
    data = DataConfig(name="mini", template="plain", train_templates=["alpaca", "plain"])
    text = PreparedText(get_template("plain"), EN_RO, training=training_template_of(data))
    made = encode(pairs, text.training, EN_RO, tokenizer, 512).examples
    by = [encode(pairs, get_template(n), EN_RO, tokenizer, 512).examples
          for n in ("alpaca", "plain")]  # fmt: skip
    assert made == [by[len(p.source) % 2][i] for i, p in enumerate(pairs)]
    sources = [p.source for p in pairs]
    asked = encode_prompts(sources, get_template("plain"), EN_RO, tokenizer)
    assert text.prompts(sources, tokenizer) == asked


def test_the_rows_of_the_prompt_are_those_of_all_wordings() -> None:
    tokenizer = published.tokenizer("gemma3")
    asked, say = get_template("plain"), Own(SAY)
    alone, other = (set(prompt_ids(PreparedText(t, EN_RO), tokenizer).tolist())
                    for t in (asked, say))  # fmt: skip
    both = PreparedText(asked, EN_RO, training=Several([say]))
    assert set(prompt_ids(both, tokenizer).tolist()) == alone | other > alone


def test_prompts_of_a_chat_become_the_messages_of_the_user() -> None:
    tokenizer = published.tokenizer("gemma3")
    template = several("chat", SAY, template="chat").bind(tokenizer)
    for source, message in (("ab", None), ("abc", SAY)):
        wanted = encode_prompts([source], Chat(message), EN_RO, tokenizer)
        assert encode_prompts([source], template, EN_RO, tokenizer) == wanted
    with pytest.raises(ModelError, match="system text"):
        several(SAY, template="chat", system="You translate.").bind(published.tokenizer("mistral"))


@pytest.mark.parametrize(
    ("template", "names", "said"),
    [
        ("plain", ["plain", "chat"], "has chat, and the run is asked in data.template=plain"),
        ("chat", ["plain"], "allowed beside that: chat, and prompts of your own"),
        ("plain", ["{source} = "], "'{source} = ' has the translation begin as 'a b', "),
    ],
)
def test_wordings_that_cannot_be_trained_together(
    template: str, names: list[str], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        several(*names, template=template)
    assert said in str(caught.value)


def test_one_wording_is_the_runs_own() -> None:
    data = DataConfig(name="mini", template="alpaca")
    assert isinstance(training_template_of(data), type(get_template("alpaca")))
    one = dataclasses.replace(data, train_templates=["plain"])
    assert training_template_of(one).prompt("a", EN_RO) == get_template("plain").prompt("a", EN_RO)
