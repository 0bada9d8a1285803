"""A tokenizer made fit for training: EOS there, padding set, a row for every token of a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mt_lottery.errors import ModelError, plural
from mt_lottery.report.tokens import token_strings

# In use as padding in known vocabularies; taken only where a vocabulary has them already.
_PADDING = (
    "<pad>",
    "[PAD]",
    "<|pad|>",
    "<|padding|>",
    "<|finetune_right_pad_id|>",
    "<|endoftext|>",
)

_ROLES = ("bos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


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
        ModelError: no EOS, or a token without a row that a text can hold.
    """
    for role in _ROLES:
        if getattr(tokenizer, role, None) == "":  # LLaMA conversions: no token, and no id
            setattr(tokenizer, role, None)
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
    _check_rows(tokenizer, vocabulary, rows, where)
    pad = tokenizer.pad_token_id
    if pad is None or pad == eos or pad >= rows:
        known = (t for t in _PADDING if t in vocabulary and vocabulary[t] != eos)
        other = next((t for t in known if vocabulary[t] < rows), None)
        if other is None and unk is not None and unk != eos:
            other = tokenizer.unk_token
        tokenizer.pad_token = other if other is not None else tokenizer.eos_token


def _check_rows(tokenizer: Any, vocabulary: dict[str, int], rows: int, where: str) -> None:
    """Refuse a token without a row that a text can hold.

    A sentence never becomes a special token, so those may lack a row (``<image_soft_token>``
    of the Gemma 3 text models), but for the ones that are put around or in place of text.
    """
    special = {int(i) for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    special |= set(tokenizer.all_special_ids)
    around = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id}
    reached = [
        (index, token)
        for token, index in vocabulary.items()
        if index >= rows and (index not in special or index in around)
    ]
    if reached:
        largest, token = max(reached)
        raise ModelError(
            f"{where}: the tokenizer has ids up to {largest} ({token!r}), the model's embedding "
            f"table only {plural(rows, 'row')}. They do not belong together."
        )


def check_ids(ids: Iterable[Sequence[int]], tokenizer: Any, rows: int) -> None:
    """Refuse token ids without a row: special tokens that a template writes, or a tokenizer adds.

    Args:
        ids: texts as token ids.
        tokenizer: of the model, to name the token.
        rows: V, rows of the model's input table.

    Raises:
        ModelError: it names the token.
    """
    largest = max((max(text, default=-1) for text in ids), default=-1)
    if largest >= rows:
        raise ModelError(
            f"The text holds the token {token_strings(tokenizer, [largest])[0]!r} (id {largest}), "
            f"for which the model's embedding table of {plural(rows, 'row')} has none. Take a "
            "template without it (data.template)."
        )
