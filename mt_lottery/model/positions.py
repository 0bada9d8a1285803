"""How many positions a model has, where there is an end to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

#: Where configurations say how long a sequence may be; only some architectures end there.
_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "max_sequence_length")
#: Rows that a table may have beyond the positions (OPT's and BART's offset of 2).
_OFFSET = 4
#: Architectures whose computation ends at the number in the configuration, without a table
#: that shows it: MPT makes its ALiBi for that length.
_BY_CONFIG = ("mpt",)


def named_positions(model: Any) -> int | None:
    """How many positions the configuration names: RoPE goes on beyond them, but was not trained to.

    Args:
        model: a causal LM.
    """
    config = model.config.get_text_config()
    named = (getattr(config, key, None) for key in _KEYS)
    limit = next((v for v in named if isinstance(v, int) and not isinstance(v, bool)), None)
    return limit if limit is not None and limit > 0 else None


def learned_positions(model: Any) -> int | None:
    """Most tokens that a sequence may have, or None: RoPE and the like have no such end.

    There is an end where positions have a learned table (GPT-2, OPT), or one that is computed
    once (GPT-J, CodeGen, CTRL; GPT-Neo's causal mask) with as many rows as the configuration says.

    Args:
        model: a causal LM.  Positions that a PEFT prefix or prompt takes are not among them.
    """
    config, limit = model.config.get_text_config(), named_positions(model)
    if limit is None:
        return None
    found = list(_rows(model))
    ends = config.model_type in _BY_CONFIG or any(
        learned or limit <= rows <= limit + _OFFSET for rows, learned in found
    )
    limit = min([limit, *(rows for rows, learned in found if learned)])
    if not ends:
        return None
    settings = getattr(model, "active_peft_config", None)
    return limit - (getattr(settings, "num_virtual_tokens", None) or 0)


def _rows(model: Any) -> Iterator[tuple[int, bool]]:
    """Length of whatever is looked up, or sliced, by position, and whether it is learned."""
    table = model.get_input_embeddings()
    for name, module in model.named_modules():
        if "vision" in name or "audio" in name:
            continue
        last = name.rpartition(".")[2]
        if isinstance(module, nn.Embedding) and module is not table:
            if "pos" in last or last == "wpe":
                yield module.num_embeddings, True
            continue
        if hasattr(module, "make_weights"):  # sinusoids that are computed anew for longer texts
            continue
        # transformers 4.57 keeps those of GPT-J, CodeGen and CTRL as mere attributes
        plain = [(key, value) for key, value in vars(module).items() if isinstance(value, Tensor)]
        for key, buffer in [*module.named_buffers(recurse=False), *plain]:
            if "pos" in key or "pos" in last:  # pos_encoding, embed_positions [L, d]
                yield max(buffer.shape, default=0), False
            elif key == "bias" and buffer.dim() in (2, 4) and buffer.shape[-1] == buffer.shape[-2]:
                yield int(buffer.shape[-1]), False
