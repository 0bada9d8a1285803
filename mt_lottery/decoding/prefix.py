"""What every prompt of a run begins with, computed once.

The prompts of a template share their first tokens ("Translate English to
Romanian. English:", a few-shot template's examples too), and PEFT's prefix and
prompt tuning put learned states or embeddings before them.  Keys and values of
all that are computed for one sentence and copied to the rows of each batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mt_lottery.decoding.caches import base_model, forward_arguments, is_plain
from mt_lottery.decoding.continuation import device_of


@dataclass(frozen=True)
class SharedPrefix:
    """Keys and values of the first positions, one row.

    Attributes:
        virtual: learned positions before the first token (0 without PEFT's prefixes).
        tokens: prompt tokens, the same in all prompts, that come after them.
        layers: keys and values of each layer, [1, heads, virtual + tokens, head_dim].
    """

    virtual: int
    tokens: int
    layers: list[tuple[Tensor, Tensor]]

    def fill(self, cache: Any, kept: Sequence[int]) -> None:
        """Put the prefix into an empty cache, right-aligned, for a batch of len(kept) rows.

        Args:
            cache: an empty ``DynamicCache``; layers with a sliding window keep what they see.
            kept: how many of the ``tokens`` each row takes from here, [B].  Rows that take
                fewer than the most are filled up on the left with what must be masked.
        """
        most = max(kept)
        device = self.layers[0][0].device
        shift = torch.tensor([most - k for k in kept], device=device)
        place = torch.arange(self.virtual + most, device=device) - shift[:, None]
        place = place.clamp_min_(0)  # [B, virtual + most]
        for index, pair in enumerate(self.layers):
            keys, values = (
                states[0][:, place.to(states.device)].transpose(0, 1).contiguous()
                for states in pair
            )
            cache.update(keys, values, index)

    def mask(self, kept: Sequence[int]) -> list[list[int]]:
        """For each row 1 where :meth:`fill` put something real, 0 where it filled up."""
        most = max(kept)
        return [[0] * (most - k) + [1] * (self.virtual + k) for k in kept]


def common_length(prompts: Sequence[Sequence[int]]) -> int:
    """How many first tokens all prompts share; at least one token of each is left over."""
    first, last = (list(pick(map(tuple, prompts))) for pick in (min, max))  # as in a dictionary
    room = min(map(len, prompts)) - 1
    pairs = zip(first[:room], last[:room], strict=True)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), room)


def learned_prefix(model: Any) -> str | None:
    """``"keys"`` (prefix tuning), ``"embeddings"`` (prompt tuning), None (neither), or
    ``"other"``: PEFT's prompt learning of a kind that only its own ``generate`` can decode.
    """
    config = getattr(model, "active_peft_config", None)
    if config is None or not getattr(config, "is_prompt_learning", False):
        return None
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    known = {"PREFIX_TUNING": "keys", "CARTRIDGE": "keys"}
    known |= {"PROMPT_TUNING": "embeddings", "P_TUNING": "embeddings"}
    return known.get(kind, "other")


def share_prefix(model: Any, prompts: Sequence[Sequence[int]]) -> SharedPrefix | None:
    """Run the model over what all prompts begin with.

    Args:
        model: a causal LM that works with a ``DynamicCache``, PEFT's wrapper included.
        prompts: token ids of each prompt of the run, none empty.

    Returns:
        None if there is nothing to share, or the model does not fill a plain cache.
    """
    from transformers import DynamicCache

    learned = learned_prefix(model)
    shared = common_length(prompts) if len(prompts) > 1 else 0
    if learned == "other" or (learned is None and shared == 0):
        return None
    base = base_model(model)
    device = device_of(model)
    ids = torch.tensor([list(prompts[0][:shared])], dtype=torch.int64, device=device)
    # Without the model's config every layer keeps every position, sliding windows too:
    # rows that take less of the prefix need positions that a window would have dropped.
    cache = DynamicCache()
    virtual = 0
    inputs: dict[str, Tensor] = {"input_ids": ids}
    if learned == "keys":
        given = model.get_prompt(batch_size=1)
        for index, layer in enumerate(given.layers):
            cache.update(layer.keys, layer.values, index)
        virtual = int(model.active_peft_config.num_virtual_tokens)
        if any(layer.keys.shape[-2] != virtual for layer in given.layers):
            return None  # longer than a sliding window
    elif learned == "embeddings":
        learned_rows = model.get_prompt(batch_size=1)
        virtual = int(learned_rows.shape[1])
        words = base.get_input_embeddings()(ids)
        inputs = {"inputs_embeds": torch.cat([learned_rows.to(words.dtype), words], dim=1)}
    length = virtual + shared
    if learned != "keys" or shared:
        arguments = forward_arguments(model)
        done = 0 if learned != "keys" else virtual
        if "position_ids" in arguments:
            inputs["position_ids"] = torch.arange(done, length, device=device)[None]
        if "logits_to_keep" in arguments:
            inputs["logits_to_keep"] = 1  # type: ignore[assignment]
        mask = torch.ones(1, length, dtype=torch.int64, device=device)
        base(**inputs, attention_mask=mask, past_key_values=cache, use_cache=True, return_dict=True)
    layers = [(layer.keys, layer.values) for layer in cache.layers]
    if not is_plain(cache.layers) or any(k is None or k.shape[-2] != length for k, _ in layers):
        return None
    return SharedPrefix(virtual, shared, layers)
