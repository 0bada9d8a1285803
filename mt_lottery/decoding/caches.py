"""Caches of keys and values: which models work with one whose rows can be dropped."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any


def base_model(model: Any) -> Any:
    """The transformers model beneath PEFT's wrapper (adapters within it stay)."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def forward_arguments(model: Any) -> set[str]:
    """Names that the model's own ``forward`` takes (PEFT's wrapper hides them)."""
    return set(inspect.signature(base_model(model).forward).parameters)


def is_plain(layers: Sequence[Any]) -> bool:
    """Whether rows can be dropped from each layer of a cache (not so for recurrent states)."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def new_cache(model: Any) -> Any | None:
    """An empty ``DynamicCache`` for the model, or None where it does not work with one.

    The model's config makes the layers with a sliding window keep no more than the window.
    """
    from transformers import DynamicCache

    base = base_model(model)
    supported = getattr(base, "_supports_default_dynamic_cache", None)
    known = {"past_key_values", "attention_mask", "use_cache"} <= forward_arguments(model)
    if not known or (supported is not None and not supported()):
        return None
    cache = DynamicCache(config=base.config)
    return cache if is_plain(cache.layers) else None


def keep_rows(cache: Any, rows: Any) -> None:
    """Drop all rows of a cache but these; each layer may be on a device of its own.

    Args:
        cache: plain, filled.
        rows: their numbers, int64 [R].
    """
    for layer in (each for each in cache.layers if each.get_seq_length()):
        layer.batch_select_indices(rows.to(layer.keys.device))


def smallest_window(model: Any) -> int | None:
    """Positions that the narrowest sliding window of the model sees; None without one."""
    cache = new_cache(model)
    layers = [] if cache is None else cache.layers
    windows = [layer.sliding_window for layer in layers if getattr(layer, "is_sliding", False)]
    return min(windows, default=None)
