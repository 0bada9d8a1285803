"""What a tuner may look at: the model, the text, and what was measured on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

#: What of a context comes from the text, not from the model.
FACTS = ("counts", "seen", "probe", "gradients", "input_counts", "examples", "prompt_ids")


@dataclass(frozen=True)
class Probe:
    """An embedding-tuned model, as the rows in which it differs from the original.

    Attributes:
        token_ids: rows that were trained, [k], ascending.
        values: their float32 values after training, [k, d].
        seconds: what the training cost.
    """

    token_ids: Tensor
    values: Tensor
    seconds: float

    def over(self, table: Tensor, rows: Tensor) -> Tensor:
        """Some rows of the embedding-tuned table, [k, d] float32, on the CPU.

        Args:
            table: the original one, [V, d]: where a row was not trained.
            rows: token ids, [k].
        """
        values = table[rows.to(table.device)].to("cpu", torch.float32)
        moved = torch.isin(rows, self.token_ids)
        place = torch.searchsorted(self.token_ids, rows[moved])
        values[moved] = self.values[place].to("cpu", torch.float32)
        return values


@dataclass(frozen=True)
class RowGradients:
    """How strongly a sample of the training pairs pulls at each row of the original model.

    Attributes:
        token_ids: rows that were looked at, [k], ascending.
        norms: sum over the pairs of the L2 norm of the row's gradient (of the mean loss per
            label, in nats), [k] float64.
        pairs: how many pairs.
        seconds: what they cost.
    """

    token_ids: Tensor
    norms: Tensor
    pairs: int
    seconds: float

    def column(self, size: int) -> Tensor:
        """The norms of the first ``size`` rows, [V] float64; 0 for those not looked at."""
        there = self.token_ids < size
        column = torch.zeros(size, dtype=torch.float64)
        column[self.token_ids[there]] = self.norms[there]
        return column


@dataclass
class TuningContext:
    """What a tuner may look at.

    Attributes:
        model: the original causal LM, frozen.
        tokenizer: its tokenizer.
        seed: the run's seed.
        counts: token id → occurrences in the training text (source and target;
            template and special tokens left out).
        seen: every token id among the training inputs, ascending, [s].
        probe: the embedding-tuned rows, where the tuner declared that it needs them.
        gradients: those of the rows of the original model, likewise.
        input_counts: token id → occurrences in the training inputs, template and special
            tokens included.
        examples: the training pairs as (prompt, target) text, where they are known.
        prompt_ids: token ids of every prompt whatever the sentence, special tokens included,
            ascending, [t]; where the tuner declared that it reads them.
        followed: those of ``seen`` that a trained token comes after, ascending: a token that only
            ever ends its input (end-of-sequence) gets no gradient; None where it is not known.
    """

    model: Any
    tokenizer: Any
    seed: int
    counts: Counter[int] = field(default_factory=Counter)
    seen: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    probe: Probe | None = None
    gradients: RowGradients | None = None
    input_counts: Counter[int] = field(default_factory=Counter)
    examples: Sequence[tuple[str, str]] = ()
    prompt_ids: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    followed: Tensor | None = None

    # for mt_lottery/tuners/declared.py and kept.py, not for a tuner
    declared: list[nn.Parameter] | None = field(default=None, repr=False)
    original: Any = field(default=None, repr=False)  # the tensors before `apply`
    read: set[str] | None = field(default=None, repr=False)  # collects, while `apply` runs
    read_by_apply: frozenset[str] | None = field(default=None, repr=False)
    kept: dict[str, Tensor] | None = field(default=None, repr=False)  # before `finish`
    finished: bool = False

    def __getattribute__(self, name: str) -> Any:
        if name in FACTS:
            read = vars(self).get("read")
            if read is not None:
                read.add(name)
        return object.__getattribute__(self, name)

    @property
    def table(self) -> Tensor:
        """The original embedding table, [V, d]."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight.detach()
