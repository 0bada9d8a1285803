"""Token ids as the vocabulary's own strings, and these as people read them.

A vocabulary's own strings are kept wherever they are read back (``tickets.csv``, JSON).  A
byte-level vocabulary (GPT-2, Llama 3, Qwen) writes each byte as a printable letter there:
``ĠI`` is " I", ``Ã¡`` is "á".  On a terminal, in a figure or a tracker the text is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from mt_lottery.errors import plural
from mt_lottery.report.plain import visible

BLANK = "▁"  # as SentencePiece writes it
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


def _spellings(token: str) -> set[str]:
    """A token as versions of a tokenizer, a terminal and a spreadsheet may have it."""
    given = {token, token.removeprefix("'")}
    shown = {shown_token(one, byte_level) for one in given for byte_level in (True, False)}
    return given | {one.strip().strip(BLANK) for one in shown}


def vocabulary_problem(names: Mapping[int, str], tokenizer: Any) -> str | None:
    """Why tokens that a file names cannot be of this tokenizer's vocabulary, or None.

    Single ones may differ (tokens added later, another version's spelling); most may not.

    Args:
        names: token id → the file's token; empty ones are left out.
        tokenizer: any tokenizer of transformers.

    Returns:
        the end of a sentence, with a token of either; None if at least half agree.
    """
    known = {i: token for i, token in names.items() if token and token != missing_token(i)}
    own = dict(zip(known, token_strings(tokenizer, known), strict=True))
    apart = [
        i for i, token in known.items()
        if token != own[i] and not _spellings(token) & (
            _spellings(own[i]) | {decode_text(tokenizer, [i]).strip()}
        )
    ]  # fmt: skip
    if 2 * len(apart) <= len(known):
        return None
    first = apart[0]
    return (
        f"its tokens are of another vocabulary: {len(apart)} of "
        f"{plural(len(known), 'selected row')}, token id {first} for one ({known[first]!r:.60} in "
        f"the file, {own[first]!r:.60} in the tokenizer). Give a ticket of this model, or leave "
        "the column `token` empty."
    )


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


@cache
def _bytes_of() -> dict[str, int]:
    """Letter → byte, of the byte-level alphabet (that of GPT-2)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    known = {chr(byte): byte for byte in plain}
    return known | {chr(256 + place): byte for place, byte in enumerate(others)}


def is_byte_level(tokens: Iterable[str]) -> bool:
    """Whether a vocabulary's strings (some of them at least) are of the byte-level alphabet.

    Judged by how a leading blank is written: ``Ġ`` there, ``▁`` by SentencePiece.  Of a few tokens
    without a blank it cannot be known; they are taken as they are.
    """
    level = 0
    for token in tokens:
        level += (token[:1] in ("Ġ", "Ċ")) - token.startswith(BLANK)
    return level > 0


def shown_token(token: str, byte_level: bool) -> str:
    r"""A token for a reader: its text, blanks as ``▁``, a line feed as ``\n``.

    Args:
        token: the vocabulary's own string.
        byte_level: it is of a byte-level vocabulary. Bytes that are no whole letter are
            written ``<0xC4>``.
    """
    known = _bytes_of()
    text = token
    if byte_level and token and all(letter in known for letter in token):
        text = bytes(known[letter] for letter in token).decode("utf-8", "surrogateescape")
        text = "".join(f"<0x{ord(x) - 0xDC00:02X}>" if 0xDC80 <= ord(x) <= 0xDCFF else x
                       for x in text)  # fmt: skip
        text = text.replace(" ", BLANK)
    return visible(text) or "''"


def shown_tokens(tokens: Sequence[str], among: Iterable[str] | None = None) -> list[str]:
    """Tokens of one vocabulary for a reader.

    Args:
        tokens: their own strings.
        among: more of the vocabulary, to tell its kind; ``tokens`` alone if None.
    """
    byte_level = is_byte_level(tokens if among is None else among)
    return [shown_token(token, byte_level) for token in tokens]
