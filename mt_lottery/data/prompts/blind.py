"""Tokenising a text of which some special tokens count and others are text.

Tokenizers take either all special tokens in a text for what they are, or none.  A fast
tokenizer is copied with its special tokens under other names (characters that occur in no
text), and the places that count are written with those names: normalisation, merges and
what happens around an added token are then its own.  A slow one is asked piece by piece,
as it asks itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mt_lottery.data.prompts.wording import Span

_PRIVATE = 0xF0000  # first character of the supplementary private use planes, 131,068 of them


@dataclass(frozen=True)
class Encoding:
    """Token ids of a text.

    Attributes:
        ids: T token ids.
        offsets: for each token its characters [start, end), empty where it has none; None
            where they were not asked for, or the tokenizer is a slow one.
    """

    ids: list[int]
    offsets: list[Span] | None = None

    def cut(self, start: int, stop: int | None) -> Encoding:
        """The tokens from ``start`` to ``stop``, exclusive."""
        places = None if self.offsets is None else self.offsets[start:stop]
        return Encoding(self.ids[start:stop], places)


def encode_blind(
    tokenizer: Any, specials: Mapping[str, int], text: str, own: Sequence[Span], begin: bool
) -> Encoding:
    """Token ids of a text whose special tokens at ``own`` count, all others being text.

    Args:
        tokenizer: slow or fast.
        specials: its special tokens → ids.
        text: the text.
        own: spans [start, end) of the special tokens that count, in order.
        begin: add what the tokenizer puts first (and last).
    """
    if not getattr(tokenizer, "is_fast", False):
        return _piecewise(tokenizer, specials, text, own, begin)
    taken = frozenset(c for c in text if ord(c) >= _PRIVATE)
    backend, names = _renamed(tokenizer, tuple(sorted(specials)), taken)
    parts, at = [], 0
    for start, end in own:
        parts += [text[at:start], names[text[start:end]]]  # as long as the token: offsets hold
        at = end
    encoded = backend.encode("".join([*parts, text[at:]]), add_special_tokens=begin)
    return Encoding(list(encoded.ids), [(int(a), int(b)) for a, b in encoded.offsets])


@lru_cache(maxsize=2)
def _renamed(
    tokenizer: Any, specials: tuple[str, ...], taken: frozenset[str]
) -> tuple[Any, dict[str, str]]:
    """The fast tokenizer's backend with other names for its special tokens, and these names."""
    from tokenizers import Tokenizer

    free = (chr(c) for c in range(_PRIVATE, 0x110000) if chr(c) not in taken)
    names = {token: next(free) * len(token) for token in specials}
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    for added in content["added_tokens"]:
        added["content"] = names.get(added["content"], added["content"])
    model = content["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(piece, piece): i for piece, i in vocabulary.items()}
    else:  # Unigram: piece and score
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if "merges" in model:  # one that ends in a special token would name a piece that is gone
        model["merges"] = [m for m in model["merges"] if not _names(m).intersection(names)]
    backend = Tokenizer.from_str(json.dumps(content))
    backend.no_padding()
    backend.no_truncation()
    return backend, names


def _names(merge: Any) -> set[str]:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return {left, right, left + right}


def _piecewise(
    tokenizer: Any, specials: Mapping[str, int], text: str, own: Sequence[Span], begin: bool
) -> Encoding:
    """As slow tokenizers do it themselves, but for the places at which they cut."""
    ids: list[int] = []
    flags = {str(t): t for t in tokenizer.added_tokens_decoder.values()}
    at, trim = 0, False
    for start, end in [*own, (len(text), len(text))]:
        token = text[start:end]
        piece = text[at:start].lstrip() if trim else text[at:start]
        piece = piece.rstrip() if getattr(flags.get(token), "lstrip", False) else piece
        ids += _text_ids(tokenizer, specials, piece)
        ids += [specials[token]] if token else []
        at, trim = end, bool(getattr(flags.get(token), "rstrip", False))
    return Encoding(list(tokenizer.build_inputs_with_special_tokens(ids)) if begin else ids)


def _text_ids(tokenizer: Any, specials: Mapping[str, int], piece: str) -> list[int]:
    if not piece:
        return []
    tokens = tokenizer.tokenize(piece, split_special_tokens=True)
    if not any(token in specials and token != tokenizer.unk_token for token in tokens):
        return list(tokenizer.convert_tokens_to_ids(tokens))
    for token in sorted(specials, key=len, reverse=True):
        if len(token) > 1:  # it looks pieces up whole: a blank keeps it from finding this one
            piece = piece.replace(token, f"{token[:1]} {token[1:]}")
    return list(tokenizer.convert_tokens_to_ids(tokenizer.tokenize(piece)))
