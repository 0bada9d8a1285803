"""Greedy decoding with a cache that finished sentences leave."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from mt_lottery.translate.continuation import Continuation, OnStep, device_of, left_pad

#: Finished share of a batch at which its rows are dropped.  Dropping copies the cache once, which
#: is what every step does anyway to append to it; so it pays early, but not for each sentence.
COMPACT_SHARE = 1 / 8


def is_prompt_learning(model: Any) -> bool:
    """Whether PEFT puts a learned prefix or prompt before the input (prefix, prompt tuning)."""
    config = getattr(model, "active_peft_config", None)
    return bool(getattr(config, "is_prompt_learning", False))


def forward_arguments(model: Any) -> set[str]:
    """Names that the model's own ``forward`` takes (PEFT's wrapper hides them)."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return set(inspect.signature(inner.forward).parameters)


def _plain(layers: Sequence[Any]) -> bool:
    """Whether rows can be dropped from each layer of a cache (not so for recurrent states)."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def new_cache(model: Any) -> Any | None:
    """An empty ``DynamicCache`` for the model, or None where it does not work with one.

    The model's config makes the layers with a sliding window keep no more than the window.
    """
    from transformers import DynamicCache

    supported = getattr(model, "_supports_default_dynamic_cache", None)
    known = {"past_key_values", "attention_mask", "use_cache"} <= forward_arguments(model)
    if not known or is_prompt_learning(model) or (supported is not None and not supported()):
        return None
    cache = DynamicCache(config=model.config)
    return cache if _plain(cache.layers) else None


def greedy_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    eos_ids: frozenset[int],
    pad_id: int,
    on_step: OnStep,
) -> list[Continuation] | None:
    """The most probable token at each step, for one batch.

    Equal to ``generate(do_sample=False)`` token for token where the arithmetic is (float32);
    logits are compared in float32, as ``generate`` does, so that bf16 ties fall the same way.

    Args:
        prompts: B token id lists, none empty.
        on_step: told of progress after each step.

    Returns:
        B continuations in the order of the prompts, or None if the model cannot be decoded with
        a ``DynamicCache`` (the caller then uses ``generate``).

    """
    cache = new_cache(model)
    if cache is None:
        return None
    arguments = forward_arguments(model)
    last_only = {"logits_to_keep": 1} if "logits_to_keep" in arguments else {}
    step_ids, mask = left_pad(prompts, pad_id, device_of(model))
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    results = [Continuation() for _ in prompts]
    rows = list(range(len(prompts)))  # which sentence each row of the batch is

    for step in range(max_new_tokens):
        placed = {"position_ids": positions} if "position_ids" in arguments else {}
        output = model(
            input_ids=step_ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            return_dict=True,
            **last_only,
            **placed,
        )
        if step == 0:
            filled = output.past_key_values is cache and cache.get_seq_length() == mask.shape[1]
            if not filled or not _plain(cache.layers):
                return None
        chosen = output.logits[:, -1].float().argmax(-1)
        del output  # the prompt's logits are large where `logits_to_keep` is not supported

        added = finished = 0
        for row, token in zip(rows, chosen.tolist(), strict=True):
            if results[row].stopped:
                continue
            if token in eos_ids:
                results[row].stopped = True
                finished += 1
            else:
                results[row].tokens.append(token)
                added += 1
        running = [i for i, row in enumerate(rows) if not results[row].stopped]
        last = step + 1 == max_new_tokens or not running
        on_step(added, finished + len(running) if last else finished)
        if last:
            break

        positions = positions[:, -1:] + 1
        if len(rows) - len(running) >= COMPACT_SHARE * len(rows) and len(running) < len(rows):
            keep = torch.tensor(running, device=mask.device)
            cache.batch_select_indices(keep)
            mask, positions, chosen = mask[keep], positions[keep], chosen[keep]
            rows = [rows[i] for i in running]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        step_ids = chosen[:, None]
    return results
