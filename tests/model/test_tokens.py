"""Ids as text: rows without a token, in fast and slow tokenizers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mt_lottery.report.tokens import (
    decode_text,
    missing_token,
    token_strings,
    vocabulary_problem,
)
from tests import tiny


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory):
    """A slow SentencePiece tokenizer of transformers (GPT-SW3's class), 40 pieces."""
    import sentencepiece as spm
    from transformers import GPTSw3Tokenizer

    folder = tmp_path_factory.mktemp("spm")
    text = folder / "text.txt"
    words = ["one", "two", "three", "four", "five", "six", "seven", "the", "house", "of", "cards"]
    text.write_text("\n".join(" ".join(words[i:] + words[:i]) for i in range(len(words))))
    spm.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "m"), vocab_size=40, model_type="bpe",
        pad_id=3, minloglevel=2,
    )  # fmt: skip
    return GPTSw3Tokenizer(str(folder / "m.model"), pad_token="<pad>", eos_token="</s>",
                           bos_token="<s>", unk_token="<unk>")  # fmt: skip


def test_a_slow_tokenizer_with_fewer_pieces_than_rows(slow) -> None:
    beyond = len(slow) + 5
    with pytest.raises(IndexError):  # what the library does
        slow.convert_ids_to_tokens([10, beyond])
    assert token_strings(slow, [10, beyond]) == [
        slow.convert_ids_to_tokens(10),
        missing_token(beyond),
    ]
    ids = slow("the house", add_special_tokens=False)["input_ids"]
    assert decode_text(slow, [*ids[:1], beyond, *ids[1:]]) == decode_text(slow, ids)


def test_a_fast_tokenizer_with_fewer_tokens_than_rows() -> None:
    tokenizer = tiny.tokenizer()
    assert token_strings(tokenizer, torch.tensor([3, 64])) == ["w3", "[no token 64]"]
    assert token_strings(tokenizer, []) == []
    assert decode_text(tokenizer, [3, 64, 4]) == "w3 w4"


def test_tickets_of_rows_without_a_token(slow, tmp_path: Path) -> None:
    from mt_lottery.ticket.ticket import Ticket

    chosen = Ticket(torch.tensor([len(slow), 7]), "random").named(slow)
    found = Ticket.load(chosen.save(tmp_path / "tickets.csv"))
    assert found.tokens == [missing_token(len(slow)), slow.convert_ids_to_tokens(7)]


class Pieces:
    """A tokenizer with these pieces."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self.pieces[i] for i in ids]

    def decode(self, ids: list[int], **_: object) -> str:
        return "".join(self.pieces[i] for i in ids)


@pytest.mark.parametrize(
    "names",
    [
        {0: "Ġthe", 1: "Ã¡", 2: "=", 3: "\n"},
        {0: "▁the", 1: "á", 2: "'=", 3: "\\n"},  # as shown, and as a spreadsheet has it
        {0: "Ġthe", 1: "Ã¡", 2: "x", 3: "y"},  # half of them: tokens that were put in place later
        {0: " the", 1: "á", 2: "=", 3: ""},  # tokenizer.decode([i])
        {0: "", 1: "", 2: "[no token 2]"},
        {},
    ],
)
def test_tokens_of_this_vocabulary(names: dict[int, str]) -> None:
    assert vocabulary_problem(names, Pieces("Ġthe", "Ã¡", "=", "\n")) is None


def test_decoded_tokens_of_this_vocabulary(slow) -> None:
    decoded = {i: slow.decode([i]) for i in range(10, 40)}
    assert vocabulary_problem(decoded, slow) is None


def test_tokens_of_another_vocabulary(slow) -> None:
    ids = range(10, 20)
    own = dict(zip(ids, token_strings(slow, ids), strict=True))
    assert vocabulary_problem(own, slow) is None
    shifted = {i + 5: token for i, token in own.items()}
    said = vocabulary_problem(shifted, slow)
    assert said is not None and "of another vocabulary: 10 of 10 selected rows, token" in said
    assert f"token id 15 for one ({own[10]!r} in the file, {own[15]!r} in the tokenizer" in said
    assert "[no token 99]" in str(vocabulary_problem({99: "a"}, slow))
