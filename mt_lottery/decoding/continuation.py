"""What one batch of prompts yields, and how prompts become tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from mt_lottery.decoding.caches import base_model
from mt_lottery.errors import ModelError

#: ``on_step(tokens, finished)``: new tokens and newly finished sentences since the last call.
OnStep = Callable[[int, int], None]
#: ``ends(tokens)``: whether a continuation of these tokens is complete, though no token says so.
Ends = Callable[[Sequence[int]], bool]


@dataclass
class Continuation:
    """Token ids that follow a prompt; neither prompt nor end-of-sequence token among them.

    Attributes:
        tokens: the ids.
        stopped: the model ended it, by an end-of-sequence token.
        cut: a rule (:data:`Ends`) ended it.
    """

    tokens: list[int] = field(default_factory=list)
    stopped: bool = False
    cut: bool = False

    @property
    def done(self) -> bool:
        """Whether nothing follows."""
        return self.stopped or self.cut


def device_of(model: Any) -> torch.device:
    """Where the token ids must be: where the embedding table is.

    Of a model that is spread over devices, the logits come back there too.
    """
    table = base_model(model).get_input_embeddings()  # or a module around one, without a `weight`
    parameter: torch.Tensor = next(table.parameters(), next(model.parameters()))
    return parameter.device


def check_logits(logits: torch.Tensor) -> None:
    """Refuse logits from which no token can be chosen: a translation of them would be noise.

    Args:
        logits: any shape; a token that must not come may have minus infinity, if it is left out.

    Raises:
        ModelError: NaN or infinity among them.
    """
    if not bool(torch.isfinite(logits).all()):
        raise not_finite()


def not_finite() -> ModelError:
    """What to raise where :func:`check_logits` would."""
    return ModelError(
        "The model's logits are not finite (NaN or infinity): it cannot translate. Its "
        "weights may be damaged or too large for float16 (take model.dtype=float32 or "
        "bfloat16), or its training diverged (lower train.lr)."
    )


def left_pad(
    prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts as one batch, padded on the left so that all continuations start together.

    Returns:
        token ids and attention mask, both LongTensor [B, T].

    """
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad_id] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return ids.to(device), mask.to(device)


def cut_at_eos(
    tokens: Sequence[int], eos_ids: frozenset[int], ends: Ends | None = None
) -> Continuation:
    """The tokens up to where they end: padding, or more than was wanted, may follow that."""
    found = Continuation()
    for token in tokens:
        if token in eos_ids:
            found.stopped = True
            break
        found.tokens.append(token)
        if ends is not None and ends(found.tokens):
            found.cut = True
            break
    return found
