"""Tuned rows that are read at some positions only.

A prompt is instruction, source and (what is generated) target.  Which of a
prompt's positions read the tuned rows is written into its token ids: a model
with V rows is given ids of three bands,

    0 ≤ id < V       a generated token (the decoder's own);
    V ≤ id < 2V      token id − V of a prompt, read from the original table;
    2V ≤ id < 3V     token id − 2V of a prompt, read from the tuned rows.

So the choice goes wherever the decoder takes the token, through shared prefixes,
padding, batches and the removal of finished sentences, and none of that needs to
know of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mt_lottery.data.prompts.templates import Template
from mt_lottery.data.prompts.tokenise import tokenise
from mt_lottery.data.prompts.wording import MARK, prompts_of
from mt_lottery.errors import ConfigError, ModelError
from mt_lottery.languages import LanguagePair
from mt_lottery.tuners.rows.module import TokenRows

#: Kinds of a prompt's positions: what the tokenizer puts first, the template, the sentence.
BOS, INSTRUCTION, SOURCE = "bos", "instruction", "source"
PROMPT_KINDS = (BOS, INSTRUCTION, SOURCE)


@dataclass(frozen=True)
class Prompt:
    """A tokenised prompt.

    Attributes:
        ids: T token ids, as ``encode_prompts`` gives them.
        kinds: for each ``bos``, ``instruction`` or ``source``.
    """

    ids: list[int]
    kinds: list[str]

    def marked(self, vocab_size: int, read: Collection[str]) -> list[int]:
        """The ids in their bands: tuned rows at positions whose kind is in ``read``.

        Args:
            vocab_size: V.
            read: kinds.
        """
        return [
            token + vocab_size * (2 if kind in read else 1)
            for token, kind in zip(self.ids, self.kinds, strict=True)
        ]

    def count(self, rows: Collection[int]) -> dict[str, int]:
        """How many positions of each kind hold one of these rows."""
        hit = [kind for token, kind in zip(self.ids, self.kinds, strict=True) if token in rows]
        return {kind: hit.count(kind) for kind in PROMPT_KINDS}


def source_span(template: Template, pair: LanguagePair, prompt: str, name: str) -> tuple[int, int]:
    """Where the source sentence stands in a prompt, in characters [start, end).

    Args:
        template: the wording.
        pair: the direction.
        prompt: ``template.prompt(source, pair)``.
        name: of the template, for messages.

    Raises:
        ConfigError: the template does not put the source in one place.
    """
    parts = template.prompt(MARK, pair).split(MARK)
    if len(parts) != 2:
        raise ConfigError(
            f"Template '{name}' puts the source sentence into its prompt {len(parts) - 1} times; "
            "positions can be told apart where it stands there once."
        )
    before, after = parts
    start, end = len(before), len(prompt) - len(after)
    if not (prompt.startswith(before) and prompt.endswith(after) and start <= end):
        raise ConfigError(
            f"Template '{name}' words its prompt by the source sentence: instruction and source "
            "cannot be told apart."
        )
    return start, end


def split_prompts(
    sources: Sequence[str], template: Template, pair: LanguagePair, tokenizer: Any, name: str
) -> list[Prompt]:
    """Tokenise prompts and say of each token what it is.

    A token with at least one character of the source sentence is ``source``; one
    that the tokenizer adds in front is ``bos``; all others are ``instruction``, the
    language's name behind the source among them.

    Args:
        sources: one sentence each.
        template: the wording.
        pair: the direction.
        tokenizer: a fast one (it knows the characters of each token).
        name: of the template, for messages.

    Raises:
        ModelError: the tokenizer is not a fast one.
        ConfigError: as :func:`source_span`.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"{type(tokenizer).__name__} does not say which characters a token stands for; a fast "
            "tokenizer (tokenizer.json) is needed."
        )
    prompts = []
    texts = prompts_of(template, sources, pair)
    for text, encoded in zip(texts, tokenise(tokenizer, texts, offsets=True), strict=True):
        start, end = source_span(template, pair, text, name)
        assert encoded.offsets is not None
        kinds, begun = [], False
        for token, (first, last) in zip(encoded.ids, encoded.offsets, strict=True):
            begun = begun or (last > first and token != tokenizer.bos_token_id)
            inside = first < end and last > start and last > first
            kinds.append(SOURCE if inside else INSTRUCTION if begun else BOS)
        prompts.append(Prompt(encoded.ids, kinds))
    return prompts


class PositionRows(nn.Module):
    """An input embedding that reads tuned rows where the token's band says so.

    Args:
        rows: the tuned rows in the model's own table.

    Attributes:
        generated: whether generated tokens read the tuned rows.
    """

    def __init__(self, rows: TokenRows) -> None:
        super().__init__()
        self.rows = rows
        self.generated = True

    @property
    def weight(self) -> Tensor:
        """The frozen table, [V, d]."""
        return self.rows.weight

    @property
    def num_embeddings(self) -> int:
        """V."""
        return self.rows.num_embeddings

    @property
    def embedding_dim(self) -> int:
        """d."""
        return self.rows.embedding_dim

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embed banded token ids [B, T] → [B, T, d], in the table's dtype."""
        size = self.num_embeddings
        band = input_ids // size
        token = input_ids % size
        tuned = band == 2
        if self.generated:
            tuned = tuned | (band == 0)
        return torch.where(tuned.unsqueeze(-1), self.rows(token), self.rows.base(token))
