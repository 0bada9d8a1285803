"""How many positions a model has, where it has a table of them (GPT-2, OPT)."""

from __future__ import annotations

from typing import Any

from torch import nn

#: Names under which transformers keeps a table of learned positions (GPT-2, OPT, BERT-like).
_TABLES = {"wpe", "embed_positions", "position_embeddings"}


def learned_positions(model: Any) -> int | None:
    """Most tokens that a sequence may have, or None: RoPE and the like have no such end.

    Args:
        model: a causal LM.  Positions that a PEFT prefix or prompt takes are not among them.
    """
    limit = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(limit, int):
        return None
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in _TABLES and isinstance(module, nn.Embedding):
            settings = getattr(model, "active_peft_config", None)
            return limit - (getattr(settings, "num_virtual_tokens", None) or 0)
    return None
