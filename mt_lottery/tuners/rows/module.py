"""Trainable vocabulary rows beside a frozen embedding table.

The rows live in a float32 matrix of their own, whatever the model's dtype, and
are looked up in place of the table's: forward and backward cost O(tokens · d),
there is no copy of the [V, d] table and no dense gradient of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mt_lottery.errors import ModelError, TuningError, plural
from mt_lottery.model.tables import is_tied


def check_rows(rows: Tensor, vocab_size: int) -> Tensor:
    """Token ids as a checked int64 vector.

    Args:
        rows: token ids, [k].
        vocab_size: V; ids must be in [0, V).

    Raises:
        TuningError: no row, a duplicate, or an id out of range.
    """
    rows = rows.detach().to("cpu", torch.int64).flatten()
    if rows.numel() == 0:
        raise TuningError("No vocabulary row to tune: the ticket is empty.")
    outside = rows[(rows < 0) | (rows >= vocab_size)]
    if outside.numel():
        raise TuningError(
            f"Token id {int(outside[0])} is outside the vocabulary: ids go from 0 "
            f"to {vocab_size - 1}."
        )
    values, counts = torch.unique(rows, return_counts=True)
    if int(counts.max()) > 1:
        raise TuningError(f"Token id {int(values[counts > 1][0])} is given more than once.")
    return rows


class TokenRows(nn.Module):
    """Input embedding whose rows at ``token_ids`` come from a trainable matrix.

    Args:
        base: the model's own embedding module, weight [V, d]; it is frozen.
        token_ids: the rows, [k], distinct.
        values: their start values, [k, d]; the table's own rows if None.

    Raises:
        TuningError: the ids are empty, repeated or out of range.
        ModelError: ``base`` does more than a look-up and a constant scale.
    """

    token_ids: Tensor
    slot: Tensor

    def __init__(self, base: nn.Module, token_ids: Tensor, values: Tensor | None = None) -> None:
        super().__init__()
        table = getattr(base, "weight", None)
        if not isinstance(table, Tensor) or table.dim() != 2:
            raise ModelError(
                f"{type(base).__name__}: not an embedding layer with one [V, d] table."
            )
        if not table.is_floating_point():
            raise ModelError(
                f"{type(base).__name__}: the embedding table is quantised ({table.dtype}), so its "
                "rows cannot be tuned; recipe=lora, prefix and prompt train beside it."
            )
        ids = check_rows(token_ids, table.shape[0])
        start = table.detach()[ids.to(table.device)] if values is None else values
        if tuple(start.shape) != (len(ids), table.shape[1]):
            raise TuningError(
                f"Rows of shape {tuple(start.shape)} for {plural(len(ids), 'token id')} and an "
                f"embedding dimension of {table.shape[1]}."
            )
        self.base = base
        base.requires_grad_(False)
        slot = torch.full((table.shape[0],), -1, dtype=torch.int64)
        slot[ids] = torch.arange(len(ids))
        self.register_buffer("token_ids", ids.to(table.device))
        self.register_buffer("slot", slot.to(table.device))
        # a new tensor, never an alias of the table
        self.rows = nn.Parameter(start.detach().to(table.device, torch.float32, copy=True))
        self._check_base(table)

    def _check_base(self, table: Tensor) -> None:
        probe = self.token_ids[:1]
        with torch.no_grad():
            same = torch.equal(self.base(probe), self._scaled(F.embedding(probe, table)))
        if not same:
            raise ModelError(
                f"{type(self.base).__name__} does more than look rows up and scale them; "
                "token rows cannot stand in for it."
            )

    @property
    def base_layer(self) -> nn.Module:
        """The model's own embedding, as PEFT calls what a layer stands for."""
        return self.base

    @property
    def weight(self) -> Tensor:
        """The frozen table, [V, d] (what transformers expects of an embedding)."""
        weight = self.base.weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def num_embeddings(self) -> int:
        """V."""
        return int(self.weight.shape[0])

    @property
    def embedding_dim(self) -> int:
        """d."""
        return int(self.weight.shape[1])

    def _scaled(self, embedded: Tensor) -> Tensor:
        scale = getattr(self.base, "embed_scale", None)  # Gemma's √d
        if scale is None:
            return embedded
        return embedded * (scale.to(embedded.dtype) if isinstance(scale, Tensor) else scale)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embed token ids [B, T] → [B, T, d], in the table's dtype."""
        slot = self.slot[input_ids]
        own = F.embedding(slot.clamp_min(0), self.rows).to(self.weight.dtype)
        return torch.where((slot >= 0).unsqueeze(-1), self._scaled(own), self.base(input_ids))


class TiedHead(nn.Module):
    """Output head of a tied model that shares the trainable rows (``scope=tied``).

    Only the columns of the logits that belong to the rows are computed again.

    Args:
        base: the model's own head, weight [V, d], bias [V] or none; frozen.
        embedding: the token rows that stand in its input table.
    """

    token_ids: Tensor

    def __init__(self, base: nn.Module, embedding: TokenRows) -> None:
        super().__init__()
        self.base = base
        base.requires_grad_(False)
        # the same parameter under a second name: each replica of DataParallel finds its own
        self.rows = embedding.rows
        self.register_buffer("token_ids", embedding.token_ids, persistent=False)

    @property
    def base_layer(self) -> nn.Module:
        """The model's own head, as PEFT calls what a layer stands for."""
        return self.base

    @property
    def weight(self) -> Tensor:
        """The table with the rows in it, [V, d], a differentiable copy.

        For losses that multiply by the head's weight themselves (TRL's, Liger's).
        """
        weight = self.base.weight
        assert isinstance(weight, Tensor)
        return weight.index_copy(0, self.token_ids, self.rows.to(weight.dtype))

    @property
    def bias(self) -> Tensor | None:
        """The model's own, [V], or none."""
        bias = getattr(self.base, "bias", None)
        assert bias is None or isinstance(bias, Tensor)
        return bias

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of hidden states [..., d]."""
        columns = F.linear(hidden, self.rows.to(hidden.dtype))
        if self.bias is not None:
            columns = columns + self.bias[self.token_ids]
        logits: Tensor = self.base(hidden)
        return logits.index_copy(-1, self.token_ids, columns.to(logits.dtype))


def check_scope(model: Any, scope: str) -> None:
    """Refuse ``scope=tied`` for a model whose head has a separate table.

    Raises:
        TuningError: always in that case.
    """
    if scope == "tied" and not is_tied(model):
        raise TuningError(
            "`tuner.scope` is tied, but this model's output head has a separate table; "
            "allowed for it: input."
        )


def attach(model: Any, token_ids: Tensor, values: Tensor | None = None, *, tied: bool) -> TokenRows:
    """Put token rows into a model, in place, and freeze everything else.

    Args:
        model: a transformers causal LM.
        token_ids: the rows, [k].
        values: start values, [k, d] (None: the model's own).
        tied: the output head uses the rows too (for a model with tied embeddings).

    Returns:
        the new input embedding; its ``rows`` are the only trainable parameter.
    """
    model.requires_grad_(False)
    embedding = TokenRows(model.get_input_embeddings(), token_ids, values)
    model.set_input_embeddings(embedding)
    if tied:
        model.set_output_embeddings(TiedHead(model.get_output_embeddings(), embedding))
    return embedding


def detach(model: Any) -> None:
    """Take token rows out of a model again, in place: the original tables are back."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if isinstance(embedding, TokenRows):
        model.set_input_embeddings(embedding.base)
    if isinstance(head, TiedHead):
        model.set_output_embeddings(head.base)


def fold(model: Any) -> Any:
    """Write the token rows of a model into its own tables, in place.

    A tied model whose output head does not use the rows gets a separate head, and its
    configuration says so.

    Returns:
        the plain model.
    """
    embedding = model.get_input_embeddings()
    assert isinstance(embedding, TokenRows)
    input_only = is_tied(model) and not isinstance(model.get_output_embeddings(), TiedHead)
    rows, ids = embedding.rows.detach(), embedding.token_ids
    detach(model)
    table = model.get_input_embeddings().weight
    if input_only:
        model.get_output_embeddings().weight = nn.Parameter(table.detach().clone(), False)
        for config in {id(c): c for c in (model.config, model.config.get_text_config())}.values():
            config.tie_word_embeddings = False
        model.all_tied_weights_keys = {}  # transformers 5 would leave the head out of the file
    with torch.no_grad():
        table[ids] = rows.to(table.dtype)
    return model
