"""Teacher-forced predictions: what a model says at the first reference tokens of each sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mt_lottery.data.prompts.batches import IGNORE, BucketBatchSampler, Example, collate, encode
from mt_lottery.data.prompts.templates import Template
from mt_lottery.data.text import Pair
from mt_lottery.errors import ConfigError, DataError, ModelError, argument, plural
from mt_lottery.languages import LanguagePair
from mt_lottery.model.positions import learned_positions
from mt_lottery.report.progress import progress_bar
from mt_lottery.ticket.certify import top_two
from mt_lottery.training.label_loss import (
    CHUNK_LOGITS,
    adjust_logits,
    hidden_before_head,
    output_head,
)
from mt_lottery.tuners.rows.module import attach, detach

BATCH_SENTENCES, BATCH_TOKENS = 32, 2048


@dataclass(frozen=True, eq=False)
class Positions:
    """The positions at which predictions are made, sentence after sentence.

    Attributes:
        examples: prompt and the reference's first tokens, one a sentence.
        sentence: [N] int64, number of the sentence in ``examples``.
        references: [N] int64, the reference tokens; the end-of-sequence token is one of them.
    """

    examples: list[Example]
    sentence: Tensor
    references: Tensor

    @property
    def tokens(self) -> Tensor:
        """Every token id that goes into the model, ascending, [t]."""
        found = {i for each in self.examples for i in (*each.prompt_ids, *each.target_ids)}
        return torch.tensor(sorted(found), dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one model says.

    Attributes:
        margins: [N] float32, p_A − p_B of the two most probable next tokens.
        tokens: [N] int64, the most probable one.
    """

    margins: Tensor
    tokens: Tensor

    def accuracy(self, references: Tensor) -> float:
        """Share of positions at which the most probable token is the reference's."""
        return float((self.tokens == references).to(torch.float64).mean())


def make_positions(
    pairs: Sequence[Pair], template: Template, pair: LanguagePair, tokenizer: Any, count: int
) -> Positions:
    """The first ``count`` reference tokens of each sentence, behind prompt and what precedes them.

    Args:
        pairs: source and reference.
        template: the run's prompt.
        pair: the direction.
        tokenizer: the run's.
        count: most positions a sentence (20 in the paper); a shorter reference has its
            end-of-sequence token for the last.

    Raises:
        ConfigError: ``count`` below 1.
        DataError: no pair.
    """
    if count < 1:
        raise ConfigError(
            f"{argument('positions')} is {count}; at least 1 reference token a sentence."
        )
    if not pairs:
        raise DataError("There is no test sentence to certify.")
    whole = encode(pairs, template, pair, tokenizer, sys.maxsize).examples
    return cut(whole, count)


def cut(examples: Sequence[Example], count: int) -> Positions:
    """The same for pairs that are token ids already."""
    kept = [Example(e.index, e.prompt_ids, e.target_ids[:count]) for e in examples]
    lengths = torch.tensor([len(e.target_ids) for e in kept])
    return Positions(
        examples=kept,
        sentence=torch.arange(len(kept)).repeat_interleave(lengths),
        references=torch.tensor([i for e in kept for i in e.target_ids], dtype=torch.int64),
    )


@torch.inference_mode()
def predict(
    model: Any,
    positions: Positions,
    pad_id: int,
    *,
    title: str = "Predicting",
    chunk_logits: int = CHUNK_LOGITS,
) -> Predictions:
    """One forward pass: the two most probable tokens at every position.

    Logits are computed at the positions only, a chunk at a time; softmax in float32.

    Args:
        model: a causal LM in eval mode.
        positions: where.
        pad_id: fills up batches.
        title: of the progress bar (on a terminal).
        chunk_logits: how many logits are held at a time.

    Raises:
        ModelError: a sentence has more tokens than the model has positions.
    """
    examples = positions.examples
    limit, longest = learned_positions(model), max(map(len, examples), default=0)
    if limit is not None and longest > limit:
        raise ModelError(
            f"The longest prompt with its reference tokens has {plural(longest, 'token')}, the "
            f"model only {plural(limit, 'position')}. Take fewer reference tokens "
            f"({argument('positions')}) or shorter sentences."
        )
    head = output_head(model)
    device = next(model.parameters()).device
    margins = torch.empty(len(positions.references), dtype=torch.float32)
    tokens = torch.empty(len(positions.references), dtype=torch.int64)
    counts = torch.tensor([len(e.target_ids) for e in examples])
    starts = counts.cumsum(0) - counts
    sampler = BucketBatchSampler(
        [len(e) for e in examples], BATCH_SENTENCES, BATCH_TOKENS, shuffle=False
    )
    weight = getattr(head, "weight", None)
    vocabulary = int(weight.shape[0]) if isinstance(weight, Tensor) else 2**15
    chunk = max(1, chunk_logits // vocabulary)
    with progress_bar(len(examples), title, unit="sentence") as bar:
        for batch in sampler:
            tensors = collate([examples[i] for i in batch], pad_id)
            where = (tensors.pop("labels")[:, 1:] != IGNORE).to(device)
            inputs = {name: tensor.to(device) for name, tensor in tensors.items()}
            states = hidden_before_head(model, head, inputs)[:, :-1][where]
            place = torch.cat(
                [torch.arange(int(starts[i]), int(starts[i] + counts[i])) for i in batch]
            )
            for first in range(0, len(place), chunk):
                part = slice(first, first + chunk)
                found = top_two(adjust_logits(head(states[part]), model.config))
                margins[place[part]] = found[0].cpu()
                tokens[place[part]] = found[1].cpu()
            bar.update(len(batch))
    return Predictions(margins, tokens)


@contextmanager
def rows_in(model: Any, token_ids: Tensor, values: Tensor, scope: str) -> Iterator[Any]:
    """The model with some rows replaced; the original one again afterwards.

    Args:
        model: the original causal LM.
        token_ids: [k], distinct; none leaves it as it is.
        values: [k, d].
        scope: ``input``, or ``tied`` where the output head reads the rows too.
    """
    if len(token_ids) == 0:
        yield model
        return
    attach(model, token_ids, values, tied=scope == "tied").rows.requires_grad_(False)
    try:
        yield model
    finally:
        detach(model)
