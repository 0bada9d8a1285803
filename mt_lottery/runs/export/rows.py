"""Vocabulary rows as a LoRA: look a token up in A, and B turns what is found into its row.

A LoRA on an embedding adds B·A[:, token] to the token's row. With A one-hot and the rows'
differences in B that is exactly the tuned row, whatever the head does: an engine that keeps a LoRA
beside the weights never ties the two tables.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.model.tables import input_table, is_tied
from mt_lottery.system.atomic import write_bytes, write_text
from mt_lottery.tuners.rows.adapter_file import CONFIG, PREFIX, WEIGHTS, module_name
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
        tied: the head is the input table, whether the rows belong to it or not.
        embedding, output: the modules' names in the model.
    """

    ids: Tensor
    delta: Tensor
    vocabulary: int
    scale: float
    head: bool
    tied: bool
    embedding: str
    output: str

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules that it is put on."""
        return (self.embedding, self.output) if self.head else (self.embedding,)

    @property
    def targets(self) -> list[str]:
        """Their last parts: PEFT's ``target_modules``."""
        return [name.rpartition(".")[2] for name in self.modules]

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
    # as the model rounds it, before it multiplies
    scale = float(torch.as_tensor(getattr(inner, "embed_scale", 1.0)).to(table.dtype))
    return Moved(
        ids.cpu()[moved],
        delta[moved],
        len(table),
        scale,
        isinstance(head, TiedHead),
        is_tied(model),
        module_name(model, inner),
        module_name(model, model.get_output_embeddings()),
    )


def write_rows(folder: Path, moved: Moved, base: str, factor: float, one_hot: torch.dtype) -> None:
    """Write the rows as an adapter of PEFT's LoRA.

    Args:
        folder: that is there.
        moved, factor, one_hot: as for :func:`as_lora`.
        base: name of the original model.
    """
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": moved.rank,
        "lora_alpha": moved.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": moved.targets,
    }
    tensors = as_lora(moved, factor, one_hot)
    write_bytes(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")


def as_lora(moved: Moved, factor: float, one_hot: torch.dtype) -> dict[str, Tensor]:
    """The tensors of the LoRA, by the names that PEFT gives them.

    Args:
        moved: the rows.
        factor: B of the input table is multiplied by it.
        one_hot: dtype of a matrix that holds only 0 and 1; the others are float32.

    Returns:
        ``lora_embedding_A`` [r, V] and ``lora_embedding_B`` [d, r] with r = min(k, d); where the
        head changes too ``lora_A.weight`` [r, d] and ``lora_B.weight`` [V, r].
    """
    k, d = moved.delta.shape
    if k <= d:  # one-hot over the vocabulary, differences over the width
        places = torch.zeros(k, moved.vocabulary, dtype=one_hot)
        places[torch.arange(k), moved.ids] = 1
        wide = moved.delta
    else:  # differences over the vocabulary, the identity over the width
        places = torch.zeros(d, moved.vocabulary)
        places[:, moved.ids] = moved.delta.T
        wide = torch.eye(d)
    inner = f"{PREFIX}{moved.embedding}.lora_embedding_"
    made = {f"{inner}A": places, f"{inner}B": _turned(wide * factor)}
    if moved.head:
        outer = f"{PREFIX}{moved.output}.lora_"
        made |= {f"{outer}A.weight": wide, f"{outer}B.weight": _turned(places)}
    return made


def _turned(matrix: Tensor) -> Tensor:
    """The transpose in memory of its own: that of one row would share it, which no file may."""
    return matrix.T.clone(memory_format=torch.contiguous_format)
