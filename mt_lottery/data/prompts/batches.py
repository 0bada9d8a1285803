"""From pairs of text to padded batches [B, T] of token ids.

The loss is on the target and the end-of-sequence token only (``labels`` are
-100 elsewhere).  Batches hold examples of similar length, so that little is
spent on padding.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Sampler

from mt_lottery.data.prompts.templates import Template, bound
from mt_lottery.data.prompts.tokenise import tokenise
from mt_lottery.data.prompts.wording import prompts_of, targets_of
from mt_lottery.data.text import Pair
from mt_lottery.errors import ConfigError, DataError, ModelError, plural
from mt_lottery.languages import LanguagePair

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORE = -100


@dataclass(frozen=True)
class Example:
    """A tokenised pair.

    Attributes:
        index: position in the list of pairs that was encoded.
        prompt_ids: the prompt, with what the tokenizer puts first (BOS).
        target_ids: the translation; ends with the one EOS.
    """

    index: int
    prompt_ids: list[int]
    target_ids: list[int]

    def __len__(self) -> int:
        """Tokens of prompt and target together."""
        return len(self.prompt_ids) + len(self.target_ids)


@dataclass(frozen=True)
class Encoded:
    """A training text as token ids.

    Attributes:
        examples: those that fit.
        dropped: positions of the pairs that are too long.
        texts: prompt and target of every pair, as the template words them in an example: empty
            where it cannot.
    """

    examples: list[Example]
    dropped: list[int]
    texts: list[tuple[str, str]]


def encode_prompts(
    sources: Sequence[str],
    template: Template,
    pair: LanguagePair,
    tokenizer: PreTrainedTokenizerBase,
    *,
    lead: str | Sequence[str] = "",
) -> list[list[int]]:
    """Tokenise the prompts for decoding: the same ids that training saw.

    Args:
        sources: one sentence each.
        template: the prompt.
        pair: the direction.
        tokenizer: as in training.
        lead: text before every prompt, or one text for each (few-shot examples); special tokens in
            it are text unless it is a :class:`~mt_lottery.data.prompts.wording.Wording` that says
            otherwise.

    Returns:
        One list of ids a source, unpadded, with BOS where the tokenizer adds it,
        never with the EOS that a tokenizer may add.
    """
    prompts = prompts_of(bound(template, tokenizer), sources, pair, lead)
    return [each.ids for each in tokenise(tokenizer, prompts)]


def encode(
    pairs: Sequence[Pair],
    template: Template,
    pair: LanguagePair,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    limit: str | None = None,
) -> Encoded:
    """Tokenise pairs for training.

    Prompt and target are tokenised together, and the target is what follows the
    prompt's ids.  Where a token spans the border, the two are tokenised apart:
    decoding starts from the prompt's ids, so training must too.

    Args:
        pairs: the pairs; ``Example.index`` counts in this list.
        template: the prompt.
        pair: the direction.
        tokenizer: needs an EOS token.
        max_length: most tokens of prompt and target together, EOS included;
            longer examples are dropped (never cut) and reported.
        limit: what sets that limit, for the message; ``data.max_length`` if None.

    Raises:
        ModelError: the tokenizer has no EOS token.
        DataError: every pair is too long.
    """
    template = bound(template, tokenizer)
    eos_id = tokenizer.eos_token_id
    if not isinstance(eos_id, int):
        raise ModelError(
            "The tokenizer has no end-of-sequence token (eos_token in tokenizer_config.json): "
            "a model cannot learn where a translation stops."
        )
    targets = targets_of(template, [each.target for each in pairs])
    prompts = prompts_of(template, [each.source for each in pairs], pair)
    prompt_ids = [each.ids for each in tokenise(tokenizer, prompts)]
    # a target's own EOS is the one that ends it
    joint = [p + t for p, t in zip(prompts, targets, strict=True)]
    joint_ids = [each.ids for each in tokenise(tokenizer, joint, keep_end=False)]
    apart = [i for i, ids in enumerate(prompt_ids) if joint_ids[i][: len(ids)] != ids]
    alone = tokenise(tokenizer, [targets[i] for i in apart], begin=False, keep_end=False)
    apart_ids = {i: each.ids for i, each in zip(apart, alone, strict=True)}
    examples, dropped, lengths = [], [], []
    for i, ids in enumerate(prompt_ids):
        target = apart_ids[i] if i in apart_ids else joint_ids[i][len(ids) :]
        example = Example(i, ids, [*target, eos_id])
        lengths.append(len(example))
        if len(example) > max_length:
            dropped.append(i)
        else:
            examples.append(example)
    if lengths and not examples:
        which = (
            "The only pair is" if len(lengths) == 1 else f"All {plural(len(lengths), 'pair')} are"
        )
        raise DataError(
            f"{which} longer than {limit or f'data.max_length={max_length}'}; prompt and target "
            f"have {min(lengths)} to {plural(max(lengths), 'token')}."
        )
    layout = getattr(template, "layout", None)
    if layout is None:
        return Encoded(examples, dropped, list(zip(prompts, targets, strict=True)))
    shot = layout(pair).shot  # an earlier turn of a chat
    if shot is None:
        return Encoded(examples, dropped, [])
    turns = prompts_of(shot, [each.source for each in pairs], pair)
    answers = targets_of(shot, [each.target for each in pairs])
    return Encoded(examples, dropped, list(zip(turns, answers, strict=True)))


def collate(examples: Sequence[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad examples to one batch.

    Args:
        examples: B examples, the longest of T tokens.
        pad_id: fills ``input_ids`` on the right.

    Returns:
        ``input_ids``, ``attention_mask`` (1 on tokens) and ``labels`` (-100 outside
        the target and its EOS; not shifted), LongTensors [B, T].
    """
    longest = max(len(example) for example in examples)
    shape = (len(examples), longest)
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORE, dtype=torch.long)
    for row, example in enumerate(examples):
        prompt, length = len(example.prompt_ids), len(example)
        input_ids[row, :length] = torch.tensor(example.prompt_ids + example.target_ids)
        attention_mask[row, :length] = 1
        labels[row, prompt:length] = torch.tensor(example.target_ids)
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


class BucketBatchSampler(Sampler[list[int]]):
    """Batches of similar length, for ``DataLoader(batch_sampler=…)``.

    Every example comes once an epoch.  The order of the batches, and which of
    the examples of one length share a batch, change from epoch to epoch and
    depend on nothing but ``seed`` and the epoch; the number of batches is the
    same in each.

    Args:
        lengths: tokens of each example.
        batch_size: most examples in a batch.
        max_tokens: most tokens in a batch, padding included; an example longer
            than that is a batch of its own.
        seed: of the order.
        shuffle: False gives the batches from short to long, the same each epoch.

    Raises:
        ConfigError: ``batch_size`` or ``max_tokens`` is below 1.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        max_tokens: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        problems = [
            f"train.{key}={value}: at least 1 is needed."
            for key, value in (("batch_size", batch_size), ("max_tokens", max_tokens))
            if value is not None and value < 1
        ]
        if problems:
            raise ConfigError(problems)
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.max_tokens = max_tokens
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = False  # accelerate asks
        self.epoch = 0
        # Shuffling moves no example to another length: every epoch has as many batches.
        self._batches = len(self.planned(0))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        self.epoch = epoch

    def planned(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch, each a list of positions in ``lengths``."""
        order = list(range(len(self.lengths)))
        # Seeded with a text: no two (seed, epoch) share a stream, as their sum would.
        rng = random.Random(f"{self.seed} {epoch}")
        if self.shuffle:
            rng.shuffle(order)
        # The sort is stable: examples of one length stay in the shuffled order.
        order.sort(key=self.lengths.__getitem__)
        batches: list[list[int]] = []
        for index in order:
            if not batches or not self._fits(len(batches[-1]) + 1, self.lengths[index]):
                batches.append([])
            batches[-1].append(index)
        if self.shuffle:
            rng.shuffle(batches)
        return batches

    def _fits(self, examples: int, longest: int) -> bool:
        """Whether a batch of so many examples, the last one the longest, is allowed."""
        within = self.max_tokens is None or examples * longest <= self.max_tokens
        return examples <= self.batch_size and within

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.planned(self.epoch))

    def __len__(self) -> int:
        return self._batches


class EpochBatches:
    """The batches of all epochs, one after the other, so that a resume skips a prefix.

    Iterated, it gives the share of one process: every N-th example of each batch, which
    is none where a batch has fewer examples than there are processes.

    Args:
        sampler: plans the batches of an epoch.
        epochs: how many.
        rank: which process this is, from 0.
        processes: how many share each batch.

    Attributes:
        batches: the whole batches, each a list of positions.
        ends: after how many batches each epoch ends.
    """

    def __init__(
        self, sampler: BucketBatchSampler, epochs: int, rank: int = 0, processes: int = 1
    ) -> None:
        self.batches: list[list[int]] = []
        self.ends: list[int] = []
        for epoch in range(epochs):
            self.batches += sampler.planned(epoch)
            self.ends.append(len(self.batches))
        self._share = slice(rank, None, processes)

    def __iter__(self) -> Iterator[list[int]]:
        # a batch is sorted by length: every N-th example makes shares of like cost
        return (batch[self._share] for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)
