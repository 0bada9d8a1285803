"""Decoding through transformers' ``generate``: beam search, and models without a plain cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mt_lottery.decoding.continuation import (
    Continuation,
    Ends,
    OnStep,
    check_logits,
    cut_at_eos,
    device_of,
    left_pad,
)


def _settings(**given: Any) -> Any:
    """Generation settings: those given, and the library's neutral defaults."""
    from transformers import GenerationConfig

    make: Any = GenerationConfig
    return make(**given)


@contextmanager
def own_settings_put_aside(model: Any) -> Iterator[None]:
    """The model's ``generation_config`` replaced by an empty one, and put back afterwards.

    ``generate`` fills what a given configuration leaves open from the model's own (sampling,
    temperature, repetition penalty, lists of forbidden words): a score would then depend on a
    file beside the weights that is easily overlooked.
    """
    owners = [m for m in model.modules() if "generation_config" in vars(m)]
    kept = [owner.generation_config for owner in owners]
    try:
        for owner in owners:
            owner.generation_config = _settings()
        yield
    finally:
        for owner, config in zip(owners, kept, strict=True):
            owner.generation_config = config


class _Finite:
    """A processor of ``generate`` that changes nothing: NaN or infinity ends the decoding."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [B, V] as they are; a forbidden token's are minus infinity."""
        check_logits(scores.amax(-1))
        return scores


class _Rule:
    """A stopping criterion of ``generate``: where a rule ends a continuation.

    Args:
        ends: the rule.
        prompt: positions of the prompts, padding included.
    """

    def __init__(self, ends: Ends, prompt: int) -> None:
        self._ends, self._prompt = ends, prompt

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """For each row of token ids [B, T], whether it is complete, [B]."""
        rows = input_ids[:, self._prompt :].tolist()
        return torch.tensor([self._ends(row) for row in rows], device=input_ids.device)


def generate_batch(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    beam_size: int,
    max_new_tokens: int,
    length_penalty: float,
    eos_ids: frozenset[int],
    pad_id: int,
    padded: bool,
    on_step: OnStep,
    ends: Ends | None = None,
) -> list[Continuation]:
    """One batch through ``generate``, with every setting given and none inherited.

    Beam search ends when ``beam_size`` hypotheses are complete (``early_stopping=True``, as
    fairseq does); they are ranked by log-probability / length ** ``length_penalty``.

    Args:
        prompts: B token id lists, none empty.
        padded: whether the model may see prompts of unequal length in one batch.  PEFT's prompt
            tuning ignores position ids, so that padding would part the learned prompt from the
            text; recurrent states may take up the padding.
        ends: ends a sentence, or a beam of it, where the model does not.

    Returns:
        B continuations in the order of the prompts.

    """
    beam: dict[str, Any] = {}
    if beam_size > 1:
        beam = {
            "num_beams": beam_size,
            "early_stopping": True,
            "length_penalty": length_penalty,
        }
    config = _settings(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(eos_ids) or None,
        pad_token_id=pad_id,
        use_cache=True,
        **beam,
    )
    from transformers import LogitsProcessorList, StoppingCriteriaList

    groups: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(0 if padded else len(prompt), []).append(index)
    results = [Continuation() for _ in prompts]
    with own_settings_put_aside(model):
        for group in groups.values():
            ids, mask = left_pad([prompts[i] for i in group], pad_id, device_of(model))
            rules = [] if ends is None else [_Rule(ends, ids.shape[1])]
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=config,
                logits_processor=LogitsProcessorList([_Finite()]),
                stopping_criteria=StoppingCriteriaList(rules),
            )
            for index, tokens in zip(group, output[:, ids.shape[1] :].tolist(), strict=True):
                results[index] = cut_at_eos(tokens, eos_ids, ends)
            on_step(sum(len(results[i].tokens) for i in group), len(group))
    return results
