"""Vocabulary rows as a LoRA: look a token up in A, and B turns what is found into its row.

A LoRA on an embedding adds B·A[:, token] to the token's row. With A one-hot and the rows'
differences in B that is exactly the tuned row, whatever the head does: an engine that keeps a LoRA
beside the weights never ties the two tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.model.tables import input_table
from mt_lottery.tuners.rows.adapter_file import PREFIX, module_name
from mt_lottery.tuners.rows.module import TiedHead, TokenRows, detach


@dataclass(frozen=True)
class Moved:
    """What a run changed in a model's tables.

    Attributes:
        ids: of the rows that moved, [k].
        delta: their differences from the original rows, [k, d], float32, unscaled.
        vocabulary: V, the rows of the table.
        scale: by which the model multiplies a row that it looks up (Gemma's √d), or 1.
        head: the rows belong to the output head too (a tied model, ``tuner.scope=tied``).
        embedding, output: the modules' names in the model.
    """

    ids: Tensor
    delta: Tensor
    vocabulary: int
    scale: float
    head: bool
    embedding: str
    output: str

    @property
    def rank(self) -> int:
        """Least rank of a LoRA that holds them: min(k, d)."""
        return min(self.delta.shape)


def take_rows(model: Any) -> Moved:
    """Take the token rows out of a model, in place: it is the original again.

    Raises:
        TuningError: there are none in it (a plugin's own layer).
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if not isinstance(embedding, TokenRows):
        raise TuningError(
            f"{type(embedding).__name__}: not token rows of mt-lottery, so they cannot be written "
            "as a LoRA; format=merged may hold them."
        )
    ids, rows = embedding.token_ids, embedding.rows.detach()
    detach(model)
    table = input_table(model).detach()
    delta = (rows - table[ids].float()).cpu()
    moved = delta.any(1).nonzero().flatten()
    moved = moved if len(moved) else torch.zeros(1, dtype=torch.int64)  # a LoRA of rank 0 is none
    inner = model.get_input_embeddings()
    scale = float(getattr(inner, "embed_scale", 1.0))
    names = (module_name(model, m) for m in (inner, model.get_output_embeddings()))
    return Moved(
        ids.cpu()[moved], delta[moved], len(table), scale, isinstance(head, TiedHead), *names
    )


def as_lora(moved: Moved, rank: int, factor: float) -> dict[str, Tensor]:
    """The tensors of the LoRA, by the names that PEFT gives them.

    Args:
        moved: the rows.
        rank: r ≥ ``moved.rank``; what is beyond is zero.
        factor: B of the input table is multiplied by it.

    Returns:
        ``lora_embedding_A`` [r, V] and ``lora_embedding_B`` [d, r]; where the head changes too
        ``lora_A.weight`` [r, d] and ``lora_B.weight`` [V, r]. One-hot matrices are bfloat16, which
        holds 0 and 1 exactly in half the bytes.
    """
    k, d = moved.delta.shape
    if k <= d:  # one-hot over the vocabulary, differences over the width
        places = torch.zeros(rank, moved.vocabulary, dtype=torch.bfloat16)
        places[torch.arange(k), moved.ids] = 1
        wide = torch.zeros(rank, d)
        wide[:k] = moved.delta
    else:  # differences over the vocabulary, the identity over the width
        places = torch.zeros(rank, moved.vocabulary)
        places[:d, moved.ids] = moved.delta.T
        wide = torch.eye(rank, d)
    inner = f"{PREFIX}{moved.embedding}.lora_embedding_"
    made = {f"{inner}A": places, f"{inner}B": (wide * factor).T.contiguous()}
    if moved.head:
        outer = f"{PREFIX}{moved.output}.lora_"
        made |= {f"{outer}A.weight": wide, f"{outer}B.weight": places.T.contiguous()}
    return made
