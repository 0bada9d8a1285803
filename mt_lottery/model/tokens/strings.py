"""Token ids as text, for every tokenizer: fast or slow, with fewer pieces than the model's rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

# What a slow tokenizer raises for an id that it has no piece for: SentencePiece's and tiktoken's
# own classes, and what transformers makes of a missing key.
_NO_PIECE = (IndexError, KeyError, ValueError, TypeError, OverflowError)


def missing_token(token_id: int) -> str:
    """The placeholder for a token that the tokenizer does not have."""
    return f"[no token {token_id}]"


def token_strings(tokenizer: Any, ids: Iterable[Any]) -> list[str]:
    """The vocabulary's own spelling of each token id (``▁the``, ``Ġthe``).

    A model may have more rows than its tokenizer has tokens (rows added so that V is a multiple
    of 64, or by ``resize_token_embeddings``): those get :func:`missing_token`'s placeholder.

    Args:
        tokenizer: any tokenizer of transformers.
        ids: token ids, as numbers or a tensor [k].

    Returns:
        k strings.
    """
    numbers = [int(i) for i in ids]
    try:
        found = list(tokenizer.convert_ids_to_tokens(numbers))
    except _NO_PIECE:
        found = [_token(tokenizer, number) for number in numbers]
    return [missing_token(i) if t is None else str(t) for i, t in zip(numbers, found, strict=True)]


def _token(tokenizer: Any, token_id: int) -> str | None:
    try:
        found: str | None = tokenizer.convert_ids_to_tokens(token_id)
    except _NO_PIECE:
        return None
    return found


def decode_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of token ids, without special tokens; ids that are no token say nothing."""
    # Clean-up would rewrite " ." and " n't" in the hypothesis but not in the reference.
    settings = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    try:
        text: str = tokenizer.decode(ids, **settings)
    except _NO_PIECE:
        known = [i for i in ids if _token(tokenizer, int(i)) is not None]
        text = tokenizer.decode(known, **settings)
    return text
