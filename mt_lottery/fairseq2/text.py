"""Parallel text as fairseq2 reads it: a dataset, batches, and a reader of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fairseq2.datasets import DataReader, SequenceBatch
from fairseq2.device import Device, SupportsDeviceTransfer
from torch import Tensor

from mt_lottery.config import DataConfig, TrainConfig
from mt_lottery.data.corpora import Corpora, load_corpora
from mt_lottery.data.prompts.batches import (
    IGNORE,
    BucketBatchSampler,
    Encoded,
    EpochBatches,
    Example,
    collate,
    encode,
)
from mt_lottery.data.prompts.several import training_template_of
from mt_lottery.data.prompts.templates import template_of
from mt_lottery.errors import DataError, plural
from mt_lottery.languages import parse_pair


class Batch(SupportsDeviceTransfer):
    """Tensors [B, T] of one batch.

    Attributes:
        tensors: ``input_ids``, ``attention_mask`` and ``labels`` (-100 outside the target).
    """

    def __init__(self, tensors: dict[str, Any]) -> None:
        self.tensors = tensors

    def to(self, device: Device, *, non_blocking: bool = False) -> None:
        """Move it to a device, in place."""
        for name, value in self.tensors.items():
            if isinstance(value, Tensor):
                self.tensors[name] = value.to(device, non_blocking=non_blocking)

    def sequences(self) -> SequenceBatch:
        """The same as fairseq2's own batch; the target mask is on the target and its EOS."""
        lengths = self.tensors["attention_mask"].sum(1).tolist()
        mask = self.tensors["labels"] != IGNORE
        return SequenceBatch(self.tensors["input_ids"], lengths, target_mask=mask)


class Reader(DataReader[Batch]):
    """Batches, an optimizer step at a time; the epochs follow each other without a break.

    Args:
        batches: gives this process's share of each batch, as positions in ``examples``.
        examples: the examples.
        accumulate: batches a step.
        make: examples → tensors.
    """

    def __init__(
        self,
        batches: EpochBatches,
        examples: Sequence[Example],
        accumulate: int,
        make: Callable[[Sequence[Example]], dict[str, Any]],
    ) -> None:
        self._shares = list(batches)
        self._examples = examples
        self._accumulate = accumulate
        self._make = make
        self._next = 0

    def __iter__(self) -> Reader:
        return self

    def __next__(self) -> list[Batch]:
        shares = self._shares[self._next : self._next + self._accumulate]
        if not shares:
            raise StopIteration
        self._next += len(shares)
        return [Batch(self._make([self._examples[i] for i in share])) for share in shares]

    def reset(self) -> None:
        """Begin again at the front."""
        self._next = 0

    def state_dict(self) -> dict[str, object]:
        """How many batches were read."""
        return {"next": self._next}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Go on where ``state_dict`` was taken."""
        self._next = int(state_dict["next"])  # type: ignore[call-overload]

    @property
    def num_accumulate(self) -> int:
        """Batches a step."""
        return self._accumulate


class ParallelText:
    """An opened dataset of the family ``mt_lottery/NAME``: our corpora and templates.

    Args:
        config: the corpus's settings (our ``data`` section), and ``lang``.

    Raises:
        MTLotteryError: the text is missing, or not as it must be.
    """

    def __init__(self, config: DataConfig) -> None:
        self.config = config
        self.pair = parse_pair(getattr(config, "lang", ""))
        self.corpora: Corpora = load_corpora(config, self.pair)

    def encode(self, role: str, tokenizer: Any) -> Encoded:
        """The examples of ``train``, ``dev`` or ``test``.

        Args:
            role: which.
            tokenizer: transformers', with an EOS token.

        Raises:
            DataError: the corpus has none for that role.
        """
        split = getattr(self.corpora, role)
        if split is None:
            raise DataError(f"data={self.config.name}: no {role} set.")
        template = (training_template_of if role == "train" else template_of)(self.config)
        return encode(split.pairs, template, self.pair, tokenizer, self.config.max_length)

    def reader(
        self, tokenizer: Any, config: TrainConfig, seed: int, rank: int = 0, processes: int = 1
    ) -> Reader:
        """The training batches of all epochs, the same as mt-train's.

        Args:
            tokenizer: transformers', with EOS and padding tokens.
            config: ``epochs``, ``batch_size``, ``max_tokens`` and ``accumulate`` are read.
            seed: of the order.
            rank, processes: fairseq2's data-parallel gang.

        Raises:
            DataError: a batch with fewer pairs than processes: one of them would wait for ever.
        """
        examples = self.encode("train", tokenizer).examples
        sampler = BucketBatchSampler(
            [len(e) for e in examples], config.batch_size, config.max_tokens, seed=seed
        )
        batches = EpochBatches(sampler, config.epochs, rank, processes)
        if (smallest := min(map(len, batches.batches))) < processes:
            raise DataError(
                f"A batch has {plural(smallest, 'pair')} for {plural(processes, 'process')}; "
                "another batch_size, or another data.train_pairs, avoids that."
            )
        pad_id = int(tokenizer.pad_token_id)
        return Reader(batches, examples, config.accumulate, lambda share: collate(share, pad_id))
