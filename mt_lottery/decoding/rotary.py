"""Rotary positions whose frequencies depend on how long a text is.

The longest text of a batch decides for all of it, and what was cached before a change does not fit
what is computed after it.  So a sentence that may reach a change is decoded alone, by ``generate``,
which knows what its model does there; sentences that stay short of it are decoded as any others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from mt_lottery.decoding.caches import base_model
from mt_lottery.decoding.continuation import device_of

#: Kinds of rotary positions whose frequencies the host chooses by the longest text so far.
CHOSEN_BY_LENGTH = frozenset({"dynamic", "longrope"})
#: Where configurations say at which length the frequencies change.
_KEYS = ("original_max_position_embeddings", "max_position_embeddings")


def rope_types(module: Any) -> set[str]:
    """Kinds of rotary positions in a module and in those within it.

    Some have one for each kind of layer, by its name.
    """
    found: set[str] = set()
    for kind in (getattr(each, "rope_type", None) for each in module.modules()):
        found |= {*kind.values()} if isinstance(kind, dict) else {str(kind)}
    return found


def unchanged_positions(model: Any) -> int | None:
    """How many positions a text may have before the frequencies change; None if they never do.

    The least of the numbers that the model names: models differ in which of them counts, and a
    number that is too low costs time alone.

    Args:
        model: a causal LM.  Positions that a PEFT prefix or prompt takes are not among them.
    """
    changing = [m for m in model.modules() if "rope_type" in vars(m)]
    changing = [m for m in changing if CHOSEN_BY_LENGTH & rope_types(m)]
    if not changing:
        return None
    text = base_model(model).config.get_text_config()
    limit = min((n for m in changing for n in _limits(m, getattr(m, "config", text))), default=0)
    settings = getattr(model, "active_peft_config", None)
    return limit - (getattr(settings, "num_virtual_tokens", None) or 0)


def _limits(module: Any, config: Any) -> Iterator[int]:
    if isinstance(given := getattr(module, "original_max_seq_len", None), int):
        yield given
    yield from _named(vars(config))


def _named(settings: dict[str, Any]) -> Iterator[int]:
    """The lengths in a configuration, and in its settings for each kind of layer."""
    for key, value in settings.items():
        if key in ("rope_parameters", "rope_scaling") or key.endswith("_attention"):
            yield from _named(value if isinstance(value, dict) else {})
        elif key in _KEYS and isinstance(value, int):
            yield value


def forget_longer_texts(model: Any) -> None:
    """Bring ``dynamic`` frequencies back to those of a model that has read nothing yet.

    They stay at the longest text so far until one comes that is shorter than the original length:
    what a sentence gets would depend on the sentences before it.

    Args:
        model: a causal LM, in evaluation mode and without gradients.
    """
    if any(_has_grown(module) for module in model.modules()):
        one = torch.zeros(1, 1, dtype=torch.int64, device=device_of(model))
        base_model(model)(input_ids=one, attention_mask=torch.ones_like(one), use_cache=False)


def _has_grown(module: Any) -> bool:
    original = getattr(module, "original_max_seq_len", None)
    known = [v for k, v in vars(module).items() if k.endswith("max_seq_len_cached")]
    return original is not None and any(bool(length > original) for length in known)
