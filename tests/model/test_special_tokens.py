"""Tokens without a row in the model's table: fine where no text holds them, refused elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
from tokenizers import AddedToken

from mt_lottery.errors import ModelError
from mt_lottery.model.special_tokens import check_ids, prepare


def tokenizer(**more: Any) -> Any:
    made = tiny.tokenizer()
    made.add_special_tokens(more)
    return made


def test_a_special_token_that_no_text_holds_needs_no_row() -> None:
    made = tokenizer(additional_special_tokens=["<image_soft_token>"])
    assert made.convert_tokens_to_ids("<image_soft_token>") == tiny.VOCAB
    prepare(made, tiny.VOCAB, "m")
    ids = made(["w5 <image_soft_token> w6"], split_special_tokens=True)["input_ids"]
    check_ids(ids, made, tiny.VOCAB)
    with pytest.raises(ModelError, match=r"'<image_soft_token>' \(id 64\).* 64 rows has none"):
        check_ids(made(["w5 <image_soft_token>"])["input_ids"], made, tiny.VOCAB)


@pytest.mark.parametrize("role", ["bos_token", "eos_token", "unk_token"])
def test_one_that_stands_around_text_needs_a_row(role: str) -> None:
    with pytest.raises(ModelError, match=r"ids up to 64 \('<new>'\).*only 64 rows"):
        prepare(tokenizer(**{role: "<new>"}), tiny.VOCAB, "m")


def test_an_ordinary_token_needs_a_row() -> None:
    made = tiny.tokenizer()
    made.add_tokens([AddedToken("word", special=False)])
    with pytest.raises(ModelError, match=r"ids up to 64 \('word'\)"):
        prepare(made, tiny.VOCAB, "m")
    with pytest.raises(ModelError, match=r"ids up to 63 \('w63'\).*only 50 rows"):
        prepare(tiny.tokenizer(), 50, "m")


def test_padding_without_a_row_is_another_token() -> None:
    made = tokenizer(pad_token="[NEWPAD]")
    assert made.pad_token_id == tiny.VOCAB
    prepare(made, tiny.VOCAB, "m")
    assert made.pad_token_id == tiny.PAD
