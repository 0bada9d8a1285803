"""A tokenizer made fit for training: EOS there, padding set, no id beyond the model's table."""

from __future__ import annotations

from typing import Any

from mt_lottery.errors import ModelError

# In use as padding in known vocabularies; taken only where a vocabulary has them already.
_PADDING = (
    "<pad>",
    "[PAD]",
    "<|pad|>",
    "<|padding|>",
    "<|finetune_right_pad_id|>",
    "<|endoftext|>",
)


def prepare(tokenizer: Any, rows: int, where: str) -> None:
    """Check a tokenizer against the model's table and set its padding token.

    Padding is the tokenizer's own; else a padding token that its vocabulary has; else
    the unknown token; else EOS.  It only fills masked positions, so any id will do, but
    one that differs from EOS keeps "EOS ends a text" true of every id list.  The
    vocabulary is never extended: a new row would change the model.

    Args:
        tokenizer: changed in place.
        rows: V, rows of the model's input table.
        where: folder or hub id, for messages.

    Raises:
        ModelError: no EOS, or a token without a row.
    """
    eos, unk = tokenizer.eos_token_id, tokenizer.unk_token_id
    # A token that the vocabulary lacks (LLaMA conversions with eos_token "") gets the unknown's id.
    unknown = eos is not None and eos == unk and tokenizer.eos_token != tokenizer.unk_token
    if eos is None or unknown:
        raise ModelError(
            f"{where}: the tokenizer has no end-of-sequence token (eos_token="
            f"{tokenizer.eos_token!r}), so a model could not learn to stop. Set eos_token in "
            "its tokenizer_config.json."
        )
    vocabulary = tokenizer.get_vocab()
    largest = max(vocabulary.values(), default=-1)
    if largest >= rows:
        token = next(t for t, index in vocabulary.items() if index == largest)
        raise ModelError(
            f"{where}: the tokenizer has ids up to {largest} ({token!r}), the model's embedding "
            f"table only {rows} rows. They do not belong together."
        )
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == eos:
        known = (t for t in _PADDING if t in vocabulary and vocabulary[t] != eos)
        other = next(known, None)
        if other is None and unk is not None and unk != eos:
            other = tokenizer.unk_token
        tokenizer.pad_token = other if other is not None else tokenizer.eos_token
