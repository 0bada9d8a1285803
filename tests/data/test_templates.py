"""Prompt templates, to the letter."""

from __future__ import annotations

import pytest

from mt_lottery.data.prompts.templates import get_template
from mt_lottery.errors import RegistryError
from mt_lottery.languages import parse_pair

EN_RO = parse_pair("en-ro")


def test_plain() -> None:
    template = get_template("plain")
    prompt = template.prompt("Good morning.", EN_RO)
    assert prompt == "Translate English to Romanian.\nEnglish: Good morning.\nRomanian:"
    assert template.target("Bună dimineața.") == " Bună dimineața."


def test_alpaca() -> None:
    prompt = get_template("alpaca").prompt("Good morning.", parse_pair("en-no"))
    assert prompt == (
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nTranslate English to Norwegian.\n\n"
        "### Input:\nGood morning.\n\n"
        "### Response:"
    )
    assert get_template("alpaca").target("God morgen.") == " God morgen."


@pytest.mark.parametrize("name", ["plain", "alpaca"])
def test_a_sentence_is_one_line(name: str) -> None:
    template = get_template(name)
    assert "a b c d" in template.prompt(" a\nb \r\n\n c\rd\n", EN_RO)
    assert template.target("  a\n b ") == " a b"
    # Other line separators are part of the sentence, as in the files.
    assert template.target("a\u2028b  c") == " a\u2028b  c"


def test_unknown_template() -> None:
    with pytest.raises(RegistryError, match="Did you mean 'alpaca'"):
        get_template("alpacca")
