"""Greedy decoding with a cache that finished sentences leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mt_lottery.decoding.caches import base_model, forward_arguments, is_plain, keep_rows, new_cache
from mt_lottery.decoding.continuation import (
    Continuation,
    Ends,
    OnStep,
    device_of,
    left_pad,
    not_finite,
)
from mt_lottery.decoding.prefix import SharedPrefix, learned_prefix

#: Finished share of a batch at which its rows are dropped.  Dropping copies the cache once, which
#: is what every step does anyway to append to it; so it pays early, but not for each sentence.
COMPACT_SHARE = 1 / 8
#: Types of devices on which steps are recorded and replayed (:mod:`mt_lottery.decoding.replay`).
REPLAY_ON = frozenset({"cuda"})
REPLAY_SHARE = 1 / 4  # as COMPACT_SHARE, where other rows cost a new recording too


def _choose(logits: torch.Tensor) -> torch.Tensor:
    """The most probable tokens of logits [B, T, V], and 1 if they are finite, else 0: [B + 1].

    In one tensor, so that the host waits for the device once a step.
    """
    scores = logits[:, -1].float()
    chosen = scores.argmax(-1)
    # NaN counts as the largest, and infinity is
    finite = torch.isfinite(scores.gather(-1, chosen[:, None])).all()
    return torch.cat([chosen, finite[None].long()])


def _begin(
    prompts: Sequence[Sequence[int]],
    prefix: SharedPrefix | None,
    cache: Any,
    pad_id: int,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B, R] still to be read, and the mask [B, cached + R]; fills the cache.

    Each row reads its last R tokens, R the most that any prompt has behind the prefix, and
    takes what comes before them from the prefix: so real positions stand side by side, as
    after padding on the left, and a sliding window sees what it would have seen.
    """
    if prefix is None:
        return left_pad(prompts, pad_id, device)
    width = max(len(prompt) for prompt in prompts) - prefix.tokens
    kept = [max(len(prompt) - width, 0) for prompt in prompts]
    ids, mask = left_pad([p[k:] for p, k in zip(prompts, kept, strict=True)], pad_id, device)
    if prefix.virtual + max(kept):
        prefix.fill(cache, kept)
        before = torch.tensor(prefix.mask(kept), device=device)
        mask = torch.cat([before, mask], dim=1)
    return ids, mask


def greedy_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    eos_ids: frozenset[int],
    pad_id: int,
    on_step: OnStep,
    prefix: SharedPrefix | None = None,
    ends: Ends | None = None,
) -> list[Continuation] | None:
    """The most probable token at each step, for one batch.

    Equal to ``generate(do_sample=False)`` token for token where the arithmetic is (float32);
    logits are compared in float32, as ``generate`` does, so that bf16 ties fall the same way.
    What is cached is never computed anew: for texts that stay within
    :func:`mt_lottery.decoding.rotary.unchanged_positions`.

    Args:
        prompts: B token id lists, none empty.
        on_step: called after each step.
        prefix: what all prompts begin with, from :func:`share_prefix`.
        ends: ends a sentence where the model does not.

    Returns:
        B continuations in the order of the prompts, or None if the model cannot be decoded with
        a ``DynamicCache`` (the caller then uses ``generate``).

    """
    cache = new_cache(model)
    if cache is None or (prefix is None and learned_prefix(model) is not None):
        return None
    arguments = forward_arguments(model)
    # PEFT's wrapper would put a learned prefix before each single step
    run = base_model(model)
    last_only = {"logits_to_keep": 1} if "logits_to_keep" in arguments else {}
    step_ids, mask = _begin(prompts, prefix, cache, pad_id, device_of(model))
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -step_ids.shape[1] :]
    results = [Continuation() for _ in prompts]
    rows = list(range(len(prompts)))  # which sentence each row of the batch is
    recorded, replayed = False, None

    def read() -> torch.Tensor | None:
        placed = {"position_ids": positions} if "position_ids" in arguments else {}
        output = run(
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
            if not filled or not is_plain(cache.layers):
                return None
        # the prompt's logits are large where `logits_to_keep` is not supported
        return _choose(output.logits)

    for step in range(max_new_tokens):
        found = read() if replayed is None else replayed()
        if found is None:
            return None
        *tokens, finite = found.tolist()
        if not finite:
            raise not_finite()
        chosen = found[:-1]
        added = finished = 0
        for row, token in zip(rows, tokens, strict=True):
            result = results[row]
            if result.done:
                continue
            if token in eos_ids:
                result.stopped = True
            else:
                result.tokens.append(token)
                result.cut = ends is not None and ends(result.tokens)
                added += 1
            finished += result.done
        running = [i for i, row in enumerate(rows) if not results[row].done]
        last = step + 1 == max_new_tokens or not running
        on_step(added, finished + len(running) if last else finished)
        if last:
            break

        if step == 0 and step_ids.device.type in REPLAY_ON:
            from mt_lottery.decoding import replay

            recorded = replay.replayable(run, cache, max_new_tokens - 1)
        share = REPLAY_SHARE if recorded else COMPACT_SHARE
        fewer = len(rows) - len(running) >= share * len(rows) and len(running) < len(rows)
        if replayed is not None and not fewer and replayed.left:
            continue
        if replayed is None:
            positions = positions[:, -1:] + 1
        else:
            mask, positions = replayed.state()
            replayed = None  # its memory, before there is a new one
        if fewer:
            keep = torch.tensor(running, device=mask.device)
            keep_rows(cache, keep)
            mask, positions, chosen = mask[keep], positions[keep], chosen[keep]
            rows = [rows[i] for i in running]
        if recorded:
            left = max_new_tokens - step - 1
            replayed = replay.Replayed(run, cache, _choose, chosen, mask, positions, left)
        else:
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            step_ids = chosen[:, None]
    return results
